"""Grid geometry and shares of masks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.config.slides import TileSettings
from mirror.core.errors import InputError
from mirror.core.names import safe_name
from mirror.slides.tiling.grid import Grid, tile_grid, tile_shares


@pytest.mark.parametrize(("mpp", "size"), [(0.5, 256), (0.499, 256), (0.25, 512), (0.252, 508), (0.2527, 506)])
def test_tiles_have_a_physical_size(mpp: float, size: int):
    assert tile_grid((0, 0, 5000, 5000), mpp, TileSettings()).size_level0 == size


@given(
    st.integers(0, 500), st.integers(300, 4000), st.integers(300, 4000), st.floats(0.1, 1.0), st.sampled_from([0, 32])
)
def test_grid_lies_inside_row_major_without_gaps(x: int, width: int, height: int, mpp: float, overlap: int):
    grid = tile_grid((x, 7, width, height), mpp, TileSettings(overlap_px=overlap))
    xy = grid.coords
    assert (xy[:, 0] >= x).all() and (xy[:, 1] >= 7).all()
    assert (xy + grid.size_level0 <= (x + width, 7 + height)).all()
    assert np.array_equal(xy, xy[np.lexsort((xy[:, 0], xy[:, 1]))])
    if len(xy):
        assert set(np.diff(np.unique(xy[:, 0]))) <= {grid.step_level0}
        assert x + width - xy[:, 0].max() - grid.size_level0 < grid.step_level0


@given(st.integers(1, 3000), st.integers(1, 3000))
def test_padding_covers_everything_evenly(width: int, height: int):
    grid = tile_grid((0, 0, width, height), 0.5, TileSettings(size_px=512, edge="pad"))
    low, high = grid.coords.min(axis=0), grid.coords.max(axis=0) + 512
    assert (low <= 0).all() and (high >= (width, height)).all()
    assert (np.abs(-low - (high - (width, height))) <= 1).all()
    assert ((high - low) % 512 == 0).all()


@given(st.integers(0, 2**32 - 1))
def test_shares_equal_a_count_of_pixels(seed: int):
    rng = np.random.default_rng(seed)
    mask = rng.random((30, 40)) < 0.5
    coords = rng.integers(-8, 40, (20, 2))
    big = np.zeros((80, 80))
    big[20:50, 20:60] = mask
    expected = [big[20 + y : 28 + y, 20 + x : 28 + x].mean() for x, y in coords]
    found = tile_shares(mask, (0, 0, 40, 30), Grid(coords, 8, 8))
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("name", ["TCGA-A1 slide 2", "Präparat-β", "样本_1", "a.b.c"])
def test_ordinary_names_are_kept(name: str):
    assert safe_name(name) == name


@pytest.mark.parametrize("name", ["../x", "a/b", "a\\b", "..", ".hid", "", " ", "a\0b", "a\nb", "x" * 300, "-rf", " a"])
def test_names_that_leave_the_folder_or_hide_are_refused(name: str):
    with pytest.raises(InputError):
        safe_name(name)
