"""A small cohort with embeddings that carry a known signal."""

from __future__ import annotations

import json
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest


def make_cohort(n: int = 60, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    """Patients whose label and hazard follow two latent factors, and the factors."""
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(n, 2))
    label = np.where(factors[:, 0] + 0.3 * rng.normal(size=n) > 0, "LUAD", "LUSC")
    death = rng.exponential(1200 * np.exp(-factors[:, 1]))
    censored = rng.exponential(2000, size=n)
    patients = pd.DataFrame(
        {
            "patient_id": [f"P{i:03d}" for i in range(n)],
            "label": label,
            "time_days": np.ceil(np.minimum(death, censored)),
            "event": (death <= censored).astype(int),
            "age": np.round(60 + 8 * factors[:, 1] + rng.normal(size=n)),
            "sex": rng.choice(["male", "female"], n),
            "stage": rng.choice(["Stage I", "Stage II", "Stage III"], n),
            "has_rna": True,
        }
    ).set_index("patient_id", drop=False)
    return patients.rename_axis(None), factors


def make_splits(patients: pd.DataFrame, folds: int = 5, repeats: int = 1, seed: int = 0) -> pd.DataFrame:
    """Random folds."""
    rows = []
    for repeat in range(repeats):
        fold_of = np.random.default_rng([seed, repeat]).permutation(len(patients)) % folds
        for fold in range(folds):
            sets = np.where(fold_of == fold, "test", "train")
            rows.append(pd.DataFrame({"patient_id": patients.index, "repeat": repeat, "fold": fold, "set": sets}))
    return pd.concat(rows, ignore_index=True)


def write_embeddings(
    folder: Path, patients: pd.DataFrame, factors: np.ndarray, splits: pd.DataFrame, width: int = 24, seed: int = 0
) -> list[Path]:
    """``{fold}.h5ad`` as the encoding step writes them; every third patient has two slides."""
    rng = np.random.default_rng(seed)
    mix = rng.normal(size=(2, width))
    owner = np.r_[np.arange(len(patients)), np.arange(0, len(patients), 3)]
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for (repeat, fold), part in splits.groupby(["repeat", "fold"]):
        wsi = factors[owner] @ mix + rng.normal(size=(len(owner), width))
        rna = (factors @ mix + rng.normal(size=(len(patients), width)))[owner]
        sets = part.set_index("patient_id")["set"].reindex(patients.index).to_numpy()[owner]
        obs = pd.DataFrame(
            {"patient_id": patients.index[owner], "slide_id": [f"S{i}" for i in range(len(owner))], "set": sets},
            index=[f"S{i}" for i in range(len(owner))],
        )
        data = anndata.AnnData(X=np.c_[wsi, rna].astype(np.float32), obs=obs)
        arrays = {"X_wsi": wsi, "X_rna": rna, "X_fused": np.c_[wsi, rna], "X_align_wsi": wsi, "X_align_rna": rna}
        for key, values in arrays.items():
            data.obsm[key] = values.astype(np.float32)
        data.uns["mirror"] = json.dumps({"seed": seed})
        files.append(folder / f"r{repeat}f{fold}.h5ad")
        data.write_h5ad(files[-1])
    return files


@pytest.fixture(scope="session")
def evaluation_cohort(tmp_path_factory):
    """patients, factors, splits, embedding files."""
    patients, factors = make_cohort()
    splits = make_splits(patients)
    folder = tmp_path_factory.mktemp("run") / "embeddings" / "sim" / "enc" / "cv5" / "mirror"
    return patients, factors, splits, write_embeddings(folder, patients, factors, splits)


@pytest.fixture(scope="session")
def embeddings_writer():
    """`write_embeddings`."""
    return write_embeddings
