"""Which environment a step runs in, where its settings decide.

PyTorch takes most of an installation, so it is in two environments only: ``embed`` (patch
encoders and other networks that read pixels) and ``train`` (networks that read features). A few
steps need it with some settings and not with others. They run in the environment without it
unless their settings ask for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TORCH = ("embed", "train")
"""Environments that have PyTorch."""

WITHOUT_PT = ("trident", "stamp")
"""Formats of imported features that are HDF5 only; the others may hold ``.pt`` files."""

LEARNED = ("torchscript", "safetensors")
"""Methods of finding tissue that run a network."""

CHOICES = {
    "tiling": ("slides", "embed"),
    "importing": ("slides", "embed"),
    "probing": ("evaluate", "train"),
}
"""Step to its environments: without and with PyTorch."""


def tiling(slides: Mapping[str, Any]) -> str:
    """Environment of tiling: a learned tissue mask is a network.

    Parameters
    ----------
    slides : mapping
        The section ``slides`` of the configuration.
    """
    return CHOICES["tiling"][slides["tissue"]["method"] in LEARNED]


def importing(source: Mapping[str, Any]) -> str:
    """Environment that reads features which others made; ``source`` is one of a cohort's ``features``."""
    return CHOICES["importing"][source["format"] not in WITHOUT_PT]


def probing(evaluation: Mapping[str, Any], network: bool = False) -> str:
    """Environment of a probe or baseline.

    Parameters
    ----------
    evaluation : mapping
        The section ``evaluation``; its linear heads use PyTorch with ``probe.solver: adam``.
    network : bool
        Whether a baseline trains a network.
    """
    return CHOICES["probing"][network or evaluation["probe"]["solver"] == "adam"]
