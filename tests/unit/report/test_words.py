"""The report's words follow the configuration."""

from __future__ import annotations

import pytest

from mirror.plan.plan import Plan
from mirror.report.methods_text import methods_text, slides_text

FILES = {
    "samples": "s.tsv",
    "expression": {"path": "x.tsv"},
    "clinical": {"path": "c.tsv"},
    "features": [{"format": "clam", "path": "f", "width": 1024, "encoder": "uni"}],
}


@pytest.fixture
def config(root):
    """A resolved configuration with one simulated cohort and one whose features are imported."""

    def make(**changes):
        cohorts = {"SIM": {"simulate": {"patients": 13}}, "LUAD": FILES}
        return Plan.read({"cohorts": cohorts, "encoders": ["resnet50"], **changes}, root).config

    return make


def test_imported_features_are_named_with_who_made_them(config):
    told = slides_text(config())
    assert told == [
        "Slides of SIM were cut into tiles (256 px at 0.5 um per pixel) and encoded by resnet50.",
        "Patch features of LUAD were made elsewhere and imported: uni (1024 wide, clam).",
    ]
    only = slides_text(config(cohorts={"LUAD": FILES}))
    assert len(only) == 1 and "resnet50" not in only[0]
    assert slides_text(config(cohorts={"SIM": {"simulate": {}}}))[0].startswith("Slides were cut")
    assert slides_text(config(cohorts={"R": {k: FILES[k] for k in ("expression", "clinical")}})) == []


def test_transfer_is_described_where_there_is_one(config):
    assert not any("transfer" in text for text in methods_text(config()))
    cohorts = {"LUAD": FILES, "LUSC": FILES}
    both = config(cohorts=cohorts, evaluation={"transfer": [{"source": "LUAD", "target": "LUSC"}]})
    assert "(LUAD to LUSC)" in methods_text(both)[-1]
