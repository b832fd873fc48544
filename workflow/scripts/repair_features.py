"""Find feature files that broke, and make those alone anew; nothing that is finished runs again."""

import logging
from pathlib import Path
from typing import Any

import torch

from mirror.compute.device import hold_gpu
from mirror.config.slides import EmbedSettings
from mirror.config.sources import FeatureSource
from mirror.core.memory import set_job_memory
from mirror.encoders.run import TileEncoder
from mirror.encoders.table import EncoderRow
from mirror.features.importing import import_features
from mirror.features.repair import Rows, repair
from mirror.features.shard import embed_shard
from mirror.io.status import read_shards
from mirror.slides.reading.slide_mpp import slide_mpp


def main(cohorts: dict[str, dict[str, Any]], settings: dict[str, Any], folder: Path, threads: int = 2) -> int:
    """Look at every feature file of every cohort, and make broken ones anew; how many there were.

    Parameters
    ----------
    cohorts : dict
        Name to ``slides`` (rows of the slide table), ``rows`` (the encoder's name to its row of the
        encoder table) and ``sources`` (the encoder's name to the features that others made).
    settings : dict
        `EmbedSettings`.
    folder : Path
        ``results/slides``.
    threads : int
        The job's threads.
    """
    wanted = EmbedSettings.model_validate(settings)
    torch.set_num_threads(threads)
    repaired = 0
    for name, cohort in cohorts.items():
        tiled = read_shards(folder / name / "tiles")

        def embed(slides: Rows, root: Path, row: dict[str, Any], tiled=tiled):
            with hold_gpu(wanted.device, setting="embed.device"):
                encoder = TileEncoder.load(EncoderRow.model_validate(row), wanted)
                return embed_shard(slides, tiled, root, encoder, wanted, threads)

        def take(slides: Rows, root: Path, source: dict[str, Any]):
            return import_features(FeatureSource.model_validate(source), slides, root, slide_mpp)

        for encoder, row in cohort["rows"].items():
            repaired += repair(cohort["slides"], folder, name, encoder, lambda s, root, row=row: embed(s, root, row))
        for encoder, source in cohort["sources"].items():
            repaired += repair(
                cohort["slides"], folder, name, encoder, lambda s, root, source=source: take(s, root, source)
            )
    logging.getLogger("mirror.repair").info("%d feature files were made anew", repaired)
    return repaired


if "snakemake" in globals():
    from mirror.core.step import run_step

    job = snakemake
    set_job_memory(job.resources.get("mem_mb"))
    run_step(
        lambda: main(job.params.cohorts, job.params.settings, Path(job.params.folder), job.threads),
        job.log[0],
    )
