"""Transfers between cohorts: what is planned, and what is refused with a clear line."""

from __future__ import annotations

import subprocess
import sys

import pytest
import yaml

from mirror.core.errors import InputError
from mirror.plan.plan import Plan

FILES = {"samples": "s.tsv", "expression": {"path": "x.tsv"}, "clinical": {"path": "c.tsv"}}
RNA = {"expression": {"path": "x.tsv"}, "clinical": {"path": "c.tsv"}}


def plan(root, transfer, cohorts=None, **config):
    cohorts = cohorts or {"A": FILES, "B": FILES, "R": RNA}
    evaluation = {"transfer": [dict(zip(("source", "target"), pair, strict=True)) for pair in transfer]}
    return Plan.read({"cohorts": cohorts, "evaluation": {**evaluation, **config.pop("evaluation", {})}, **config}, root)


def test_off_by_default_and_one_for_each_encoder_and_scheme(root):
    assert plan(root, []).transfers == []
    found = plan(root, [("A", "B"), ("A", "R")], encoders=["resnet50", "phikon"], splits={"x": {}, "y": {}}).transfers
    assert len(found) == 8
    assert {t.name for t in found} == {"x_from_A", "y_from_A"}
    assert {t.encoder for t in found if t.target == "R"} == {"resnet50", "phikon"}


@pytest.mark.parametrize(
    ("transfer", "changes", "needle"),
    [
        ([("A", "Bb")], {}, "no cohort is called `Bb`; did you mean `B`"),
        ([("A", "A")], {}, "A would be on both sides"),
        ([("A", "B"), ("A", "B")], {}, "named twice"),
        ([("R", "B")], {}, "no model is trained on `R`"),
        ([("A", "B")], {"evaluation": {"tasks": ["subtyping"]}}, "not evaluated for survival"),
        ([("J", "A")], {"cohorts": {"A": FILES, "B": FILES, "J": {"joint": ["A", "B"]}}}, "A would be on both sides"),
        ([("A", "B")], {"splits": {"x": {}, "x_from_A": {}}}, "has the name of a transfer"),
        (
            [("A", "F")],
            {"cohorts": {"A": FILES, "F": {**FILES, "features": [
                {"format": "pt", "path": "f", "width": 8, "encoder": "other"}]}}},
            "share no patch encoder",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_transferred_is_refused(root, transfer, changes, needle):
    with pytest.raises(InputError) as caught:
        plan(root, transfer, **changes)
    assert needle in str(caught.value)


def dry_run(root, tmp_path, transfer) -> str:
    """What Snakemake would do for two cohorts whose features are imported."""
    for name in "AB":
        (tmp_path / f"{name}.tsv").write_text(f"slide_id\tpatient_id\tslide_path\ns{name}\tp{name}\t{name}.svs\n")
        (tmp_path / f"s{name}.h5").touch()
    for name in ("x.tsv", "c.tsv"):
        (tmp_path / name).touch()
    features = [{"format": "trident", "path": ".", "width": 8, "encoder": "enc"}]
    config = {
        "cohorts": {name: {**FILES, "samples": f"{name}.tsv", "features": features} for name in "AB"},
        "splits": {"cv2": {"folds": 2}},
        "variants": {"mirror": {}, "align": {}},
        "evaluation": {"transfer": transfer},
    }
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(config))
    command = [
        sys.executable, "-m", "snakemake", "--dry-run", "--cores", "1", "--snakefile", str(root / "Snakefile"),
        "--directory", str(tmp_path), "--configfile", str(tmp_path / "c.yaml"),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_dag_embeds_the_target_with_the_sources_models(root, tmp_path):
    said = dry_run(root, tmp_path, [{"source": "A", "target": "B"}])
    stats = dict(line.split() for line in said.split("Job stats:")[1].splitlines() if len(line.split()) == 2)
    wanted = {"prepare_transfer": "1", "match_genes": "1", "audit_transfer": "1", "encode_transfer": "4",
              "evaluate_transfer": "2", "audit_transfer_predictions": "1", "plot_transfer": "1"}  # fmt: skip
    assert wanted.items() <= stats.items()
    one = next(b for b in said.split("Job ") if "Embedding B with align of A (enc), cv2 r0f1" in b)
    for needed in ("models/A/enc/cv2/align/r0f1.safetensors", "rna/A/cv2/transform_r0f1.npz",
                   "cohort/B/cv2_from_A/leaks_enc.json", "embeddings/B/enc/cv2_from_A/align/r0f1.h5ad"):  # fmt: skip
        assert needed in one
    assert "transfer" not in dry_run(root, tmp_path, []).replace(str(tmp_path), "")
