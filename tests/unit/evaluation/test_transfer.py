"""Fine-tuning a real (small) model, and zero-shot transfer between cohorts."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import torch

from mirror.baselines.fold_data import FoldData
from mirror.config.evaluation import EvaluationSettings
from mirror.config.pretrain import ModelSettings, PretrainSettings
from mirror.core.errors import InputError
from mirror.dataset.paired import PairedData
from mirror.evaluation.finetune import finetune_fold
from mirror.evaluation.score import score_predictions
from mirror.evaluation.transfer.risk import transfer_risk
from mirror.io.predictions import Names
from mirror.model.mirror import build_model

QUICK = EvaluationSettings(
    modalities=["fused"],
    probe={"C": [0.01], "inner_folds": 3},
    statistics={"bootstrap": 50},
    finetune={"epochs": 6, "lr": 1e-3, "lr_head": 1e-2, "tokens": 6},
)


@pytest.mark.parametrize("task", ["subtyping", "survival"])
def test_finetuning_learns_the_task(task, evaluation_cohort):
    """RNA that carries the factors: held-out predictions follow the outcome, and the encoder has moved."""
    patients, factors, _, _ = evaluation_cohort
    rng = np.random.default_rng(0)
    genes = (factors @ rng.normal(size=(2, 20)) + 0.5 * rng.normal(size=(len(patients), 20))).astype(np.float32)
    test = patients.index[::3]
    data = PairedData.from_arrays(
        {p: rng.normal(size=(8, 5)).astype(np.float32) for p in patients.index},
        {p: p for p in patients.index},
        dict(zip(patients.index, genes, strict=True)),
        {p: "test" if p in set(test) else "train" for p in patients.index},
    )
    sizes = ModelSettings(
        embed_dim=24, slide_heads=2, rna_heads=2, tokens=6, prototypes=8, style_dim=4, style_hidden=(8, 8), landmarks=4
    )
    torch.manual_seed(0)
    model = build_model(PretrainSettings(model=sizes), 20, 5)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    fold = FoldData(task, patients.drop(index=test), patients.loc[test], QUICK, 0)
    [(head, rows)], trained_on = finetune_fold(model, data, "rna", fold)
    assert head == "finetuned" and list(rows["patient_id"]) == list(test)
    assert not set(trained_on) & set(test)
    assert any(not torch.equal(before[name], value) for name, value in model.state_dict().items())
    if task == "subtyping":
        guess = [classes[np.argmax(p)] for classes, p in zip(rows["classes"], rows["probabilities"], strict=True)]
        assert (np.array(guess) == rows["y_true"]).mean() > 0.7
    else:
        assert np.corrcoef(rows["risk"], factors[::3, 1])[0, 1] > 0.3
    fold.settings = QUICK.model_copy(update={"finetune": QUICK.finetune.model_copy(update={"epochs": 1})})
    fused, _ = finetune_fold(model, data, "fused", fold)
    assert len(fused[0][1]) == len(test)


@pytest.fixture
def other_cohort(evaluation_cohort, embeddings_writer, tmp_path):
    """Other patients, encoded by the same encoder (seed)."""
    patients, factors, splits, _ = evaluation_cohort
    renamed = patients.set_axis([f"Q{i:03d}" for i in range(len(patients))])
    renamed["patient_id"] = renamed.index
    place = splits.assign(patient_id="Q" + splits["patient_id"].str[1:], set="test")
    return renamed, embeddings_writer(tmp_path / "other", renamed, factors, place)


def test_risk_transfers_to_a_cohort_nothing_was_fitted_on(evaluation_cohort, other_cohort):
    """Five source models rank every target patient; the metrics count each patient once."""
    patients, _, splits, files = evaluation_cohort
    target, target_files = other_cohort
    names = Names("other", "enc", "from_sim", "mirror")
    result = transfer_risk(files, patients, splits, target_files, target, names, QUICK, 0)
    assert (result.rows.groupby(["head", "draw"]).size() == len(target)).all() and result.rows["draw"].nunique() == 5
    table = score_predictions({"survival": result.rows}, {"other": target}, {}, QUICK).metrics
    pooled = table.query("fold == 'pooled' and metric == 'c_index'")
    assert (pooled["value"] > 0.65).all() and (pooled["n"] == len(target)).all()


def test_transfer_refuses_a_target_of_the_source(evaluation_cohort):
    """Nobody is left when every patient was trained on."""
    patients, _, splits, files = evaluation_cohort
    with pytest.raises(InputError, match="no patient of the target is left"):
        transfer_risk(files, patients, splits, files, patients, Names("a", "b", "c", "d"), QUICK, 0)


def test_patients_of_both_cohorts_never_count(evaluation_cohort, other_cohort):
    """A patient of the source, however written, and one that is not allowed are ranked by no model."""
    patients, _, splits, files = evaluation_cohort
    target, target_files = other_cohort
    shared = target.rename(index={"Q000": "p000"})
    shared["patient_id"] = shared.index
    one = splits[splits["fold"] == 0]
    names = Names("other", "enc", "from_sim", "mirror")
    found = transfer_risk(
        files, patients, one, target_files, shared, names, QUICK, 0, allowed=set(shared.index) - {"Q001"}
    )
    assert set(found.rows["patient_id"]) == set(shared.index) - {"p000", "Q001"}
    assert "1 patients of the target are in the source too" in found.metadata["notes"][0]
    assert set(found.metadata["patients"]["r0f0"]["train"]) <= set(patients.index)


def test_embeddings_of_two_checkpoints_are_refused(evaluation_cohort, embeddings_writer, tmp_path):
    """Risk of one model is no risk in another model's space."""
    import anndata

    patients, factors, splits, _ = evaluation_cohort
    one = splits[splits["fold"] == 0]
    files = []
    for name, people in (("here", patients), ("there", patients.set_axis([f"Q{i}" for i in range(len(patients))]))):
        sets = one if name == "here" else one.assign(patient_id=list(people.index), set="test")
        (file,) = embeddings_writer(tmp_path / name, people, factors, sets)
        data = anndata.read_h5ad(file)
        data.uns["mirror"] = json.dumps({"checkpoint_sha256": name})
        data.write_h5ad(file)
        files.append((file, people))
    (here, _), (there, target) = files
    with pytest.raises(InputError, match="another checkpoint"):
        transfer_risk([here], patients, one, [there], target, Names("a", "b", "c", "d"), QUICK, 0)


def test_target_outcomes_do_not_change_the_risk(evaluation_cohort, other_cohort):
    """Zero shot: other outcomes in the target leave every risk as it was."""
    patients, _, splits, files = evaluation_cohort
    target, target_files = other_cohort
    names = Names("other", "enc", "from_sim", "mirror")
    flipped = target.assign(event=1 - target["event"], time_days=target["time_days"].to_numpy()[::-1])
    one = splits[splits["fold"] == 0]
    a, b = (transfer_risk(files, patients, one, target_files, t, names, QUICK, 0).rows for t in (target, flipped))
    assert np.array_equal(a["risk"], b["risk"]) and isinstance(a, pd.DataFrame)
