"""Cohorts as data, through Snakemake: several files of one cohort, members without results, schemes of some cohorts."""

from __future__ import annotations

import pytest
import yaml

from dry_run import planned, snakemake
from rules import ROOT

TINY = yaml.safe_load((ROOT / "tests" / "integration" / "tiny.yaml").read_text())


@pytest.fixture
def config(tmp_path):
    """Write a configuration: the tiny one with other cohorts and schemes."""

    def write(**changes):
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump({**TINY, **changes}))
        return path

    return write


def test_members_of_a_pooled_cohort_may_have_no_results_of_their_own(config, tmp_path):
    simulate = {"patients": 12, "slide_px": 1024, "genes": 150}
    cohorts = {name: {"simulate": {**simulate, "seed": n}, "evaluate": False} for n, name in enumerate("AB")}
    splits = {
        "cv2": {"folds": 2},
        "published": {"kind": "published", "path": str(tmp_path), "folds": 2, "cohorts": ["pan"]},
    }
    file = config(cohorts={**cohorts, "pan": {"joint": ["A", "B"]}}, splits=splits)
    jobs = planned(tmp_path, file)
    # One cohort, two schemes of two folds, two variants.
    assert (jobs["make_splits"], jobs["select_genes"], jobs["pretrain_mirror"]) == (2, 4, 8)
    assert (jobs["read_expression"], jobs["build_cohort"], jobs["pool_cohorts"]) == (2, 2, 1)
    made = [line.split("\t")[0] for line in snakemake(tmp_path, file, "--summary").splitlines()[1:]]
    of_members = [
        path
        for path in made
        if path.startswith(("results/models/A", "results/predictions/A", "results/figures/A", "results/cohort/A/cv2"))
    ]
    assert not of_members and any(path.startswith("results/figures/pan") for path in made)


@pytest.mark.parametrize(("rule", "missing"), [("read_expression", "b.csv"), ("read_clinical", "d.tsv")])
def test_every_file_of_a_cohort_is_an_input(config, tmp_path, rule, missing):
    for name in ("a.csv", "b.csv", "c.tsv", "d.tsv", "s.svs", "t.svs"):
        (tmp_path / name).touch()
    for name in "st":
        row = f"{name}1\tP{name}\t{tmp_path}/{name}.svs"
        (tmp_path / f"{name}.tsv").write_text(f"slide_id\tpatient_id\tslide_path\n{row}\n")
    (tmp_path / missing).unlink()
    cohort = {
        "expression": ["a.csv", "b.csv"],
        "clinical": {"path": ["c.tsv", "d.tsv"]},
        "samples": ["s.tsv", "t.tsv"],
    }
    said = snakemake(tmp_path, config(cohorts={"T": cohort}), "--dry-run", ok=False)
    assert f"Missing input files for rule {rule}:" in said and missing in said
