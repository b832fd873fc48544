"""Bags: seeded by (seed, epoch, slide) and by nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mirror.core.errors import InputError
from mirror.dataset.bags import BagSource
from mirror.dataset.loader import BagLoader
from mirror.io.features import write_features
from training_world import arrays

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("features")
    paths = {}
    for slide, bag in arrays(6)[0].items():
        paths[slide] = folder / f"{slide}.h5"
        focus = np.linspace(0, 1, len(bag)).astype(np.float32)
        write_features(paths[slide], bag, np.zeros((len(bag), 2), int), encoder="toy", dtype="float32", focus=focus)
    return paths


def test_rows_come_from_the_slide_without_replacement_where_enough(files: dict[str, Path]) -> None:
    bags = arrays(6)[0]
    source = BagSource(files)
    for slide, whole in bags.items():
        few = min(5, len(whole))
        index = source.draw(slide, few, seed=1, epoch=0)
        assert len(set(index)) == few
        assert np.array_equal(source.bag(slide, few, 1, 0).numpy(), whole[index])
        many = source.draw(slide, len(whole) + 7, seed=1, epoch=0)
        assert len(many) == len(whole) + 7 and many.max() < len(whole)


def test_a_bag_follows_from_seed_epoch_and_slide(files: dict[str, Path]) -> None:
    source = BagSource(files)
    slide = next(iter(files))
    first = source.draw(slide, 6, 1, 0)
    assert np.array_equal(first, BagSource(files).draw(slide, 6, 1, 0))
    others = [source.draw(slide, 6, 2, 0), source.draw(slide, 6, 1, 1), source.draw(list(files)[1], 6, 1, 0)]
    assert not any(np.array_equal(first, other) for other in others)


def test_cached_read_and_array_sources_agree(files: dict[str, Path]) -> None:
    kept, read, given_arrays = BagSource(files, cache_gb=1.0), BagSource(files), BagSource(arrays(6)[0])
    assert kept.cached and not read.cached and given_arrays.cached
    for epoch in (0, 0, 1):
        batches = [s.batch(list(files), 10, 3, epoch) for s in (kept, read, given_arrays)]
        assert torch.equal(batches[0], batches[1]) and torch.equal(batches[0], batches[2])
    whole = kept.whole("S00a", 0, 3)
    whole.zero_()
    assert kept.whole("S00a", 0, 3).abs().sum() > 0, "the cache must not be changed through what it gave"


def test_the_cache_keeps_to_its_budget(files: dict[str, Path]) -> None:
    size = BagSource(files, cache_gb=1.0).gigabytes
    assert BagSource(files, cache_gb=size * 1.01).cached
    assert not BagSource(files, cache_gb=size * 0.99).cached


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_change_nothing(files: dict[str, Path], workers: int) -> None:
    slides = list(files)
    batches = [slides[:2], slides[2:5], slides[5:], slides[:3]]
    alone = BagLoader(BagSource(files), 7, 5, 0, 3, CPU)
    helped = BagLoader(BagSource(files), 7, 5, workers, 3, CPU)
    assert alone.workers == 0 and helped.workers == workers
    for epoch in (0, 1):
        for a, b in zip(alone.epoch(epoch, batches), helped.epoch(epoch, batches), strict=True):
            assert torch.equal(a, b)


def test_workers_are_given_up_where_shared_memory_is_short(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 100})
    monkeypatch.setattr("mirror.dataset.loader.shutil.disk_usage", lambda path: usage)
    assert BagLoader(BagSource(files), 7, 5, 2, 3, CPU).workers == 0


def test_raster_order_keeps_the_slide_s(files: dict[str, Path]) -> None:
    source = BagSource(files, order="raster")
    assert np.all(np.diff(source.draw("S00a", 6, 1, 0)) > 0)
    assert np.array_equal(source.whole("S00a", 0, 1).numpy(), arrays(6)[0]["S00a"])


def test_whole_is_every_patch_or_a_fixed_subset(files: dict[str, Path]) -> None:
    source, bag = BagSource(files), arrays(6)[0]["S01a"]
    everything = source.whole("S01a", 0, 1).numpy()
    assert sorted(map(tuple, everything)) == sorted(map(tuple, bag))
    subset = source.whole("S01a", 5, 1)
    assert len(subset) == 5 and torch.equal(subset, BagSource(files).whole("S01a", 5, 1))
    assert len(np.unique(subset.numpy(), axis=0)) == 5


def test_tiles_out_of_focus_are_left_out(files: dict[str, Path], caplog: pytest.LogCaptureFixture) -> None:
    bag = arrays(6)[0]["S02a"]
    sharp = bag[np.linspace(0, 1, len(bag)).astype(np.float32) >= 0.5]
    for cache in (0.0, 1.0):
        source = BagSource(files, cache_gb=cache, min_focus=0.5, order="raster")
        assert source.length("S02a") == len(sharp)
        assert np.array_equal(source.whole("S02a", 0, 1).numpy(), sharp)
        assert {tuple(r) for r in source.bag("S02a", 50, 1, 0).numpy()} <= {tuple(r) for r in sharp}
    assert BagSource(files, min_focus=2.0).length("S02a") == len(bag)
    assert "S02a" in caplog.text


def test_missing_empty_and_foreign_files_are_named(files: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.h5.*slide gone.*missing \(and those of 1 more"):
        BagSource({**files, "gone": tmp_path / "gone.h5", "gone2": tmp_path / "gone2.h5"})
    write_features(tmp_path / "empty.h5", np.zeros((0, 12)), np.zeros((0, 2), int), encoder="toy")
    with pytest.raises(InputError, match=r"slide empty.*no tiles"):
        BagSource({**files, "empty": tmp_path / "empty.h5"}).bag("empty", 3, 0, 0)
    write_features(tmp_path / "wide.h5", np.zeros((4, 13)), np.zeros((4, 2), int), encoder="toy")
    with pytest.raises(InputError, match="13 wide, where the other slides have 12"):
        BagSource({**files, "wide": tmp_path / "wide.h5"}).bag("wide", 3, 0, 0)


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 2**31), st.integers(0, 500))
def test_draws_are_valid_for_any_size(n: int, tokens: int, seed: int, epoch: int) -> None:
    source = BagSource({"s": np.zeros((n, 2), np.float32)})
    index = source.draw("s", tokens, seed, epoch)
    assert index.shape == (tokens,) and index.min() >= 0 and index.max() < n
    assert tokens > n or len(set(index.tolist())) == tokens


def test_forked_reading_leaves_no_file_open(files: dict[str, Path]) -> None:
    source = BagSource(files)
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for slide in files:
        source.bag(slide, 4, 0, 0)
    after = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    assert after == before
