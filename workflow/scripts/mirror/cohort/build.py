"""Join slides, expression and the clinical table, counting every patient that is lost and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from ..core.errors import InputError

FLOW_COLUMNS = ["step", "unit", "kept", "dropped", "reason"]
PATIENT_COLUMNS = ["patient_id", "site", "age", "sex", "stage", "n_slides", "has_rna"]
"""First columns of the patients' table. It holds no outcome: each target has a table of its own."""


@dataclass(frozen=True)
class Cohort:
    """What `build_cohort` returns: tables ready to be written."""

    patients: pd.DataFrame
    slides: pd.DataFrame
    flow: pd.DataFrame
    failures: pd.DataFrame


class Flow:
    """A running account: what each step kept and dropped, and why."""

    def __init__(self) -> None:
        self.rows: list[dict[str, object]] = []

    def add(self, step: str, unit: str, kept: int, dropped: int = 0, reason: str = "") -> None:
        """Record one step."""
        self.rows.append({"step": step, "unit": unit, "kept": int(kept), "dropped": int(dropped), "reason": reason})

    def table(self) -> pd.DataFrame:
        """The account as a table."""
        return pd.DataFrame(self.rows, columns=FLOW_COLUMNS)


def _usable_slides(
    tiles: pd.DataFrame | None,
    features: list[pd.DataFrame],
    max_failed: float,
    flow: Flow,
    excluded: Mapping[str, str],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Slides that were tiled and embedded by every encoder; and those that were not, with the reason."""
    frames = ([("tiling", tiles)] if tiles is not None else []) + [("patch features", f) for f in features]
    base = frames[0][1]
    flow.add("slides in the table", "slides", len(base) + len(excluded))
    if excluded:
        reasons = ", ".join(f"{k} {v}" for k, v in Counter(r for r in excluded.values() if r).most_common(3))
        flow.add(
            "left out by a person", "slides", len(base), len(excluded), f"exclude_slides ({reasons or 'no reason'})"
        )
    good = set(base["slide_id"])
    lost: list[pd.DataFrame] = []
    for step, frame in frames:
        bad = frame[(frame["status"] != "ok") & frame["slide_id"].isin(good)]
        good -= set(bad["slide_id"])
        lost.append(bad.assign(step=step)[["slide_id", "step", "status", "message"]])
        for status, group in bad.groupby("status"):
            flow.add(step, "slides", len(good), len(group), f"{status} (see failures.tsv)")
    failures = pd.concat(lost, ignore_index=True)
    failed = failures[failures["status"] == "failed"]
    if len(failed) > max_failed * len(base):
        first = failed.iloc[0]
        raise InputError(
            f"{len(failed)} of {len(base)} slides failed, more than max_failed_fraction = {max_failed:g} allows; "
            f"the first is {first.slide_id}: {first.message}",
            remedy="repair or remove them (list: results/slides/*/tiles/*.tsv), or raise slides.max_failed_fraction. "
            "To try them again: --forcerun tile_slides; finished slides are kept",
        )
    columns = ["slide_id", "patient_id", "n_tiles", "fingerprint"]
    last = frames[-1][1].set_index("slide_id")["n_tiles"]
    slides = base[base["slide_id"].isin(good)].copy()
    slides["n_tiles"] = slides["slide_id"].map(last).astype(int)
    slides = slides.reindex(columns=columns)
    if "fingerprint" in slides and slides["fingerprint"].notna().any():
        # Twins of one patient count once. Twins of two patients stay, for the leak audit to find.
        marked = slides[slides["fingerprint"].notna() & (slides["fingerprint"] != "")]
        twice = marked[marked.duplicated(["patient_id", "fingerprint"])].index
        if len(twice):
            names = ", ".join(slides.loc[twice[:3], "slide_id"])
            slides = slides.drop(index=twice)
            flow.add("duplicate content", "slides", len(slides), len(twice), f"same content as another slide: {names}")
    return slides.sort_values("slide_id", ignore_index=True), failures


def build_cohort(
    *,
    tiles: pd.DataFrame | None,
    features: list[pd.DataFrame],
    clinical: pd.DataFrame | None,
    rna: pd.DataFrame | None,
    require: str = "both",
    max_failed_fraction: float = 0.1,
    clinical_flow: list[dict[str, object]] | None = None,
    excluded: Mapping[str, str] | None = None,
) -> Cohort:
    """Join the three tables on the patient.

    Parameters
    ----------
    tiles, features : DataFrame or None, list of DataFrame
        Shard status tables, concatenated; columns ``slide_id, patient_id, status, n_tiles, message``.
        Both empty: a cohort without slides.
    clinical : DataFrame or None
        Canonical clinical table, without outcomes.
    rna : DataFrame or None
        Observations of the expression file, index ``patient_id``; None: a cohort without expression.
    require : {"both", "any"}
        Whether patients need every modality that the cohort has.
    max_failed_fraction : float
        A larger share of failed slides stops the run.
    clinical_flow : list of dict, optional
        Steps counted while the clinical table was read.
    excluded : mapping of str to str, optional
        Slides of the slide table that a person left out, with the reason; they are not in ``tiles``.

    Returns
    -------
    Cohort

    Raises
    ------
    InputError
        Too many failed slides, or nobody left; says which step lost them.
    """
    flow = Flow()
    failures = pd.DataFrame(columns=["slide_id", "step", "status", "message"])
    slides = pd.DataFrame(columns=["slide_id", "patient_id", "n_tiles", "fingerprint"])
    has_slides = tiles is not None or bool(features)
    if has_slides:
        slides, failures = _usable_slides(tiles, features, max_failed_fraction, flow, excluded or {})
    for row in clinical_flow or []:
        flow.rows.append({column: row.get(column, "") for column in FLOW_COLUMNS})

    with_slide = set(slides["patient_id"])
    with_rna = set(rna.index) if rna is not None else set()
    people = with_slide | with_rna
    if clinical is not None:
        known = set(clinical["patient_id"])
        if not has_slides and rna is None:
            people = set(known)
        flow.add("patients with a usable slide or expression", "patients", len(people))
        people_known = people & known
        flow.add(
            "in the clinical table", "patients", len(people_known), len(people - known), "not in the clinical table"
        )
        people = people_known
        table = clinical[clinical["patient_id"].isin(people)].copy()
    else:
        flow.add("patients with a usable slide or expression", "patients", len(people))
        table = pd.DataFrame({"patient_id": sorted(people)})
    if require == "both":
        if has_slides:
            lost = people - with_slide
            people &= with_slide
            flow.add("with a usable slide", "patients", len(people), len(lost), "no usable slide")
        if rna is not None:
            lost = people - with_rna
            people &= with_rna
            flow.add("with expression", "patients", len(people), len(lost), "no expression")
    table = table[table["patient_id"].isin(people)].drop_duplicates("patient_id")
    counts = slides["patient_id"].value_counts()
    table["n_slides"] = table["patient_id"].map(counts).fillna(0).astype(int)
    table["has_rna"] = table["patient_id"].isin(with_rna).astype(int)
    if rna is not None and "sample_id" in rna:
        table["sample_id"] = table["patient_id"].map(rna["sample_id"].astype(str))
    for column in PATIENT_COLUMNS:
        if column not in table:
            table[column] = pd.NA
    rest = [c for c in table.columns if c not in PATIENT_COLUMNS]
    table = table[PATIENT_COLUMNS + rest].sort_values("patient_id", ignore_index=True)
    slides = slides[slides["patient_id"].isin(people)].reset_index(drop=True)
    flow.add("in the cohort", "patients", len(table))
    if has_slides:
        flow.add("slides of these patients", "slides", len(slides))
    if not len(table):
        steps = "; ".join(f"{r['step']}: {r['kept']}" for r in flow.rows if r["unit"] == "patients")
        examples = f"slides say {sorted(with_slide)[:2]}, expression says {sorted(with_rna)[:2]}"
        if clinical is not None:
            examples += f", the clinical table says {sorted(clinical['patient_id'])[:2]}"
        raise InputError(
            f"no patient is left ({steps}); {examples}",
            remedy="make the patient identifiers of the three tables agree",
        )
    return Cohort(table, slides, flow.table(), failures)
