"""Apply the per-sample transforms to a cohort's expression."""

from pathlib import Path
from typing import Any

import anndata as ad

from mirror.config.rna import RnaSettings
from mirror.core.atomic import atomic_path
from mirror.rna.normalize import normalize


def main(raw: Path, out: Path, settings: dict[str, Any]) -> None:
    """Read ``raw`` (.h5ad as read), normalise, write ``out`` (.h5ad)."""
    normalized = normalize(ad.read_h5ad(raw), RnaSettings(**settings))
    with atomic_path(out) as part:
        normalized.write_h5ad(part, compression="lzf")


if "snakemake" in globals():
    from mirror.core.step import run_step

    run_step(
        lambda: main(
            raw=Path(snakemake.input.raw),
            out=Path(snakemake.output.rna),
            settings=snakemake.params.settings,
        ),
        snakemake.log[0],
    )
