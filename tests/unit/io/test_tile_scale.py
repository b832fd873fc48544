"""Micrometres per tile are compared over slides."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from mirror.io.tile_scale import TOLERANCE, compare_scales, scale_groups

SIZE = st.floats(1, 1000)


def test_two_scales_are_named_with_counts_and_examples() -> None:
    rows = [("a", 64.0), ("b", 128.0), ("c", 64.5), ("d", None), ("e", math.nan), ("f", 0.0)]
    said = compare_scales(rows)
    assert said is not None
    assert "factor of 1.98" in said or "factor of 2" in said
    assert "2 of 3 slides have tiles of 64.5 um (first: a)" in said
    assert "1 of 3 slides have tiles of 128 um (first: b)" in said
    assert compare_scales([]) is None and compare_scales([("a", None)]) is None


@given(st.lists(SIZE, min_size=1, max_size=30))
def test_groups_hold_every_known_slide_once_and_their_sizes_lie_close(sizes: list[float]) -> None:
    rows = [(f"s{i}", size) for i, size in enumerate(sizes)]
    groups = scale_groups(rows)
    assert sorted(name for group in groups for name in group.slides) == sorted(name for name, _ in rows)
    for group in groups:
        inside = [size for name, size in rows if name in group.slides]
        assert max(inside) <= min(inside) * (1 + TOLERANCE) and group.um in inside


@given(SIZE, st.floats(0.0, 0.0999), st.integers(1, 20))
def test_a_difference_within_ten_per_cent_is_one_scale(um: float, more: float, n: int) -> None:
    assert compare_scales([("a", um), *((f"s{i}", um * (1 + more)) for i in range(n))]) is None


@given(SIZE, st.floats(0.101, 50), st.integers(1, 20))
def test_a_larger_difference_is_always_said(um: float, more: float, n: int) -> None:
    said = compare_scales([*((f"s{i}", um) for i in range(n)), ("odd", um * (1 + more))])
    assert said is not None and "odd" in said
