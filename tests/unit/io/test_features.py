"""Feature files: what is written is read back, and half-written files do not exist."""

from __future__ import annotations

import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.core.errors import InputError
from mirror.io.features import FeatureFile, FeatureWriter, is_complete, write_features

ATTRS = {"patch_size": 256, "patch_size_level0": 508, "name": "s", "level0_magnification": None}


def grid(n: int) -> np.ndarray:
    return np.stack([np.arange(n) * 508, np.arange(n) * 7], axis=1)


def test_round_trip_keeps_values_order_and_attributes(tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal((50, 12)).astype(np.float32)
    focus = np.linspace(0, 1, 50, dtype=np.float32)
    path = tmp_path / "a slide ä.h5"
    write_features(path, values, grid(50), encoder="e", focus=focus, coord_attrs=ATTRS, attrs={"fingerprint": "f"})
    file = FeatureFile(path)
    assert (file.n, file.width, len(file)) == (50, 12, 50)
    index = np.array([7, 3, 3, 49, 0])
    np.testing.assert_array_equal(file.rows(index), values.astype(np.float16).astype(np.float32)[index])
    assert file.rows(index).dtype == np.float32
    np.testing.assert_array_equal(file.coords, grid(50))
    assert file.coords.dtype == np.int64
    assert file.coord_attrs == {**ATTRS, "level0_magnification": None}
    assert file.attrs["encoder"] == "e" and file.attrs["width"] == 12
    np.testing.assert_array_equal(file.focus, focus)
    np.testing.assert_array_equal(file.in_focus(0.5), np.flatnonzero(focus >= 0.5))
    assert len(file.in_focus(None)) == 50
    assert is_complete(path, fingerprint="f") and not is_complete(path, fingerprint="other")


@settings(max_examples=25, deadline=None)
@given(n=st.integers(0, 40), width=st.integers(1, 9), chunked=st.booleans(), data=st.data())
def test_rows_equal_numpy_indexing(
    tmp_path_factory: pytest.TempPathFactory, n: int, width: int, chunked: bool, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("rows") / "s.h5"
    values = np.arange(n * width, dtype=np.float32).reshape(n, width)
    if chunked and n:
        with h5py.File(path, "w") as file:
            file.create_dataset("features", data=values, chunks=(1, width), compression="gzip")
    else:
        write_features(path, values, grid(n), encoder="e", dtype="float32")
    index = np.array(data.draw(st.lists(st.integers(0, n - 1), max_size=30)) if n else [], dtype=np.int64)
    np.testing.assert_array_equal(FeatureFile(path).rows(index), values[index])
    np.testing.assert_array_equal(FeatureFile(path).all(), values)


def test_random_rows_cost_at_most_three_times_a_block(tmp_path: Path) -> None:
    n, width, take = 20_000, 512, 2048
    rng = np.random.default_rng(0)
    write_features(tmp_path / "s.h5", rng.standard_normal((n, width), np.float32), grid(n), encoder="e")
    file = FeatureFile(tmp_path / "s.h5")
    scattered, block = rng.choice(n, take, replace=False), np.arange(5000, 5000 + take)

    def cost(index: np.ndarray) -> float:
        start = time.thread_time()  # the file is in the page cache; other processes must not count
        file.rows(index)
        return time.thread_time() - start

    costs = np.array([(cost(scattered), cost(block)) for _ in range(15)])
    assert costs[:, 0].min() <= 3 * costs[:, 1].min()


def test_empty_slide_keeps_its_width(tmp_path: Path) -> None:
    write_features(tmp_path / "s.h5", np.empty((0, 5)), np.empty((0, 2)), encoder="e")
    file = FeatureFile(tmp_path / "s.h5")
    assert file.all().shape == (0, 5) and file.rows(np.array([], int)).shape == (0, 5) and file.coords.shape == (0, 2)


@pytest.mark.parametrize("index", [[-1], [3], [0, 99]])
def test_rows_outside_are_refused(tmp_path: Path, index: list[int]) -> None:
    write_features(tmp_path / "s.h5", np.zeros((3, 2)), grid(3), encoder="e")
    with pytest.raises(IndexError, match="of 3"):
        FeatureFile(tmp_path / "s.h5").rows(np.array(index))


def test_a_file_replaced_while_in_use_is_read_anew_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.h5"
    write_features(path, np.zeros((3, 2)), grid(3), encoder="e", dtype="float32")
    file = FeatureFile(path)
    write_features(path, np.ones((3, 2)), grid(3), encoder="longer name", dtype="float16")
    np.testing.assert_array_equal(file.all(), np.ones((3, 2)))
    write_features(path, np.ones((4, 2)), grid(4), encoder="e")
    with pytest.raises(InputError, match="replaced while in use"):
        file.all()


def test_what_cannot_be_stored_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "s.h5"
    with pytest.raises(InputError, match="NaN or infinity in 1 of 2 rows, first in row 1"):
        write_features(path, np.array([[0.0], [np.nan]]), grid(2), encoder="e")
    with pytest.raises(InputError, match=r"beyond what float16 holds.*dtype: float32"):
        write_features(path, np.full((2, 1), 1e5), grid(2), encoder="e")
    with pytest.raises(InputError, match="1 of 2 rows written"), FeatureWriter(path, grid(2), 1) as writer:
        writer.write(0, np.zeros((1, 1)))
    with pytest.raises(RuntimeError), FeatureWriter(path, grid(2), 1) as writer:
        raise RuntimeError("killed in the middle")
    assert list(tmp_path.iterdir()) == []


def test_files_are_readable_by_the_fields_own_readers(tmp_path: Path) -> None:
    """TRIDENT and CLAM open ``features`` and ``coords`` by name and take whole arrays."""
    write_features(tmp_path / "s.h5", np.ones((4, 3)), grid(4), encoder="e", coord_attrs=ATTRS)
    with h5py.File(tmp_path / "s.h5", "r") as file:
        features, coords = file["features"][:], file["coords"][:]
        assert features.shape == (4, 3) and features.dtype == np.float16
        assert coords.dtype == np.int64 and int(file["coords"].attrs["patch_size_level0"]) == 508
        assert file["coords"].attrs["level0_magnification"] == "None"
