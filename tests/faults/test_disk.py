"""Full disks: each writer of the library on a file system that is really full leaves nothing half-written."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest

from mirror.core.atomic import atomic_path, disk_is_full, write_json, write_text, write_tsv

BIG = 300_000


@pytest.fixture(scope="module")
def small_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file system of 128 KB."""
    folder = tmp_path_factory.mktemp("disk")
    if os.geteuid() != 0:
        pytest.skip("not root: no small file system can be mounted")
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(folder)], capture_output=True)
    if done.returncode != 0:
        pytest.skip("mount is not allowed here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def matrix() -> anndata.AnnData:
    """Noise, which does not compress."""
    return anndata.AnnData(np.random.default_rng(0).normal(size=(200, BIG // 800)).astype(np.float32))


def h5(path: Path) -> None:
    with atomic_path(path) as part, h5py.File(part, "w") as file:
        file["features"] = np.random.default_rng(0).normal(size=BIG // 8)


def npz(path: Path) -> None:
    with atomic_path(path) as part:
        np.savez(part, x=np.random.default_rng(0).normal(size=BIG // 8))


def parquet(path: Path) -> None:
    with atomic_path(path) as part:
        pd.DataFrame({"x": np.random.default_rng(0).normal(size=BIG // 8)}).to_parquet(part)


def h5ad(path: Path) -> None:
    with atomic_path(path) as part:
        matrix().write_h5ad(part)


def figure(path: Path) -> None:
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(8, 8))
    drawn.subplots().imshow(np.random.default_rng(0).random((800, 800)))
    with atomic_path(path) as part:
        drawn.savefig(part, dpi=200)


def tensors(path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    with atomic_path(path) as part:
        save_file({"w": torch.zeros(BIG)}, part)


WRITERS = {
    "a.txt": lambda p: write_text(p, "x" * BIG),
    "a.json": lambda p: write_json(p, ["x" * 50] * (BIG // 50)),
    "a.tsv": lambda p: write_tsv(p, pd.DataFrame({"x": ["y" * 50] * (BIG // 50)})),
    "a.h5": h5,
    "a.npz": npz,
    "a.parquet": parquet,
    "a.h5ad": h5ad,
    "a.png": figure,
    "a.safetensors": tensors,
}


@pytest.mark.fault(
    stage="disk",
    fault="a full disk during each kind of output: text, JSON, TSV, HDF5, npz, parquet, h5ad, figure, checkpoint",
    sees="no space left on device",
    survives="an older whole file of that name; nothing half-written; the space is given back",
)
@pytest.mark.parametrize("name", sorted(WRITERS))
def test_a_full_disk_during_each_writer(small_disk: Path, name: str) -> None:
    target = small_disk / name
    target.write_text("what was there before")
    with pytest.raises(Exception) as caught:
        WRITERS[name](target)
    chain, error = [], caught.value
    while error is not None:
        chain.append(error)
        error = error.__cause__ or error.__context__
    assert any(getattr(e, "errno", None) == errno.ENOSPC or disk_is_full(e) or "o space left" in str(e) for e in chain)
    assert target.read_text() == "what was there before"
    assert [p.name for p in small_disk.iterdir()] == [name]
    target.unlink()
    free = os.statvfs(small_disk)
    assert free.f_bavail * free.f_frsize > 100_000
