"""Targets of a configuration: short forms, names, kinds, and which job depends on which."""

from __future__ import annotations

import pytest

from mirror.config.resolve import load_schema, load_yaml
from mirror.core.errors import InputError
from mirror.plan.plan import Plan
from rules import ROOT

CLINICAL = {"path": "clinical.tsv", "covariates": ["grade"]}
OS = {"kind": "survival", "endpoint": "OS"}
PAM50 = {"kind": "class", "column": "PAM50"}


def plan(targets: dict | None = None, clinical: dict | None = None, **more) -> Plan:
    """A plan of one RNA-only cohort."""
    cohort = {"expression": {"path": "rna.csv"}, "clinical": {**CLINICAL, **(clinical or {})}, "targets": targets or {}}
    cohort |= more.pop("cohort", {})
    config = {"cohorts": {"A": cohort}, **more}
    schema = load_schema(ROOT / "config" / "schemas" / "config.schema.json")
    return Plan(config, load_yaml(ROOT / "config" / "variants.yaml"), schema, ROOT)


def test_short_forms_give_the_two_targets_they_always_gave():
    found = plan()
    assert found.targets("A") == found.tasks("A") == ["subtyping", "survival"]
    assert found.target("A", "survival") == {"name": "survival", "kind": "survival", "order": []}
    only = plan(evaluation={"tasks": ["survival"]})
    assert only.tasks("A") == ["survival"] and only.targets("A") == ["subtyping", "survival"]  # folds and genes use it
    assert only.selecting_task("A") == "subtyping"


def test_named_targets_take_the_place_of_short_forms_that_are_not_written():
    assert plan({"os": OS, "pam50": PAM50}).tasks("A") == ["os", "pam50"]
    named = plan({"os": OS}, {"label": "HISTOLOGY"})
    assert named.tasks("A") == ["subtyping", "os"] and named.target_title("os") == "os"
    assert plan({"survival": OS, "pam50": {**PAM50, "title": "PAM50"}}).target_title("pam50") == "PAM50"


@pytest.mark.parametrize(
    ("targets", "says"),
    [
        ({"x": {"kind": "colour", "column": "C"}}, "no kind of target is called `colour`"),
        ({"x": {"kind": "class"}}, "kind class needs `column`"),
        ({"x": {"kind": "ordinal", "column": "G"}}, "kind ordinal needs `order`"),
        ({"x": {**OS, "transform": "log1p"}}, "`transform` is no setting of kind survival"),
        ({"x": {"kind": "survival", "time": "T"}}, "`time` and `event` go together"),
        ({"retrieval": PAM50}, "is not a usable name"),
        ({"a/b": PAM50}, "is not a usable name"),
    ],
)
def test_impossible_targets_are_one_line_errors(targets, says):
    with pytest.raises(InputError, match=says):
        plan(targets)


def test_one_name_has_one_kind_in_all_cohorts():
    other = {"expression": {"path": "b.csv"}, "clinical": CLINICAL, "targets": {"x": OS}}
    cohort = {"expression": {"path": "a.csv"}, "clinical": CLINICAL, "targets": {"x": PAM50}}
    schema = load_schema(ROOT / "config" / "schemas" / "config.schema.json")
    with pytest.raises(InputError, match="in cohort `A` the target of this name has another kind"):
        Plan({"cohorts": {"A": cohort, "B": other}}, load_yaml(ROOT / "config" / "variants.yaml"), schema, ROOT)


def test_a_pooled_cohort_has_the_targets_that_all_members_have():
    one = {"expression": {"path": "a.csv"}, "clinical": CLINICAL, "targets": {"os": OS, "pam50": PAM50}}
    two = {"expression": {"path": "b.csv"}, "clinical": CLINICAL, "targets": {"os": OS}}
    schema = load_schema(ROOT / "config" / "schemas" / "config.schema.json")
    config = {"cohorts": {"P": {"joint": ["A", "B"]}, "A": one, "B": two}}
    found = Plan(config, load_yaml(ROOT / "config" / "variants.yaml"), schema, ROOT)
    assert found.tasks("P") == ["os"] and found.all_tasks == ["os", "pam50"]


def test_what_a_target_is_read_from_holds_no_setting_of_another():
    clinical = {"label": "HIST", "time": "T", "event": "E", "time_unit": "days", "zero_times": "missing"}
    found = plan({"pfi": {"kind": "survival", "time": "PFI_T", "event": "PFI"}, "pam50": PAM50}, clinical)
    patients = found.patients_source("A")
    assert patients["covariates"] == ["grade"] and patients["endpoint"] == "none"
    assert not {"label", "time", "event", "time_unit", "zero_times"} & set(patients)
    pfi = found.target_source("A", "pfi")
    assert (pfi["time"], pfi["event"], pfi["endpoint"], pfi["time_unit"]) == ("PFI_T", "PFI", "PFI", "days")
    assert pfi["zero_times"] == "missing" and "label" not in pfi
    pam50 = found.target_source("A", "pam50")
    assert pam50["label"] == "PAM50" and pam50["endpoint"] == "none" and "time" not in pam50
    survival = found.target_source("A", "survival")
    assert (survival["time"], survival["endpoint"]) == ("T", "OS")


def test_gene_selection_names_one_target_or_takes_the_first_class():
    assert plan({"os": OS, "pam50": PAM50, "er": {"kind": "class", "column": "ER"}}).selecting_task("A") == "pam50"
    chosen = {"rna": {"selection": {"target": "er"}}}
    assert plan({"pam50": PAM50, "er": {"kind": "class", "column": "ER"}}, **chosen).selecting_task("A") == "er"
    with pytest.raises(InputError, match="cohort `A` has no target `er` with labels"):
        plan({"os": OS}, **chosen)
    unsupervised = {"rna": {"selection": {"method": "hvg", "target": "er"}}}
    assert plan({"os": OS}, **unsupervised).selecting_task("A") is None


def test_methods_are_those_whose_kinds_fit():
    baselines = {"evaluation": {"baselines": ["rna_logistic", "rna_cox", "rna_ridge"]}}
    found = plan({"os": OS, "pam50": PAM50, "tmb": {"kind": "number", "column": "TMB"}}, **baselines)
    methods = {task: [m for m, _ in found.methods("A", task)] for task in found.tasks("A")}
    assert methods == {"os": ["rna_cox"], "pam50": ["rna_logistic"], "tmb": ["rna_ridge"]}
