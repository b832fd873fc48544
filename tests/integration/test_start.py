"""Checkpoints of the reference implementation through the real workflow: exported, started from, evaluated."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import anndata
import numpy as np
import pandas as pd
import pytest
import yaml

pytestmark = pytest.mark.slow

# Heads and landmarks as published, which is what the reference's form can hold.
PUBLISHED = {"embed_dim": 24, "slide_heads": 8, "rna_heads": 12, "landmarks": 0, "rna_depth": 1}


@pytest.fixture(scope="module")
def copied(finished, tmp_path_factory):
    """A copy of the finished run: what runs here changes the audit's inputs, which other tests find untouched."""
    folder = tmp_path_factory.mktemp("copy") / "run"
    shutil.copytree(finished.folder, folder)
    return type(finished)(finished.root, folder, finished.config)


def with_variants(finished, tmp_path, variants, audit=None):
    """The finished run with these variants beside its own."""
    config = yaml.safe_load(finished.config.read_text())
    config["variants"] |= variants
    if audit:
        config["audit"] = {"allow": audit}
    file = tmp_path / "changed.yaml"
    file.write_text(yaml.safe_dump(config))
    return type(finished)(finished.root, finished.folder, file)


def test_a_reference_checkpoint_is_encoded_and_evaluated(copied, tmp_path):
    """Its embeddings are those of the model it was exported from; unknown patients need a stated reason."""
    results = copied.folder / "results"
    published = {"preset": "mirror", "model": PUBLISHED}
    embedded = "results/embeddings/T/demo-random/cv2/{}/r0f0.h5ad"
    with_variants(copied, tmp_path, {"published": published}).run(embedded.format("published"))
    models = results / "models/T/demo-random/cv2"
    transform = results / "rna/T/cv2/transform_r0f0.npz"
    script = copied.root / "workflow/scripts/export_checkpoint.py"
    theirs = tmp_path / "theirs.pth.tar"
    command = [sys.executable, str(script), str(models / "published/r0f0.safetensors"), str(theirs)]
    told = subprocess.run([*command, "--transform", str(transform)], capture_output=True, text=True)
    assert told.returncode == 0 and "variant published, 40 genes" in told.stdout, told.stderr
    # Our other model has four heads: the reference would compute something else with its parameters.
    refused = subprocess.run([*command[:2], str(models / "mirror/r0f0.safetensors"), str(tmp_path / "no.pth.tar")],
                             capture_output=True, text=True)  # fmt: skip
    assert refused.returncode == 1 and "slide_heads: 4" in refused.stderr and "Traceback" not in refused.stderr

    again = {"again": {**published, "train": {"epochs": 0, "init_from": str(theirs)}}}
    said = with_variants(copied, tmp_path, again).run(embedded.format("again"), ok=False)
    assert "keeps no record of the patients it was trained on" in said and "Traceback" not in said

    reason = {"pretraining": "exported from this very cohort"}
    workflow = with_variants(copied, tmp_path, {"published": published, **again}, reason)
    predictions = "results/predictions/T/demo-random/cv2/subtyping/again.parquet"
    workflow.run(embedded.format("again"), predictions)
    first, second = (anndata.read_h5ad(copied.folder / embedded.format(v)) for v in ("published", "again"))
    for name in ("X_wsi", "X_rna", "X_align_wsi", "X_align_rna", "X_style"):
        np.testing.assert_allclose(second.obsm[name], first.obsm[name], rtol=1e-5, atol=1e-6, err_msg=name)
    assert json.loads(second.uns["mirror"])["patients_seen"] is None
    rows = pd.read_parquet(copied.folder / predictions)
    assert set(rows["repeat"]) == {0} and rows["patient_id"].nunique() == 24
    leaks = json.loads((results / "cohort/T/cv2/leaks_demo-random.json").read_text())
    check = next(c for c in leaks["checks"] if c["name"] == "pretraining")
    assert leaks["passed"] and check["allowed"] and "keep no record" in check["message"]


def test_variants_of_every_kind_run_to_their_predictions(copied, tmp_path):
    """The orthogonality constraint, retention from the embedding, and TANGLE's, through the same rules."""
    kinds = {"orthogonal": {}, "mirror_plus": {}, "tangle": {"train": {"use_unpaired": True}}}
    targets = [f"results/predictions/T/demo-random/cv2/survival/{name}.parquet" for name in kinds]
    with_variants(copied, tmp_path, kinds).run(*targets)
    for target in targets:
        rows = pd.read_parquet(copied.folder / target)
        assert len(rows) and np.isfinite(rows["risk"]).all()
