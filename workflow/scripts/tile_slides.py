"""Tile one shard of slides: tissue, grid, contours and thumbnails, and a table of what became of each."""

from pathlib import Path
from typing import Any

from mirror.config.slides import SlideSettings
from mirror.slides.tiling.shard import tile_shard


def main(
    slides: list[dict[str, Any]], settings: dict[str, Any], folder: str | Path, status: str | Path, threads: int
) -> None:
    """Tile ``slides`` into ``folder`` and write the shard's status table.

    Parameters
    ----------
    slides : list of dict
        ``slide_id``, ``patient_id``, ``slide_path`` and, optionally, ``mpp``.
    settings : dict
        The config's ``slides``.
    folder : path-like
        Gets ``tiles/``, ``qc/`` and ``contours/``.
    status : path-like
        The status table.
    threads : int
        Slides at a time.
    """
    tile_shard(slides, SlideSettings.model_validate(settings), folder, status, threads)


if "snakemake" in globals():
    from mirror.core.memory import set_job_memory
    from mirror.core.step import run_step

    job = snakemake
    set_job_memory(job.resources.get("mem_mb"))
    run_step(
        lambda: main(
            slides=job.params.slides,
            settings=job.params.settings,
            folder=job.params.folder,
            status=job.output.status,
            threads=job.threads,
        ),
        job.log[0],
    )
