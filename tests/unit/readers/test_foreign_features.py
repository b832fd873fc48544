"""Features between tools: what a reader of others lacks is named, and others' readers take what we write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from mirror.config.resolve import check_names, load_schema, resolve
from mirror.config.sources import FeatureSource
from mirror.core.errors import InputError
from mirror.encoders.weights import load_state
from mirror.features import importing as features_import
from mirror.io.features import write_features

COORDS = np.stack([np.arange(12) * 512, np.zeros(12, int)], axis=1)
VALUES = np.random.default_rng(0).standard_normal((12, 4)).astype(np.float32)
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
PAGE = "\ufeff\n<!DOCTYPE html><html><body>Sign in</body></html>"


def run(root: Path, format_: str, out: Path) -> dict[str, Any]:
    given = FeatureSource(format=format_, path=str(root), width=4, encoder="enc")
    row = {"slide_id": "s", "patient_id": "p", "slide_path": "", "mpp": None}
    return features_import.import_features(given, [row], out).iloc[0].to_dict()


@pytest.mark.parametrize(
    ("about", "with_coords", "lack"),
    [
        ({"patch_size": 256, "patch_level": 1}, True, "patches/s.h5 have no downsample"),
        ({"downsample": (4.0, 4.0), "patch_level": 1}, True, "patches/s.h5 have no patch_size"),
        ({}, False, "patches/s.h5 has no coords"),
        ({"patch_size": 256, "patch_level": 0}, True, ""),
    ],
)
def test_what_clams_patches_lack_is_named(tmp_path: Path, about: dict[str, Any], with_coords: bool, lack: str) -> None:
    for folder in ("h5_files", "patches"):
        (tmp_path / "in" / folder).mkdir(parents=True)
        with h5py.File(tmp_path / "in" / folder / "s.h5", "w") as file:
            if folder == "h5_files":
                file["features"] = VALUES
            if with_coords or folder == "h5_files":
                file.create_dataset("coords", data=COORDS.astype(np.int32)).attrs.update(about)
    row = run(tmp_path / "in", "clam", tmp_path / "out")
    assert row["status"] == "ok" and "no patches/" not in row["message"]
    assert row["message"].endswith(lack) and bool(row["message"]) == bool(lack)


@pytest.mark.parametrize("format_", ["pt", "clam"])
@pytest.mark.parametrize(("text", "needle"), [(POINTER, "a git-LFS pointer"), (PAGE, "a web page")])
def test_a_broken_download_of_tensors_is_not_called_hostile(
    tmp_path: Path, format_: str, text: str, needle: str
) -> None:
    folder = tmp_path / "in" / ("pt_files" if format_ == "clam" else "")
    folder.mkdir(parents=True)
    (folder / "s.pt").write_text(text, encoding="utf-8")
    row = run(tmp_path / "in", format_, tmp_path / "out")
    assert row["status"] == "failed" and needle in row["message"] and "run code" not in row["message"]


@pytest.mark.parametrize("name", ["w.pt", "w.bin", "w.safetensors"])
@pytest.mark.parametrize(("text", "needle"), [(POINTER, "a git-LFS pointer"), (PAGE, "a web page")])
def test_a_broken_download_of_weights_is_not_called_hostile(tmp_path: Path, name: str, text: str, needle: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=needle) as caught:
        load_state(tmp_path / name)
    assert caught.value.remedy and "run code" not in str(caught.value)


@pytest.mark.parametrize("kind", [OSError, RuntimeError])
def test_a_full_disk_ends_the_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]) -> None:
    """It is no fault of the slide, whichever way HDF5 says it."""

    def full(*_: Any, **__: Any) -> None:
        raise kind("file write failed: errno = 28, error message = 'No space left on device'")

    (tmp_path / "in").mkdir()
    torch.save(torch.from_numpy(VALUES), tmp_path / "in" / "s.pt")
    monkeypatch.setattr(features_import, "write_features", full)
    with pytest.raises(InputError, match="no space is left on the disk"):
        run(tmp_path / "in", "pt", tmp_path / "out")


def test_one_source_need_not_be_a_list_nor_have_a_name(root: Path) -> None:
    source = {"format": "trident", "path": "/data", "width": 1024}
    config = {"cohorts": {"T": {"samples": "s.tsv", "features": source}}}
    schema = load_schema(root / "config" / "schemas" / "config.schema.json")
    filled = resolve(config, schema)
    assert filled["cohorts"]["T"]["features"] == [{**source, "encoder": "imported", "mixed_scales": "warn"}]
    check_names(filled)


@pytest.mark.parametrize(("encoders", "problem"), [(["a", "a"], "`a` comes twice"), (["../x"], "is not a usable name")])
def test_sources_have_names_of_their_own(root: Path, encoders: list[str], problem: str) -> None:
    sources = [{"format": "pt", "path": "/data", "width": 8, "encoder": name} for name in encoders]
    schema = load_schema(root / "config" / "schemas" / "config.schema.json")
    with pytest.raises(InputError, match=problem):
        check_names(resolve({"cohorts": {"T": {"samples": "s.tsv", "features": sources}}}, schema))


@pytest.mark.parametrize("n", [12, 0])
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_what_we_write_is_taken_by_the_steps_of_other_readers(tmp_path: Path, n: int, dtype: str) -> None:
    """TRIDENT takes arrays and attributes for a slide encoder, CLAM a tensor of the array as it is."""
    about = {"patch_size": 256, "patch_size_level0": 512, "level0_magnification": None, "overlap": 0, "name": "s"}
    path = tmp_path / "s.h5"
    write_features(path, VALUES[:n], COORDS[:n], encoder="e", dtype=dtype, coord_attrs=about)
    with h5py.File(path, "r") as file:
        coords, features, attrs = file["coords"][:], file["features"][:], dict(file["coords"].attrs)
    stored = VALUES[:n].astype(dtype)

    # A slide encoder of TRIDENT: one batch, level-0 corners, the tile's side at level 0.
    batch, corners = torch.from_numpy(features).float().unsqueeze(0), torch.from_numpy(coords).unsqueeze(0)
    assert batch.shape == (1, n, 4) and corners.shape == (1, n, 2) and corners.dtype == torch.int64
    np.testing.assert_array_equal(batch[0].numpy(), stored.astype(np.float32))
    assert int(attrs["patch_size_level0"]) == 512 and attrs["patch_size"] * 2 == 512 and attrs["overlap"] == 0
    assert attrs["level0_magnification"] == "None" and attrs["name"] == "s"

    # CLAM's dataset: no cast, so that byte order and type must be ones that torch knows.
    tensor = torch.from_numpy(features)
    assert tensor.dtype == getattr(torch, dtype) and tensor.shape == (n, 4)
    np.testing.assert_array_equal(tensor.numpy(), stored)
    np.testing.assert_array_equal(coords, COORDS[:n])
