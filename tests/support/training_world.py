"""A small cohort with shared factors, in memory or as the workflow's files; used by tests of training."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import anndata
import numpy as np
import pandas as pd

from mirror.config.pretrain import PretrainSettings
from mirror.config.rna import RnaSettings
from mirror.dataset.paired import PairedData
from mirror.io.features import write_features
from mirror.rna.transform import fit_transform
from mirror.training.launch import Job

LIBRARY = Path(__file__).resolve().parents[2] / "workflow" / "scripts"
WIDTH, GENES = 12, 30
MODEL = {
    "embed_dim": 16,
    "slide_heads": 2,
    "rna_heads": 2,
    "rna_depth": 1,
    "tokens": 16,
    "prototypes": 6,
    "style_dim": 4,
    "style_hidden": [16, 8],
}


def settings(**changes: dict) -> PretrainSettings:
    """Tiny settings; ``train={...}`` and other groups are merged into the defaults."""
    train = {"epochs": 3, "batch_size": 4, "lr": 1e-3, "device": "cpu", "workers": 0, **changes.pop("train", {})}
    return PretrainSettings.model_validate({"model": {**MODEL, **changes.pop("model", {})}, "train": train, **changes})


def arrays(n: int = 16, seed: int = 0, per_patient: int = 1) -> tuple[dict, dict, dict, dict]:
    """Bags, owners, RNA and sets of ``n`` patients (the last quarter is the test set)."""
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(n, 4))
    to_slide, to_rna = rng.normal(size=(4, WIDTH)), rng.normal(size=(4, GENES))
    patients = [f"P{i:02d}" for i in range(n)]
    bags, owners = {}, {}
    for i, patient in enumerate(patients):
        for k in range(per_patient):
            tiles = int(rng.integers(8, 40))
            slide = f"S{i:02d}{'abc'[k]}"
            bags[slide] = (factors[i] @ to_slide + rng.normal(size=(tiles, WIDTH))).astype(np.float32)
            owners[slide] = patient
    rna = {p: (factors[i] @ to_rna + 0.3 * rng.normal(size=GENES)).astype(np.float32) for i, p in enumerate(patients)}
    sets = {p: "test" if i >= n - n // 4 else "train" for i, p in enumerate(patients)}
    return bags, owners, rna, sets


def in_memory(n: int = 16, per_patient: int = 1) -> PairedData:
    """The cohort as `PairedData`."""
    return PairedData.from_arrays(*arrays(n, per_patient=per_patient))


def on_disk(folder: Path, n: int = 16, **changes: dict) -> Job:
    """Write the cohort as the workflow's files, and describe its pre-training."""
    bags, owners, rna, sets = arrays(n)
    features = folder / "features"
    for slide, bag in bags.items():
        coords = np.stack([np.arange(len(bag)) * 256, np.zeros(len(bag), np.int64)], 1)
        write_features(features / f"{slide}.h5", bag, coords, encoder="toy", dtype="float32")
    people = pd.DataFrame({"patient_id": list(sets), "label": ["A", "B"] * (n // 2), "time_days": 10.0, "event": 1})
    people.to_csv(folder / "patients.tsv", sep="\t", index=False)
    slides = pd.DataFrame({"slide_id": list(owners), "patient_id": list(owners.values())})
    slides["n_tiles"] = [len(bags[s]) for s in owners]
    slides.to_csv(folder / "slides.tsv", sep="\t", index=False)
    splits = pd.DataFrame({"patient_id": list(sets), "repeat": 0, "fold": 0, "set": list(sets.values())})
    splits.to_csv(folder / "splits.tsv", sep="\t", index=False)
    adata = anndata.AnnData(np.stack(list(rna.values())))
    adata.obs_names, adata.var_names = list(rna), [f"g{i}" for i in range(GENES)]
    adata.uns["mirror"] = json.dumps({"values": "log1p"})
    adata.write_h5ad(folder / "rna.h5ad")
    train = [p for p, s in sets.items() if s == "train"]
    fit_transform(adata, train, list(adata.var_names), RnaSettings()).save(folder / "transform.npz")
    return Job(
        patients=str(folder / "patients.tsv"),
        slides=str(folder / "slides.tsv"),
        splits=str(folder / "splits.tsv"),
        expression=str(folder / "rna.h5ad"),
        transform=str(folder / "transform.npz"),
        features_dir=str(features),
        fold="r0f0",
        variant="mirror",
        settings=settings(**changes).model_dump(mode="json"),
        seed=42,
        checkpoint=str(folder / "out" / "r0f0.safetensors"),
        log=str(folder / "out" / "r0f0.log.tsv"),
        state_dir=str(folder / "state"),
    )


def elsewhere(job: Job, folder: Path) -> Job:
    """The same job with its outputs in another folder."""
    return replace(
        job,
        checkpoint=str(folder / "r0f0.safetensors"),
        log=str(folder / "r0f0.log.tsv"),
        state_dir=str(folder / "state"),
    )


def start(job: Job, folder: Path) -> subprocess.Popen:
    """Start a job as a process of its own, on one thread."""
    description = folder / "job.json"
    folder.mkdir(parents=True, exist_ok=True)
    description.write_text(json.dumps({"job": asdict(job), "error": str(folder / "error.txt")}), encoding="utf-8")
    return subprocess.Popen(
        [sys.executable, "-m", "mirror.training.launch", str(description)],
        env={**os.environ, "PYTHONPATH": str(LIBRARY), "OMP_NUM_THREADS": "1"},
        stderr=(folder / "stderr.txt").open("a"),
    )
