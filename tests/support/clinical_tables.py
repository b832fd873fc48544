"""Clinical tables for tests: an honest one, and reading it with its facts."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from mirror.config.sources import ClinicalSource
from mirror.core.facts import Facts
from mirror.readers.clinical.read import read_clinical

N = 24
IDS = [f"P{i:02d}" for i in range(N)]


def plain(**columns: object) -> pd.DataFrame:
    """An honest table: names, labels, days, events; every third patient is dead."""
    return pd.DataFrame(
        {"patient_id": IDS, "subtype": ["IDC", "ILC"] * (N // 2), "os_days": [100 + 37 * i for i in range(N)],
         "os_status": [int(i % 3 == 0) for i in range(N)], **columns}
    )  # fmt: skip


def read(path: Path, table: pd.DataFrame | str, patients=None, sep=",", **settings):
    """Write a table and read it: (indexed by patient, facts, report)."""
    path.write_text(table if isinstance(table, str) else table.to_csv(index=False, sep=sep))
    facts = Facts(path)
    found, report = read_clinical(ClinicalSource(path=str(path), **settings), patients, facts)
    return found.set_index("patient_id"), facts, report


def said(facts: Facts) -> str:
    """All warnings in one text."""
    return " | ".join(fact.text() for fact in facts.warnings)


def same_outcome(found: pd.DataFrame, table: pd.DataFrame) -> None:
    """Every patient has the time and event of the honest table."""
    want = table.set_index("patient_id")
    assert list(found.index) == list(want.index)
    assert found["time_days"].tolist() == want["os_days"].tolist()
    assert found["event"].tolist() == want["os_status"].tolist()
