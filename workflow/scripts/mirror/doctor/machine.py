"""This machine: GPUs, the results folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ..compute.gpus import list_gpus
from ..core.findings import Finding


def check_machine(results: Path) -> Iterator[Finding]:
    """GPUs, and whether the results folder can be written; disk is part of the plan."""
    gpus = list_gpus()
    if gpus:
        yield Finding("GPU", "ok", f"{len(gpus)} found")
    else:
        yield Finding(
            "GPU",
            "warning",
            "none: patch features and pre-training run on the CPU",
            "run on a machine or a cluster with a GPU, or set embed.device and pretrain.train.device to cpu",
        )
    results.mkdir(parents=True, exist_ok=True)
    if not os.access(results, os.W_OK):
        yield Finding("results folder", "problem", f"{results} cannot be written", "choose another with `results`")
