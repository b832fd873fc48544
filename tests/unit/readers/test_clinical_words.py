"""What yes, no, 0 and 1 answer; rows, times and sites that are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from clinical_tables import IDS, N, plain, read, said
from mirror.core.errors import InputError

DEAD = np.arange(N) % 3 == 0


def with_event(**column: Any) -> pd.DataFrame:
    return plain().drop(columns="os_status").rename(columns={"os_days": "follow_up_days"}).assign(**column)


def answers(yes: np.ndarray, words: tuple[str, str] = ("yes", "no")) -> np.ndarray:
    return np.where(yes, *words)


@pytest.mark.fault(
    stage="clinical",
    fault="yes and no, or 0 and 1, in a column called alive, survived, event_free or `status (1=alive)`",
    sees="what 1 means, by the column's name; for a vital status of yes and no the question which is meant",
    survives="every outcome: yes is never an event because it is a yes",
)
@pytest.mark.parametrize(
    ("name", "one_is_dead"),
    [
        ("alive", False), ("is_alive", False), ("survived", False), ("event free", False), ("disease_free", False),
        ("lebt", False), ("censored", False), ("censorship", False), ("status (1=alive)", False),
        ("os 0 = dead", False), ("dead", True), ("deceased", True), ("death_event", True), ("relapsed", True),
        ("verstorben", True), ("status (0=alive)", True), ("status 1: death", True),
    ],
)  # fmt: skip
@pytest.mark.parametrize("words", [("yes", "no"), ("True", "False"), ("1", "0"), ("ja", "nein")])
def test_answers_follow_the_question(tmp_path: Path, name: str, one_is_dead: bool, words: tuple[str, str]) -> None:
    table = with_event(**{name: answers(one_is_dead == DEAD, words)})
    found, facts, _ = read(tmp_path / "c.csv", table, event=name, time="follow_up_days")
    assert (found["event"] == DEAD).all()
    assert facts.get("1 in the event column") == ("the event happened" if one_is_dead else "censored")


@pytest.mark.parametrize("name", ["vital_status", "survival status", "event_free_survival_status", "result"])
def test_a_name_that_asks_nothing_is_asked_for(tmp_path: Path, name: str) -> None:
    table = with_event(**{name: answers(DEAD)})
    with pytest.raises(InputError, match=r"what yes means in column.*event_is"):
        read(tmp_path / "c.csv", table, event=name, time="follow_up_days")
    found, _, _ = read(tmp_path / "c.csv", table, event=name, time="follow_up_days", event_is="1_event")
    assert (found["event"] == DEAD).all()


@pytest.mark.fault(
    stage="clinical",
    fault="rows `P07 (2)` and `P07-FU2` beside P07; a row Total; 0, 1 or 9999 as the time of the living",
    sees="how many identifiers begin with a patient's; the row; the time that most of the living share",
    survives="what was read",
)
@pytest.mark.parametrize("end", [" (2)", "-FU2", "_visit2", " b"])
def test_further_rows_under_other_names(tmp_path: Path, end: str) -> None:
    more = pd.concat([plain(os_days=50), plain(patient_id=[name + end for name in IDS])])
    _, facts, _ = read(tmp_path / "c.csv", more, patients=IDS)
    assert f"{N} identifiers begin with a patient's of the slide table" in said(facts)
    assert f"P00{end} of P00" in said(facts)
    _, facts, _ = read(tmp_path / "c.csv", plain(patient_id=[f"P-{i}" for i in range(N)]), patients=["P-1", "P-2"])
    assert "begin with" not in said(facts)


@pytest.mark.parametrize("name", ["Total", "mean", "SUMME"])
def test_a_row_of_sums(tmp_path: Path, name: str) -> None:
    table = pd.concat([plain(), pd.DataFrame({"patient_id": [name], "os_days": [N]})])
    assert f"for example {name}" in said(read(tmp_path / "c.csv", table)[1])


@pytest.mark.parametrize(("days", "loud"), [(0, True), (1, True), (9999, True), (999, True), (1825, False)])
def test_one_time_of_all_living(tmp_path: Path, days: int, loud: bool) -> None:
    _, facts, _ = read(tmp_path / "c.csv", plain(os_days=np.where(DEAD, np.arange(N) * 9 + 100, days)))
    assert ("a code for missing" in said(facts)) is loud
    assert f"16 of 16 patients without the event have the time {days}" in facts.table()


def test_times_of_the_dead_are_compared_with_their_death(tmp_path: Path) -> None:
    honest = plain()["os_days"].where(DEAD)
    assert not said(read(tmp_path / "c.csv", plain(days_to_death=honest))[1])
    facts = read(tmp_path / "c.csv", plain(days_to_death=honest * 3))[1]
    assert "8 of 8 differ from the days to death (median ratio 0.333)" in said(facts)


@pytest.mark.fault(
    stage="clinical",
    fault="a site column that holds places of the body, or a value of its own for each patient",
    sees="an example of its values, or how many there are; the column to name",
    survives="what was read",
)
def test_sites_that_are_none(tmp_path: Path) -> None:
    for site, words in (
        ([("left breast", "C50.4")[i % 2] for i in range(N)], "places of the body (left breast)"),
        (IDS, f"holds {N} values in {N} rows"),
        ([f"H{i % 5}" for i in range(N)], ""),
    ):
        facts = read(tmp_path / "c.csv", plain(site=site))[1]
        assert (words in said(facts)) if words else not said(facts)
    found, facts, _ = read(tmp_path / "c.csv", plain(institution_name=[f"H{i % 5}" for i in range(N)]))
    assert found["site"].nunique() == 5 and "institution_name" in facts.table()
