"""Turn tiles into patch features with one encoder, one shard of slides per job."""

from pathlib import Path
from typing import Any

import pandas as pd
import torch

from mirror.compute.device import hold_gpu
from mirror.config.slides import EmbedSettings
from mirror.core.atomic import write_tsv
from mirror.encoders.run import TileEncoder
from mirror.encoders.table import EncoderRow
from mirror.features.shard import embed_shard


def main(
    slides: list[dict[str, Any]],
    tiled: Path,
    encoder_row: dict[str, Any],
    settings: dict[str, Any],
    folder: Path,
    status: Path,
    threads: int = 2,
) -> None:
    """Write ``features/{encoder}/{slide}.h5`` for each slide, and the shard's table.

    Parameters
    ----------
    slides : list of dict
        Rows of the slide table.
    tiled : Path
        The tiling step's table of this shard.
    encoder_row : dict
        The row of the encoder table, with its name.
    settings : dict
        `EmbedSettings`.
    folder : Path
        ``results/slides``.
    status : Path
        Gets one row per slide.
    threads : int
        The job's threads.
    """
    wanted = EmbedSettings.model_validate(settings)
    row = EncoderRow.model_validate(encoder_row)
    table = pd.read_csv(tiled, sep="\t", dtype={"slide_id": str, "message": str}, keep_default_na=False)
    torch.set_num_threads(threads)
    with hold_gpu(wanted.device, setting="embed.device"):
        encoder = TileEncoder.load(row, wanted)
        write_tsv(status, embed_shard(slides, table, folder, encoder, wanted, threads))


if "snakemake" in globals():
    from mirror.core.step import run_step

    run_step(
        lambda: main(
            slides=snakemake.params.slides,
            tiled=Path(snakemake.input.status),
            encoder_row=snakemake.params.encoder_row,
            settings=snakemake.params.settings,
            folder=Path(snakemake.params.folder),
            status=Path(snakemake.output.status),
            threads=snakemake.threads,
        ),
        snakemake.log[0],
    )
