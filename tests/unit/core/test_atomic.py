"""Files are whole or absent, and others may read them."""

from __future__ import annotations

import stat

import pytest

from mirror.core.atomic import atomic_path, write_json


def test_a_failure_leaves_the_old_file_and_no_part(tmp_path):
    target = tmp_path / "deep" / "file.txt"
    with atomic_path(target) as part:
        part.write_text("old")
    with pytest.raises(RuntimeError), atomic_path(target) as part:
        part.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert [p.name for p in target.parent.iterdir()] == ["file.txt"]


def test_a_writer_that_makes_private_files_is_corrected(tmp_path):
    target = tmp_path / "weights.safetensors"
    with atomic_path(target) as part:
        part.touch(mode=0o600)
    usual = tmp_path / "usual"
    usual.touch()
    assert stat.S_IMODE(target.stat().st_mode) == stat.S_IMODE(usual.stat().st_mode)


def test_nan_is_no_json(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "x.json", {"value": float("nan")})
    assert not list(tmp_path.iterdir())
