"""Embedding a slide: what is written, what is done again, what is shared between projects."""

from __future__ import annotations

import ast
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mirror.config.slides import EmbedSettings
from mirror.core.code_hash import imported_files
from mirror.core.errors import InputError
from mirror.encoders.build import load_encoder
from mirror.encoders.run import TileEncoder
from mirror.encoders.table import EncoderRow
from mirror.features import embed
from mirror.features.embed import SlideJob, embed_slide
from mirror.features.focus import focus_score
from mirror.io.features import FeatureFile, is_complete
from mirror.io.tiles import TileTable, write_tiles
from mirror.slides.reading.fingerprint import fingerprint

SIDE = 32
ROW = EncoderRow(
    name="enc", timm_id="resnet10t", arguments={"features_only": True, "out_indices": [1], "zero_init_last": False},
    width=64, input_px=32, pooling="avg", weights="random", licence="none", source="here",
)  # fmt: skip


@pytest.fixture(scope="module")
def encoder() -> TileEncoder:
    return TileEncoder(ROW, load_encoder(ROW), torch.device("cpu"), batch_size=5)


def pixels(seed: int = 0, side: int = 160) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


class Project:
    """A folder of slides with tile files."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def slide(self, name: str = "s", seed: int = 0, n: int = 12, tiling: str = "t1") -> Path:
        """Write a plain image and ``n`` tiles on it."""
        path = self.root / f"{name}.png"
        self.root.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels(seed)).save(path)
        grid = np.stack(np.meshgrid(np.arange(5) * SIDE, np.arange(5) * SIDE), axis=-1).reshape(-1, 2)[:n]
        about = {"patch_size": SIDE, "patch_size_level0": SIDE, "level0_magnification": 20, "name": name}
        info = {"fingerprint": fingerprint(path), "settings_hash": tiling, "mpp": 0.5}
        share = np.ones(n, np.float32)
        write_tiles(self.root / "tiles" / f"{name}.h5", TileTable(grid, share, share, about, info))
        return path

    def job(self, encoder: TileEncoder, name: str = "s", **settings: Any) -> SlideJob:
        tiles, out = self.root / "tiles" / f"{name}.h5", self.root / "features" / encoder.row.name / f"{name}.h5"
        return SlideJob(name, self.root / f"{name}.png", tiles, out, encoder, EmbedSettings(**settings))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "one")


def expected(encoder: TileEncoder, coords: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    image = pixels(seed)
    tiles = np.stack([image[y : y + SIDE, x : x + SIDE] for x, y in coords])
    return encoder.forward(torch.from_numpy(tiles)).numpy(), focus_score(tiles)


def shuffled(real: Callable[..., Any]) -> Callable[..., Any]:
    def iterate(slide: Any, coords: np.ndarray, *args: Any, **kwargs: Any) -> Any:
        order = np.random.default_rng(0).permutation(len(coords))
        for rows, tiles in real(slide, coords[order], *args, **kwargs):
            yield order[rows], tiles

    return iterate


@pytest.mark.parametrize("any_order", [False, True])
def test_features_focus_coordinates_and_attributes(
    project: Project, encoder: TileEncoder, any_order: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.slide()
    if any_order:
        monkeypatch.setattr(embed, "iterate_tiles", shuffled(embed.iterate_tiles))
    job = project.job(encoder, dtype="float32")
    result = embed_slide(job)
    assert (result.status, result.n_tiles, result.width, result.message) == ("ok", 12, 64, "")
    file = FeatureFile(job.out)
    features, focus = expected(encoder, file.coords)
    np.testing.assert_allclose(file.all(), features, atol=1e-5)
    np.testing.assert_allclose(file.focus, focus, rtol=1e-6)
    np.testing.assert_array_equal(file.coords, job.table.coords)
    assert file.coord_attrs == job.table.grid
    about = file.attrs
    assert about["encoder"] == "enc" and about["mpp"] == 0.5 and about["fingerprint"] == result.fingerprint
    assert about["complete"] and about["precision"] == "float32"


def test_float16_is_the_default(project: Project, encoder: TileEncoder) -> None:
    project.slide()
    job = project.job(encoder)
    embed_slide(job)
    features, _ = expected(encoder, job.table.coords)
    np.testing.assert_allclose(FeatureFile(job.out).all(), features, rtol=2e-3, atol=1e-4)


def test_a_slide_without_tiles(project: Project, encoder: TileEncoder) -> None:
    project.slide(n=0)
    job = project.job(encoder)
    assert embed_slide(job).status == "empty"
    file = FeatureFile(job.out)
    assert file.all().shape == (0, 64) and file.coords.shape == (0, 2) and is_complete(job.out)


def never(*_: Any, **__: Any) -> Any:
    raise AssertionError("the slide was read")
    yield


def test_only_what_is_missing_or_changed_is_done(
    project: Project, encoder: TileEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.slide()
    first = embed_slide(project.job(encoder))
    with monkeypatch.context() as patched:
        patched.setattr(embed, "iterate_tiles", never)
        assert embed_slide(project.job(encoder)) == first
        assert embed_slide(project.job(encoder, batch_size=3, readers=1)) == first
        other = TileEncoder(ROW.model_copy(update={"seed": 1}), load_encoder(ROW), torch.device("cpu"))
        for job in (project.job(encoder, dtype="float32"), project.job(other)):
            with pytest.raises(AssertionError, match="was read"):
                embed_slide(job)
        project.slide(tiling="t2")
        with pytest.raises(AssertionError, match="was read"):
            embed_slide(project.job(encoder))
    assert embed_slide(project.job(encoder)).status == "ok"


def test_features_outlive_their_slide_but_not_its_replacement(project: Project, encoder: TileEncoder) -> None:
    path = project.slide()
    first = embed_slide(project.job(encoder))
    path.rename(path.with_suffix(".moved"))
    assert embed_slide(project.job(encoder)) == first
    Image.fromarray(pixels(9)).save(path)
    with pytest.raises(InputError, match=r"replaced after it was tiled.*--forcerun tile_slides"):
        embed_slide(project.job(encoder))


def test_a_slide_replaced_while_it_is_embedded(
    project: Project, encoder: TileEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, real = project.slide(), embed.iterate_tiles

    def replacing(*args: Any, **kwargs: Any) -> Any:
        yield from real(*args, **kwargs)
        Image.fromarray(pixels(9)).save(path)

    monkeypatch.setattr(embed, "iterate_tiles", replacing)
    job = project.job(encoder)
    with pytest.raises(InputError, match="replaced after it was tiled"):
        embed_slide(job)
    assert not job.out.exists()


def test_projects_share_by_content(tmp_path: Path, encoder: TileEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two, share = Project(tmp_path / "one"), Project(tmp_path / "two"), str(tmp_path / "share")
    one.slide()
    first = one.job(encoder, share_dir=share)
    embed_slide(first)
    monkeypatch.setattr(embed, "iterate_tiles", never)
    two.slide()
    second = two.job(encoder, share_dir=share)
    assert embed_slide(second).status == "ok"
    assert os.path.samefile(first.out, second.out)
    assert is_complete(second.out, fingerprint=second.fingerprint)
    two.slide("another name")
    third = two.job(encoder, "another name", share_dir=share)
    embed_slide(third)
    np.testing.assert_array_equal(FeatureFile(third.out).all(), FeatureFile(first.out).all())
    assert FeatureFile(third.out).coord_attrs["name"] == "another name"
    assert FeatureFile(first.out).coord_attrs["name"] == "s"
    embed_slide(third)


def test_pixels_are_read_as_the_tiling_settings_say(
    project: Project, encoder: TileEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.slide()
    job = project.job(encoder)
    table, seen, real = job.table, [], embed.iterate_tiles
    info = table.info | {"settings": {"backend": "openslide"}}
    write_tiles(job.tiles, TileTable(table.coords, table.tissue_fraction, table.pen_fraction, table.grid, info))
    monkeypatch.setattr(embed, "iterate_tiles", lambda *args: seen.append(args[6]) or real(*args))
    embed_slide(project.job(encoder))
    assert seen == ["openslide"]


def test_the_end_of_reading_is_told_while_the_encoder_works(
    project: Project, encoder: TileEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the next slide is read meanwhile; told once."""
    project.slide()
    told, real, calls = [], TileEncoder.forward, []

    def slow(self: TileEncoder, tiles: torch.Tensor) -> torch.Tensor:
        time.sleep(0.2)
        calls.append(len(told))
        return real(self, tiles)

    monkeypatch.setattr(TileEncoder, "forward", slow)
    embed_slide(project.job(encoder), lambda: told.append(1))
    assert told == [1] and calls[-1] == 1, "told before the last batch was encoded"


def test_nothing_is_shared_that_differs(tmp_path: Path, encoder: TileEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another slide, tiling, tile set, row, weights, precision, type or code is another key."""
    one, share = Project(tmp_path / "one"), str(tmp_path / "share")
    one.slide()
    embed_slide(one.job(encoder, share_dir=share))
    monkeypatch.setattr(embed, "iterate_tiles", never)
    module, cpu = load_encoder(ROW), torch.device("cpu")
    weights = load_encoder(ROW.model_copy(update={"seed": 3}))
    cases: dict[str, tuple[dict[str, Any], TileEncoder, dict[str, Any]]] = {
        "slide": ({"seed": 1}, encoder, {}),
        "tiling": ({"tiling": "t2"}, encoder, {}),
        "tiles": ({"n": 11}, encoder, {}),
        "row": ({}, TileEncoder(ROW.model_copy(update={"mean": (0.4, 0.4, 0.4)}), module, cpu), {}),
        "weights": ({}, TileEncoder(ROW, weights, cpu), {}),
        "precision": ({}, TileEncoder(ROW, load_encoder(ROW), cpu, "bfloat16"), {}),
        "dtype": ({}, encoder, {"dtype": "float32"}),
    }
    for name, (slide, running, settings) in cases.items():
        other = Project(tmp_path / name)
        other.slide(**slide)
        with pytest.raises(AssertionError, match="was read"):
            embed_slide(other.job(running, share_dir=share, **settings))
    same = Project(tmp_path / "code")
    same.slide()
    versions = embed.library_versions()
    others = [("code_hash", lambda _: "another")]
    others += [("library_versions", lambda v={**versions, k: "0"}: v) for k in versions]
    for name, value in others:
        with monkeypatch.context() as patched, pytest.raises(AssertionError, match="was read"):
            patched.setattr(embed, name, value)
            embed.code_version.cache_clear()
            embed_slide(same.job(encoder, share_dir=share))
    embed.code_version.cache_clear()
    assert embed_slide(same.job(encoder, share_dir=share)).status == "ok"


def test_every_library_that_shapes_features_is_in_the_key() -> None:
    """What `embed.py` imports, directly or not, beyond the standard library and what touches no pixel."""
    harmless = {"h5py", "huggingface_hub", "numpy", "pandas", "pydantic", "safetensors", "tqdm", "yaml", "mirror"}
    found: set[str] = set()
    for file in imported_files(embed.__file__):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                found.add(node.module.split(".")[0])
    used = {{"PIL": "pillow"}.get(name, name) for name in found - harmless - set(sys.stdlib_module_names)}
    assert used <= set(embed.library_versions()), "a changed version would go unnoticed"
    assert {"cv2", "openslide", "pillow", "timm", "torch"} <= used


def test_a_damaged_or_renamed_shared_file_is_not_used(tmp_path: Path, encoder: TileEncoder) -> None:
    one, two, share = Project(tmp_path / "one"), Project(tmp_path / "two"), tmp_path / "share"
    one.slide()
    embed_slide(one.job(encoder, share_dir=str(share)))
    (held,) = share.rglob("*.h5")
    content = bytearray(held.read_bytes())
    content[len(content) // 2] ^= 255
    held.unlink()
    held.write_bytes(content)
    two.slide()
    job = two.job(encoder, share_dir=str(share))
    embed_slide(job)
    features, _ = expected(encoder, job.table.coords)
    np.testing.assert_allclose(FeatureFile(job.out).all(), features, rtol=2e-3, atol=1e-4)


def test_a_share_that_cannot_be_written_stops_nothing(project: Project, encoder: TileEncoder, tmp_path: Path) -> None:
    (tmp_path / "share").write_text("a file, not a folder")
    project.slide()
    assert embed_slide(project.job(encoder, share_dir=str(tmp_path / "share"))).status == "ok"
