"""Features that others made: every format comes out the same, every fault is one line with a count."""

from __future__ import annotations

import logging
import pickle
import unicodedata
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from mirror.config.sources import FeatureSource
from mirror.core.errors import InputError
from mirror.features.importing import import_features
from mirror.io.features import FeatureFile
from mirror.readers.features import trident
from mirror.readers.features.base import ForeignSlide

N, D = 30, 8
COORDS = np.stack(np.meshgrid(np.arange(6) * 512, np.arange(5) * 512), axis=-1).reshape(-1, 2)
SHUFFLED = np.random.default_rng(1).permutation(N)


def values(seed: int = 0, n: int = N, width: int = D) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, width)).astype(np.float32)


def slide(name: str, **more: Any) -> dict[str, Any]:
    return {"slide_id": name, "patient_id": f"p-{name}", "slide_path": f"/nowhere/{name}.svs", "mpp": None, **more}


def source(root: Path, format_: str, width: int = D) -> FeatureSource:
    return FeatureSource(format=format_, path=str(root), width=width, encoder="enc")


def imported(tmp_path: Path, name: str = "s") -> FeatureFile:
    return FeatureFile(tmp_path / "out" / "features" / "enc" / f"{name}.h5")


def write_trident(root: Path, slide_name: str, features: np.ndarray, coords: np.ndarray = COORDS, **attrs: Any) -> None:
    (root / "features_enc").mkdir(parents=True, exist_ok=True)
    with h5py.File(root / "features_enc" / f"{slide_name}.h5", "w") as file:
        file.create_dataset("features", data=features, chunks=(1, features.shape[1]) if features.ndim == 2 else None)
        file.create_dataset("coords", data=coords).attrs.update(attrs)


def test_trident_is_taken_with_its_oddities(tmp_path: Path) -> None:
    """Tile size as a float, 'None' for a missing value, tiles in any order."""
    about = {"patch_size": 256, "patch_size_level0": 512.0, "level0_magnification": "None", "name": "other"}
    features = values()
    write_trident(tmp_path / "in", "s", features[SHUFFLED].astype(np.float16), COORDS[SHUFFLED], **about)
    table = import_features(source(tmp_path / "in", "trident"), [slide("s")], tmp_path / "out")
    assert table.loc[0, ["status", "n_tiles", "width", "patient_id", "message"]].tolist() == ["ok", N, D, "p-s", ""]
    file = imported(tmp_path)
    np.testing.assert_array_equal(file.coords, COORDS)
    np.testing.assert_array_equal(file.all(), features.astype(np.float16).astype(np.float32))
    assert file.coord_attrs["patch_size_level0"] == 512 and file.coord_attrs["level0_magnification"] is None
    assert file.coord_attrs["name"] == "s"
    assert file.attrs["encoder"] == "enc" and file.attrs["complete"]


def test_trident_takes_the_tile_size_from_its_patches(tmp_path: Path) -> None:
    write_trident(tmp_path / "in", "s", values(), patch_size="None")
    (tmp_path / "in" / "patches").mkdir()
    with h5py.File(tmp_path / "in" / "patches" / "s_patches.h5", "w") as file:
        about = {"patch_size": 256, "patch_size_level0": "None", "level0_magnification": 40, "target_magnification": 20}
        file.create_dataset("coords", data=COORDS).attrs.update(about)
    import_features(source(tmp_path / "in", "trident"), [slide("s")], tmp_path / "out")
    assert imported(tmp_path).coord_attrs["patch_size_level0"] == 512


def test_real_trident_output(tmp_path: Path, test_data: Path) -> None:
    root, name = test_data / "trident" / "20x_256px_0px_overlap", "CMU-1-Small-Region"
    given = FeatureSource(format="trident", path=str(root), width=768, encoder="mean")
    table = import_features(given, [slide(name)], tmp_path)
    assert table.loc[0, ["status", "n_tiles"]].tolist() == ["ok", 58]
    file = FeatureFile(tmp_path / "features" / "mean" / f"{name}.h5")
    with h5py.File(root / "features_mean" / f"{name}.h5") as theirs:
        coords, features = theirs["coords"][:], theirs["features"][:]
    order = np.lexsort((coords[:, 0], coords[:, 1]))
    np.testing.assert_array_equal(file.coords, coords[order])
    np.testing.assert_array_equal(file.all(), features[order])
    assert file.coord_attrs["patch_size_level0"] == 256 and file.coord_attrs["level0_width"] == 2220


@pytest.mark.parametrize("kind", ["h5", "pt"])
def test_clam(tmp_path: Path, kind: str) -> None:
    """Tiles of 256 px at a level of downsample 4 are 1024 px at level 0."""
    root = tmp_path / "in"
    for folder in ("h5_files", "pt_files", "patches"):
        (root / folder).mkdir(parents=True)
    if kind == "h5":
        with h5py.File(root / "h5_files" / "s.h5", "w") as file:
            file.create_dataset("features", data=values())
            file.create_dataset("coords", data=COORDS.astype(np.int32))
    torch.save(torch.from_numpy(values()), root / "pt_files" / "s.pt")
    with h5py.File(root / "patches" / "s.h5", "w") as file:
        about = {"patch_size": 256, "patch_level": 1, "downsample": (4.0, 4.0), "name": "s"}
        file.create_dataset("coords", data=COORDS).attrs.update(about)
    table = import_features(source(root, "clam"), [slide("s")], tmp_path / "out")
    assert table.loc[0, ["status", "n_tiles", "message"]].tolist() == ["ok", N, ""]
    np.testing.assert_array_equal(imported(tmp_path).coords, COORDS)
    np.testing.assert_array_equal(imported(tmp_path).all(), values())
    assert imported(tmp_path).coord_attrs["patch_size_level0"] == 1024


def test_clam_without_patches_says_what_is_unknown(tmp_path: Path) -> None:
    (tmp_path / "in" / "pt_files").mkdir(parents=True)
    torch.save(torch.from_numpy(values()), tmp_path / "in" / "pt_files" / "s.pt")
    table = import_features(source(tmp_path / "in", "clam"), [slide("s")], tmp_path / "out")
    assert table.loc[0, "status"] == "ok" and "tile size unknown" in table.loc[0, "message"]
    with pytest.raises(InputError, match="without coordinates"):
        _ = imported(tmp_path).coords


def write_stamp(root: Path) -> None:
    root.mkdir(parents=True)
    with h5py.File(root / "s.h5", "w") as file:
        file.create_dataset("feats", data=values().astype(np.float16))
        file.create_dataset("coords", data=(COORDS * 0.25).astype(np.float32))
        about = {"unit": "um", "tile_size_um": 128.0, "tile_size_px": 256, "feat_type": "tile", "extractor": "x"}
        file.attrs.update(about)


def test_stamp_micrometres_become_pixels(tmp_path: Path) -> None:
    write_stamp(tmp_path / "in" / "enc-1a2b3c")
    import_features(source(tmp_path / "in", "stamp"), [slide("s", mpp=0.25)], tmp_path / "out")
    file = imported(tmp_path)
    np.testing.assert_array_equal(file.coords, COORDS)
    assert file.coord_attrs["patch_size_level0"] == 512 and file.coord_attrs["patch_size"] == 256
    assert file.attrs["mpp"] == 0.25


def test_stamp_without_mpp_keeps_features_and_says_so(tmp_path: Path) -> None:
    write_stamp(tmp_path / "in")
    table = import_features(source(tmp_path / "in", "stamp"), [slide("s")], tmp_path / "out", lambda _: None)
    assert table.loc[0, "status"] == "ok" and "mpp is unknown (fill the column mpp)" in table.loc[0, "message"]
    assert imported(tmp_path).n == N


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("wrapped", [False, True])
def test_plain_tensors(tmp_path: Path, dtype: torch.dtype, wrapped: bool) -> None:
    (tmp_path / "in").mkdir()
    tensor = torch.from_numpy(values()).to(dtype)
    torch.save({"features": tensor} if wrapped else tensor, tmp_path / "in" / "s.pt")
    table = import_features(source(tmp_path / "in", "pt"), [slide("s")], tmp_path / "out")
    assert table.loc[0, ["status", "n_tiles"]].tolist() == ["ok", N]
    np.testing.assert_array_equal(imported(tmp_path).all(), tensor.float().numpy())


class Hostile:
    """Runs code when unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


@pytest.mark.fault(
    stage="security",
    fault="features `.pt` that are a pickle that would run code",
    sees="the row of the slide: could run code; it was not loaded",
    survives="no code is run",
)
def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    torch.save({"features": Hostile(tmp_path / "ran")}, tmp_path / "in" / "s.pt")
    table = import_features(source(tmp_path / "in", "pt"), [slide("s")], tmp_path / "out")
    assert table.loc[0, "status"] == "failed" and "could run code; it was not loaded" in table.loc[0, "message"]
    assert not (tmp_path / "ran").exists()
    with open(tmp_path / "in" / "s.pt", "wb") as handle:
        pickle.dump(Hostile(tmp_path / "ran"), handle, protocol=2)
    import_features(source(tmp_path / "in", "pt"), [slide("s")], tmp_path / "out")
    assert not (tmp_path / "ran").exists()


def test_faults_are_one_line_each_with_counts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = tmp_path / "in"
    broken = values()
    broken[3, 1], broken[7, 0] = np.nan, np.inf
    for name, array in {"good": values(), "wide1": values(width=9), "wide2": values(width=9), "nan": broken}.items():
        write_trident(root, name, array, patch_size_level0=512)
    write_trident(root, "empty", np.empty(0, np.float32), np.empty((0, 2), np.int64))
    write_trident(root, "few", values(), COORDS[:-1])
    (root / "features_enc" / "cut.h5").write_bytes((root / "features_enc" / "good.h5").read_bytes()[:500])
    (root / "features_enc" / "pointer.h5").write_text("version https://git-lfs.github.com/spec/v1\n")
    (root / "features_enc" / "zero.h5").write_bytes(b"")
    write_trident(root, "lost", values(), np.where(np.arange(N)[:, None] == 4, np.nan, COORDS.astype(float)))
    with h5py.File(root / "features_enc" / "group.h5", "w") as file:
        file.create_group("features")
    names = ["good", "wide1", "wide2", "nan", "empty", "few", "cut", "pointer", "zero", "lost", "group", "absent"]
    with caplog.at_level(logging.INFO):
        table = import_features(source(root, "trident"), [slide(n) for n in names], tmp_path / "out")
    table = table.set_index("slide_id")
    assert table["status"].to_dict() == {n: {"good": "ok", "empty": "empty"}.get(n, "failed") for n in names}
    expected = {
        "wide1": "features 9 wide, the config says 8",
        "nan": "NaN or infinity in 2 of 30 rows, first in row 3",
        "few": "30 features but 29 coordinates",
        "cut": "truncated or not HDF5",
        "pointer": "git-LFS pointer",
        "zero": "has no bytes",
        "lost": "2 of 60 coordinates are NaN or infinite",
        "group": "features is a group, expected a dataset",
        "absent": "no file of this name among 11",
    }
    for name, text in expected.items():
        assert text in table.loc[name, "message"] and "\n" not in table.loc[name, "message"]
    said = [record.message for record in caplog.records]
    assert "enc features: wrong width: 2 of 12 slides, first wide1" in said
    assert "enc features: NaN or infinity: 1 of 12 slides, first nan" in said
    assert "enc features: empty slides: 1 of 12 slides, first empty" in said
    assert "enc features: no matching name: 1 of 12 slides, first absent" in said
    assert imported(tmp_path, "empty").all().shape == (0, D)
    assert {p.stem for p in (tmp_path / "out" / "features" / "enc").iterdir()} == {"good", "empty"}


def test_odd_tensors_pointers_and_web_pages_are_named_and_the_others_go_on(tmp_path: Path) -> None:
    root = tmp_path / "in"
    root.mkdir()
    torch.save(torch.from_numpy(values()), root / "good.pt")
    torch.save(torch.eye(N, D).to_sparse(), root / "sparse.pt")
    (root / "pointer.pt").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    (root / "page.pt").write_text("\n<!DOCTYPE html><html><body>Sign in</body></html>")
    expected = {
        "good": "no coordinates",
        "sparse": "a sparse_coo tensor of float32, expected a plain one",
        "pointer": "a git-LFS pointer",
        "page": "a web page, not the file itself",
    }
    table = import_features(source(root, "pt"), [slide(n) for n in expected], tmp_path / "out").set_index("slide_id")
    assert table["status"].tolist() == ["ok", "failed", "failed", "failed"]
    for name, text in expected.items():
        assert name == "good" or (text in table.loc[name, "message"] and "\n" not in table.loc[name, "message"])


def test_what_a_reader_did_not_foresee_is_one_slides_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_trident(tmp_path / "in", "a", values())
    write_trident(tmp_path / "in", "b", values(1))
    read = trident.read_slide

    def odd(path: Path) -> ForeignSlide:
        if path.stem == "a":
            raise TypeError("something else\nand more")
        return read(path)

    monkeypatch.setattr(trident, "read_slide", odd)
    table = import_features(source(tmp_path / "in", "trident"), [slide("a"), slide("b")], tmp_path / "out")
    assert table["status"].tolist() == ["failed", "ok"]
    assert table.loc[0, "message"].endswith("a.h5: TypeError: something else")


def test_a_file_is_not_shared_by_slides_that_it_fits_by_a_shortened_name(tmp_path: Path) -> None:
    write_trident(tmp_path / "in", "TCGA-1", values())
    write_trident(tmp_path / "in", "TCGA-2", values(1))
    names = ["TCGA-1", "TCGA-1.UUID", "TCGA-2.UUID", "TCGA-2.other"]
    table = import_features(source(tmp_path / "in", "trident"), [slide(n) for n in names], tmp_path / "out")
    assert table["status"].tolist() == ["ok", "failed", "failed", "failed"]
    assert "TCGA-1.h5 could be this slide's or that of TCGA-1" in table.loc[1, "message"]
    assert "TCGA-2.h5 could be this slide's or that of TCGA-2.other" in table.loc[2, "message"]


def test_accents_match_in_either_unicode_form(tmp_path: Path) -> None:
    write_trident(tmp_path / "in", unicodedata.normalize("NFD", "Präparat"), values())
    name = unicodedata.normalize("NFC", "Präparat")
    table = import_features(source(tmp_path / "in", "trident"), [slide(name)], tmp_path / "out")
    assert table["status"].tolist() == ["ok"] and imported(tmp_path, name).all().shape == (N, D)


def test_two_folders_of_stamp_are_named(tmp_path: Path) -> None:
    for run in ("enc-abc", "enc-def"):
        (tmp_path / "in" / run).mkdir(parents=True)
        (tmp_path / "in" / run / "s.h5").write_bytes(b"")
    with pytest.raises(InputError, match="2 folders begin with enc: enc-abc, enc-def"):
        import_features(source(tmp_path / "in", "stamp"), [slide("s")], tmp_path / "out")


def test_names_match_with_and_without_uuid(tmp_path: Path) -> None:
    root, full = tmp_path / "in", "TCGA-A1-A0SB-01Z-00-DX1.B34C267B-CAAA-4AB6-AD5C-276C26F997A1"
    write_trident(root, full, values(1))
    write_trident(root, full.replace("A0SB", "A0SC"), values(4))
    write_trident(root, "TCGA-A1-A0SD-01Z-00-DX1", values(2))
    for number in (1, 2):
        write_trident(root, f"TCGA-A1-A0SE-01Z-00-DX1.{number}", values(3))
    slides = [
        slide("TCGA-A1-A0SB-01Z-00-DX1"),
        slide("TCGA-A1-A0SD-01Z-00-DX1.D34C267B-CAAA"),
        slide("mine", slide_path=f"/data/{full.replace('A0SB', 'A0SC')}.svs"),
        slide("TCGA-A1-A0SE-01Z-00-DX1"),
    ]
    table = import_features(source(root, "trident"), slides, tmp_path / "out")
    assert table["status"].tolist() == ["ok", "ok", "ok", "failed"]
    assert "2 files could be this slide's" in table.loc[3, "message"]
    np.testing.assert_array_equal(imported(tmp_path, slides[0]["slide_id"]).all(), values(1))


def test_a_second_import_writes_nothing_and_changed_features_are_taken(tmp_path: Path) -> None:
    write_trident(tmp_path / "in", "s", values(), patch_size_level0=512)
    given = source(tmp_path / "in", "trident")
    first = import_features(given, [slide("s")], tmp_path / "out")
    path = tmp_path / "out" / "features" / "enc" / "s.h5"
    before = path.stat().st_mtime_ns
    assert import_features(given, [slide("s")], tmp_path / "out").equals(first)
    assert path.stat().st_mtime_ns == before
    write_trident(tmp_path / "in", "s", values(5), patch_size_level0=512)
    import_features(given, [slide("s")], tmp_path / "out")
    np.testing.assert_array_equal(imported(tmp_path).all(), values(5))


def test_folders_that_cannot_be_meant(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder of features"):
        import_features(source(tmp_path / "absent", "pt"), [slide("s")], tmp_path)
    with pytest.raises(InputError, match="no clam features in this folder"):
        import_features(source(tmp_path, "clam"), [slide("s")], tmp_path)
    for name in ("features_a", "features_b"):
        (tmp_path / "job" / name).mkdir(parents=True)
    with pytest.raises(InputError, match=r"2 folders of features \(features_a, features_b\)"):
        import_features(source(tmp_path / "job", "trident"), [slide("s")], tmp_path)
