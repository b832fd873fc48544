"""Predicted against measured numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from .classification import collect, label_of
from .request import Request
from .style import colour, empty_figure, grid_of


def scatter(predictions: dict[tuple[str, str], pd.DataFrame], title: str) -> Figure:
    """Out-of-fold values against measured ones with the identity line, a panel per method.

    Parameters
    ----------
    predictions : dict
        (method, modality) to its rows: ``patient_id, value_true, value``; averaged over repeats.
    title : str
        Name of the number.
    """
    if not predictions:
        return empty_figure("no predictions")
    figure, axes = grid_of(len(predictions), width=2.6, height=2.55, columns=3, sharex=True, sharey=True)
    people = 0
    for panel, (key, rows) in zip(axes, predictions.items(), strict=True):
        mean = rows.groupby("patient_id")[["value_true", "value"]].mean()
        truth, value = mean["value_true"].to_numpy(float), mean["value"].to_numpy(float)
        people = max(people, len(mean))
        low, high = min(truth.min(), value.min()), max(truth.max(), value.max())
        panel.plot([low, high], [low, high], color="0.6", lw=0.8, ls=":", zorder=0)
        panel.scatter(truth, value, s=9, color=colour(0), alpha=0.6, lw=0)
        spread = ((truth - truth.mean()) ** 2).sum()
        fit = f"R² {1 - ((truth - value) ** 2).sum() / spread:.2f}" if spread > 0 else "R² not defined"
        panel.text(0.03, 0.97, fit, transform=panel.transAxes, va="top", fontsize=8)
        panel.set_title(label_of(*key), fontsize=8)
    figure.supxlabel(f"Measured {title} (n = {people} patients)", fontsize=9)
    figure.supylabel("Predicted, out of fold", fontsize=9)
    return figure


def draw(request: Request) -> dict[str, Figure]:
    """The figures of a number by name (see `mirror.plan.kinds`)."""
    found = {key: rows[np.isfinite(rows["value"].astype(float))] for key, rows in collect(request.predictions).items()}
    return {"scatter": scatter(found, str(request.target["name"]).replace("_", " "))}
