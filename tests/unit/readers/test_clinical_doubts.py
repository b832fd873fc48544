"""What looks wrong in a clinical table is said: units, cases, languages, sentinels, labels that are none."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from mirror.config.sources import ClinicalSource
from mirror.core.errors import InputError
from mirror.core.facts import Facts
from mirror.readers.clinical.base import numbers_of, to_event, to_sex, unit_of_name
from mirror.readers.clinical.doubts import AGREE, ROUNDED, say_labels
from mirror.readers.clinical.read import read_clinical

N = 40
RNG = np.random.default_rng(0)
EVENT = (RNG.random(N) < 0.4).astype(int)
DAYS = RNG.integers(800, 3000, N)
TABLE = pd.DataFrame({"patient_id": [f"HX{i:03d}" for i in range(N)], "subtype": np.where(np.arange(N) % 2, "A", "B"),
                      "os_days": DAYS, "os_status": EVENT})  # fmt: skip


def read(tmp_path, table: pd.DataFrame, sep: str = ",", encoding: str = "utf-8", **settings):
    path = tmp_path / "clinical.csv"
    path.write_bytes(table.to_csv(index=False, sep=sep).encode(encoding))
    facts = Facts(path)
    found, _ = read_clinical(ClinicalSource(path=str(path), **settings), None, facts)
    return found, [fact.text() for fact in facts.warnings]


def test_the_table_itself_gives_no_warning(tmp_path):
    found, said = read(tmp_path, TABLE)
    assert not said and found["event"].tolist() == EVENT.tolist() and found["time_days"].tolist() == DAYS.tolist()


@pytest.mark.fault(
    stage="clinical",
    fault="follow-up columns in German, French, Spanish, Italian or Dutch",
    sees="which columns may hold times and events, and how to name them",
    survives="nothing has run; named, they are read with their unit and words",
)
@pytest.mark.parametrize(
    ("time", "event", "dead", "alive"),
    [
        ("Überlebenszeit_Tage", "Vitalstatus", "verstorben", "lebt"),
        ("Ueberlebenszeit in Tagen", "verstorben", "ja", "nein"),
        ("survie_jours", "statut_vital", "Décédé", "Vivant"),
        ("supervivencia_días", "estado", "Fallecido", "Vivo"),
        ("sopravvivenza (giorni)", "stato", "deceduto", "vivente"),
        ("overleving_dagen", "overleden", "ja", "nee"),
    ],
)
def test_other_languages(tmp_path, time, event, dead, alive):
    other = TABLE.rename(columns={"os_days": time, "os_status": event})
    other[event] = np.where(EVENT, dead, alive)
    with pytest.raises(InputError, match=r"none is recognised; times may be in|`clinical\.event`") as error:
        read(tmp_path, other)
    assert time in str(error.value) or "nearest" in str(error.value) or event in str(error.value)
    found, said = read(tmp_path, other, time=time, event=event)
    assert not said and found["event"].tolist() == EVENT.tolist() and found["time_days"].tolist() == DAYS.tolist()


@pytest.mark.parametrize(
    ("name", "unit"),
    [("Zeit_Monate", "months"), ("durée (mois)", "months"), ("Jahre", "years"), ("años", "years"), ("années", "years"),
     ("tiempo_meses", "months"), ("monatlich", None), ("mesial", None), ("plans", None)],
)  # fmt: skip
def test_units_of_names(name, unit):
    assert unit_of_name(name) == unit


@pytest.mark.fault(
    stage="clinical",
    fault="times written 2.566 for 2566, beside 992",
    sees="that the column may be read in two ways",
    survives="nothing has run",
)
def test_points_of_thousands_are_refused(tmp_path):
    pointed = TABLE.assign(os_days=[f"{v:,}".replace(",", ".") for v in DAYS])
    with pytest.raises(InputError, match=r"may be read as 2\.\d{3} or as 2\d{3}|may be read as 1"):
        read(tmp_path, pointed, sep=";")
    for cells, fine in (
        (["2.566", "1.243", "1.001", "0.992"], True),  # three decimals throughout
        (["2.566", "1.243", "12.5", "992"], True),
        (["1.234.567", "1.200.000", "1.111.111"], False),
        (["2.566", "1.243", "1.001", "2566"], True),  # nobody writes both
    ):
        if fine:
            assert numbers_of(pd.Series(cells)).tolist() == [float(cell) for cell in cells]
        else:
            with pytest.raises(InputError, match="may be read as"):
                numbers_of(pd.Series(cells))


@pytest.mark.fault(
    stage="clinical",
    fault="a second time column that contradicts the first; years under a name of months; "
    "negative times; identifiers and labels that differ by case; a footnote; labels that are no classes",
    sees="a warning that names the columns, patients or labels",
    survives="everything: what was read is said",
)
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"os_months": np.roll(DAYS, 3) / 30.4375}, r"os_months differs from os_days in \d+ of 40 rows"),
        ({"os_years": DAYS / 30.4375}, r"os_years differs from os_days in 40 of 40 rows \(median ratio in days 12\)"),
        ({"os_days": np.where(np.arange(N) % 5, DAYS, -999)}, "8 patients have a time below zero"),
        (
            {"subtype": np.where(np.arange(N) % 2, "A", np.where(np.arange(N) % 3, "B", "b "))},
            "b: read as different cl",
        ),
        ({"subtype": [f"x{i}" for i in range(N)]}, "40 different values of 40 rows: these are no classes"),
        ({"os_days": (DAYS / 12).round()}, "the time unit may be wrong"),
    ],
)
def test_doubts_are_said(tmp_path, change, words):
    _, said = read(tmp_path, TABLE.assign(**change))
    assert any(re.search(words, line) for line in said), said


def test_a_second_column_that_agrees_is_silent(tmp_path):
    assert not read(tmp_path, TABLE.assign(os_months=(DAYS / 30.4375).round(1), os_years=(DAYS / 365.25).round(1)))[1]
    assert not read(tmp_path, TABLE.assign(pfs_months=DAYS / 90))[1]
    assert AGREE * DAYS.min() > ROUNDED


def test_patients_in_two_cases_and_footnotes_are_said(tmp_path):
    lower = TABLE.iloc[:3].assign(patient_id=lambda t: t["patient_id"].str.lower(), os_days=5)
    note = pd.DataFrame({"patient_id": ["* as of May"]})
    found, said = read(tmp_path, pd.concat([TABLE, lower, note]))
    assert len(found) == N + 4
    assert any("3 patients are written in several ways" in line and "HX000 / hx000" in line for line in said)
    assert any("1 rows hold an identifier and nothing else" in line and "* as of May" in line for line in said)


def test_codes_behind_words_and_words_of_five_languages():
    cells = ["Deceased:1", "Living:0", "1:DECEASED", "0 : living", "tot", "vivant", "Dead of disease", "alive = 0"]
    assert to_event(pd.Series(cells), "event", "x", "f").tolist() == [1, 0, 1, 0, 1, 0, 1, 0]
    assert to_event(pd.Series(["relapsed:1", "well:0"]), "event", "x", "f").tolist() == [1, 0]
    with pytest.raises(InputError, match="is no event status"):
        to_event(pd.Series(["Deceased:7"]), "event", "x", "f")
    assert to_sex(pd.Series(["weiblich", "Männlich", "w", "femme"])).tolist() == ["female", "male", "female", "female"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-8-sig"])
def test_excels_encodings(tmp_path, encoding):
    sep = "\t" if encoding == "utf-16" else ","
    if encoding == "utf-16-le":
        with pytest.raises(InputError):  # without a byte-order mark nothing says what it is
            read(tmp_path, TABLE, sep, encoding)
    else:
        assert read(tmp_path, TABLE, sep, encoding)[0]["time_days"].tolist() == DAYS.tolist()


def test_labels_with_letters_of_two_alphabets_are_said():
    """A Cyrillic letter in place of a Latin one makes a class that looks like another; words of one alphabet do not."""
    facts = Facts("c.csv")
    say_labels(pd.Series(["IDC"] * 9 + ["\u0406DC"] * 3), facts)
    assert "'\\u0406DC'" in " ".join(fact.text() for fact in facts.warnings)
    honest = Facts("c.csv")
    say_labels(pd.Series(["IDC", "\u0420\u0430\u043a", "ER \u03b1", "TGF-\u03b2", "\u00d6sophagus"] * 3), honest)
    assert not [fact for fact in honest.warnings if "alphabet" in fact.text()]
