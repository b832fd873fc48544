"""Several expression files of one cohort: one matrix over the genes that all have."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd

from ...config.sources import ExpressionSource
from ...core.errors import InputError
from ...core.facts import Facts
from .rules import apply_value_rules
from .samples import one_row_a_patient

APART = 2.0
"""Files whose median values differ by more than this factor (of logarithms: its logarithm) are said to differ."""
FEW = 0.5
"""A share of common genes below this one is said."""


@dataclass(frozen=True)
class Part:
    """One file as read on its own.

    Attributes
    ----------
    file : str
    adata : AnnData
        One row per patient.
    report : dict
        As `mirror.readers.expression.read.read_expression` returns it.
    """

    file: str
    adata: ad.AnnData
    report: dict[str, Any]

    @property
    def name(self) -> str:
        """The file's name without its folder."""
        return Path(self.file).name

    @property
    def kind(self) -> str:
        """What its values are."""
        return str(self.report["values"]["kind"])


def join_files(
    parts: Sequence[Part], source: ExpressionSource, patients: Iterable[str] | None, cohort: str, found: Facts
) -> tuple[ad.AnnData, dict[str, Any]]:
    """Join files over the genes that all have; a patient of several files is one row.

    Parameters
    ----------
    parts : sequence of Part
        In the order of the configuration.
    source : ExpressionSource
        Its policies: ``duplicates`` decides where a patient's rows differ between files.
    patients : iterable of str or None
        The cohort's patients, as `SampleSelector` has them.
    cohort : str
    found : Facts
        Takes what is in common and what differs.

    Returns
    -------
    adata, report
        As of `read_expression`; ``obs`` has a column ``file``, and the report of every file is under ``files``.

    Raises
    ------
    InputError
        Files of different kinds of values, or without a common gene; rows of a patient that differ under
        ``duplicates: error``.
    """
    _check_kinds(parts)
    genes = _common_genes(parts, found)
    about = ", ".join(part.file for part in parts)
    values = np.concatenate([np.asarray(part.adata[:, genes].X, dtype=np.float32) for part in parts])
    _compare_scales(parts, values, found)
    before = pd.concat([part.adata.obs.assign(file=part.name) for part in parts])
    samples, owners = before["sample_id"].astype(str).tolist(), before.index.astype(str).tolist()
    values, obs, duplicates = one_row_a_patient(values, samples, owners, source.duplicates, about)
    in_several = obs.index[obs["n_samples"] > 1]
    if len(in_several):
        _say_shared(in_several, duplicates, source.duplicates, found, [part.name for part in parts])
    by_patient = before.groupby(level=0, sort=False)
    obs["n_samples"] = by_patient["n_samples"].sum().reindex(obs.index)
    obs["n_different"] += by_patient["n_different"].first().reindex(obs.index) - 1
    for column in ("sample_type", "file"):
        obs[column] = by_patient[column].agg(lambda cells: ";".join(dict.fromkeys(map(str, cells)))).reindex(obs.index)
    kind = parts[0].kind
    names = pd.DataFrame({"id": genes})
    values, names, rules = apply_value_rules(
        values, names, kind, source.missing, source.constant_genes, source.extreme, source.extreme_z, about
    )
    var = reduce(pd.DataFrame.combine_first, (part.adata.var for part in parts)).reindex(names["id"])
    var = var[parts[0].adata.var.columns].rename_axis("gene")
    wanted = set(patients) if patients is not None else None
    absent = sorted(wanted - set(obs.index)) if wanted is not None else []
    report: dict[str, Any] = {
        "cohort": cohort,
        "source": ", ".join(part.name for part in parts),
        "format": ", ".join(dict.fromkeys(str(part.report["format"]) for part in parts)),
        "settings": source.model_dump(mode="json"),
        "values": parts[0].report["values"],
        "duplicates": duplicates,
        "rules": rules,
        "patients": len(obs),
        "n_genes": len(names),
        "patients_without_expression": len(absent),
        "patients_without_expression_examples": absent[:20],
        "files": {part.file: part.report for part in parts},
    }
    read = "; ".join(f"{part.name} {part.adata.n_obs} patients, {part.adata.n_vars} genes" for part in parts)
    found.note("files joined", read, "expression.path")
    found.note("patients", len(obs), f"{len(parts)} files")
    found.note("genes", len(names), "genes that all files have")
    if absent:
        found.note("patients without expression", f"{len(absent)} ({', '.join(absent[:3])})")
    of_files = [f"{part.name}: {line}" for part in parts for line in part.report["warnings"]]
    report["warnings"] = [*of_files, *(f"{fact.subject}: {fact.value}" for fact in found.warnings)]
    adata = ad.AnnData(X=values, obs=obs, var=var)
    adata.uns["mirror"] = json.dumps(report, default=str, allow_nan=True)
    return adata, report


def _check_kinds(parts: Sequence[Part]) -> None:
    """Refuse files whose numbers do not mean the same."""
    first = parts[0]
    for part in parts[1:]:
        if part.kind != first.kind:
            raise InputError(
                f"holds {part.kind} ({part.report['values']['reason']}), {first.file} holds {first.kind} "
                f"({first.report['values']['reason']}): the files of one cohort must hold values of one kind",
                file=part.file,
                remedy="give files of one kind, or make them cohorts of their own; `values` states the kind where it "
                "is recognised wrongly",
            )
        ours, theirs = (p.report["values"].get("offset") for p in (part, first))
        if ours != theirs:
            raise InputError(
                f"its logarithms have the offset {ours or 'that is not known'}, those of {first.file} "
                f"{theirs or 'one that is not known'}",
                file=part.file,
                remedy="give files of one source, or make them cohorts of their own",
            )


def _common_genes(parts: Sequence[Part], found: Facts) -> list[str]:
    """Genes of all files, in the order of the first."""
    shared = set.intersection(*(set(part.adata.var_names) for part in parts))
    genes = [gene for gene in parts[0].adata.var_names if gene in shared]
    some = "; ".join(f"{part.name}: {', '.join(part.adata.var_names[:3])}" for part in parts)
    if not genes:
        raise InputError(
            f"the files have no gene in common ({some})",
            file=", ".join(part.file for part in parts),
            remedy="use one kind of gene identifier in all files (symbols or Ensembl)",
        )
    sizes = ", ".join(f"{part.name} {part.adata.n_vars}" for part in parts)
    found.note("genes in common", f"{len(genes)} ({sizes})", "gene identifiers")
    least = min(part.adata.n_vars for part in parts)
    if len(genes) < FEW * least:
        found.warn(
            "genes in common",
            f"{len(genes)} of the {least} genes of the smallest file ({some})",
            "gene identifiers",
            "use one kind of gene identifier in all files",
        )
    return genes


def _compare_scales(parts: Sequence[Part], values: np.ndarray, found: Facts) -> None:
    """Say what makes the values of two files differ although they are of one kind."""
    kind = parts[0].kind
    if kind == "zscore":
        found.warn(
            "z-scores of several files",
            "where each file was standardised on its own patients, differences between the files are lost",
            "values",
            "use values that are not standardised (counts, TPM, logarithms)",
        )
        return
    ends = np.cumsum([part.adata.n_obs for part in parts])
    rows = np.split(values, ends[:-1])
    logarithm = kind.startswith("log")
    middle = [float(np.nanmean(np.nanmedian(block, axis=1))) if np.isfinite(block).any() else 0.0 for block in rows]
    shown = ", ".join(f"{part.name} {value:.3g}" for part, value in zip(parts, middle, strict=True))
    found.note("median value by file", shown, "genes in common")
    if kind == "counts":  # normalised by library size later
        return
    low, high = min(middle), max(middle)
    far = high - low > np.log2(APART) if logarithm else high > APART * max(low, 1e-9)
    if far:
        found.warn(
            "scales of the files",
            f"the median of a patient's values differs between files: {shown}",
            "genes in common",
            "check that the files were processed alike: a difference between files is read as one between patients",
        )


def _say_shared(patients: pd.Index, report: dict[str, Any], policy: str, found: Facts, names: Sequence[str]) -> None:
    """Say which patients are in several files."""
    differ = report["patients_with_different_samples"]
    equal = len(patients) - differ
    where = ", ".join(names)
    if equal:
        found.note("patients in several files", f"{equal}, with equal values", where, examples=patients)
    if differ:
        found.warn(
            "patients in several files",
            f"{differ} have different values in them (policy {policy})",
            where,
            "remove them from one file, or set `duplicates`",
            examples=report["patients_with_different_samples_examples"],
        )
