"""Starting from weights that exist: this workflow's and the reference's checkpoints."""

from __future__ import annotations

import json
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from mirror.audit.provenance import read_fitted
from mirror.config.pretrain import PretrainSettings
from mirror.core.errors import InputError
from mirror.dataset.paired import PairedData
from mirror.inference.encode import encode
from mirror.io.checkpoints import load_checkpoint
from mirror.model.mirror import Mirror, build_model
from mirror.model.reference import export_reference
from mirror.training.loop import pretrain
from training_world import GENES, WIDTH, arrays, in_memory, settings

# Heads as the reference has them: its form can hold no other.
PUBLISHED = {"embed_dim": 24, "slide_heads": 8, "rna_heads": 12}
NAMES = [f"g{i}" for i in range(GENES)]


def model_of(chosen: PretrainSettings, genes: int = GENES) -> Mirror:
    torch.manual_seed(5)
    return build_model(chosen, genes, WIDTH)


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    """A reference checkpoint, its genes in a list (in another order than the cohort's), and its patients."""
    folder = tmp_path / "reference"
    export_reference(model_of(settings(model=PUBLISHED)), folder / "model.pth.tar")
    (folder / "genes.txt").write_text("\n".join(reversed(NAMES)))
    (folder / "patients.txt").write_text("# none of this cohort\n")
    return folder


def start(folder: Path, **train: object) -> PretrainSettings:
    files = {"init_from": "model.pth.tar", "init_genes": "genes.txt", "init_patients": "patients.txt"}
    given = {key: str(folder / name) for key, name in files.items()}
    return settings(model=PUBLISHED, train={**given, **train})


def run(data: PairedData, chosen: PretrainSettings, out: Path) -> Path:
    pretrain(data, chosen, 42, out / "r0f0.safetensors", out / "r0f0.tsv", out / "state", variant="v")
    return out / "r0f0.safetensors"


def header(path: Path) -> dict:
    with safe_open(path, "pt") as handle:
        return json.loads(handle.metadata()["mirror"])


def test_a_reference_checkpoint_encodes_as_it_is(tmp_path: Path, reference: Path) -> None:
    """No epoch: the same embeddings as the reference's own model, genes matched by name."""
    data = in_memory()
    out = run(data, start(reference, epochs=0), tmp_path)
    theirs = model_of(settings(model={**PUBLISHED, "pinv_scaling": "matrix"})).eval()
    found = encode(out, data)
    with torch.inference_mode():
        rna = theirs.encode_rna(torch.from_numpy(data.rna[:, ::-1].copy())).numpy()
        bag = data.bags.whole("S03a", 0, 42)
        slide = theirs.encode_slide(bag[None])[0].numpy()
    at = [data.rna_patients.index(p) for p in found.obs["patient_id"]]
    np.testing.assert_allclose(found.obsm["X_rna"], rna[at], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[found.obs["slide_id"] == "S03a"].obsm["X_wsi"][0], slide, rtol=1e-4, atol=1e-5)
    # Nobody of the cohort has a part in these weights; the validation patients were looked at once.
    assert header(out)["patients"] == [] and header(out)["started_from"]["patients_known"]
    log = pd.read_csv(tmp_path / "r0f0.tsv", sep="\t")
    assert log[["epoch", "split"]].to_numpy().tolist() == [[0, "validation"]]


def test_training_goes_on_from_a_reference_checkpoint(tmp_path: Path, reference: Path) -> None:
    data = in_memory()
    fresh = load_file(run(data, settings(model=PUBLISHED, train={"epochs": 1}), tmp_path / "fresh"))
    there = load_file(run(data, start(reference, epochs=0), tmp_path / "zero"))
    after = load_file(run(data, start(reference, epochs=1, lr=1e-6), tmp_path / "one"))
    moved = {name: (after[name] - there[name]).abs().max().item() for name in after}
    assert 0 < max(v for n, v in moved.items() if "prototypes" not in n) < 1e-4, "one short epoch stays near the start"
    assert (fresh["slide_encoder.embed.weight"] - there["slide_encoder.embed.weight"]).abs().max() > 0.1
    again = load_file(run(data, start(reference, epochs=1, lr=1e-6), tmp_path / "two"))
    assert all(torch.equal(after[name], again[name]) for name in after)


def test_genes_are_matched_by_name(tmp_path: Path, reference: Path) -> None:
    """Genes the checkpoint does not know count as their mean; its others are left out."""
    bags, owners, rna, sets = arrays()
    some = {p: np.concatenate([v[:20], np.full(2, 9.0, np.float32)]) for p, v in rna.items()}
    data = PairedData.from_arrays(bags, owners, some, sets, genes=[*NAMES[:19], "g19.7", "new1", "new2"])
    out = run(data, start(reference, epochs=0), tmp_path)
    full = {p: np.concatenate([v[:20], np.zeros(10, np.float32)]) for p, v in rna.items()}
    whole = encode(run(PairedData.from_arrays(bags, owners, full, sets, genes=NAMES), start(reference, epochs=0),
                       tmp_path / "full"), PairedData.from_arrays(bags, owners, full, sets, genes=NAMES))  # fmt: skip
    np.testing.assert_allclose(encode(out, data).obsm["X_rna"], whole.obsm["X_rna"], rtol=1e-4, atol=1e-5)


def test_a_checkpoint_of_another_variant_starts_the_encoders(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """`mirror_plus`'s decoders are not in a published model: they start anew, the rest is taken."""
    caplog.set_level("INFO")
    data = in_memory()
    first = run(data, settings(), tmp_path / "a")
    plus = {"retention": {"target": "input", "decode_from": "embedding"}}
    out = run(data, settings(**plus, train={"init_from": str(first), "epochs": 0}), tmp_path / "b")
    a, b = load_file(first), load_file(out)
    shared = [name for name in b if name in a and "retention" not in name and "statistics" not in name]
    assert len(shared) > 40 and all(torch.equal(a[n], b[n]) for n in shared)
    assert "parameters of retention are not in it and start anew" in caplog.text
    # Whom the first model saw, the second has seen too.
    assert load_checkpoint(out).patients == load_checkpoint(first).patients != []


def test_a_killed_run_does_not_start_from_it_again(tmp_path: Path, reference: Path, monkeypatch) -> None:
    """What is resumed is the training, not the start."""
    from mirror.training import loop

    chosen = start(reference, epochs=2, save_minutes=1e-9)
    whole = load_file(run(in_memory(), chosen, tmp_path / "whole"))
    calls, step = [], loop._Run._update

    def stop(self, *args):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return step(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(loop._Run, "_update", stop)
        with pytest.raises(KeyboardInterrupt):
            run(in_memory(), chosen, tmp_path / "cut")
    resumed = load_file(run(in_memory(), chosen, tmp_path / "cut"))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


@pytest.mark.fault(
    stage="training",
    fault="weights to start from that were trained on test patients of the fold",
    sees="how many, the first of them, and what to do",
    survives="nothing is trained",
)
def test_weights_that_saw_test_patients_are_refused(tmp_path: Path, reference: Path) -> None:
    test = in_memory().members("test")
    (reference / "patients.txt").write_text(f"somebody\n{test[0]}\n{test[1]}  # these two\n")
    with pytest.raises(InputError, match=rf"2 of this fold's {len(test)} test patients \(first: {test[0]}\)"):
        run(in_memory(), start(reference), tmp_path)
    assert not (tmp_path / "r0f0.safetensors").exists()


def test_weights_of_unknown_patients_fail_the_audit(tmp_path: Path, reference: Path) -> None:
    """Without a list nobody can say that no test patient was seen; embeddings say so as well."""
    out = run(in_memory(), start(reference, init_patients=None, epochs=1), tmp_path)
    assert [r.patients for r in read_fitted(out) if r.check == "pretraining"] == [None]
    found = encode(out, in_memory())
    assert json.loads(found.uns["mirror"])["patients_seen"] is None
    anndata.AnnData.write_h5ad(found, tmp_path / "r0f0.h5ad")
    assert [r.patients for r in read_fitted(tmp_path / "r0f0.h5ad") if r.check == "pretraining"] == [None]
    # It stays unknown in whatever starts from that in turn.
    chosen = settings(model=PUBLISHED, train={"init_from": str(out), "epochs": 0})
    assert next(r.patients for r in read_fitted(run(in_memory(), chosen, tmp_path / "next"))) is None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"model": {**PUBLISHED, "embed_dim": 48}}, r"not \(1, 1, 48\).*embed_dim: 24"),
        ({"model": {**PUBLISHED, "rna_depth": 2}}, "is missing.*rna_depth: 1"),
        ({"model": {**PUBLISHED, "prototypes": 9}}, r"\(6, \d+\), not \(9, \d+\)"),
        ({"model": {**PUBLISHED, "rna_heads": 6}}, "rna_heads: 12, not 6"),
    ],
)
def test_another_size_is_named(tmp_path: Path, reference: Path, change: dict, says: str) -> None:
    chosen = settings(**change, train=start(reference).train.model_dump())
    with pytest.raises(InputError, match=says):
        run(in_memory(), chosen, tmp_path)


def test_genes_that_cannot_be_matched_are_named(tmp_path: Path, reference: Path) -> None:
    with pytest.raises(InputError, match=r"not known by name.*init_genes"):
        run(in_memory(), start(reference, init_genes=None), tmp_path)
    (reference / "genes.txt").write_text("\n".join(f"ENSG{i}" for i in range(GENES)))
    with pytest.raises(InputError, match="none of this fold's 30 genes"):
        run(in_memory(), start(reference), tmp_path)
    (reference / "genes.txt").write_text("\n".join(NAMES[:-1]))
    with pytest.raises(InputError, match=r"genes\.txt.*29 genes where .* reads 30"):
        run(in_memory(), start(reference), tmp_path)


def test_another_attention_is_said(tmp_path: Path, reference: Path, caplog: pytest.LogCaptureFixture) -> None:
    chosen = settings(model={**PUBLISHED, "attention": "exact"}, train=start(reference, epochs=0).train.model_dump())
    run(in_memory(), chosen, tmp_path)
    assert "trained with model.attention: nystrom, and goes on with exact" in caplog.text
