"""A path must lead to a regular file: FIFOs, sockets, devices and broken links are named without waiting."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mirror.config.resolve import load_yaml
from mirror.core.errors import InputError
from mirror.core.hashing import sha256_file
from mirror.core.regular_file import file_kind, open_regular, require_regular
from mirror.encoders.table import read_encoders
from mirror.encoders.weights import load_state
from mirror.io.checkpoints import read_header
from mirror.io.features import FeatureFile, is_complete
from mirror.io.tiles import read_tiles
from mirror.model.reference import load_reference
from mirror.plan.slide_table import read_slide_table
from mirror.readers.expression.detect import detect_format
from mirror.readers.features import clam, pt, stamp, trident
from mirror.readers.gene_lists import read_gene_list, read_gmt
from mirror.readers.header import read_header as table_header
from mirror.readers.tables import read_table
from mirror.sources.gdc_slides import slide_table
from mirror.training.warm_start import read_patients

OPENERS: dict[str, Callable[[Path], Any]] = {
    "slide table": read_slide_table, "config": load_yaml, "encoder table": read_encoders, "weights": load_state,
    "checkpoint": read_header, "published checkpoint": load_reference, "hash": sha256_file, "table": read_table,
    "head of a table": table_header, "gene sets": read_gmt, "gene list": read_gene_list, "format": detect_format,
    "features": FeatureFile, "tiles": read_tiles, "trident": trident.read_slide, "clam": clam.read_slide,
    "stamp": lambda path: stamp.read_slide(path, 0.5), "pt": pt.read_slide,
    "sample sheet": lambda path: slide_table(path, path.parent), "patients": read_patients,
}  # fmt: skip


@pytest.mark.fault(
    stage="security",
    fault="a FIFO, or a link to one, as features, weights, checkpoint, table, expression, gene list or config",
    sees="that it is a named pipe, with its path, at once",
    survives="everything: nothing waits",
)
@pytest.mark.parametrize("name", OPENERS)
@pytest.mark.timeout(20)
def test_a_fifo_is_named_by_every_opener(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for path in (tmp_path / "real", tmp_path / "link"):
        with pytest.raises(InputError, match=r"named pipe \(FIFO\)"):
            OPENERS[name](path)


def test_a_fifo_is_no_whole_feature_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "f.h5")
    assert not is_complete(tmp_path / "f.h5")


def test_kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "good").symlink_to(tmp_path / "file")
    (tmp_path / "broken").symlink_to(tmp_path / "nothing")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    monkeypatch.chdir(tmp_path)  # the path of a socket may be no longer than about 100 bytes
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
    expected = {
        "file": None, "good": None, "absent": "missing", "broken": "a link to a missing file", "file/x": "missing",
        "loop": "a link that leads to itself", "socket": "a socket", ".": "a folder",
    }  # fmt: skip
    assert {name: file_kind(tmp_path / name) for name in expected} == expected
    assert file_kind("/dev/zero") == "a character device"
    with open_regular(tmp_path / "good") as handle:
        assert handle.read() == b"x"
    assert require_regular(tmp_path / "good") == tmp_path / "good"
    for name in ("absent", "broken", "loop", "socket", "."):
        with pytest.raises(InputError) as caught:
            require_regular(tmp_path / name, "slide", "ask the scanner")
        assert str(tmp_path / name) in str(caught.value) and "ask the scanner" in str(caught.value)
    with pytest.raises(InputError, match="null byte"):
        file_kind("a\0b")
