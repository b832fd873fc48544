"""Which cohorts a variant learns from, and which files its training so depends on."""

from __future__ import annotations

import pytest

from mirror.core.errors import InputError
from mirror.plan.partners import partner_files, partners
from mirror.plan.plan import Plan

RNA_ONLY = {"expression": {"path": "x.csv"}, "clinical": {"path": "c.csv"}}


def plan(root, others: list[str], **more) -> Plan:
    cohorts = {
        "A": {"simulate": {"patients": 12}}, "B": {"simulate": {"patients": 12}}, "R": RNA_ONLY,
        "pan": {"joint": ["A", "B"]}, **more,
    }  # fmt: skip
    variants = {"alone": {"preset": "mirror_plus"}, "more": {"preset": "mirror_plus", "train": {"with": others}}}
    return Plan.read({"cohorts": cohorts, "encoders": ["demo-random"], "variants": variants}, root)


def test_a_variant_learns_from_the_cohorts_that_it_names(root):
    found = plan(root, ["A", "B", "R"])
    assert found.variants["alone"]["train"]["with"] == []
    assert found.variants["more"]["train"] | {"scale": "per_cohort"} == found.variants["more"]["train"]
    assert not partner_files(found, "alone", "A", "demo-random")
    b, r = partners(found, "more", "A", "demo-random")
    assert (b["name"], r["name"]) == ("B", "R"), "a cohort that names itself is passed over"
    assert r["slides"] == "" and r["feature_status"] == [] and r["expression"].endswith("rna/R.h5ad")
    assert [p["name"] for p in partners(found, "more", "pan", "demo-random")] == ["R"], "and so are members of a pool"
    files = partner_files(found, "more", "A", "demo-random")
    assert {f.split("results/")[1] for f in files} == {
        "cohort/B/patients.tsv", "cohort/B/slides.tsv", "rna/B.h5ad", "slides/B/features/demo-random.tsv",
        "cohort/R/patients.tsv", "rna/R.h5ad",
    }  # fmt: skip


@pytest.mark.parametrize("other", ["C", "pan"])
def test_a_cohort_that_cannot_be_learnt_from_is_named(root, other):
    with pytest.raises(InputError, match=f"variant `more`: `train.with`: `{other}` is not a cohort read from files"):
        plan(root, [other])


def test_a_cohort_without_the_encoder_is_named(root, tmp_path):
    samples = tmp_path / "s.tsv"
    samples.write_text("slide_id\tpatient_id\tslide_path\na\tp\t\n")
    features = [{"format": "pt", "path": "f", "width": 4, "encoder": "other"}]
    found = plan(root, ["F"], F={"samples": str(samples), "features": features, **RNA_ONLY})
    with pytest.raises(InputError, match="cohort `F` has no patch features of encoder `demo-random`"):
        partners(found, "more", "A", "demo-random")


def test_external_validation_on_a_cohort_that_was_learnt_from_is_refused(root):
    """Before anything is trained; the other direction is no contradiction."""
    for source, target, refused in (("A", "B", True), ("B", "A", False)):
        config = {
            "cohorts": {"A": {"simulate": {"patients": 12}}, "B": {"simulate": {"patients": 12}}},
            "variants": {"more": {"preset": "mirror_plus", "train": {"with": ["B"]}}},
            "evaluation": {"transfer": [{"source": source, "target": target}]},
        }
        if refused:
            with pytest.raises(InputError, match=r"variant `more` learns from cohort `B`.*on which models of `A`"):
                Plan.read(config, root)
        else:
            assert Plan.read(config, root).transfers
