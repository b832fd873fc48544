"""The library in a notebook: open a slide, tile, encode, read, embed, fit, cross-validate; nothing is written."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mirror
from mirror.training.launch import train_here
from slide_drawing import draw_tissue, write_svs
from training_world import LIBRARY, arrays, elsewhere, on_disk


def test_importing_loads_nothing_and_changes_nothing():
    code = (
        "import os, sys\n"
        "before = os.umask(0o027); os.umask(0o027)\n"
        "import mirror\n"
        "assert not {'torch', 'pandas', 'numpy', 'matplotlib', 'openslide'} & set(sys.modules), sys.modules.keys()\n"
        "import mirror.api, mirror.report.figures.style, mirror.core.atomic\n"
        "import matplotlib\n"
        "from PIL import Image\n"
        "assert os.umask(0o027) == 0o027\n"
        "assert matplotlib.rcParams['font.size'] == matplotlib.rcParamsDefault['font.size']\n"
        "assert Image.MAX_IMAGE_PIXELS, 'the limit of other code of the process is left alone'\n"
        "assert all(hasattr(mirror, name) for name in mirror.__all__)\n"
        "assert set(mirror.__all__) == {'__version__', *mirror.api.__all__}\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": str(LIBRARY), "PATH": ""})


def test_from_a_slide_to_features(tmp_path: Path):
    path = write_svs(tmp_path / "disc.svs", draw_tissue())
    before = sorted(tmp_path.rglob("*"))
    encoder = mirror.load_encoder("demo-random", device="cpu")
    with mirror.open_slide(path) as slide:
        tiles = mirror.find_tiles(slide)
        features = mirror.encode_tiles(slide, tiles, encoder, batch=5)
        again = mirror.encode_tiles(slide, tiles, encoder, batch=64)
    assert len(tiles) > 4 and features.shape == (len(tiles), encoder.row.width)
    assert np.isfinite(features).all() and features.std() > 0
    np.testing.assert_allclose(features, again, rtol=1e-4, atol=1e-5)
    assert sorted(tmp_path.rglob("*")) == before, "nothing is written"


def test_tables_become_objects(tmp_path: Path):
    rng = np.random.default_rng(0)
    genes, people = [f"G{i}X" for i in range(60)], [f"P{i}" for i in range(12)]
    pd.DataFrame(rng.poisson(50, (60, 12)), index=genes, columns=people).to_csv(
        tmp_path / "c.tsv", sep="\t", index_label="gene_id"
    )
    data = mirror.read_expression(tmp_path / "c.tsv", format="matrix", values="counts")
    assert data.shape == (12, 60) and list(data.obs_names) == people
    table = pd.DataFrame({"patient_id": people, "kind": ["A", "B"] * 6})
    table.to_csv(tmp_path / "clinical.tsv", sep="\t", index=False)
    clinical = mirror.read_clinical(tmp_path / "clinical.tsv", patient="patient_id", label="kind")
    assert dict(zip(clinical["patient_id"], clinical["label"], strict=True)) == dict(table.to_numpy())


def test_embed_with_a_checkpoint_and_cross_validate(tmp_path: Path):
    job = on_disk(tmp_path)
    train_here(elsewhere(job, tmp_path / "model"))
    checkpoint = mirror.load_checkpoint(tmp_path / "model" / "r0f0.safetensors")
    bags, owners, rna, _ = arrays()
    found = mirror.embed(checkpoint, bags, owners, rna)
    assert found.obsm["X_fused"].shape == (len(bags), 32) and np.isfinite(found.obsm["X_fused"]).all()
    alone = mirror.embed(checkpoint, {"S00a": bags["S00a"]})
    np.testing.assert_allclose(alone.obsm["X_wsi"][0], found[found.obs["slide_id"] == "S00a"].obsm["X_wsi"][0], 1e-5)
    assert np.isnan(alone.obsm["X_rna"]).all()


@pytest.mark.parametrize("folds", [3, 5])
def test_cross_validation_keeps_a_patient_in_one_fold(folds: int):
    rng = np.random.default_rng(1)
    patients = np.repeat([f"P{i}" for i in range(40)], 2)
    y = np.repeat(np.where(np.arange(40) % 2, "B", "A"), 2)
    leak = np.repeat(rng.normal(size=(40, 30)), 2, axis=0)  # a patient's rows are the same: a leak would be perfect
    scores, p = mirror.cross_validate(mirror.LogisticHead(), leak, y, patients, folds)
    assert p.shape == (80, 2) and np.allclose(p.sum(axis=1), 1) and scores["auroc"].mean() < 0.75
    signal = leak.copy()
    signal[:, 0] += 9 * (y == "B")
    scores, _ = mirror.cross_validate(mirror.LogisticHead(), signal, y, patients, folds)
    assert scores["auroc"].mean() > 0.9 and len(scores) == folds

    time = np.exp(-2 * leak[:, 0] + 0.3 * rng.normal(size=80)) * 100 + 1
    scores, risk = mirror.cross_validate(
        mirror.CoxHead(), leak[:, :4], mirror.outcome(time, np.ones(80)), patients, folds
    )
    assert risk.shape == (80,) and scores["c_index"].mean() > 0.7
