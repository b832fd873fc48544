"""Joint pre-training over several cohorts, pooled or one of them at a time, through the real workflow."""

from __future__ import annotations

import json

import anndata
import pandas as pd
import pytest
import yaml
from safetensors import safe_open

pytestmark = pytest.mark.slow


def test_two_cohorts_train_one_model_per_fold(finished, tmp_path):
    """Pairs of both, genes that both measure, and still no test patient of either among the trained."""
    config = yaml.safe_load(finished.config.read_text())
    simulated = {"patients": 12, "slide_px": 1024}
    config["cohorts"] = {
        "A": {"simulate": {**simulated, "genes": 120, "seed": 1}},
        "B": {"simulate": {**simulated, "genes": 150, "seed": 2}},
        "pan": {"joint": ["A", "B"]},
    }
    config["rna"] = {"selection": {"method": "hvg", "n_genes": 40}}
    config["variants"] = {"mirror_plus": {}, "with_b": {"preset": "mirror_plus", "train": {"with": ["B"]}}}
    file = tmp_path / "joint.yaml"
    file.write_text(yaml.safe_dump(config))
    place = "pan/demo-random/cv2/mirror_plus/r0f0"
    alone = "A/demo-random/cv2/with_b/r0f0"
    type(finished)(finished.root, tmp_path / "run", file).run(
        f"results/embeddings/{place}.h5ad", f"results/embeddings/{alone}.h5ad"
    )

    results = tmp_path / "run/results"
    found = anndata.read_h5ad(results / f"embeddings/{place}.h5ad")
    assert found.obs.groupby("cohort", observed=True)["patient_id"].nunique().to_dict() == {"A": 12, "B": 12}
    assert found.obs["patient_id"].str[0].eq(found.obs["cohort"].astype(str)).all(), "cohorts share no patient's name"
    splits = pd.read_csv(results / "cohort/pan/cv2/splits.tsv", sep="\t")
    test = set(splits[(splits["fold"] == 0) & (splits["set"] == "test")]["patient_id"])
    with safe_open(results / f"models/{place}.safetensors", "pt") as handle:
        header = json.loads(handle.metadata()["mirror"])
    assert {name[0] for name in header["patients"]} == {"A", "B"} == {name[0] for name in test}
    assert not test & set(header["patients"])
    assert anndata.read_h5ad(results / "rna/pan.h5ad").n_vars == 120, "the intersection of 120 and 150 genes"

    # Cohort A alone, learning from all of B: evaluated within A.
    found = anndata.read_h5ad(results / f"embeddings/{alone}.h5ad")
    assert found.obs["patient_id"].nunique() == 12 and found.obs["patient_id"].str[0].eq("A").all()
    splits = pd.read_csv(results / "cohort/A/cv2/splits.tsv", sep="\t")
    fold = splits[splits["fold"] == 0].set_index("patient_id")["set"]
    with safe_open(results / f"models/{alone}.safetensors", "pt") as handle:
        header = json.loads(handle.metadata()["mirror"])
    seen = {*header["patients"], *header["validation_patients"]}
    assert len({name for name in seen if name[0] == "B"}) == 12
    assert {name for name in seen if name[0] == "A"} == set(fold.index[fold == "train"])
    assert all(name[0] == "A" for name in header["validation_patients"])
