"""Patient-level cross-validation folds, made once and reused by every method.

Three kinds: ``stratified`` (here), ``site`` (`mirror.cohort.splits.sites`) and ``published``
(`mirror.cohort.splits.published`). All give one table, a row per patient, repeat and fold.
"""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd

from ...config.splits import SplitSettings
from ...core.errors import InputError
from ...core.patient_keys import keyed
from ...io.splits import COLUMNS
from .sites import assign_sites, sites_of
from .strata import PREFIX, deal_jointly, rare_strata, strata_of

log = logging.getLogger("mirror")

MISSING = ""
TIME_GROUPS = 3


def make_splits(patients: pd.DataFrame, settings: SplitSettings, seed: int) -> pd.DataFrame:
    """Divide patients into folds.

    A pure function of the *set* of patients, the settings and the seed: the order of the rows
    does not matter. Patients without label and survival get a fold too, so that a fold's
    training patients can be pre-trained on without ever meeting its test patients.

    Parameters
    ----------
    patients : DataFrame
        One row per patient: ``patient_id`` and, where known, ``label``, ``time_days`` (days),
        ``event`` (1 = it happened), ``site``. Empty cells are missing. Columns ``stratum:{target}`` (a category
        each) take the place of label, time and event where folds are balanced in other targets.
    settings : SplitSettings
        ``kind`` must be stratified or site; published splits are read by
        `mirror.cohort.splits.published.read_published`.
    seed : int
        Seed of the whole scheme; repeat ``r`` draws from ``(seed, r)``.

    Returns
    -------
    DataFrame
        ``patient_id`` str, ``repeat`` int, ``fold`` int, ``set`` ("train" or "test"), sorted.
        ``attrs["messages"]`` lists what the reader of the report should know.

    Raises
    ------
    InputError
        Fewer patients (or sites) than folds, or one patient under two identifiers.

    Notes
    -----
    *stratified*: strata are label x event x time tertile. Patients are shuffled inside their
    stratum, the strata are laid end to end (label by label, the order of events reversed from
    one label to the next), and folds are dealt round-robin along that line. Any run of
    neighbouring strata is thus divided as evenly as can be: the patients of a fold, of a
    label, of a label and event, and of a full stratum differ by at most one between folds, and
    a stratum with fewer patients than folds is shared with its neighbours instead of failing. With columns
    ``stratum:{target}``, iterative stratification (`mirror.cohort.splits.strata`) takes the place of the line.
    """
    table = _checked(patients, settings.folds)
    strata = strata_of(table)
    messages: list[str] = []
    if settings.kind == "published":
        raise InputError("published splits are read, not made", remedy="call read_published")
    if settings.kind == "site":
        sites, notes = sites_of(table)
        messages += notes
        fold_of = assign_sites(
            sites,
            list(strata.values()) or _categories(table),
            settings.folds,
            settings.repeats,
            seed,
            settings.site_restarts,
            messages,
        )
    elif strata:
        joint = list(strata.values())
        rngs = [np.random.default_rng([seed, r]) for r in range(settings.repeats)]
        fold_of = [deal_jointly(joint, settings.folds, rng) for rng in rngs]
        messages.append(f"folds are balanced in {', '.join(strata)} at once")
    else:
        fold_of = [_deal(table, settings.folds, np.random.default_rng([seed, r])) for r in range(settings.repeats)]
    messages += rare_strata(strata, fold_of, settings.folds) if strata else _rare_labels(table, fold_of, settings.folds)
    for message in messages:
        log.info("%s", message)
    splits = _long(table["patient_id"].to_numpy(), fold_of, settings.folds)
    splits.attrs["messages"] = messages
    return splits


def _checked(patients: pd.DataFrame, folds: int) -> pd.DataFrame:
    """The columns used here, one row per patient, sorted by identifier."""
    if "patient_id" not in patients:
        raise InputError("the patient table has no column patient_id")
    table = pd.DataFrame({"patient_id": patients["patient_id"].astype(str).to_numpy()})
    for spellings in keyed(table["patient_id"]).values():
        if len(spellings) > 1:
            raise InputError(
                f"one patient under two identifiers: {' and '.join(spellings)}",
                remedy="give each patient one identifier in every table",
            )
    if table["patient_id"].duplicated().any():
        raise InputError(
            "a patient has two rows", row=table.loc[table["patient_id"].duplicated(), "patient_id"].iloc[0]
        )
    if len(table) < folds:
        raise InputError(f"{len(table)} patients cannot fill {folds} folds", remedy="lower folds")
    for column in ("label", "site"):
        values = patients[column].to_numpy(dtype=object) if column in patients else np.full(len(table), None, object)
        table[column] = [MISSING if pd.isna(v) else str(v).strip() for v in values]
    for column in ("time_days", "event"):
        values = patients[column].to_numpy() if column in patients else np.full(len(table), np.nan)
        table[column] = pd.to_numeric(pd.Series(values), errors="coerce").to_numpy(dtype=float)
    for column in (name for name in patients if str(name).startswith(PREFIX)):
        table[column] = patients[column].to_numpy(dtype=object)
    return table.sort_values("patient_id", kind="stable", ignore_index=True)


def _event_groups(table: pd.DataFrame) -> np.ndarray:
    """Event of each patient as text: "1", "0" or "" where time or event is missing."""
    known = table["event"].notna() & table["time_days"].notna()
    return np.where(known, np.where(table["event"] > 0, "1", "0"), MISSING)


def _categories(table: pd.DataFrame) -> list[np.ndarray]:
    """Groupings that site-preserving folds should balance; each an (n,) array of text."""
    events = _event_groups(table)
    labels = table["label"].to_numpy(dtype=str)
    return [labels, events, np.char.add(np.char.add(labels, "|"), events.astype(str))]


def _time_groups(table: pd.DataFrame, events: np.ndarray) -> np.ndarray:
    """Time tertile (0, 1, 2) of each patient among those with the same event; -1 where unknown.

    Used to balance folds only; no model ever sees these cuts.
    """
    groups = np.full(len(table), -1)
    times = table["time_days"].to_numpy()
    for event in ("0", "1"):
        rows = events == event
        if rows.sum() >= TIME_GROUPS:
            cuts = np.quantile(times[rows], np.linspace(0, 1, TIME_GROUPS + 1)[1:-1])
            groups[rows] = np.searchsorted(cuts, times[rows], side="left")
    return groups


def _deal(table: pd.DataFrame, folds: int, rng: np.random.Generator) -> np.ndarray:
    """Test fold of each patient, (n,) int, by dealing along the line of strata."""
    events = _event_groups(table)
    frame = pd.DataFrame(
        {
            "label": table["label"],
            "event": pd.Series(events).map({"": 0, "0": 1, "1": 2}),
            "time": _time_groups(table, events),
            "chance": rng.permutation(len(table)),
        }
    )
    # Reversing the order of events from label to label puts equal events side by side.
    turn = frame["label"].map({label: i % 2 for i, label in enumerate(sorted(frame["label"].unique()))})
    frame["event"] = np.where(turn == 1, -frame["event"], frame["event"])
    line = frame.sort_values(["label", "event", "time", "chance"]).index.to_numpy()
    result = np.empty(len(table), dtype=int)
    result[line] = rng.permutation(folds)[np.arange(len(line)) % folds]
    return result


def _rare_labels(table: pd.DataFrame, fold_of: list[np.ndarray], folds: int) -> list[str]:
    """Name the labels and events that some fold has none of in its test set."""
    messages = []
    groups = {f"label {label}": table["label"] == label for label in sorted(set(table["label"]) - {MISSING})}
    events = _event_groups(table)
    if (events == "1").any():
        groups["event"] = pd.Series(events == "1")
    for name, rows in groups.items():
        counts = np.array([np.bincount(fold[rows.to_numpy()], minlength=folds) for fold in fold_of])
        empty = int((counts == 0).sum())
        if empty:
            messages.append(f"{name}: {int(rows.sum())} patients; {empty} of {counts.size} folds test none of them")
    missing = int(((table["label"] == MISSING) & (events == MISSING)).sum())
    if missing:
        messages.append(f"{missing} patients have neither label nor survival; they have a fold for pre-training only")
    return messages


def _long(patients: np.ndarray, fold_of: list[np.ndarray], folds: int) -> pd.DataFrame:
    """One row per patient, repeat and fold."""
    parts = [
        pd.DataFrame({"patient_id": patients, "repeat": r, "fold": k, "set": np.where(fold == k, "test", "train")})
        for r, fold in enumerate(fold_of)
        for k in range(folds)
    ]
    return pd.concat(parts, ignore_index=True)[COLUMNS]
