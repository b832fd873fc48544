"""Rule match_genes: expression of the target cohort with the genes that the source's models read."""

from pathlib import Path

import anndata

from mirror.core.atomic import atomic_path
from mirror.evaluation.transfer.prepare import match_genes
from mirror.rna.matrix import provenance
from mirror.rna.transform import Transform


def main(
    source_rna: Path, target_rna: Path, transforms: list[Path], allowed: float, names: tuple[str, str], out: Path
) -> None:
    """Write the matched expression; stop where too many genes are missing."""
    note = provenance(anndata.read_h5ad(source_rna, backed="r"))
    fitted = [Transform.load(path) for path in transforms]
    matched = match_genes(anndata.read_h5ad(target_rna), fitted, allowed, note, names)
    with atomic_path(out) as part:
        matched.write_h5ad(part, compression="gzip")


if "snakemake" in globals():
    from mirror.core.step import run_step

    step = snakemake
    run_step(
        lambda: main(
            source_rna=Path(step.input.source_rna),
            target_rna=Path(step.input.target_rna),
            transforms=[Path(path) for path in step.input.transforms],
            allowed=step.params.allowed,
            names=(step.wildcards.source, step.wildcards.target),
            out=Path(step.output.rna),
        ),
        step.log[0],
    )
