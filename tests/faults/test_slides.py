"""Each way a slide can be bad is one clear line in the shard's table; the other slides go on."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
import unicodedata
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mirror.config.slides import EmbedSettings, SlideSettings
from mirror.core.errors import InputError
from mirror.encoders.run import TileEncoder
from mirror.encoders.table import find_encoder
from mirror.features.shard import embed_shard
from mirror.io.tiles import read_tiles
from mirror.slides.reading.fingerprint import find_duplicates, fingerprint
from mirror.slides.tiling import tile as tile_module
from mirror.slides.tiling.shard import COLUMNS, tile_shard
from slide_drawing import draw_tissue, write_svs

SETTINGS = SlideSettings()


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_svs(tmp_path_factory.mktemp("good") / "good.svs", draw_tissue(1536))


def row(path: Path | str, name: str = "bad", mpp: float | None = None) -> dict:
    return {"slide_id": name, "patient_id": "P1", "slide_path": str(path), "mpp": mpp}


def shard(tmp_path: Path, *rows: dict) -> pd.DataFrame:
    tile_shard(rows, SETTINGS, tmp_path / "out", tmp_path / "out" / "shard_0.tsv", threads=2)
    table = pd.read_csv(tmp_path / "out" / "shard_0.tsv", sep="\t", keep_default_na=False)
    assert tuple(table.columns) == COLUMNS
    assert list(table["slide_id"]) == [unicodedata.normalize("NFC", r["slide_id"]) for r in rows]
    return table.set_index("slide_id")


def fails(tmp_path: Path, good: Path, path: Path | str, *words: str, mpp: float | None = None) -> None:
    """The slide at ``path`` fails in one line with these words, and its neighbours do not."""
    table = shard(tmp_path, row(good, "before"), row(path, mpp=mpp), row(good, "after", 0.26))
    bad = table.loc["bad"]
    assert bad["status"] == "failed"
    for word in (*words, Path(path).name):
        assert word in bad["message"]
    assert "\n" not in bad["message"]
    assert list(table.loc[["before", "after"], "status"]) == ["ok", "ok"]
    assert not (tmp_path / "out" / "tiles" / "bad.h5").exists()
    assert not list((tmp_path / "out").rglob("*.part*"))


@pytest.mark.fault(
    stage="slides",
    fault="the slide file is not there",
    sees="the row of the slide: no such file",
    survives="every other slide",
)
def test_missing_file(tmp_path: Path, good: Path):
    fails(tmp_path, good, tmp_path / "nowhere.svs", "no such file")


@pytest.mark.fault(
    stage="slides", fault="a slide of 0 bytes", sees="the row of the slide: zero bytes", survives="every other slide"
)
def test_zero_bytes(tmp_path: Path, good: Path):
    (tmp_path / "zero.svs").touch()
    fails(tmp_path, good, tmp_path / "zero.svs", "zero bytes")


@pytest.mark.fault(
    stage="slides",
    fault="a git-LFS pointer in place of a slide",
    sees="git-LFS pointer, and to run `git lfs pull`",
    survives="every other slide",
)
def test_git_lfs_pointer(tmp_path: Path, good: Path):
    path = tmp_path / "pointer.svs"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 99\n")
    fails(tmp_path, good, path, "git-LFS pointer", "git lfs pull")


@pytest.mark.fault(
    stage="slides", fault="a file that is no image", sees="no format reads it", survives="every other slide"
)
def test_not_an_image(tmp_path: Path, good: Path):
    path = tmp_path / "text.svs"
    path.write_text("this is no slide" * 100)
    fails(tmp_path, good, path, "no format")


@pytest.mark.fault(
    stage="slides", fault="a folder under a slide's name", sees="that it is a folder", survives="every other slide"
)
def test_a_folder(tmp_path: Path, good: Path):
    (tmp_path / "folder.svs").mkdir()
    fails(tmp_path, good, tmp_path / "folder.svs", "folder")


@pytest.mark.fault(
    stage="slides",
    fault="a download cut at 10, 50, 90 or 99.5 %",
    sees="the row of the slide, in one line",
    survives="every other slide",
)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.995])
def test_truncated(tmp_path: Path, good: Path, share: float):
    data = good.read_bytes()
    (tmp_path / "cut.svs").write_bytes(data[: int(len(data) * share)])
    fails(tmp_path, good, tmp_path / "cut.svs")


@pytest.mark.fault(
    stage="slides", fault="a cut slide whose overview still reads", sees="truncated", survives="every other slide"
)
def test_truncated_where_the_overview_is_still_whole(tmp_path: Path, good: Path):
    """A file whose directories come first opens, and its small level reads, though its pixels are cut off."""
    import tifffile

    path = tmp_path / "late.svs"
    shutil.copy(good, path)
    with tifffile.TiffFile(path, mode="r+b") as tif:
        page = tif.pages[0]
        offsets = list(page.dataoffsets)
        offsets[-3] = path.stat().st_size + 10_000
        page.tags["TileOffsets"].overwrite(offsets)
    fails(tmp_path, good, path, "truncated")


@pytest.mark.fault(
    stage="slides", fault="real broken slides", sees="the row of the slide, in one line", survives="every other slide"
)
@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("unreadable.svs", "pixels cannot be read"),
        ("unopenable.tiff", "cannot be opened"),
        ("boxes.tiff", "column `mpp`"),
        ("small.svs", "smaller than one tile"),
        ("sm_image.dcm", "smaller than one tile"),
    ],
)
def test_real_bad_slides(tmp_path: Path, good: Path, test_data: Path, name: str, word: str):
    fails(tmp_path, good, test_data / "slides" / name, word)


@pytest.mark.fault(
    stage="slides",
    fault="an absurd resolution (mpp 40) in the slide table",
    sees="mpp 40, and the column to correct",
    survives="every other slide",
)
def test_absurd_mpp_in_the_table(tmp_path: Path, good: Path):
    path = tmp_path / "other.svs"
    shutil.copy(good, path)
    fails(tmp_path, good, path, "mpp 40", "column `mpp`", mpp=40)


@pytest.mark.fault(
    stage="slides",
    fault="no resolution in file or table",
    sees="resolution unknown: fill the column `mpp`",
    survives="every other slide",
)
def test_no_resolution_anywhere(tmp_path: Path, good: Path):
    Image.fromarray(draw_tissue(600)).save(tmp_path / "plain.png")
    fails(tmp_path, good, tmp_path / "plain.png", "resolution unknown", "column `mpp`")
    assert shard(tmp_path, row(tmp_path / "plain.png", mpp=0.5)).loc["bad", "status"] == "ok"


@pytest.mark.fault(
    stage="slides",
    fault="glass without tissue; a fluorescence slide",
    sees="status `empty` with the reason",
    survives="every other slide",
)
def test_no_tissue_and_darkness_are_empty_not_failed(tmp_path: Path):
    write_svs(tmp_path / "glass.svs", np.full((1200, 1200, 3), 243, np.uint8))
    write_svs(tmp_path / "dark.svs", np.zeros((1200, 1200, 3), np.uint8))
    table = shard(tmp_path, row(tmp_path / "glass.svs", "glass"), row(tmp_path / "dark.svs", "dark"))
    assert list(table["status"]) == ["empty", "empty"]
    assert "no tile with enough tissue" in table.loc["glass", "message"]
    assert "fluorescence" in table.loc["dark", "message"]
    assert len(read_tiles(tmp_path / "out" / "tiles" / "glass.h5")) == 0


@pytest.mark.fault(
    stage="slides", fault="the same slide under two names", sees="same content as the other", survives="both, named"
)
def test_duplicates_by_content_are_named(tmp_path: Path, good: Path):
    shutil.copy(good, tmp_path / "copy.svs")
    write_svs(tmp_path / "third.svs", draw_tissue(1536, seed=5))
    table = shard(tmp_path, row(good, "a"), row(tmp_path / "copy.svs", "b"), row(tmp_path / "third.svs", "c"))
    assert "same content as b" in table.loc["a", "message"]
    assert "same content as a" in table.loc["b", "message"]
    assert table.loc["c", "message"] == ""
    rows = table.reset_index().to_dict("records")
    assert list(find_duplicates(rows).values()) == [["a", "b"]]


@pytest.mark.fault(
    stage="slides", fault="slide names with blanks, umlauts, kanji", sees="nothing: they work", survives="everything"
)
@pytest.mark.parametrize(
    "name", ["slide with blanks", "Präparat 7", unicodedata.normalize("NFD", "Präparat 7"), "スライド"]
)
def test_names_with_blanks_and_letters_of_any_script(tmp_path: Path, good: Path, root: Path, name: str):
    folder = tmp_path / name
    folder.mkdir()
    shutil.copy(good, folder / f"{name}.svs")
    rows, one_name = [row(folder / f"{name}.svs", name)], unicodedata.normalize("NFC", name)
    tiled = shard(tmp_path, *rows)
    assert tiled.loc[one_name, "status"] == "ok"
    assert (tmp_path / "out" / "tiles" / f"{one_name}.h5").is_file()
    settings = EmbedSettings(device="cpu")
    encoder = TileEncoder.load(find_encoder("demo-random", root / "config" / "encoders.yaml"), settings)
    embedded = embed_shard(rows, tiled.reset_index(), tmp_path / "out", encoder, settings, 1)
    assert list(embedded["status"]) == ["ok"] and list(embedded["slide_id"]) == [one_name]


@pytest.mark.fault(
    stage="slides",
    fault="path traversal in slide names",
    sees="an error that names the path separator",
    survives="nothing is written outside",
)
@pytest.mark.parametrize("name", ["../../evil", "/etc/evil", "a/../../b"])
def test_names_that_leave_the_folder_end_the_job(tmp_path: Path, good: Path, name: str):
    with pytest.raises(InputError, match="path separator"):
        shard(tmp_path, row(good, name))
    assert not list(tmp_path.rglob("*.h5"))


@pytest.mark.fault(
    stage="slides",
    fault="some outputs of a shard deleted",
    sees="nothing",
    survives="whole slides are kept, the missing made",
)
def test_a_rerun_does_only_what_is_missing(tmp_path: Path, good: Path):
    shutil.copy(good, tmp_path / "b.svs")
    rows = row(good, "a"), row(tmp_path / "b.svs", "b")
    first = shard(tmp_path, *rows)
    tiles = {name: tmp_path / "out" / "tiles" / f"{name}.h5" for name in "ab"}
    before = {name: path.stat().st_mtime_ns for name, path in tiles.items()}
    tiles["b"].unlink()
    again = shard(tmp_path, *rows)
    pd.testing.assert_frame_equal(first, again)
    assert tiles["a"].stat().st_mtime_ns == before["a"]
    assert tiles["b"].stat().st_mtime_ns != before["b"]


@pytest.mark.fault(
    stage="slides",
    fault="tiles of other settings, content or mpp; half files; garbage",
    sees="nothing",
    survives="the stale slide is made anew, the rest kept",
)
@pytest.mark.parametrize("change", ["settings", "content", "mpp", "half", "garbage"])
def test_stale_tiles_are_made_anew(tmp_path: Path, good: Path, change: str):
    path, out = tmp_path / "slide.svs", tmp_path / "out"
    shutil.copy(good, path)
    settings, mpp = SETTINGS, None
    tile_module.tile_slide(path, "s", out, settings)
    tiles = out / "tiles" / "s.h5"
    before = tiles.stat().st_mtime_ns
    if change == "settings":
        settings = SlideSettings(tile={"size_px": 128})
    elif change == "content":
        write_svs(path, draw_tissue(1536, seed=9))
    elif change == "mpp":
        mpp = 0.24
    elif change == "half":
        with h5py.File(tiles, "r+") as file:
            del file.attrs["complete"]
    else:
        tiles.write_bytes(b"half a file")
    tile_module.tile_slide(path, "s", out, settings, mpp)
    assert tiles.stat().st_mtime_ns != before
    assert read_tiles(tiles).info["fingerprint"] == fingerprint(path)


@pytest.mark.fault(
    stage="slides",
    fault="a slide that was tiled and then fails",
    sees="the row of the slide",
    survives="no older tiles pass for new",
)
def test_a_slide_that_fails_leaves_no_older_tiles(tmp_path: Path, good: Path):
    path = tmp_path / "slide.svs"
    shutil.copy(good, path)
    assert shard(tmp_path, row(path)).loc["bad", "status"] == "ok"
    path.write_bytes(good.read_bytes()[:5000])
    assert shard(tmp_path, row(path)).loc["bad", "status"] == "failed"
    assert not (tmp_path / "out" / "tiles" / "bad.h5").exists()


@pytest.mark.fault(
    stage="slides", fault="a read error that passes", sees="nothing: tried once more", survives="everything"
)
def test_a_passing_hiccup_is_retried_once(tmp_path: Path, good: Path, monkeypatch: pytest.MonkeyPatch):
    calls = []

    def flaky(*args: object) -> object:
        calls.append(args)
        if len(calls) == 1:
            raise OSError(errno.EIO, "Input/output error")
        return tile_module.tile_slide(*args)

    monkeypatch.setattr("mirror.slides.tiling.shard.tile_slide", flaky)
    assert shard(tmp_path, row(good)).loc["bad", "status"] == "ok"
    assert len(calls) == 2


@pytest.mark.fault(
    stage="disk",
    fault="full disk or no permission while tiling",
    sees="disk is full, or no permission, in one line",
    survives="finished slides",
)
@pytest.mark.parametrize(("code", "words"), [(errno.ENOSPC, "disk is full"), (errno.EACCES, "no permission")])
def test_a_full_disk_ends_the_job_in_one_line(
    tmp_path: Path, good: Path, monkeypatch: pytest.MonkeyPatch, code: int, words: str
):
    def full(*_: object) -> None:
        raise OSError(code, os.strerror(code), str(tmp_path / "out" / "tiles" / "bad.h5"))

    monkeypatch.setattr(tile_module, "write_tiles", full)
    with pytest.raises(InputError, match=words):
        shard(tmp_path, row(good))
    assert not (tmp_path / "out" / "shard_0.tsv").exists()
    assert not (tmp_path / "out" / "tiles" / "bad.h5").exists()


@pytest.mark.fault(
    stage="slides",
    fault="an unforeseen error on one slide",
    sees="the row of the slide with the error's name",
    survives="every other slide",
)
def test_any_other_error_is_a_row_too(tmp_path: Path, good: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("mirror.slides.tiling.shard.tile_slide", lambda *_: 1 / 0)
    bad = shard(tmp_path, row(good)).loc["bad"]
    assert bad["status"] == "failed" and "ZeroDivisionError" in bad["message"]


KILLED = """
import sys
sys.path[:0] = {path!r}
from mirror.config.slides import SlideSettings
from mirror.slides.tiling.shard import tile_shard
row = {{"patient_id": "p", "slide_path": {slide!r}}}
rows = [row | {{"slide_id": f"s{{i}}", "mpp": 0.25 + i / 1000}} for i in range(12)]
print("start", flush=True)
tile_shard(rows, SlideSettings(), {out!r}, {out!r} + "/shard_0.tsv", threads=2)
"""


@pytest.mark.fault(
    stage="processes",
    fault="kill -9 while tiling",
    sees="the job failed",
    survives="whole slides; the rerun ends as an undisturbed one",
)
@pytest.mark.parametrize("wait_s", [0.05, 0.2, 0.4])
def test_kill_9_leaves_only_whole_files_and_a_rerun_finishes(tmp_path: Path, good: Path, wait_s: float):
    out = tmp_path / "out"
    code = KILLED.format(path=sys.path, slide=str(good), out=str(out))
    run = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert run.stdout is not None
    run.stdout.readline()
    time.sleep(wait_s)
    run.send_signal(signal.SIGKILL)
    run.wait()
    kept = {}
    for path in (out / "tiles").glob("[!.]*.h5"):
        table = read_tiles(path)  # raises when anything half-written stands under a final name
        assert len(table) == table.info["n_tiles"] > 0
        kept[path] = path.stat().st_mtime_ns
    assert not (out / "shard_0.tsv").exists() or len(kept) == 12
    (out / "tiles").mkdir(parents=True, exist_ok=True)
    (out / "tiles" / ".s3.1.part.h5").write_bytes(b"left by the kill")
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    status = pd.read_csv(out / "shard_0.tsv", sep="\t")
    assert (status["status"] == "ok").all() and len(status) == 12
    assert all(path.stat().st_mtime_ns == kept[path] for path in kept)
    assert not list(out.rglob("*.part*"))
