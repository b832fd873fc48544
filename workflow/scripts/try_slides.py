"""Tile three of the user's slides and embed tiles of them for some seconds, for the doctor's plan."""

from pathlib import Path
from typing import Any

import torch

from mirror.compute.device import hold_gpu
from mirror.config.slides import EmbedSettings, SlideSettings
from mirror.core.atomic import write_json
from mirror.features.trial import Trial, try_slides


def main(
    cohorts: dict[str, list[dict[str, Any]]],
    rows: list[dict[str, Any]],
    slides: dict[str, Any],
    embed: dict[str, Any],
    threads: int,
    out: Path,
) -> None:
    """Write what was tried.

    Parameters
    ----------
    cohorts : dict
        Cohort to the rows of its slides.
    rows : list of dict
        Rows of the encoder table in use.
    slides, embed : dict
        The config's sections.
    threads : int
        The job's threads.
    out : Path
        JSON.
    """
    wanted = EmbedSettings.model_validate(embed)
    torch.set_num_threads(threads)
    trial = Trial()
    if any(cohorts.values()):
        with hold_gpu(wanted.device, setting="embed.device"):
            trial = try_slides(cohorts, rows, SlideSettings.model_validate(slides), wanted, threads)
    write_json(out, trial.as_dict())


if "snakemake" in globals():
    from mirror.core.step import run_step

    step = snakemake
    run_step(
        lambda: main(
            step.params.cohorts, step.params.rows, step.params.slides, step.params.embed, step.threads,
            Path(step.output.trial),
        ),
        step.log[0],
    )  # fmt: skip
