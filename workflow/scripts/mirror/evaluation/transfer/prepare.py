"""Who may be ranked by another cohort's models, and with which genes."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

from ...audit.checks import same_vectors
from ...core.errors import InputError
from ...core.patient_keys import patient_key
from ...rna.matrix import column_numbers, dense, provenance
from ...rna.transform import Transform

log = logging.getLogger(__name__)
SHOWN = 30  # missing genes that an error names; the log has them all


def shared_patients(
    source: pd.DataFrame,
    target: pd.DataFrame,
    source_slides: pd.DataFrame,
    target_slides: pd.DataFrame,
    expression: tuple[AnnData, AnnData] | None = None,
    tolerance: float = 1e-3,
) -> dict[str, str]:
    """Patients of the target that are in the source as well, under whatever name.

    Parameters
    ----------
    source, target : DataFrame
        ``patient_id``.
    source_slides, target_slides : DataFrame
        ``slide_id, patient_id, fingerprint`` (content; empty where unknown).
    expression : tuple of AnnData, optional
        Normalised expression of either cohort; compared over the genes that both have.
    tolerance : float
        See `mirror.audit.checks.same_vectors`.

    Returns
    -------
    dict
        patient_id of the target to the reason: identifier, slide or RNA.
    """
    known = {patient_key(p): str(p) for p in source["patient_id"]}
    found = {str(p): f"is {known[k]} there" for p in target["patient_id"] if (k := patient_key(p)) in known}
    there = _fingerprints(source_slides)
    for print_, (slide, patient) in _fingerprints(target_slides).items():
        if print_ in there:
            found.setdefault(patient, f"its slide {slide} is {there[print_][0]} there")
    if expression is not None:
        here, other = expression[1], expression[0]
        genes = here.var_names.intersection(other.var_names)
        if len(genes):
            blocks = [dense(a.X, np.arange(a.n_obs), column_numbers(a, genes)) for a in (other, here)]
            for group in same_vectors(np.vstack(blocks), tolerance):
                theirs = [i for i in group if i < other.n_obs]
                for i in group if theirs else []:
                    if i >= other.n_obs:
                        reason = f"its RNA is that of {other.obs_names[theirs[0]]} there"
                        found.setdefault(str(here.obs_names[i - other.n_obs]), reason)
    return found


def _fingerprints(slides: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """Content fingerprint to (slide, patient), where it is known."""
    if "fingerprint" not in slides:
        return {}
    rows = slides[slides["fingerprint"].notna() & (slides["fingerprint"].astype(str).str.strip() != "")]
    return {
        str(f): (str(s), str(p))
        for f, s, p in zip(rows["fingerprint"], rows["slide_id"], rows["patient_id"], strict=True)
    }


def transfer_splits(
    source_splits: pd.DataFrame, target: pd.DataFrame, shared: dict[str, str]
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Folds of a transfer: the source's training patients, and every patient of the target as test.

    Parameters
    ----------
    source_splits : DataFrame
        ``patient_id, repeat, fold, set``.
    target : DataFrame
        ``patient_id``.
    shared : dict
        See `shared_patients`; these are in no set.

    Returns
    -------
    splits : DataFrame
        ``patient_id, repeat, fold, set``.
    report : dict
        kind, messages, left_out.

    Raises
    ------
    InputError
        No patient of the target is left.
    """
    test = [str(p) for p in target["patient_id"] if str(p) not in shared]
    if not test:
        first = next(iter(shared), "none")
        raise InputError(
            f"all {len(target)} patients of the target are in the source as well ({first} first)",
            remedy="name a target cohort of other patients under evaluation.transfer",
        )
    parts = []
    for (repeat, fold), rows in source_splits.groupby(["repeat", "fold"], sort=True):
        train = rows.loc[rows["set"] == "train", "patient_id"]
        place = {"repeat": repeat, "fold": fold}
        parts.append(pd.DataFrame({"patient_id": train, **place, "set": "train"}))
        parts.append(pd.DataFrame({"patient_id": test, **place, "set": "test"}))
    messages = []
    if shared:
        examples = "; ".join(f"{patient} {reason}" for patient, reason in list(shared.items())[:5])
        messages.append(f"{len(shared)} patients of the target are in the source too and count nowhere: {examples}")
        log.warning(messages[0])
    return pd.concat(parts, ignore_index=True), {"kind": "transfer", "messages": messages, "left_out": shared}


def match_genes(
    target: AnnData,
    transforms: Sequence[Transform],
    allowed: float,
    source_note: dict[str, Any],
    names: tuple[str, str],
) -> AnnData:
    """The target's expression with exactly the genes that the source's transforms read.

    Parameters
    ----------
    target : AnnData
        Normalised expression of the target.
    transforms : sequence of Transform
        The source's, one per fold.
    allowed : float
        Share of these genes that may be missing. Their values are NaN, which a transform replaces
        by the median of its own training patients.
    source_note : dict
        Provenance of the source's expression (see `mirror.rna.matrix.provenance`).
    names : tuple of str
        Source and target, for messages.

    Returns
    -------
    AnnData
        float32 (patients, genes); ``uns["mirror"]`` has ``missing_genes``.

    Raises
    ------
    InputError
        Too many genes are missing (names them), or the two cohorts' values are on different scales.
    """
    source, here = names
    note = provenance(target)
    scales = [(n.get("normalized") or {}).get("scale") for n in (source_note, note)]
    if None not in scales and scales[0] != scales[1]:
        raise InputError(
            f"expression of {source} is {scales[0]} and of {here} {scales[1]}",
            remedy="bring both cohorts as the same kind of values (counts, or TPM, or log2 ...)",
        )
    genes = list(dict.fromkeys(g for t in transforms for g in (*t.inputs, *t.reference_genes)))
    columns = target.var_names.get_indexer(genes)
    missing = [g for g, column in zip(genes, columns, strict=True) if column < 0]
    if missing:
        log.warning(
            "%d of %d genes of %s are not in %s: %s", len(missing), len(genes), source, here, ", ".join(missing)
        )
    if len(missing) > allowed * len(genes):
        shown = ", ".join(missing[:SHOWN]) + (f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else "")
        raise InputError(
            f"{len(missing)} of the {len(genes)} genes that models of {source} read are not in {here}: {shown}",
            remedy="name genes alike in both cohorts, choose among common ones (rna.selection.gene_list), or allow a "
            "share of missing genes (max_missing_genes of the transfer)",
        )
    x = np.full((target.n_obs, len(genes)), np.nan, dtype=np.float32)
    x[:, columns >= 0] = dense(target.X, np.arange(target.n_obs), columns[columns >= 0].astype(np.int64))
    out = AnnData(X=x, obs=target.obs.copy(), var=pd.DataFrame(index=pd.Index(genes, dtype=str)))
    out.uns["mirror"] = json.dumps(note | {"missing_genes": missing, "genes_of": source}, sort_keys=True)
    return out
