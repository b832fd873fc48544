"""Imported features looked at by doctor: a cohort of which nothing can be read is a problem, one bad file a warning."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from mirror.config.sources import FeatureSource
from mirror.core.errors import InputError
from mirror.core.facts import Facts
from mirror.features.inspect import inspect_features


@pytest.mark.parametrize("bad", [1, 2])
def test_features_under_another_name(tmp_path: Path, bad: int) -> None:
    folder = tmp_path / "features_enc"
    folder.mkdir()
    for number in range(2):
        with h5py.File(folder / f"s{number}.h5", "w") as file:
            file["embeddings" if number < bad else "features"] = np.random.default_rng(number).normal(size=(20, 8))
            file["coords"] = np.arange(40).reshape(20, 2) * 256
    source = FeatureSource(format="trident", path=str(tmp_path), encoder="enc", width=8)
    slides = [{"slide_id": f"s{i}", "patient_id": f"p{i}", "slide_path": "", "mpp": 0.5} for i in range(2)]
    facts = Facts("x")
    if bad == 2:
        with pytest.raises(InputError, match=r"no slide has features that can be read: s0: .*under 'embeddings'"):
            inspect_features(source, slides, facts)
        return
    inspect_features(source, slides, facts)
    assert any("1 of 2 slides, the first s0" in str(fact.value) for fact in facts.warnings)
