"""R2 of planted factors: known answers, and the script on a tiny cohort."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest

from mirror.config.rna import RnaSettings
from mirror.evaluation.simulated.readout import readout, truth_of_embeddings
from mirror.io.features import write_features
from mirror.io.predictions import Names
from mirror.metrics.statistics import corrected_resampled_t
from mirror.rna.transform import fit_transform

NAMES = Names("sim", "enc", "cv5", "mirror")
SCRIPT = Path(__file__).resolve().parents[3] / "workflow" / "scripts" / "recover_truth.py"


def test_readout_reaches_the_known_share_of_variance():
    """y = x b + noise with a signal share of 0.8: R2 is 0.8; noise alone gives about 0."""
    rng = np.random.default_rng(0)
    x, weights = rng.normal(size=(4000, 6)), rng.normal(size=(6, 2))
    weights /= np.sqrt((weights**2).sum(0))
    y = x @ weights + 0.5 * rng.normal(size=(4000, 2))
    found = readout(x[:2000] * 7 + 3, y[:2000], x[2000:] * 7 + 3, y[2000:])
    assert found == pytest.approx(0.8, abs=0.02)
    assert readout(rng.normal(size=(200, 6)), y[:200], rng.normal(size=(200, 6)), y[200:400]) == pytest.approx(
        0, abs=0.1
    )


@pytest.fixture
def factors(evaluation_cohort) -> pd.DataFrame:
    """The cohort's two latent factors as shared ones; slide-only and RNA-only ones that nothing shows."""
    patients, true, _, _ = evaluation_cohort
    hidden = np.random.default_rng(1).normal(size=(len(patients), 4))
    names = ["shared_0", "shared_1", "slide_0", "slide_1", "rna_0", "rna_1"]
    return pd.DataFrame(np.c_[true, hidden], index=patients.index, columns=names)


def test_embeddings_know_what_they_were_made_from(evaluation_cohort, factors):
    """Shared factors are read from every modality, the others from none; the interval is that over folds."""
    _, _, splits, files = evaluation_cohort
    table = truth_of_embeddings(files, factors, splits, NAMES, 0)
    pooled = table[table["fold"] == "pooled"].set_index(["modality", "metric"])
    assert set(table["modality"]) == {"wsi", "rna", "fused"}
    for modality in ("wsi", "rna", "fused"):
        assert pooled.loc[(modality, "r2_shared"), "value"] > 0.7
        assert pooled.loc[(modality, "r2_slide"), "value"] < 0.2 > pooled.loc[(modality, "r2_rna"), "value"]
    folds = table.query("fold != 'pooled' and modality == 'wsi' and metric == 'r2_shared'")
    assert len(folds) == 5 and folds["n"].sum() == 60
    expected = corrected_resampled_t(folds["value"].to_numpy(float), 0.25)
    row = pooled.loc[("wsi", "r2_shared")]
    assert (row["ci_low"], row["value"], row["ci_high"]) == pytest.approx(
        (expected.low, expected.value, expected.high), abs=1e-9
    )


def test_test_patients_do_not_teach_the_readout(evaluation_cohort, factors):
    """Permuted factors of the training patients: nothing is recovered, however well the test ones fit."""
    _, _, splits, files = evaluation_cohort
    one = splits[splits["fold"] == 0]
    train = one.loc[one["set"] == "train", "patient_id"]
    shuffled = factors.copy()
    shuffled.loc[train] = factors.loc[np.random.default_rng(3).permutation(train)].to_numpy()
    table = truth_of_embeddings([f for f in files if f.stem == "r0f0"], shuffled, one, NAMES, 0)
    assert (table["value"] < 0.3).all()


def test_script_compares_the_input_with_every_variant(evaluation_cohort, factors, embeddings_writer, tmp_path):
    """Files of a run -> one table; the slide features know the slide-only factors that the embeddings dropped."""
    patients, true, splits, _ = evaluation_cohort
    factors.rename_axis("patient_id").reset_index().to_csv(tmp_path / "factors.tsv", sep="\t", index=False)
    splits.to_csv(tmp_path / "splits.tsv", sep="\t", index=False)
    rng = np.random.default_rng(2)
    visible = factors[["shared_0", "shared_1", "slide_0", "slide_1"]].to_numpy() @ rng.normal(size=(4, 8))
    owned = pd.DataFrame({"slide_id": [f"S{i}" for i in range(60)], "patient_id": patients.index})
    owned.to_csv(tmp_path / "slides.tsv", sep="\t", index=False)
    owned.assign(status="ok").to_csv(tmp_path / "enc.tsv", sep="\t", index=False)
    attrs = {"patch_size": 256, "patch_size_level0": 256, "name": "x"}
    for slide, mean in zip(owned["slide_id"], visible, strict=True):
        bag = (mean + 0.3 * rng.normal(size=(12, 8))).astype(np.float32)
        place = np.stack([np.arange(12), np.zeros(12, int)], 1) * 256
        write_features(tmp_path / f"{slide}.h5", bag, place, coord_attrs=attrs, encoder="enc")
    genes = np.exp(true @ rng.normal(size=(2, 20)) / 4).astype(np.float32)
    data = anndata.AnnData(X=genes, obs=pd.DataFrame(index=patients.index))
    data.uns["mirror"] = '{"values": "log1p"}'
    data.write_h5ad(tmp_path / "rna.h5ad")
    transforms = []
    for fold in range(5):
        part = splits[(splits["fold"] == fold) & (splits["set"] == "train")]["patient_id"]
        transforms.append(tmp_path / f"transform_r0f{fold}.npz")
        fit_transform(data, list(part), list(data.var_names), RnaSettings()).save(transforms[-1])
    files = embeddings_writer(tmp_path / "embeddings" / "sim" / "enc" / "cv5" / "mirror", patients, true, splits)
    spec = importlib.util.spec_from_file_location("recover_truth", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    names = {"cohort": "sim", "encoder": "enc", "scheme": "cv5"}
    module.main(
        factors=tmp_path / "factors.tsv",
        splits=tmp_path / "splits.tsv",
        embeddings=files,
        slides=tmp_path / "slides.tsv",
        status=[tmp_path / "enc.tsv"],
        features=tmp_path,
        rna=tmp_path / "rna.h5ad",
        transforms=transforms,
        names=names,
        seed=0,
        out=tmp_path / "out.tsv",
    )
    table = pd.read_csv(tmp_path / "out.tsv", sep="\t", dtype={"fold": str})
    value = table[table["fold"] == "pooled"].set_index(["method", "modality", "metric"])["value"]
    assert set(table["method"]) == {"input", "mirror"}
    assert value["input", "wsi", "r2_slide"] > 0.6 > value["mirror", "wsi", "r2_slide"]
    assert value["input", "rna", "r2_shared"] > 0.7 and value["input", "rna", "r2_slide"] < 0.2
    assert value["input", "fused", "r2_shared"] > 0.7
