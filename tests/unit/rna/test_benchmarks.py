"""What the benchmarks of gene selection and of the RNA arm claim, on small data."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"


@pytest.fixture
def benchmarks(monkeypatch):
    """The benchmarks' folder on the path."""
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])


def test_every_parting_from_scikit_learn_is_proved(benchmarks, capsys):
    """Where runs part, the duality gap proves our order; with a tight tolerance nothing parts."""
    import gene_selection

    x, y = gene_selection.simulate(90, 300, 1, "z")
    found, _ = gene_selection.ours(x, y, 1)
    gene_selection.explain(x, y, found, gene_selection.theirs(x, y, 1)[0])
    text = capsys.readouterr().out
    parted = text.count("parts in round")
    assert parted > 0 and text.count("proved right") == parted and "not proved" not in text
    assert f"in {parted} of them our order is proved" in text
    gene_selection.prove(x, y, 1, 300)
    assert "same share 1.0000" in capsys.readouterr().out


def test_the_rna_encoder_is_trained_by_retention_alone(benchmarks):
    """No other loss has a weight; training changes the embeddings, and is repeatable."""
    import rna_arm

    x = np.random.default_rng(0).normal(size=(70, 20)).astype(np.float32)
    for variant in ("mirror", "mirror_plus"):
        settings = rna_arm.retention_settings(variant, 16, 2)
        weights = (settings.retention.slide_weight, settings.style.style_weight, settings.style.cluster_weight)
        assert settings.retention.rna_weight > 0 and weights == (0, 0, 0)
        first, again, initial = (rna_arm.embed(x[:64], x, settings, 3, train) for train in (True, True, False))
        assert first.shape == (70, 16) and np.isfinite(first).all()
        np.testing.assert_array_equal(first, again)
        assert np.abs(first - initial).max() > 1e-3
