"""What goes wrong while slides are embedded: one line each, the others go on, nothing half-written."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from mirror.config.slides import EmbedSettings
from mirror.core.errors import InputError
from mirror.encoders.build import load_encoder
from mirror.encoders.run import TileEncoder
from mirror.encoders.table import EncoderRow
from mirror.features import embed
from mirror.features import shard as embed_shard
from mirror.io import features as features_module
from mirror.io.features import FeatureFile, is_complete
from mirror.io.tiles import TileTable, write_tiles
from mirror.slides.reading.fingerprint import fingerprint

SIDE = 32
ROW = EncoderRow(
    name="enc", timm_id="resnet10t", arguments={"features_only": True, "out_indices": [1], "zero_init_last": False},
    width=64, input_px=32, pooling="avg", weights="random", licence="none", source="here",
)  # fmt: skip
NAMES = ["a", "b c", "ünï", "d"]


@pytest.fixture(scope="module")
def encoder() -> TileEncoder:
    return TileEncoder(ROW, load_encoder(ROW), torch.device("cpu"), batch_size=4)


class Shard:
    """Four slides with their tiles."""

    def __init__(self, root: Path) -> None:
        self.root, self.slides = root, []
        for i, name in enumerate(NAMES):
            path = root / f"{name}.png"
            image = np.random.default_rng(i).integers(0, 256, (96, 96, 3), dtype=np.uint8)
            Image.fromarray(image).save(path)
            grid = np.stack(np.meshgrid(np.arange(3) * SIDE, np.arange(3) * SIDE), axis=-1).reshape(-1, 2)
            about = {"patch_size": SIDE, "patch_size_level0": SIDE, "name": name}
            share = np.ones(len(grid), np.float32)
            info = {"fingerprint": fingerprint(path), "settings_hash": "t"}
            write_tiles(root / "tiles" / f"{name}.h5", TileTable(grid, share, share, about, info))
            self.slides.append({"slide_id": name, "patient_id": f"p{i}", "slide_path": str(path), "mpp": None})
        self.tiled = pd.DataFrame({"slide_id": NAMES, "status": "ok", "message": ""})

    def run(self, encoder: TileEncoder, **settings: Any) -> pd.DataFrame:
        table = embed_shard.embed_shard(self.slides, self.tiled, self.root, encoder, EmbedSettings(**settings))
        assert table["slide_id"].tolist() == NAMES
        return table.set_index("slide_id")

    def out(self, name: str) -> Path:
        return self.root / "features" / "enc" / f"{name}.h5"

    def files(self) -> set[str]:
        folder = self.root / "features" / "enc"
        return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


@pytest.fixture
def shard(tmp_path: Path) -> Shard:
    return Shard(tmp_path)


def only(table: pd.DataFrame, name: str) -> str:
    """Check that ``name`` alone failed, in one line, and return its message."""
    assert table["status"].to_dict() == {n: "failed" if n == name else "ok" for n in NAMES}
    message = table.loc[name, "message"]
    assert message and "\n" not in message and "\t" not in message
    assert (table.drop(index=name)["message"] == "").all()
    return message


def failing(name: str, error: Exception, times: int = 10**9) -> Any:
    """Reading of one slide fails after its first batch, some times."""
    real, left = embed.iterate_tiles, [times]

    def iterate(slide: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        for i, item in enumerate(real(slide, *args, **kwargs)):
            if Path(slide).stem == name and i == 1 and left[0]:
                left[0] -= 1
                raise error
            yield item

    return iterate


def test_all_is_well_and_names_are_kept(shard: Shard, encoder: TileEncoder) -> None:
    table = shard.run(encoder)
    assert (table["status"] == "ok").all() and table["patient_id"].tolist() == ["p0", "p1", "p2", "p3"]
    assert shard.files() == {f"{name}.h5" for name in NAMES}


@pytest.mark.fault(
    stage="features",
    fault="pixels of one slide cannot be read",
    sees="the row of the slide",
    survives="every other slide; a rerun does that one alone",
)
def test_a_slide_that_fails_in_the_middle(shard: Shard, encoder: TileEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    error = InputError("opens, but its pixels cannot be read", file="b c.png")
    monkeypatch.setattr(embed, "iterate_tiles", failing("b c", error))
    assert only(shard.run(encoder), "b c") == "b c.png: opens, but its pixels cannot be read"
    assert shard.files() == {f"{name}.h5" for name in NAMES if name != "b c"}
    before = {name: shard.out(name).stat().st_mtime_ns for name in NAMES if name != "b c"}
    monkeypatch.undo()
    assert (shard.run(encoder)["status"] == "ok").all(), "a rerun does what is missing"
    assert before == {name: shard.out(name).stat().st_mtime_ns for name in before}, "and only that"


@pytest.mark.fault(
    stage="features", fault="an input/output error that passes", sees="nothing: tried once more", survives="everything"
)
def test_a_fault_that_passes_is_tried_once_more(
    shard: Shard, encoder: TileEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embed, "iterate_tiles", failing("ünï", OSError(errno.EIO, "Input/output error"), times=1))
    assert (shard.run(encoder)["status"] == "ok").all()


@pytest.mark.fault(
    stage="features",
    fault="slides missing, replaced after tiling, not tiled; half tile files",
    sees="which of them, by slide",
    survives="no feature of a wrong slide is written",
)
def test_slides_missing_replaced_or_not_tiled(shard: Shard, encoder: TileEncoder) -> None:
    Path(shard.slides[0]["slide_path"]).unlink()
    Image.new("RGB", (96, 96)).save(shard.slides[1]["slide_path"])
    shard.tiled.loc[2, ["status", "message"]] = ["failed", "no mpp: fill the column mpp"]
    tiles = shard.root / "tiles" / "d.h5"
    tiles.write_bytes(tiles.read_bytes()[:900])
    table = shard.run(encoder)
    assert (table["status"] == "failed").all() and shard.files() == set()
    for name, text in zip(
        NAMES,
        ["cannot be read (No such file", "replaced after it was tiled", "not tiled: no mpp", "not a whole tile file"],
        strict=True,
    ):
        assert text in table.loc[name, "message"]


@pytest.mark.fault(
    stage="features",
    fault="an encoder that gives NaN",
    sees="NaN or infinity, and in how many rows",
    survives="every other slide",
)
def test_features_that_are_not_numbers(shard: Shard, encoder: TileEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = TileEncoder.forward, [0]

    def forward(self: TileEncoder, tiles: torch.Tensor) -> torch.Tensor:
        out = real(self, tiles)
        calls[0] += 1
        return torch.full_like(out, torch.nan) if calls[0] <= 2 else out  # both attempts at the first slide

    monkeypatch.setattr(TileEncoder, "forward", forward)
    assert "NaN or infinity in 4 of 4 rows" in only(shard.run(encoder), "a")


@pytest.mark.fault(
    stage="disk",
    fault="full disk or quota while embedding",
    sees="no space is left on the disk",
    survives="finished slides",
)
@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        # As HDF5 says it: the number is in the text alone.
        OSError("Can't write data (file write failed: errno = 28, error message = 'No space left on device')"),
    ],
)
def test_a_full_disk_ends_the_job_and_keeps_what_is_done(
    shard: Shard, encoder: TileEncoder, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    real = features_module.FeatureWriter.write

    def write(self: Any, *args: Any) -> None:
        if self.path.stem == "ünï":
            raise error
        real(self, *args)

    monkeypatch.setattr(features_module.FeatureWriter, "write", write)
    with pytest.raises(InputError, match=r"no space is left on the disk.*finished slides are kept"):
        shard.run(encoder)
    assert shard.files() == {"a.h5", "b c.h5"}


@pytest.mark.fault(
    stage="disk",
    fault="HDF5 meets a device that is full",
    sees="no space is left on the disk",
    survives="no half file stays",
)
def test_a_disk_that_is_really_full(shard: Shard, encoder: TileEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """HDF5 itself meets the error: its file is a link to a device that is always full."""
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    real = h5py.File

    def on_full_device(path: Any, mode: str = "r", **options: Any) -> Any:
        if mode == "w":
            Path(path).unlink(missing_ok=True)
            Path(path).symlink_to("/dev/full")
        return real(path, mode, **options)

    monkeypatch.setattr(features_module.h5py, "File", on_full_device)
    with pytest.raises(InputError, match="no space is left on the disk"):
        shard.run(encoder)
    assert shard.files() == set()


@pytest.mark.fault(
    stage="features",
    fault="an encoder larger than the GPU with a single tile",
    sees="that it does not fit with one tile",
    survives="what was finished",
)
def test_an_encoder_that_fits_nowhere_ends_the_job(
    shard: Shard, encoder: TileEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forward(self: TileEncoder, tiles: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("pretended")

    monkeypatch.setattr(TileEncoder, "_forward", forward)
    monkeypatch.setattr(encoder, "batch_size", 4)
    with pytest.raises(InputError, match="does not hold encoder enc with one tile"):
        shard.run(encoder)


@pytest.mark.fault(
    stage="features",
    fault="path traversal in slide names",
    sees="cannot be a file name",
    survives="nothing is written outside",
)
@pytest.mark.parametrize("name", ["../out", "/etc/x", "a/b", "", ".hidden"])
def test_names_that_try_to_leave_the_folder(shard: Shard, encoder: TileEncoder, name: str) -> None:
    shard.slides[0]["slide_id"] = name
    with pytest.raises(InputError, match="cannot be a file name"):
        embed_shard.embed_shard(shard.slides, shard.tiled, shard.root, encoder, EmbedSettings())
    assert not (shard.root / "features").exists()


KILLED = """
import sys, time
sys.path[:0] = {paths!r}
import test_features as here
from mirror.features import embed
real = embed.iterate_tiles
def slow(slide, *args, **kwargs):
    for item in real(slide, *args, **kwargs):
        if "nï" in str(slide):
            print("reading", flush=True)
            time.sleep(60)
        yield item
embed.iterate_tiles = slow
shard = here.Shard.__new__(here.Shard)
shard.root, shard.slides = here.Path({root!r}), {slides!r}
shard.tiled = here.pd.DataFrame(dict(slide_id=here.NAMES, status="ok", message=""))
encoder = here.TileEncoder(here.ROW, here.load_encoder(here.ROW), here.torch.device("cpu"), batch_size=4)
shard.run(encoder)
"""


@pytest.mark.fault(
    stage="processes",
    fault="kill -9 while embedding",
    sees="the job failed",
    survives="whole slides; half files count as nothing and go",
)
def test_kill_9_in_the_middle_of_a_slide(
    shard: Shard, encoder: TileEncoder, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [str(Path(__file__).parent), str(root / "tests" / "support"), str(root / "workflow" / "scripts")]
    code = KILLED.format(paths=paths, root=str(shard.root), slides=shard.slides)
    job = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert job.stdout is not None and job.stdout.readline().strip() == "reading"
    while not any(name.startswith(".ünï.") for name in shard.files()):  # it was read ahead of its turn
        time.sleep(0.05)
        assert job.poll() is None
    job.send_signal(signal.SIGKILL)
    job.wait()
    job.stdout.close()
    whole = {name for name in NAMES if shard.out(name).exists()}
    assert whole == {"a", "b c"} and all(is_complete(shard.out(name)) for name in whole)
    left = [shard.root / "features" / "enc" / name for name in shard.files() if ".part" in name]
    assert len(left) == 1 and not is_complete(left[0]), "what is half-written is not counted as done"
    before = {name: shard.out(name).stat().st_mtime_ns for name in whole}
    os.utime(left[0], (time.time() - 3600,) * 2)
    assert (shard.run(encoder)["status"] == "ok").all()
    assert before == {name: shard.out(name).stat().st_mtime_ns for name in whole}
    assert shard.files() == {f"{name}.h5" for name in NAMES}, "what the killed job left is gone"
    assert FeatureFile(shard.out("ünï")).n == 9


@pytest.mark.fault(
    stage="features",
    fault="a truncated feature file",
    sees="nothing; a reader says truncated or not HDF5",
    survives="it is made again",
)
def test_a_truncated_feature_file_is_made_again(shard: Shard, encoder: TileEncoder) -> None:
    shard.run(encoder)
    good = shard.out("a").read_bytes()
    shard.out("a").write_bytes(good[: len(good) // 2])
    with pytest.raises(InputError, match=r"a\.h5: the features file is truncated or not HDF5"):
        FeatureFile(shard.out("a"))
    assert (shard.run(encoder)["status"] == "ok").all() and FeatureFile(shard.out("a")).n == 9
