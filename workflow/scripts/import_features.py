"""Bring patch features that others made into our form, one shard of slides per job."""

from pathlib import Path
from typing import Any

from mirror.config.sources import FeatureSource
from mirror.core.atomic import write_tsv
from mirror.core.memory import set_job_memory
from mirror.features.importing import import_features
from mirror.slides.reading.slide_mpp import slide_mpp, slide_size


def main(slides: list[dict[str, Any]], source: dict[str, Any], folder: Path, status: Path) -> None:
    """Write ``features/{encoder}/{slide}.h5`` for each slide, and the shard's table.

    Parameters
    ----------
    slides : list of dict
        Rows of the slide table.
    source : dict
        `FeatureSource`.
    folder : Path
        ``results/slides``.
    status : Path
        Gets one row per slide.
    """
    given = FeatureSource.model_validate(source)
    write_tsv(status, import_features(given, slides, folder, slide_mpp, size_of=slide_size))


if "snakemake" in globals():
    from mirror.core.step import run_step

    set_job_memory(snakemake.resources.get("mem_mb"))
    run_step(
        lambda: main(
            slides=snakemake.params.slides,
            source=snakemake.params.source,
            folder=Path(snakemake.params.folder),
            status=Path(snakemake.output.status),
        ),
        snakemake.log[0],
    )
