"""The checks of the leak audit: pure functions, each giving one `Check`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree
from scipy.stats.contingency import association

from ..cohort.splits.sites import UNKNOWN, sites_of
from ..config.audit import CheckName
from ..core.patient_keys import patient_key
from .provenance import Fitted

EXAMPLES = 5
_PROJECTIONS = 8
_WHAT: dict[str, str] = {
    "gene_selection": "genes were chosen",
    "scaling": "the transform was fitted",
    "time_bins": "time bins were cut",
    "label_map": "the label map was made",
    "pretraining": "the model was pre-trained",
    "probe": "the probe was trained",
    "epoch_selection": "the epoch (or penalty) was chosen",
}
FITTED_CHECKS = tuple(_WHAT)


@dataclass(frozen=True)
class Check:
    """Verdict of one check.

    Attributes
    ----------
    name : str
        One of `mirror.config.audit.CheckName`.
    passed : bool
        Whether nothing was found.
    level : {"error", "warning", "info"}
        An error stops the run unless allowed; warnings and information are shown.
    numbers : dict
        JSON-ready counts and examples.
    message : str
        One line.
    allowed : bool
        Failed, but allowed by the config.
    reason : str
        Why it is allowed.
    """

    name: CheckName
    passed: bool
    level: Literal["error", "warning", "info"]
    numbers: dict[str, Any] = field(default_factory=dict)
    message: str = ""
    allowed: bool = False
    reason: str = ""

    @property
    def blocks(self) -> bool:
        """Whether the run must stop."""
        return self.level == "error" and not self.passed and not self.allowed


def _fold_keys(splits: pd.DataFrame) -> pd.DataFrame:
    """Splits with the patient's `patient_key` as ``key`` and the fold's name as ``where``."""
    names = splits["patient_id"].astype(str)
    lookup = {name: patient_key(name) for name in names.unique()}
    where = "r" + splits["repeat"].astype(str) + "f" + splits["fold"].astype(str)
    return splits.assign(key=names.map(lookup), where=where)


def check_patient_overlap(splits: pd.DataFrame) -> Check:
    """No patient is in two sets of a fold, under any form of the identifier.

    Parameters
    ----------
    splits : DataFrame
        ``patient_id, repeat, fold, set``.
    """
    keyed = _fold_keys(splits)
    sets = keyed.groupby(["where", "key"])["set"].nunique()
    both = sets[sets > 1].reset_index()
    counts = both.groupby("where").size()
    numbers = {
        "patients": int(both["key"].nunique()),
        "by_fold": {where: int(counts.get(where, 0)) for where in keyed["where"].unique()},
        "examples": sorted(both["key"].unique())[:EXAMPLES],
    }
    if both.empty:
        return Check("patient_overlap", True, "error", numbers, "no patient is in two sets of a fold")
    shown = ", ".join(f"{where}: {count}" for where, count in counts.items())
    message = f"{numbers['patients']} patients are in train and test of a fold ({shown})"
    return Check("patient_overlap", False, "error", numbers, message)


def _groups_across(groups: Sequence[Sequence[str]], splits: pd.DataFrame) -> list[dict[str, Any]]:
    """Groups of patients (by identifier) of which some are in train and some in test of a fold."""
    keyed = _fold_keys(splits)
    involved = {patient_key(patient) for group in groups for patient in group}
    rows = keyed[keyed["key"].isin(involved)]
    sets: dict[str, set[tuple[str, str]]] = {}
    for key, where, name in zip(rows["key"], rows["where"], rows["set"], strict=True):
        sets.setdefault(key, set()).add((where, name))
    found = []
    for group in groups:
        members = [sets.get(key, set()) for key in {patient_key(p) for p in group}]
        trained = {where for member in members for where, name in member if name == "train"}
        tested = {where for member in members for where, name in member if name == "test"}
        if trained & tested:
            found.append({"patients": sorted(set(group)), "folds": sorted(trained & tested)})
    return found


def check_slide_duplicates(slides: pd.DataFrame, splits: pd.DataFrame) -> Check:
    """No slide, whatever its name, belongs to patients in different sets of a fold.

    Parameters
    ----------
    slides : DataFrame
        ``slide_id, patient_id, fingerprint`` (content fingerprint; empty where unknown).
    splits : DataFrame
        ``patient_id, repeat, fold, set``.
    """
    prints = slides["fingerprint"] if "fingerprint" in slides else pd.Series(np.nan, index=slides.index)
    known = slides.assign(fingerprint=prints)[prints.notna() & (prints.astype(str).str.strip() != "")]
    twins = [rows for _, rows in known.groupby("fingerprint") if len(rows) > 1]
    across = [
        {**hit, "slides": rows["slide_id"].astype(str).tolist()}
        for rows in twins
        for hit in _groups_across([rows["patient_id"].astype(str).tolist()], splits)
    ]
    numbers = {
        "slides": len(slides),
        "without_fingerprint": len(slides) - len(known),
        "same_content": len(twins),
        "across_sets": len(across),
        "examples": across[:EXAMPLES],
    }
    if across:
        message = f"{len(across)} slides are in train and test of a fold under two names ({across[0]['slides']})"
        return Check("slide_duplicates", False, "error", numbers, message)
    message = f"no slide is in two sets; {numbers['without_fingerprint']} of {len(slides)} have no fingerprint"
    return Check("slide_duplicates", True, "error", numbers, message)


def same_vectors(x: np.ndarray, tolerance: float) -> list[list[int]]:
    """Groups of rows that are equal within a tolerance.

    Values are compressed by ``sign(v) log(1 + |v|)``, so that the tolerance is absolute for
    small values and relative for counts. Rows whose random signed means agree within the
    tolerance are candidates (rows equal within the tolerance always are); candidates are
    compared gene by gene.

    Parameters
    ----------
    x : ndarray of float, (n, G)
        One row per patient; missing values count as 0.
    tolerance : float
        Largest difference of one gene.

    Returns
    -------
    list of list of int
        Row numbers of each group of two or more.
    """
    # Single precision holds 7 digits, the tolerance asks for 3, and a cohort's expression is large.
    x = np.nan_to_num(np.asarray(x, dtype=np.float32), nan=0.0)
    x = np.copysign(np.log1p(np.abs(x)), x)
    exact: dict[bytes, list[int]] = {}
    for row, values in enumerate(x):
        exact.setdefault(hashlib.blake2b((values + 0.0).tobytes(), digest_size=16).digest(), []).append(row)
    groups = list(exact.values())
    first = [rows[0] for rows in groups]
    signs = np.random.default_rng(0).choice(np.float32([-1, 1]), (x.shape[1], _PROJECTIONS))  # type: ignore[arg-type]
    means = x[first] @ signs / max(x.shape[1], 1)
    parent = list(range(len(groups)))

    def root(i: int) -> int:
        while parent[i] != i:
            i = parent[i]
        return i

    # The slack covers rounding in the projections.
    for i, j in cKDTree(means).query_pairs(tolerance * 1.01, p=np.inf):
        if np.abs(x[first[i]] - x[first[j]]).max() <= tolerance * 1.001:
            parent[root(j)] = root(i)
    merged: dict[int, list[int]] = {}
    for i, rows in enumerate(groups):
        merged.setdefault(root(i), []).extend(rows)
    return [sorted(rows) for rows in merged.values() if len(rows) > 1]


def check_rna_duplicates(
    patients: Sequence[str], x: np.ndarray, splits: pd.DataFrame, tolerance: float = 1e-3
) -> Check:
    """No RNA vector occurs in two sets of a fold, even after rounding.

    Parameters
    ----------
    patients : sequence of str, length n
        Patient of each row.
    x : ndarray of float, (n, G)
        Expression as read.
    splits : DataFrame
        ``patient_id, repeat, fold, set``.
    tolerance : float
        See `same_vectors`.
    """
    groups = [[str(patients[row]) for row in rows] for rows in same_vectors(x, tolerance)]
    across = _groups_across(groups, splits)
    numbers = {
        "vectors": len(x),
        "tolerance": tolerance,
        "same_vector": len(groups),
        "across_sets": len(across),
        "examples": across[:EXAMPLES],
    }
    if across:
        message = f"{len(across)} RNA vectors are in train and test of a fold ({across[0]['patients']})"
        return Check("rna_duplicates", False, "error", numbers, message)
    return Check("rna_duplicates", True, "error", numbers, f"no RNA vector of {len(x)} is in two sets")


def check_fitted(name: CheckName, fitted: Sequence[Fitted], splits: pd.DataFrame) -> Check:
    """Nothing fitted for a fold saw a test patient of that fold.

    Parameters
    ----------
    name : str
        Which of the `FITTED_CHECKS`; other records are passed over.
    fitted : sequence of Fitted
        Records read from the fitted objects.
    splits : DataFrame
        ``patient_id, repeat, fold, set``.
    """
    keyed = _fold_keys(splits)
    test = keyed[keyed["set"] == "test"].groupby(["repeat", "fold"])["key"].agg(set).to_dict()
    records = [record for record in fitted if record.check == name]
    leaking: list[dict[str, Any]] = []
    silent: list[str] = []
    strangers: list[str] = []
    people: set[str] = set()
    for record in records:
        fold = (record.repeat, record.fold)
        if fold not in test:
            strangers.append(record.source)
        elif record.patients is None:
            silent.append(record.source)
        else:
            saw = {patient_key(patient) for patient in record.patients} & test[fold]
            people |= saw
            if saw:
                where = f"r{fold[0]}f{fold[1]}"
                examples = sorted(saw)[:EXAMPLES]
                leaking.append(
                    {"source": record.source, "fold": where, "test_patients_seen": len(saw), "examples": examples}
                )
    numbers = {
        "objects": len(records),
        "leaking": len(leaking),
        "test_patients": len(people),
        "without_record": len(silent),
        "of_no_fold": len(strangers),
        "folds_covered": len({(r.repeat, r.fold) for r in records} & set(test)),
        "folds": len(test),
        "examples": leaking[:EXAMPLES],
    }
    problems = []
    if leaking:
        where = f"{leaking[0]['fold']}: {leaking[0]['test_patients_seen']}"
        problems.append(f"{_WHAT[name]} with test patients in {len(leaking)} of {len(records)} objects ({where})")
    if silent:
        problems.append(f"{len(silent)} objects keep no record of the patients they saw ({silent[0]})")
    if strangers:
        problems.append(f"{len(strangers)} objects belong to no fold of these splits ({strangers[0]})")
    message = "; ".join(problems) or f"{_WHAT[name]} without test patients in all of {len(records)} objects"
    return Check(name, not problems, "error", numbers, message)


def check_site_label(patients: pd.DataFrame, min_site_patients: int = 2) -> Check:
    """Whether sites occur with one label only, so that the site gives the label away.

    A warning, with three numbers: the share of patients in such sites, the share expected if
    sites and labels were independent (sum over sites of n_s sum over labels p_l^n_s, over n),
    and Cramer's V of the site x label table with Bergsma's bias correction (Journal of the
    Korean Statistical Society 2013, doi 10.1016/j.jkss.2012.10.002).

    Parameters
    ----------
    patients : DataFrame
        ``patient_id, label`` and optionally ``site``.
    min_site_patients : int
        Smaller sites are left out.
    """
    table = patients[["patient_id"]].astype(str).assign(site=sites_of(patients)[0])
    labels = patients["label"] if "label" in patients else pd.Series(np.nan, index=patients.index)
    table["label"] = labels
    table = table[labels.notna() & (labels.astype(str) != "") & (table["site"] != UNKNOWN)]
    counts = pd.crosstab(table["site"], table["label"])
    counts = counts[counts.sum(axis=1) >= min_site_patients]
    if counts.shape[0] < 2 or counts.shape[1] < 2:
        sizes_only = {"sites": int(counts.shape[0]), "labels": int(counts.shape[1])}
        return Check("site_label_confounding", True, "warning", sizes_only, "fewer than two sites or labels to compare")
    sizes = counts.sum(axis=1).to_numpy()
    single = (counts > 0).sum(axis=1).to_numpy() == 1
    share = counts.sum(axis=0).to_numpy() / sizes.sum()
    expected = (sizes * (share[None, :] ** sizes[:, None]).sum(axis=1)).sum() / sizes.sum()
    numbers = {
        "sites": len(sizes),
        "single_label_sites": int(single.sum()),
        "patient_share": float(sizes[single].sum() / sizes.sum()),
        "patient_share_by_chance": float(expected),
        "cramers_v": cramers_v(counts.to_numpy()),
        "examples": counts.index[single].astype(str).tolist()[:EXAMPLES],
    }
    message = (
        f"{numbers['single_label_sites']} of {len(sizes)} sites have one label only: "
        f"{numbers['patient_share']:.0%} of patients ({expected:.0%} by chance); Cramer's V {numbers['cramers_v']:.2f}"
    )
    return Check("site_label_confounding", not single.any(), "warning", numbers, message)


def cramers_v(counts: np.ndarray) -> float:
    """Bias-corrected Cramer's V of a contingency table, 0 (independent) to 1.

    Parameters
    ----------
    counts : ndarray of int, (R, C)
        Without empty rows or columns; R and C at least 2.
    """
    n, (rows, columns) = counts.sum(), counts.shape
    raw = association(counts, method="cramer")
    phi2 = max(0.0, raw**2 * (min(rows, columns) - 1) - (rows - 1) * (columns - 1) / (n - 1))
    rows_, columns_ = rows - (rows - 1) ** 2 / (n - 1), columns - (columns - 1) ** 2 / (n - 1)
    smaller = min(rows_, columns_) - 1
    return float(np.sqrt(phi2 / smaller)) if smaller > 0 else 0.0


def check_shared_sites(splits: pd.DataFrame, patients: pd.DataFrame, site_preserving: bool) -> Check:
    """How many test patients come from a site that is also trained on.

    Information under ordinary folds; an error under a site-preserving scheme.

    Parameters
    ----------
    splits : DataFrame
        ``patient_id, repeat, fold, set``.
    patients : DataFrame
        ``patient_id`` and optionally ``site``.
    site_preserving : bool
        Whether the scheme promises to keep sites together.
    """
    site = {patient_key(p): s for p, s in zip(patients["patient_id"], sites_of(patients)[0], strict=True)}
    keyed = _fold_keys(splits)
    keyed["site"] = keyed["key"].map(site).fillna(UNKNOWN)
    known = keyed[keyed["site"] != UNKNOWN]
    trained = known[known["set"] == "train"].groupby("where")["site"].agg(set).to_dict()
    test = known[known["set"] == "test"]
    shared = np.array([s in trained.get(w, ()) for s, w in zip(test["site"], test["where"], strict=True)], dtype=bool)
    numbers = {
        "sites": int(known["site"].nunique()),
        "test_patient_share": float(shared.mean()) if len(shared) else 0.0,
        "shared_sites": int(test.loc[shared, "site"].nunique()),
    }
    message = f"{numbers['test_patient_share']:.0%} of test patients come from a site that is also trained on"
    if not site_preserving:
        return Check("shared_sites", True, "info", numbers, message)
    return Check("shared_sites", not shared.any(), "error", numbers, message)


def check_test_coverage(splits: pd.DataFrame, patients: Sequence[str]) -> Check:
    """Whether every patient of the cohort is tested exactly once per repeat (a warning where not)."""
    keyed = _fold_keys(splits)
    cohort = {patient_key(p) for p in patients}
    test = keyed[(keyed["set"] == "test") & keyed["key"].isin(cohort)]
    times = test.groupby(["repeat", "key"]).size()
    repeats = keyed["repeat"].nunique()
    numbers = {
        "patients": len(cohort),
        "not_in_splits": len(cohort - set(keyed["key"])),
        "never_tested": len(cohort - set(test["key"])),
        "tested_more_than_once": int(times[times > 1].index.get_level_values("key").nunique()),
    }
    passed = len(times) == len(cohort) * repeats and bool((times == 1).all())
    message = f"all {len(cohort)} patients are tested once per repeat"
    if not passed:
        message = (
            f"of {len(cohort)} patients {numbers['never_tested']} are never tested "
            f"({numbers['not_in_splits']} are not in the splits) and {numbers['tested_more_than_once']} more than once"
        )
    return Check("test_coverage", passed, "warning", numbers, message)
