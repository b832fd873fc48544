"""Checkpoints: weights in safetensors, with everything needed to use them in the header."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ..config.pretrain import PretrainSettings
from ..core.atomic import atomic_path
from ..core.errors import InputError
from ..core.regular_file import refuse_irregular

KEY = "mirror"
FORMAT = 1
STORED = ("n_genes", "feature_width", "genes_sha", "patients", "validation_patients", "seed", "variant", "code_version")


def genes_digest(genes: Sequence[str]) -> str:
    """SHA-256 (hex) of the gene identifiers in their order."""
    return hashlib.sha256("\n".join(genes).encode()).hexdigest()


@dataclass(frozen=True)
class Checkpoint:
    """A trained model's weights and what they were made from.

    Attributes
    ----------
    path : Path
        Where it was read.
    weights : dict of str to Tensor
        The model's ``state_dict``, on the CPU.
    settings : PretrainSettings
        The variant's full configuration.
    n_genes, feature_width : int
        Widths of the two inputs; 0 genes or 0 features where that modality was absent.
    genes_sha : str
        `genes_digest` of the genes, in order.
    patients : list of str
        Every patient whose data entered the training loss or a statistic of it.
    validation_patients : list of str
        Training patients set aside for validation, not trained on.
    seed : int
        The seed of the run.
    variant : str
        The variant's name.
    code_version : str
        Version of the code that trained it.
    started_from : dict or None
        ``path``, ``sha256`` and ``patients_known`` of the weights that training started from.
    """

    path: Path
    weights: dict[str, torch.Tensor]
    settings: PretrainSettings
    n_genes: int
    feature_width: int
    genes_sha: str
    patients: list[str]
    validation_patients: list[str]
    seed: int
    variant: str
    code_version: str
    started_from: dict[str, Any] | None = None

    @property
    def seen(self) -> list[str] | None:
        """Every patient that had a part in the weights; None where they came from weights that keep no record."""
        return None if self.started_from and not self.started_from["patients_known"] else self.patients


def save_checkpoint(
    path: str | Path,
    weights: Mapping[str, torch.Tensor],
    settings: PretrainSettings,
    *,
    n_genes: int,
    feature_width: int,
    genes: Sequence[str],
    patients: Sequence[str],
    validation_patients: Sequence[str],
    seed: int,
    variant: str,
    code_version: str,
    started_from: Mapping[str, Any] | None = None,
) -> None:
    """Write a checkpoint atomically; the same content gives the same bytes.

    Parameters
    ----------
    path : path-like
        The ``.safetensors`` file.
    weights : mapping of str to Tensor
        A ``state_dict``; stored contiguous, on the CPU, in its own dtype.
    settings, n_genes, feature_width, genes, patients, validation_patients, seed, variant, code_version, started_from
        See `Checkpoint`.
    """
    header = {
        "format": FORMAT,
        "config": settings.model_dump(mode="json"),
        "n_genes": n_genes,
        "feature_width": feature_width,
        "genes_sha": genes_digest(genes),
        "patients": sorted(patients),
        "validation_patients": sorted(validation_patients),
        "seed": seed,
        "variant": variant,
        "code_version": code_version,
    }
    if started_from is not None:
        header["started_from"] = dict(started_from)
    # Cloned, since safetensors refuses two names for one memory.
    flat = {name: tensor.detach().to("cpu").contiguous().clone() for name, tensor in weights.items()}
    with atomic_path(path) as part:
        save_file(flat, part, metadata={KEY: json.dumps(header, sort_keys=True)})


def read_header(path: str | Path) -> dict:
    """Read a checkpoint's JSON header alone.

    Raises
    ------
    InputError
        When the file is missing, broken, or no checkpoint of this workflow.
    """
    path = Path(path)
    refuse_irregular(path, "checkpoint")
    if not path.is_file():
        raise InputError("the checkpoint does not exist", file=path, remedy="run the pre-training of this fold first")
    try:
        with safe_open(path, framework="pt") as handle:
            metadata = handle.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"the checkpoint cannot be read ({error})",
            file=path,
            remedy="delete it and let the workflow train it again",
        ) from error
    try:
        header = json.loads(metadata[KEY])
    except (KeyError, json.JSONDecodeError) as error:
        raise InputError(
            "a safetensors file, but no checkpoint of this workflow (its header lacks 'mirror')", file=path
        ) from error
    if "watched" in header:  # the name in version 0.1.0
        header["validation_patients"] = header.pop("watched")
    return header


def load_checkpoint(
    path: str | Path,
    *,
    settings: PretrainSettings | None = None,
    genes: Sequence[str] | None = None,
    feature_width: int | None = None,
) -> Checkpoint:
    """Read a checkpoint and check that it belongs to the data and configuration at hand.

    Parameters
    ----------
    path : path-like
        The ``.safetensors`` file.
    settings : PretrainSettings, optional
        The configuration expected; how it was run (`run_only`) does not count.
    genes : sequence of str, optional
        The genes expected, in order.
    feature_width : int, optional
        The width of the patch features expected.

    Raises
    ------
    InputError
        When the file cannot be read or was made with another configuration, gene set or feature width.
    """
    path = Path(path)
    header = read_header(path)
    again = "delete the checkpoint and let the workflow train it again, or point to the right one"
    try:
        stored = PretrainSettings.model_validate(header["config"])
        rest: dict[str, Any] = {key: header[key] for key in STORED}
    except (KeyError, ValidationError) as error:
        raise InputError(
            "the checkpoint's header does not fit this version of the workflow", file=path, remedy=again
        ) from error
    if settings is not None:
        changed = differing_keys(settings, stored)
        if changed:
            raise InputError(
                f"the checkpoint was trained with another configuration ({', '.join(changed[:5])})",
                file=path,
                remedy=again,
            )
    if feature_width is not None and rest["feature_width"] not in (0, feature_width):
        raise InputError(
            f"the checkpoint was trained on features {rest['feature_width']} wide, these are {feature_width} wide",
            file=path,
            remedy="use the patch encoder it was trained with",
        )
    if genes is not None and rest["n_genes"] != 0 and rest["genes_sha"] != genes_digest(genes):
        raise InputError(
            f"the checkpoint was trained on another gene set ({rest['n_genes']} genes; {len(genes)} given)",
            file=path,
            remedy="use the genes and the transform of the checkpoint's own fold",
        )
    try:
        with safe_open(path, framework="pt") as handle:
            weights = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118 - not a dict
    except (SafetensorError, OSError) as error:
        raise InputError(f"the checkpoint cannot be read ({error})", file=path, remedy=again) from error
    return Checkpoint(path, weights, stored, **rest, started_from=header.get("started_from"))


# How a model is run, as opposed to what it becomes.
RUN_ONLY = ("device", "workers", "save_minutes", "cache_gb", "encode_tokens")


def defining_config(settings: PretrainSettings) -> dict:
    """The configuration as JSON-ready dict, without the keys that only say how it is run (`RUN_ONLY`)."""
    config = settings.model_dump(mode="json")
    for key in RUN_ONLY:
        config["train"].pop(key, None)
    return config


def differing_keys(a: PretrainSettings, b: PretrainSettings) -> list[str]:
    """Dotted names of the defining settings in which two configurations differ."""

    def walk(x: object, y: object, name: str) -> list[str]:
        if isinstance(x, dict) and isinstance(y, dict):
            return [k for key in sorted(x.keys() | y.keys()) for k in walk(x.get(key), y.get(key), f"{name}.{key}")]
        return [] if x == y else [name.removeprefix(".")]

    return walk(defining_config(a), defining_config(b), "")
