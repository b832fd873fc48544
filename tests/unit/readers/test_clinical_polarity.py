"""A vital status in numbers: which one means dead is told by the columns that only the dead fill, or asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mirror.config.sources import ClinicalSource
from mirror.core.errors import InputError
from mirror.core.facts import Facts
from mirror.readers.clinical.read import read_clinical

N = 40
DEAD = np.arange(N) % 3 == 0


def table(**columns: Any) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    days = np.where(DEAD, rng.integers(100, 900, N), rng.integers(400, 3000, N))
    start = {"patient_id": [f"P{i:02d}" for i in range(N)], "subtype": np.where(np.arange(N) % 2, "A", "B")}
    return pd.DataFrame(start | {"os_days": days} | columns)


def read(folder: Path, frame: pd.DataFrame, **settings: Any) -> tuple[pd.DataFrame, str]:
    path = folder / "clinical.csv"
    frame.to_csv(path, index=False)
    facts = Facts(path)
    out, _ = read_clinical(ClinicalSource(path=str(path), label="subtype", **settings), None, facts)
    return out, facts.table()


def filled(words: Any) -> np.ndarray:
    return np.where(DEAD, words, "")


RECORDS = {
    "date_of_death": filled("2015-03-01"),
    "DOD": filled("12.04.2011"),
    "cause_of_death": np.where(DEAD, "cancer", "alive"),
    "year of death": filled("2015"),
    "Todesdatum": filled("2015-03-01"),
}


@pytest.mark.fault(
    stage="clinical",
    fault="a vital status in numbers, 1 = alive",
    sees="that polarity is reversed, where a column is filled for the dead alone (date or cause of death); without "
    "one, that 1 is read as dead by assumption",
    survives="nothing has run; the assumption is a warning in doctor, log and report",
)
@pytest.mark.parametrize("record", RECORDS)
def test_one_means_alive_is_refused(tmp_path: Path, record: str) -> None:
    lies = table(vital_status=(~DEAD).astype(int), **{record: RECORDS[record]})
    with pytest.raises(InputError, match=r"polarity is reversed \(1 seems to mean alive\).*clinical\.event_is"):
        read(tmp_path, lies)
    out, said = read(tmp_path, lies, event_is="1_censored")
    assert (out.set_index("patient_id")["event"].to_numpy() == DEAD).all()
    assert f"{record}: 14 patients" in said and "WARNING" not in said
    out, said = read(tmp_path, table(vital_status=DEAD.astype(int), **{record: RECORDS[record]}))
    assert (out["event"].to_numpy() == DEAD).all() and "WARNING" not in said


def test_what_cannot_be_told_is_said_to_be_assumed(tmp_path: Path) -> None:
    _, said = read(tmp_path, table(vital_status=DEAD.astype(int)))
    assert "nothing in the table tells which means dead; 1 is read as dead" in said
    for frame, settings in (
        (table(vital_status=DEAD.astype(int)), {"event_is": "1_event"}),
        (table(os_status=DEAD.astype(int)), {}),
        (table(vital_status=np.where(DEAD, "Dead", "Alive")), {}),
    ):
        assert "WARNING" not in read(tmp_path, frame, **settings)[1]


def test_a_few_dead_without_the_event_are_counted(tmp_path: Path) -> None:
    event = DEAD.astype(int)
    event[[0, 3]] = 0
    out, said = read(tmp_path, table(vital_status=event, date_of_death=RECORDS["date_of_death"]))
    assert "2 of 14 patients with a value in date_of_death have no event" in said and "for example P00, P03" in said
    assert out["event"].sum() == 12


@pytest.mark.parametrize("code", [(1, 0), (0, 1), (1, 2), (2, 1)])
def test_numbers_beside_dates_are_told_by_them(tmp_path: Path, code: tuple[int, int]) -> None:
    """Overall survival from a vital status and two dates: the number that goes with dates of death is dead."""
    alive, dead = code
    frame = table(vital_status=np.where(DEAD, dead, alive))
    frame = frame.assign(days_to_death=np.where(DEAD, frame["os_days"], ""), days_to_last_follow_up=frame["os_days"])
    days = frame.pop("os_days")
    out, said = read(tmp_path, frame)
    assert (out["event"].to_numpy() == DEAD).all() and (out["time_days"].to_numpy() == days.to_numpy()).all()
    assert f"{dead} in vital_status" in said
    with pytest.raises(InputError, match="which means dead is not known"):
        read(tmp_path, frame.assign(days_to_death=["1" if i % 2 else "" for i in range(N)]))


def test_real_tables_are_not_doubted(test_data: Path) -> None:
    """SCAN-B has a numeric event and no record of death; the TCGA resource has both, in words."""
    for name, settings in {"scanb.csv": {}, "TCGA-CDR.csv": {}}.items():
        facts = Facts(name)
        source = ClinicalSource(path=str(test_data / "clinical" / name), **settings)
        read_clinical(source, None, facts)
        assert not [f for f in facts.warnings if "polarity" in f.text() or f.subject == "1 in the event column"]
