"""Slides that attack: files that are no files, bombs, programs, pictures that start other programs."""

from __future__ import annotations

import importlib
import io
import os
import struct
import threading
import time
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from safetensors.torch import save_file

from mirror.compute.torchvision_shim import ensure_torchvision
from mirror.config.slides import SlideSettings, TissueSettings
from mirror.core.errors import InputError
from mirror.slides.reading.jpeg_header import jpeg_size
from mirror.slides.reading.open import check_extent, open_slide
from mirror.slides.reading.plain_slide import PNG_MAGIC
from mirror.slides.tiling.shard import tile_shard
from mirror.slides.tiling.tile import tile_slide
from mirror.slides.tissue.model import check_model, segment_by_model
from mirror.slides.tissue.torchscript import audit
from slide_drawing import draw_tissue, write_svs

TILED = {"tile": (256, 256), "photometric": "rgb", "resolution": (40_000, 40_000), "resolutionunit": 3}


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return draw_tissue(512)


def fails(tmp_path: Path, path: Path, *words: str, within: float = 5.0, **settings) -> None:
    """A failed row with these words, within seconds and without hanging."""
    row = {"slide_id": "s", "patient_id": "p", "slide_path": str(path), "mpp": 0.25}
    done: list = []

    def work() -> None:
        done.append(tile_shard([row], SlideSettings(**settings), tmp_path / "out", tmp_path / "s.tsv"))

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(60)
    assert done, "it hangs"
    start = time.monotonic()
    with pytest.raises(InputError):
        tile_slide(path, "s", tmp_path / "again", SlideSettings(**settings), 0.25)
    assert time.monotonic() - start < within
    table = done[0]
    assert table["status"][0] == "failed"
    for word in words:
        assert word in table["message"][0]


@pytest.mark.fault(
    stage="security",
    fault="a FIFO, a socket, a device or a link to one as a slide, in a .mrxs folder or beside a DICOM slide",
    sees="the row of the slide: which file is what",
    survives="every other slide; nothing hangs",
)
@pytest.mark.parametrize("kind", ["fifo", "link", "device", "in a .mrxs folder", "beside a DICOM slide", "of a .vms"])
def test_what_is_no_regular_file_does_not_hang(tmp_path: Path, image: np.ndarray, kind: str):
    path, pipe = tmp_path / "s.svs", tmp_path / "pipe"
    os.mkfifo(pipe)
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "link":
        path.symlink_to(pipe)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "in a .mrxs folder":
        path = tmp_path / "s.mrxs"
        Image.fromarray(image).save(path, "JPEG")
        (tmp_path / "s").mkdir()
        (tmp_path / "s" / "Slidedat.ini").write_text("FILE_0 = Data0000.dat\n")
        os.mkfifo(tmp_path / "s" / "Data0000.dat")
    elif kind == "beside a DICOM slide":
        path = tmp_path / "s.dcm"
        path.write_bytes(bytes(128) + b"DICM" + bytes(100))
    else:
        path = tmp_path / "s.vms"
        path.write_text("[Virtual Microscope Specimen]\nImageFile=pipe\n")
    fails(tmp_path, path, "a character device" if kind == "device" else "a named pipe (FIFO)")


@pytest.mark.fault(
    stage="security",
    fault="EPS, PDF, WebP, GIF or BMP under the name of a picture",
    sees="the row of the slide: no format that is read",
    survives="Ghostscript is not started",
)
@pytest.mark.parametrize("kind", ["EPS", "GIF", "BMP", "WEBP"])
def test_pillow_opens_only_png_jpeg_and_tiff(tmp_path: Path, image: np.ndarray, kind: str, monkeypatch):
    from PIL import EpsImagePlugin

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *a, **k: pytest.fail("Ghostscript was started"))
    Image.fromarray(image).save(tmp_path / "s.png", kind)
    fails(tmp_path, tmp_path / "s.png", "is of no format")


def bomb(path: Path, side: int, depth: int = 1) -> Path:
    """A PNG of one colour that unpacks to side x side pixels."""
    packer = zlib.compressobj(9)
    row = b"\0" + bytes(3 * side)
    data = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()

    def chunk(tag: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + tag + body + struct.pack(">I", zlib.crc32(tag + body))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    path.write_bytes(PNG_MAGIC + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b""))
    return path


@pytest.mark.fault(
    stage="security",
    fault="a small PNG of very many pixels; a progressive JPEG of hundreds of scans",
    sees="the row of the slide: how much memory it needs and may take; how many scans",
    survives="every other slide; memory stays that of the job",
)
def test_a_picture_bomb_fails_by_the_memory_of_the_job(tmp_path: Path, image: np.ndarray):
    path = bomb(tmp_path / "s.png", 3000)
    assert path.stat().st_size < 60_000
    with pytest.raises(InputError, match="need 90 MB of memory, and a slide may take 50 MB"):
        open_slide(path, memory=50_000_000)
    with open_slide(path, memory=100_000_000) as slide:
        assert slide.width == 3000


def test_a_jpeg_of_many_scans_is_refused(tmp_path: Path, image: np.ndarray):
    path = tmp_path / "s.jpg"
    Image.fromarray(image).save(path, progressive=True)
    with open_slide(path) as slide:
        assert slide.width == 512
    data = path.read_bytes()
    last = data.rindex(b"\xff\xda")
    path.write_bytes(data[:last] + data[last:-2] * 200 + b"\xff\xd9")
    fails(tmp_path, path, "progressive JPEG of more than 100 scans")


@pytest.mark.fault(
    stage="security",
    fault="a TIFF of kilobytes that claims 200,000 px square by tiles that share their bytes",
    sees="the row of the slide: the claim and the bytes it is drawn from",
    survives="every other slide, within seconds",
)
def test_tiles_that_share_their_bytes_are_refused(tmp_path: Path):
    path, side = tmp_path / "s.tif", 200_000
    blank = np.full((1024, 1024, 3), 200, np.uint8)
    columns = -(-side // 1024)

    def tiles():
        yield blank
        for _ in range(columns**2 - 1):
            yield None

    tifffile.imwrite(path, tiles(), shape=(side, side, 3), dtype=np.uint8, compression="zlib",
                     **TILED | {"tile": (1024, 1024)})  # fmt: skip
    with tifffile.TiffFile(path, mode="r+") as tif:
        tags = tif.pages.first.tags
        first = tags["TileOffsets"].value[0], tags["TileByteCounts"].value[0]
        count = columns**2
        offsets, counts = tags["TileOffsets"], tags["TileByteCounts"]
        offsets.overwrite((first[0],) * count)
        counts.overwrite((first[1],) * count)
    assert path.stat().st_size < 2_000_000
    with open_slide(path) as slide, pytest.raises(InputError, match="claims 200,000 x 200,000 px drawn from"):
        check_extent(slide)
    fails(tmp_path, path, "claims 200,000 x 200,000 px drawn from", within=20)


def test_a_tile_that_claims_another_size_is_not_decoded(tmp_path: Path, image: np.ndarray):
    """A JPEG tile whose frame says 60,000 px square would take 10 GB."""
    path = write_svs(tmp_path / "s.svs", draw_tissue(1024), ())
    with tifffile.TiffFile(path) as tif:
        page = tif.pages.first
        offset, count = page.dataoffsets[5], page.databytecounts[5]
    data = bytearray(path.read_bytes())
    frame = data.index(b"\xff\xc0", offset, offset + count)
    data[frame + 5 : frame + 9] = struct.pack(">HH", 60_000, 60_000)
    assert jpeg_size(bytes(data[offset : offset + count])) == (60_000, 60_000)
    path.write_bytes(data)
    with open_slide(path) as slide, pytest.raises(InputError, match="pixels cannot be read"):
        slide.read(0, 256, 256, 256, 256)
    four = tmp_path / "f.ome.tif"
    tifffile.imwrite(four, draw_tissue(1024), compression="jpeg", metadata={"axes": "YXS"}, **TILED)
    with tifffile.TiffFile(four) as tif:
        offset, count = tif.pages.first.dataoffsets[5], tif.pages.first.databytecounts[5]
    data = bytearray(four.read_bytes())
    frame = data.index(b"\xff\xc0", offset, offset + count)
    data[frame + 5 : frame + 9] = struct.pack(">HH", 60_000, 60_000)
    four.write_bytes(data)
    with open_slide(four) as slide, pytest.raises(InputError, match="claims 60,000 x 60,000 px"):
        slide.read(0, 256, 256, 256, 256)


@pytest.mark.fault(
    stage="slides",
    fault="a slide that takes longer than slides.max_minutes to read",
    sees="the row of the slide: the time limit; it is not tried again",
    survives="every other slide",
)
def test_a_slide_has_a_time_limit(tmp_path: Path, image: np.ndarray):
    path = write_svs(tmp_path / "s.svs", draw_tissue(1024), ())
    fails(tmp_path, path, "time limit of a slide", "slides.max_minutes", max_minutes=1e-7)


# ----------------------------------------------------------------------------------- segmentation models


class Plain(torch.nn.Module):
    """A harmless model; subclasses do something else besides."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.Conv2d(4, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.layers(x))


class Saves(Plain):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        torch.save([x], "owned_by_a_model")
        return torch.sigmoid(self.layers(x))


class Reads(Plain):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.layers(x)) + torch.from_file("/etc/passwd", False, 10, dtype=torch.uint8).sum() * 0


class Prints(Plain):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        print("seen")
        return torch.sigmoid(self.layers(x))


class SavesBelow(Plain):
    """The operator sits in a submodule and in a branch that is never taken."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Saves()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x) if x.shape[0] > 5 else torch.sigmoid(self.layers(x))


def script(model: torch.nn.Module, path: Path) -> Path:
    torch.jit.script(model.eval()).save(str(path))
    return path


@pytest.mark.fault(
    stage="security",
    fault="a TorchScript tissue model that saves, reads or prints",
    sees="the operator and the file of its code; take weights of a known network instead",
    survives="nothing of it has run, no file was written or read",
)
@pytest.mark.parametrize(
    ("model", "operator"),
    [(Saves, "torch.save"), (SavesBelow, "torch.save"), (Reads, "torch.from_file"), (Prints, "print")],
)
def test_a_model_that_reaches_outside_is_refused(tmp_path: Path, model: type, operator: str, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = TissueSettings(method="torchscript", model_path=str(script(model(), tmp_path / "m.pt")))
    with pytest.raises(InputError, match=rf"calls `{operator}`.*safetensors"):
        check_model(settings)
    assert not (tmp_path / "owned_by_a_model").exists()


def test_a_harmless_model_runs_and_is_called_code(tmp_path: Path, image: np.ndarray, caplog):
    path = script(Plain(), tmp_path / "m.pt")
    settings = TissueSettings(method="torchscript", model_path=str(path))
    with caplog.at_level("WARNING"):
        check_model(settings)
    assert "runs as code" in caplog.text
    assert segment_by_model(image, 8.0, settings).tissue.shape == (512, 512)


def test_two_entries_of_one_name_are_refused(tmp_path: Path):
    """What one reader of zip files sees, another need not."""
    data = io.BytesIO(script(Plain(), tmp_path / "m.pt").read_bytes())
    with zipfile.ZipFile(data, "a") as archive, pytest.warns(UserWarning):
        archive.writestr(next(n for n in archive.namelist() if n.endswith(".py")), b"# another")
    with pytest.raises(InputError, match="two entries of one name"):
        audit(data.getvalue(), tmp_path / "m.pt", "s")


def test_weights_of_a_known_network_do_not_run_as_code(tmp_path: Path, image: np.ndarray):
    ensure_torchvision()
    torch.manual_seed(0)
    networks = importlib.import_module("torchvision.models.segmentation")
    network = networks.lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=1)
    path = tmp_path / "m.safetensors"
    save_file(network.state_dict(), path)
    settings = TissueSettings(method="safetensors", model_path=str(path), architecture="lraspp_mobilenet_v3_large")
    check_model(settings)
    found = segment_by_model(image, 8.0, settings).tissue
    with torch.inference_mode():
        mean, spread = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        pixels = (torch.from_numpy(image).float() / 255 - mean) / spread
        want = network.eval()(pixels.permute(2, 0, 1)[None])["out"][0, 0] > 0
    assert not (found & ~want.numpy()).any() and found.sum() >= 0.5 * int(want.sum())
    with pytest.raises(InputError, match="does not fit deeplabv3_resnet50"):
        check_model(settings.model_copy(update={"architecture": "deeplabv3_resnet50"}))
    path.write_bytes(b"no safetensors")
    with pytest.raises(InputError, match="no whole safetensors file"):
        check_model(settings)
