"""What a report says of patients: pseudonyms, nothing, or identifiers as given."""

from __future__ import annotations

import pandas as pd
import pytest

from mirror.core.facts import Facts
from mirror.report.identifiers import Identifiers, hide_folders, write_key
from mirror.report.page import fact_frames

SLIDES = {"TCGA-A1-0001-01Z-00-DX1": "TCGA-A1-0001", "TCGA-A1-0001-01Z-00-DX2": "TCGA-A1-0001", "P7-a": "P7"}
PEOPLE = ["TCGA-A1-0001", "P7", "NA", "12"]


@pytest.fixture
def key(tmp_path):
    write_key(PEOPLE, SLIDES, "pseudonyms", tmp_path / "key.tsv")
    return tmp_path / "key.tsv"


def test_the_key_has_everyone_once_in_no_telling_order(key, tmp_path):
    table = pd.read_csv(key, sep="\t", dtype=str, keep_default_na=False)
    assert sorted(table.loc[table["kind"] == "patient", "as_given"]) == sorted(PEOPLE)
    assert table["pseudonym"].is_unique and len(table) == 7
    orders = set()
    for i in range(12):
        names = write_key([f"P{i:03d}" for i in range(40)], {}, "pseudonyms", tmp_path / f"{i}.tsv")
        orders.add(tuple(names["as_given"]))
    assert len(orders) == 12  # not drawn from a seed


def test_pseudonyms_stay_when_patients_come_and_go(key):
    old = Identifiers.read("pseudonyms", key)
    write_key([*PEOPLE, "new"], {**SLIDES, "new-1": "new"}, "pseudonyms", key)
    new = Identifiers.read("pseudonyms", key)
    for name in PEOPLE:
        assert new.patient(name) == old.patient(name)
    for name in SLIDES:
        assert new.slide(name) == old.slide(name)
    assert new.patient("new") == "Patient 0005"


def test_text_is_masked(key):
    given = Identifiers.read("pseudonyms", key)
    text = given.text("TCGA-A1-0001-01Z-00-DX2 of TCGA-A1-0001 (P7, NA) in /data/my lab/x.svs, 12 patients, P70")
    assert "TCGA" not in text and "P7," not in text and "/data" not in text
    assert "12 patients" in text and "P70" in text and "x.svs" in text
    none = Identifiers("none", pd.read_csv(key, sep="\t", dtype=str, keep_default_na=False).assign(pseudonym="patient"))
    assert none.text("P7 and P7-a") == "patient and patient"
    plain = Identifiers.read("as_given", None)
    assert plain.text("P7 in /data/x") == "P7 in /data/x" and plain.patient("P7") == "P7"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/data/lab/x.svs", ".../x.svs"),
        ("read ~/secret/place/y.tsv: no", "read .../y.tsv: no"),
        ("C:\\Users\\me\\z.csv", ".../z.csv"),
        ("https://hub.example/a/b and 0/1 and and/or, results/x/y.tsv", "https://hub.example/a/b and 0/1 and and/or, "
         "results/x/y.tsv"),
    ],
)  # fmt: skip
def test_folders_are_hidden(text, shown):
    assert hide_folders(text) == shown


def test_settings_lose_their_folders(key):
    given = Identifiers.read("pseudonyms", key)
    config = {"a": {"path": "/home/me/My Data/t.tsv", "n": 3}, "l": ["~/x/y.bin", "data/rel.tsv"], "w": "D:\\k\\v.pt"}
    assert given.settings(config) == {
        "a": {"path": ".../t.tsv", "n": 3}, "l": [".../y.bin", "data/rel.tsv"], "w": ".../v.pt",
    }  # fmt: skip
    assert Identifiers.read("as_given", None).settings(config) == config


@pytest.mark.parametrize(
    ("mode", "want"),
    [
        ("pseudonyms", {"Label": "IDC", "Follow-up": "about 3 years, event", "Age": "60 to 69", "Sex": "female",
                        "Stage": "II"}),
        ("none", {"Label": "IDC"}),
        ("as_given", {"Label": "IDC", "Follow-up": "3.0 years, event", "Site": "A1", "Age": "67.5", "Sex": "female",
                      "Stage": "II"}),
    ],
)  # fmt: skip
def test_what_a_card_says(mode, want):
    row = pd.Series(
        {"label": "IDC", "time_days": 1096.0, "event": 1.0, "site": "A1", "age": 67.5, "sex": "female", "stage": "II"}
    )
    assert Identifiers(mode, None).facts(row) == want


def test_facts_lose_their_examples(key):
    facts = Facts("/data/clinic/P7.tsv")
    facts.warn("vital facts", "2 patients: alive with a date of death", "rule", "correct /data/clinic/P7.tsv",
               examples=["P8-unknown", "P7"])  # fmt: skip
    facts.note("joined table", "/data/clinic/follow_up.tsv: 3 rows")
    table, lines = fact_frames(facts, Identifiers.read("pseudonyms", key))
    assert "P8" not in lines[0] and "P7" not in lines[0] and "/data" not in lines[0] + table.to_csv()
    table, lines = fact_frames(facts, Identifiers.read("as_given", None))
    assert "P8-unknown" in lines[0] and "/data/clinic/follow_up.tsv" in table.to_csv()
