"""The order in which sources of resolution are trusted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.core.errors import InputError
from mirror.slides.reading.mpp import resolve_mpp

OWN = {"openslide.mpp-x": "0.25", "openslide.mpp-y": "0.252"}
TIFF = {"tiff.XResolution": "20000", "tiff.YResolution": "20000", "tiff.ResolutionUnit": "centimeter"}
POWER = {"openslide.objective-power": "20"}


def test_trust_falls_from_table_to_objective():
    assert resolve_mpp({**OWN, **TIFF, **POWER}, 0.5, "s").source == "table"
    assert resolve_mpp({**OWN, **TIFF, **POWER}, None, "s").value == pytest.approx(0.251)
    assert resolve_mpp({**TIFF, **POWER}, float("nan"), "s").source == "tiff"
    guessed = resolve_mpp(POWER, None, "s")
    assert (guessed.source, guessed.value) == ("objective", 0.5)
    assert "often wrong" in guessed.note


def test_a_lying_objective_is_overruled_and_named():
    found = resolve_mpp({**OWN, **POWER}, None, "s")
    assert found.source == "slide"
    assert "objective power 20 does not fit" in found.note


@pytest.mark.parametrize("pair", [("352.8", "352.8"), ("0.01", "0.01"), ("0.25", "0.30"), ("nan", "nan"), ("0", "0")])
def test_absurd_or_uneven_mpp_is_refused(pair: tuple[str, str]):
    properties = {"openslide.mpp-x": pair[0], "openslide.mpp-y": pair[1]}
    with pytest.raises(InputError, match="column `mpp`"):
        resolve_mpp(properties, None, "s")
    assert resolve_mpp(properties | POWER, None, "s").source == "objective"


@pytest.mark.parametrize("properties", [{}, {"openslide.objective-power": "-1"}, {"openslide.objective-power": "0"}])
def test_nothing_left_names_the_column_to_fill(properties: dict[str, str]):
    with pytest.raises(InputError, match="column `mpp` of the sample table"):
        resolve_mpp(properties, None, "slide.svs")


def test_screen_resolution_is_not_a_scanner():
    dpi = {"tiff.XResolution": "72", "tiff.YResolution": "72", "tiff.ResolutionUnit": "inch"}
    with pytest.raises(InputError, match="TIFF resolution"):
        resolve_mpp(dpi, None, "s")


@given(st.floats(0.001, 100))
def test_a_table_value_is_taken_or_refused_never_changed(mpp: float):
    if 0.05 <= mpp <= 4:
        assert resolve_mpp(OWN, mpp, "s").value == mpp
    else:
        with pytest.raises(InputError):
            resolve_mpp(OWN, mpp, "s")
