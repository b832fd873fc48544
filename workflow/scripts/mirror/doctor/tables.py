"""Tables and imported features: what is read as what, and whether identifiers meet."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from ..cohort.labels import apply_labels
from ..cohort.outcomes import split_facts
from ..config.sources import ClinicalSource, ExpressionSource, FeatureSource
from ..core.barcodes import patient_id
from ..core.facts import Facts
from ..core.findings import Finding, State
from ..features.inspect import inspect_features
from ..plan.targets import patients_source
from ..readers.clinical.read import read_clinical
from ..readers.expression.read import read_expression
from .render import findings_of
from .targets import check_target


def check_tables(cohort: str, settings: dict[str, Any], slide_patients: set[str] | None) -> Iterator[Finding]:
    """Read expression and clinical data; compare identifiers across the three tables."""
    groups: dict[str, set[str]] = {}
    if slide_patients is not None:
        groups["slides"] = {patient_id(p) for p in slide_patients}
    if settings["expression"]:
        given = ExpressionSource(**settings["expression"])
        found = Facts(given.about)
        adata, report = read_expression(given, found=found)
        groups["expression"] = set(adata.obs_names)
        kind, why = report["values"]["kind"], report["values"]["reason"]
        yield Finding(
            f"{cohort}: expression",
            "ok",
            f"{adata.n_obs} patients x {adata.n_vars} genes; format {report['format']}, values {kind} ({why})",
        )
        yield from findings_of(found, f"{cohort}: expression")
    if settings["clinical"]:
        wanted = slide_patients if settings["require"] == "both" else None
        named = settings.get("targets") or {}
        source = ClinicalSource(**(patients_source(settings["clinical"]) if named else settings["clinical"]))
        facts = Facts(source.about)
        table, report = read_clinical(source, wanted, facts)
        groups["clinical"] = set(table["patient_id"])
        table, _ = apply_labels(table, settings["label_map"], settings["exclude_labels"], settings["min_label_count"])
        labels = ", ".join(f"{k} {v}" for k, v in table["label"].value_counts().items()) or "none"
        events = int(pd.to_numeric(table["event"]).fillna(0).sum())
        counted = f"{len(named)} named targets" if named else f"labels {labels}; {events} events"
        yield Finding(f"{cohort}: clinical", "ok", f"{len(table)} patients; {counted}")
        yield from findings_of(split_facts(facts, outcome=False) if named else facts, f"{cohort}: clinical")
        people = set.intersection(*groups.values())
        for name, target in named.items():
            yield check_target(cohort, name, target, settings["clinical"], wanted, people)
    if len(groups) > 1:
        common = set.intersection(*groups.values())
        sizes = ", ".join(f"{k} {len(v)}" for k, v in groups.items())
        state: State = (
            "problem" if not common else "warning" if 2 * len(common) < len(min(groups.values(), key=len)) else "ok"
        )
        detail = f"{len(common)} patients in all of: {sizes}"
        if state != "ok":
            detail += "; for example " + "; ".join(f"{k}: {', '.join(sorted(v)[:2])}" for k, v in groups.items())
        remedy = "write the same patient identifiers in all tables, or correct the slide table and the patient columns"
        yield Finding(f"{cohort}: identifiers", state, detail, "" if state == "ok" else remedy)


def check_features(cohort: str, settings: dict[str, Any], slides: list[dict[str, Any]]) -> Iterator[Finding]:
    """Look at the headers of imported features: names, widths, the size of tiles."""

    for source in settings["features"]:
        given = FeatureSource(**source)
        facts = Facts(given.path)
        inspect_features(given, slides, facts)
        yield from findings_of(facts, f"{cohort}: features {given.encoder}")
