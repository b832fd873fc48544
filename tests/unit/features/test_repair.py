"""Feature files that broke later: which are found, and that only those are made anew."""

from __future__ import annotations

import errno
import fcntl
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import torch

from mirror.core.errors import InputError
from mirror.features.repair import broken_files, repair
from mirror.io.features import FeatureFile, write_features
from mirror.io.status import read_shards

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "workflow" / "scripts"))

import import_features
import repair_features

SCRIPTS = Path(__file__).resolve().parents[3] / "workflow" / "scripts"
NAMES = [f"s{i}" for i in range(8)]


def put(path: Path, n: int = 3) -> None:
    write_features(path, np.full((n, 2), 1.0, np.float32), np.zeros((n, 2), np.int64), encoder="e")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eight slides in two shards; one of them failed, as its table says."""
    for name in NAMES[:-1]:
        put(tmp_path / "features" / "e" / f"{name}.h5")
    shards = tmp_path / "T" / "features" / "e"
    shards.mkdir(parents=True)
    table = pd.DataFrame({"slide_id": NAMES, "status": ["ok"] * 7 + ["failed"], "n_tiles": [3] * 7 + [0]})
    table.iloc[:4].to_csv(shards / "shard_0.tsv", sep="\t", index=False)
    table.iloc[4:].to_csv(shards / "shard_1.tsv", sep="\t", index=False)
    return tmp_path


def spoil(folder: Path) -> list[str]:
    """Cut, garbage, empty, gone, another size: five of the seven that should be there."""
    files = folder / "features" / "e"
    (files / "s0.h5").write_bytes((files / "s0.h5").read_bytes()[:500])
    (files / "s1.h5").write_bytes(b"\x89HDF garbage" * 40)
    (files / "s2.h5").write_bytes(b"")
    (files / "s3.h5").unlink()
    put(files / "s4.h5", n=2)
    return NAMES[:5]


def test_broken_files_are_found_and_whole_ones_are_not(folder: Path) -> None:
    status = read_shards(folder / "T" / "features" / "e")
    assert broken_files(status, folder / "features" / "e") == []
    spoilt = spoil(folder)
    assert broken_files(status, folder / "features" / "e") == spoilt


def test_only_the_broken_are_made_anew(folder: Path) -> None:
    spoilt, asked = spoil(folder), []

    def make(slides, root):
        asked.extend(s["slide_id"] for s in slides)
        assert (root / "tiles").is_symlink() and root.parent == folder
        for name in asked:
            put(root / "features" / "e" / f"{name}.h5")
        return pd.DataFrame({"slide_id": asked, "status": "ok", "message": ""})

    tables = {p: p.read_bytes() for p in folder.rglob("*.tsv")}
    slides = [{"slide_id": name} for name in NAMES]
    assert repair(slides, folder, "T", "e", make) == 5 and asked == spoilt
    assert repair(slides, folder, "T", "e", lambda *_: pytest.fail("nothing was broken")) == 0
    assert {p: p.read_bytes() for p in folder.rglob("*.tsv")} == tables, "so that nothing finished runs again"


def test_what_cannot_be_repaired_is_said(folder: Path) -> None:
    spoil(folder)
    slides = [{"slide_id": name} for name in NAMES]
    gone = pd.DataFrame({"slide_id": ["s0"], "status": ["failed"], "message": ["s0.svs: no such file"]})
    old = (folder / "features" / "e" / "s0.h5").read_bytes()
    with pytest.raises(InputError, match=r"cannot be made anew.*no such file"):
        repair(slides, folder, "T", "e", lambda *_: gone)

    def smaller(slides, root):
        for slide in slides:
            put(root / "features" / "e" / f"{slide['slide_id']}.h5", n=1)
        return pd.DataFrame({"slide_id": ["s0"], "status": ["ok"], "message": [""]})

    with pytest.raises(InputError, match=r"other tiles now than its table says.*--forcerun tile_slides"):
        repair(slides, folder, "T", "e", smaller)
    assert (folder / "features" / "e" / "s0.h5").read_bytes() == old and not list(folder.glob(".repair-*"))


@pytest.mark.fault(
    stage="features",
    fault="feature files on a file system without locks, or held by another process",
    sees="nothing: they are read without a lock; where the system refuses, a line that names HDF5_USE_FILE_LOCKING",
    survives="every file: none that could not be examined counts as broken",
)
def test_a_locked_file_is_not_a_broken_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, slides = folder / "features" / "e", [{"slide_id": name} for name in NAMES]
    before = {path: path.read_bytes() for path in files.glob("*.h5")}
    with open(files / "s0.h5", "rb+") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        path = f"import sys; sys.path.insert(0, {str(SCRIPTS)!r}); from mirror.io.features import FeatureFile"
        child = f"{path}; print(FeatureFile(sys.argv[1]).all().sum())"
        told = subprocess.run(
            [sys.executable, "-c", child, str(files / "s0.h5")], capture_output=True, text=True, check=True
        )
        assert told.stdout.strip() == "6.0", "another process reads it while it is locked here"
    real = h5py.File

    def locked(number: int):
        def refuse(path, *args, **kwargs):
            if Path(path).name in ("s1.h5", "s2.h5") and args[:1] == ("r",):
                raise OSError(number, "Unable to synchronously open file (unable to lock file)")
            return real(path, *args, **kwargs)

        return refuse

    for number, reason in ((errno.EAGAIN, "another process has it open"), (errno.ENOLCK, "no locks")):
        monkeypatch.setattr(h5py, "File", locked(number))
        with pytest.raises(InputError, match=rf"2 feature files.*errno {number}.*{reason}.*HDF5_USE_FILE_LOCKING"):
            repair(slides, folder, "T", "e", lambda *_: pytest.fail("nothing is broken"))
    monkeypatch.setattr(h5py, "File", real)
    assert {path: path.read_bytes() for path in files.glob("*.h5")} == before


def test_one_file_out_of_reach_does_not_keep_others_broken(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, slides, real = folder / "features" / "e", [{"slide_id": name} for name in NAMES], h5py.File
    (files / "s0.h5").write_bytes(b"")

    def refuse(path, *args, **kwargs):
        if Path(path).name == "s1.h5":
            raise PermissionError(errno.EACCES, "no")
        return real(path, *args, **kwargs)

    def make(asked, root):
        put(root / "features" / "e" / "s0.h5")
        return pd.DataFrame({"slide_id": [s["slide_id"] for s in asked], "status": "ok", "message": ""})

    monkeypatch.setattr(h5py, "File", refuse)
    with pytest.raises(InputError, match=r"1 feature files could not be examined.*permission denied"):
        repair(slides, folder, "T", "e", make)
    assert FeatureFile(files / "s0.h5").n == 3


def test_the_script_repairs_imported_features(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a", "b"):
        torch.save(torch.rand(4, 3), tmp_path / "in" / f"{name}.pt")
    slides = [{"slide_id": s, "patient_id": s, "slide_path": f"{s}.svs", "mpp": None} for s in ("a", "b")]
    source = {"format": "pt", "path": str(tmp_path / "in"), "width": 3, "encoder": "theirs"}
    status = tmp_path / "out" / "T" / "features" / "theirs" / "shard_0.tsv"
    import_features.main(slides, source, tmp_path / "out", status)
    files = tmp_path / "out" / "features" / "theirs"
    before, kept = FeatureFile(files / "a.h5").all(), (files / "b.h5").stat().st_mtime_ns
    (files / "a.h5").write_bytes(b"")
    cohorts = {"T": {"slides": slides, "rows": {}, "sources": {"theirs": source}}}
    assert repair_features.main(cohorts, {"device": "cpu"}, tmp_path / "out") == 1
    assert (FeatureFile(files / "a.h5").all() == before).all()
    assert (files / "b.h5").stat().st_mtime_ns == kept
