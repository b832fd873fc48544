"""HDF5 of others: never beyond the file, no locks, no more memory than the job has."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pytest

from mirror.config.sources import ExpressionSource, FeatureSource
from mirror.core.errors import InputError
from mirror.core.memory import in_words, job_memory, set_job_memory
from mirror.features.importing import import_features
from mirror.io.features import FeatureFile
from mirror.io.hdf5 import open_h5, read_array
from mirror.readers.expression import read_expression

SECRET = np.arange(64, dtype=np.float32)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file of this machine that no result may hold: plain bytes and HDF5."""
    SECRET.tofile(tmp_path / "secret.bin")
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["data"] = SECRET.reshape(16, 4)
    return tmp_path


def point(file: h5py.File, name: str, how: str, folder: Path) -> None:
    """Make ``name`` in ``file`` point outside in one of the ways that HDF5 has."""
    if how == "external storage":
        outside = [(str(folder / "secret.bin"), 0, SECRET.nbytes)]
        file.create_dataset(name, (16, 4), np.float32, external=outside)
    elif how == "external link":
        file[name] = h5py.ExternalLink(str(folder / "secret.h5"), "/data")
    elif how == "virtual dataset":
        layout = h5py.VirtualLayout((16, 4), np.float32)
        layout[:] = h5py.VirtualSource(str(folder / "secret.h5"), "data", (16, 4))
        file.create_virtual_dataset(name, layout)
    elif how == "link in a group":
        file.create_group("inner")["there"] = h5py.ExternalLink(str(folder / "secret.h5"), "/data")
        file[name] = h5py.SoftLink("/inner/there")


WAYS = ("external storage", "external link", "virtual dataset", "link in a group")


@pytest.mark.fault(
    stage="security",
    fault="patch features whose HDF5 points at another file: external storage, external link, virtual dataset",
    sees="the row of the slide: the dataset and the file it points at",
    survives="every other slide; no byte of the other file is read",
)
@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("place", ["features", "coords"])
def test_features_that_point_elsewhere(secret: Path, how: str, place: str) -> None:
    folder = secret / "in"
    folder.mkdir()
    for name in ("bad", "good"):
        with h5py.File(folder / f"{name}.h5", "w") as file:
            if name == "bad":
                point(file, place, how, secret)
            for key, value in (("features", np.ones((16, 4), np.float32)), ("coords", np.zeros((16, 2), int))):
                if name == "good" or key != place:
                    file[key] = value
    source = FeatureSource(format="trident", path=str(folder), width=4)
    slides = [{"slide_id": s, "patient_id": s, "slide_path": "", "mpp": None} for s in ("bad", "good")]
    table = import_features(source, slides, secret / "out").set_index("slide_id")
    assert table.loc["bad", "status"] == "failed" and table.loc["good", "status"] == "ok"
    assert (
        "secret" in table.loc["bad", "message"] and "data outside the file is not read" in table.loc["bad", "message"]
    )
    with pytest.raises(InputError, match="outside the file"):
        FeatureFile(folder / "bad.h5")


@pytest.mark.fault(
    stage="security",
    fault="an .h5ad whose matrix, obs or var lies in another file",
    sees="the dataset and the file it points at",
    survives="nothing is read from it",
)
@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("place", ["X", "obs/extra", "uns/extra"])
def test_h5ad_that_points_elsewhere(secret: Path, how: str, place: str) -> None:
    path = secret / "m.h5ad"
    ad.AnnData(np.ones((16, 4), np.float32)).write_h5ad(path)
    with h5py.File(path, "r+") as file:
        if place in file:
            del file[place]
        point(file, place, how, secret)
    with pytest.raises(InputError, match="data outside the file is not read"):
        read_expression(ExpressionSource(path=str(path)))


def test_links_inside_a_file_are_followed_and_circles_end(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "f.h5", "w") as file:
        file["real"] = np.ones((3, 2), np.float32)
        file["features"] = h5py.SoftLink("/real")
        file.create_group("g")["up"] = file["/"]
    assert FeatureFile(tmp_path / "f.h5").n == 3


@pytest.mark.fault(
    stage="features",
    fault="a feature file that claims terabytes, or whose writer never filled it",
    sees="what it claims, and what the job's memory allows; or that it holds no bytes",
    survives="every other slide",
)
def test_claims_are_bounded_by_the_jobs_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with h5py.File(tmp_path / "huge.h5", "w") as file:
        file.create_dataset("features", (10**9, 1024), np.float32)
        file.create_dataset("never", (50, 8), np.float32)
        file.create_dataset("chunks", (10**7, 512), np.float32, chunks=(1024, 512), compression="gzip")
    assert (tmp_path / "huge.h5").stat().st_size < 1e5
    with open_h5(tmp_path / "huge.h5") as file:
        for name in ("features", "chunks"):
            with pytest.raises(InputError, match=r"would take .* this job's memory allows"):
                read_array(file[name], tmp_path / "huge.h5", 0.01)
        with pytest.raises(InputError, match="holds no bytes: its writer never filled it"):
            read_array(file["never"], tmp_path / "huge.h5")
    before = job_memory()
    try:
        set_job_memory(100)
        assert job_memory() == 100 << 20
        with open_h5(tmp_path / "huge.h5") as file, pytest.raises(InputError, match=r"allows 41\.9 MB"):
            read_array(file["chunks"], tmp_path / "huge.h5")
    finally:
        set_job_memory(None)
    assert job_memory() == before and in_words(1.5e9) == "1.5 GB"
