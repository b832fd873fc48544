"""What no JSON schema can say of settings. Standard library only: used while the DAG is built."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..core.errors import InputError
from ..core.protocols import shots

START_KEYS = ("init_from", "init_genes", "init_patients")


def contradiction(settings: Mapping[str, Any]) -> tuple[str, str, str] | None:
    """The first settings of a variant that cannot stand together.

    Parameters
    ----------
    settings : mapping
        Complete pre-training settings, as `PretrainSettings` dumps them.

    Returns
    -------
    tuple of str (key, problem, remedy), or None
    """
    model, train = settings["model"], settings["train"]
    width = model["embed_dim"]
    for key in ("slide_heads", "rna_heads"):
        if width % model[key]:
            whole = ", ".join(str(n) for n in range(1, 33) if width % n == 0)
            return f"model.{key}", f"{model[key]} heads do not divide embed_dim {width}", f"take one of {whole}"
    retention = settings["retention"]
    if retention["slide_feature_mask"] and (retention["decode_from"], retention["target"]) == ("tokens", "input"):
        return (
            "retention.slide_feature_mask",
            "token retention that aims at the input would have to rebuild hidden features as zero",
            "take decode_from: embedding, or slide_feature_mask: 0",
        )
    if train["epochs"] == 0 and not train["init_from"]:
        return "train.epochs", "0 epochs leave the model untrained", "give train.init_from, or epochs"
    for key in ("init_genes", "init_patients"):
        if train[key] and not train["init_from"]:
            return f"train.{key}", "it describes a checkpoint, and none is given", "give train.init_from"
    return None


def check_starts(variants: Mapping[str, Mapping[str, Any]], allowed: Mapping[str, str], source: str = "config") -> None:
    """Refuse weights to start from that are missing, or of which nothing says on which patients they were trained.

    Parameters
    ----------
    variants : mapping
        Complete settings by name.
    allowed : mapping
        ``audit.allow``: checks that may fail, with reasons.

    Raises
    ------
    InputError
        Now, since the leak audit would say so only after training.
    """
    for name, settings in variants.items():
        train = settings["train"]
        for key in START_KEYS:
            if train[key] and not Path(train[key]).is_file():
                raise InputError(
                    f"variant `{name}`: `train.{key}`: this file does not exist",
                    file=train[key],
                    remedy="correct the path; it counts from the folder in which the workflow is started",
                )
        start = train["init_from"]
        declared = train["init_patients"] or "pretraining" in allowed
        if start and not start.endswith(".safetensors") and not declared:
            raise InputError(
                f"variant `{name}`: {start} keeps no record of the patients it was trained on, so test patients may "
                "be among them",
                file=source,
                remedy="list them in a file under train.init_patients (empty where none is of this cohort), or say "
                "why it may be under audit.allow.pretraining",
            )


def check_shots(evaluation: Mapping[str, Any], source: str = "config") -> None:
    """Refuse few-shot tables of a number of shots that is not evaluated.

    Raises
    ------
    InputError
    """
    few = evaluation["fewshot"]
    if few["table_k"] is not None and few["table_k"] not in shots(few["k"]):
        raise InputError(
            f"`evaluation.fewshot.table_k`: {few['table_k']} is not among the numbers of shots",
            file=source,
            remedy=f"take one of {', '.join(map(str, shots(few['k'])))}, or add it to `evaluation.fewshot.k`",
        )


def check_partners(
    variants: Mapping[str, Mapping[str, Any]], cohorts: Mapping[str, Mapping[str, Any]], source: str = "config"
) -> None:
    """Refuse cohorts to learn from that are not there, or that are pooled.

    Parameters
    ----------
    variants, cohorts : mapping
        Complete settings by name.
    """
    for name, settings in variants.items():
        for partner in settings["train"]["with"]:
            if partner not in cohorts or cohorts[partner]["joint"]:
                raise InputError(
                    f"variant `{name}`: `train.with`: `{partner}` is not a cohort read from files",
                    file=source,
                    remedy=f"name some of {', '.join(c for c in cohorts if not cohorts[c]['joint'])}",
                )


def start_files(settings: Mapping[str, Any]) -> list[str]:
    """Files of the weights that a variant starts from."""
    return [settings["train"][key] for key in START_KEYS if settings["train"][key]]
