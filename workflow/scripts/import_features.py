"""Bring patch features that others made into our form, one shard of slides a job."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mirror.config.cohort import FeatureSource
from mirror.io.atomic import write_tsv
from mirror.io.errors import InputError
from mirror.io.features_import import import_features
from mirror.slides.mpp import resolve_mpp
from mirror.slides.reader import open_slide


def slide_mpp(slide: Mapping[str, Any]) -> float | None:
    """Micrometres a pixel from the table, else from the slide itself where it is at hand, else None."""
    path = Path(str(slide.get("slide_path") or ""))
    if slide.get("mpp") is not None:
        return float(slide["mpp"])
    if not path.is_file():
        return None
    try:
        with open_slide(path) as opened:
            return resolve_mpp(opened.properties, None, path).value
    except InputError:  # the importer says that mpp is unknown
        return None


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
        Gets one row a slide.
    """
    write_tsv(status, import_features(FeatureSource.model_validate(source), slides, folder, slide_mpp))


if "snakemake" in globals():
    from mirror.io.progress import run_step

    run_step(
        lambda: main(
            slides=snakemake.params.slides,  # noqa: F821
            source=snakemake.params.source,  # noqa: F821
            folder=Path(snakemake.params.folder),  # noqa: F821
            status=Path(snakemake.output.status),  # noqa: F821
        ),
        snakemake.log[0],  # noqa: F821
    )
