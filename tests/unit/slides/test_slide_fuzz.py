"""Small valid slides in several writings with one random lie: a row or a warning names it, or nothing changes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mirror.config.slides import SlideSettings
from mirror.io.tiles import read_tiles
from mirror.slides.tiling.shard import attempt
from mirror.slides.tiling.tile import slide_files
from slide_drawing import draw_tissue, write_svs

IMAGE = draw_tissue(512)
USED = SlideSettings(tile={"size_px": 32}, thumbnail_px=256)
UM = 0.5
HONEST = "mpp 0.5 taken from the TIFF resolution|objective power 40 does not fit mpp 0.5; mpp is trusted"


def tags(um: float = UM) -> dict:
    return {"resolution": (10_000 / um, 10_000 / um), "resolutionunit": 3}


def plain(path: Path, image: np.ndarray, **more) -> Path:
    """A tiled TIFF whose tags say the resolution."""
    options = {"tile": (128, 128), "photometric": "rgb", "compression": "zlib"} | tags() | more
    tifffile.imwrite(path, image, **options)
    return path


def ome(path: Path, image: np.ndarray, **more) -> Path:
    size = {
        "axes": "YXS",
        "PhysicalSizeX": UM,
        "PhysicalSizeY": UM,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeYUnit": "µm",
    }
    return plain(path.with_suffix(".ome.tif"), image, metadata=size, **more)


def svs(path: Path, image: np.ndarray, **more) -> Path:
    return write_svs(path.with_suffix(".svs"), image, (), UM, **more)


WRITERS = {"tiff": plain, "ome": ome, "svs": svs}


def tiled(path: Path, out: Path, mpp: float | None = None) -> tuple[str, str, list]:
    """Status, message without what is said of honest files, and coordinates."""
    result = attempt({"slide_id": "s", "slide_path": str(path), "mpp": mpp}, USED, out)
    coords = read_tiles(slide_files(out, "s")[0]).coords.tolist() if result.status == "ok" else []
    return result.status, re.sub(rf"({HONEST})(; )?", "", result.message), coords


def cut(path: Path, share: float) -> Path:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    return path


def with_first(write: Callable, path: Path, first: np.ndarray) -> Path:
    """A small picture on the first page, the slide behind it."""
    path = path.with_suffix(".tif")
    with tifffile.TiffWriter(path) as tif:
        tif.write(first, photometric="rgb", compression="zlib", **tags())
        tif.write(IMAGE, photometric="rgb", compression="zlib", tile=(128, 128), **tags())
    return path


def wide(values: np.ndarray) -> np.ndarray:
    return values.astype(np.uint16) * 16


NAMED: dict[str, Callable[[Callable, Path, float], tuple[Path, float | None]]] = {
    "cut": lambda w, p, x: (cut(w(p, IMAGE), 0.1 + 0.7 * x), None),
    "12 bits": lambda w, p, x: (plain(p, wide(IMAGE)), None),
    "blue and red": lambda w, p, x: (w(p, np.ascontiguousarray(IMAGE[..., ::-1])), None),
    "mpp of the table": lambda w, p, x: (w(p, IMAGE), UM * (2 + 2 * x)),
    "mpp in the table's place of the magnification": lambda w, p, x: (w(p, IMAGE), 20.0 + 20 * round(x)),
    "no resolution": lambda w, p, x: (plain(p, IMAGE, resolution=(1, 1), resolutionunit=1), None),
    "72 dots per inch": lambda w, p, x: (plain(p, IMAGE, resolution=(72, 72), resolutionunit=2), None),
    "grey": lambda w, p, x: (w(p, np.repeat(IMAGE.mean(2, keepdims=True).astype(np.uint8), 3, 2)), None),
    "black": lambda w, p, x: (w(p, np.zeros_like(IMAGE)), None),
    "glass": lambda w, p, x: (w(p, np.full_like(IMAGE, 243)), None),
    "smaller than a tile": lambda w, p, x: (plain(p, IMAGE[:20, :20], tile=(16, 16)), None),
    "a label first": lambda w, p, x: (with_first(w, p, IMAGE[: 64 + int(64 * x), :200]), None),
    "text": lambda w, p, x: ((p.write_text("slide"), p)[1], None),
}
HARMLESS: dict[str, Callable[[Path], Path]] = {
    "strips": lambda p: plain(p, IMAGE, tile=None),
    "other tiles": lambda p: plain(p, IMAGE, tile=(64, 256)),
    "LZW": lambda p: plain(p, IMAGE, compression="lzw"),
    "planes": lambda p: plain(p, np.moveaxis(IMAGE, 2, 0), planarconfig="separate"),
    "an opaque fourth channel": lambda p: plain(
        p, np.dstack([IMAGE, np.full((512, 512), 255, np.uint8)]), extrasamples=["unspecified"]
    ),
    "big": lambda p: plain(p, IMAGE, bigtiff=True),
    "the other byte order": lambda p: plain(p, IMAGE, byteorder=">"),
    "per inch": lambda p: plain(p, IMAGE, resolution=(25_400 / UM, 25_400 / UM), resolutionunit=2),
}


@settings(max_examples=24, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lie=st.sampled_from(sorted(NAMED)), form=st.sampled_from(sorted(WRITERS)), x=st.floats(0, 1))
def test_a_lie_is_named(tmp_path_factory: pytest.TempPathFactory, lie: str, form: str, x: float) -> None:
    folder = tmp_path_factory.mktemp("lie")
    path, mpp = NAMED[lie](WRITERS[form], folder / "s.tif", x)
    _, message, _ = tiled(path, folder / "out", mpp)
    assert message, (lie, form, x)


@pytest.mark.parametrize("form", sorted(WRITERS))
def test_without_a_lie_nothing_is_said(tmp_path: Path, form: str) -> None:
    status, message, coords = tiled(WRITERS[form](tmp_path / "s.tif", IMAGE), tmp_path / "out")
    assert status == "ok" and len(coords) > 50
    assert message == ""


@pytest.mark.parametrize("what", sorted(HARMLESS))
def test_another_writing_gives_the_same_tiles(tmp_path: Path, what: str) -> None:
    honest = tiled(plain(tmp_path / "a.tif", IMAGE), tmp_path / "honest")
    assert honest[0] == "ok" and tiled(HARMLESS[what](tmp_path / "b.tif"), tmp_path / "out") == honest
