"""Paths have one home: templates fill in, stay wildcards, and are read back."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.core.errors import InputError
from mirror.plan.paths import FILES, Paths, names_in
from rules import ROOT

NAME = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9.\-]{0,12}", fullmatch=True)


@given(st.sampled_from(sorted(FILES)), st.data())
def test_names_come_back(file, data):
    template = getattr(Paths("some/where/results"), file)
    values = {field: data.draw(NAME) for field in template.fields}
    assert names_in(file, template.at(**values)) == values


def test_places_that_are_not_given_stay_wildcards():
    paths = Paths("out")
    assert paths.splits == "out/cohort/{cohort}/{scheme}/splits.tsv"
    assert paths.splits.at(cohort="A") == "out/cohort/A/{scheme}/splits.tsv"
    assert paths.splits.at(cohort="{target}", scheme="x_from_y") == "out/cohort/{target}/x_from_y/splits.tsv"
    assert paths.splits.of(SimpleNamespace(cohort="A", scheme="s", other=1)) == "out/cohort/A/s/splits.tsv"
    assert paths.splits.of(SimpleNamespace(scheme="s"), cohort="B") == "out/cohort/B/s/splits.tsv"
    assert paths.log("make_splits", "cohort", "{scheme}_from_x") == "out/logs/make_splits/{cohort}_{scheme}_from_x.log"
    assert paths.benchmark("make_tables") == "out/benchmarks/make_tables.tsv"


def test_a_place_that_is_not_there_is_refused():
    with pytest.raises(TypeError, match="no place called shceme"):
        Paths("out").splits.at(shceme="x")
    with pytest.raises(AttributeError, match="spilts"):
        _ = Paths("out").spilts


@pytest.mark.parametrize("path", ["results/cohort/A/splits.tsv", "results/cohort/A/s/t/splits.tsv", "splits.tsv", ""])
def test_another_file_is_not_read_as_one(path):
    with pytest.raises(InputError, match="not of the form"):
        names_in("splits", path)


def test_no_rule_spells_a_path_below_the_results_folder():
    for file in [*(ROOT / "rules").glob("*.smk"), ROOT / "Snakefile"]:
        spelled = re.findall(r'f"\{RESULTS\}/[^"]*"', file.read_text(encoding="utf-8"))
        assert not spelled, f"{file.name} spells {spelled[0]}: add it to mirror/plan/paths.py"


def test_no_code_counts_folders():
    code = (ROOT / "workflow" / "scripts").rglob("*.py")
    for file in code:
        found = re.findall(r"\.parts\[-\d|parents\[\d\]\.name", file.read_text(encoding="utf-8"))
        assert not found, f"{file} reads names by position"
