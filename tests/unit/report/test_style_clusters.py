"""The figure of style clusters."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mirror.interpretation.clustering import COLUMNS
from mirror.report.figures.clustering import style_clusters
from mirror.report.figures.style import save_figure


def table(**changes):
    row = dict.fromkeys(COLUMNS, np.nan) | {
        "variant": "mirror_plus", "prototypes": 20, "perplexity_slide": 15.2, "perplexity_rna": 14.8,
        "agreement": 0.24, "agreement_chance": 0.07, "stability_slide": 0.33, "stability_rna": 0.35,
    }  # fmt: skip
    return pd.DataFrame([row, row | {"variant": "mirror"} | changes], columns=COLUMNS)


def used():
    return pd.DataFrame({"variant": ["mirror_plus"] * 3 + ["mirror"], "use": [0.5, 0.2, 0.3, 1.0]})


def test_every_variant_and_every_measure_is_drawn(tmp_path):
    figure = style_clusters(table(), used(), "BRCA")
    panels = figure.axes
    assert [len(panel.patches) for panel in panels[:3]] == [4, 4, 4]
    heights = [patch.get_height() for patch in panels[1].patches]
    assert heights == [0.24, 0.24, 0.07, 0.07]
    assert panels[3].lines[0].get_ydata().tolist() == [0.5, 0.3, 0.2]
    save_figure(figure, tmp_path / "f.png", tmp_path / "f.svg")
    assert (tmp_path / "f.png").stat().st_size > 5000


def test_what_could_not_be_measured_leaves_a_gap(tmp_path):
    figure = style_clusters(table(perplexity_rna=np.nan, stability_rna=np.nan, stability_slide=np.nan), used(), "X")
    save_figure(figure, tmp_path / "f.png")
    empty = style_clusters(table().iloc[:0], used().iloc[:0], "X")
    assert "no variant" in empty.axes[0].texts[0].get_text()
