"""ROC, precision-recall, confusion and calibration from out-of-fold predictions."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.metrics import average_precision_score, confusion_matrix, precision_recall_curve, roc_auc_score, roc_curve

from .names import MODALITIES, method_name
from .style import colour, empty_figure, grid_of, line

GRID = np.linspace(0, 1, 101)
RESAMPLES = 300


def label_of(method: str, modality: str) -> str:
    """Legend text of a method."""
    return f"{method_name(method)} ({MODALITIES.get(modality, modality)})"


def unpack(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Truth and probabilities of one method, averaged over repeats and draws.

    Returns
    -------
    truth : int64 (n,)
    probabilities : float64 (n, classes)
    classes : list of str
    """
    classes = sorted({str(c) for names in rows["classes"] for c in names})
    table = np.zeros((len(rows), len(classes)))
    for i, (names, values) in enumerate(zip(rows["classes"], rows["probabilities"], strict=True)):
        table[i, [classes.index(str(c)) for c in names]] = values
    frame = pd.DataFrame(table).assign(patient_id=rows["patient_id"].to_numpy(), truth=rows["y_true"].to_numpy())
    mean = frame.groupby("patient_id").agg({**dict.fromkeys(range(len(classes)), "mean"), "truth": "first"})
    truth = np.array([classes.index(str(c)) for c in mean["truth"]])
    return truth, mean[list(range(len(classes)))].to_numpy(), classes


def _band(
    truth: np.ndarray, score: np.ndarray, kind: str, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A curve on a fixed grid with its pointwise 95 % band, by bootstrap over patients."""

    def curve(t: np.ndarray, s: np.ndarray) -> np.ndarray:
        if kind == "roc":
            fpr, tpr, _ = roc_curve(t, s)
            return np.interp(GRID, fpr, tpr)
        precision, recall, _ = precision_recall_curve(t, s)
        return np.interp(GRID, recall[::-1], precision[::-1])

    draws = []
    for _ in range(RESAMPLES):
        pick = rng.integers(0, len(truth), len(truth))
        if 0 < truth[pick].sum() < len(pick):
            draws.append(curve(truth[pick], score[pick]))
    low, high = np.percentile(draws, [2.5, 97.5], axis=0)
    return curve(truth, score), low, high


def curves(predictions: dict[tuple[str, str], pd.DataFrame], kind: str, seed: int) -> Figure:
    """ROC or precision-recall curves, a panel a class (one panel for two classes).

    Parameters
    ----------
    predictions : dict
        (method, modality) to its rows.
    kind : {"roc", "pr"}
    seed : int
        Of the bootstrap.
    """
    series = {key: unpack(rows) for key, rows in predictions.items()}
    if not series:
        return empty_figure("no subtyping predictions")
    classes = max((c for _, _, c in series.values()), key=len)
    shown = [len(classes) - 1] if len(classes) == 2 else list(range(len(classes)))
    figure, axes = grid_of(len(shown), width=4.4, height=3.9)
    for panel, k in zip(axes, shown, strict=True):
        for number, (key, (truth, scores, names)) in enumerate(series.items()):
            if names != classes:
                continue
            binary = (truth == k).astype(int)
            if not 0 < binary.sum() < len(binary):
                continue
            value, low, high = _band(binary, scores[:, k], kind, np.random.default_rng([seed, number, k]))
            area = (
                roc_auc_score(binary, scores[:, k]) if kind == "roc" else average_precision_score(binary, scores[:, k])
            )
            panel.plot(GRID, value, line(number), color=colour(number), lw=1.6, label=f"{label_of(*key)} {area:.2f}")
            if number < 2:  # bands of more methods hide each other
                panel.fill_between(GRID, low, high, color=colour(number), alpha=0.13, lw=0)
        if kind == "roc":
            panel.plot([0, 1], [0, 1], color="0.7", lw=0.8, zorder=0)
            panel.set(xlabel="False positive rate", ylabel="True positive rate")
        else:
            panel.axhline((truth == k).mean(), color="0.7", lw=0.8, zorder=0)
            panel.set(xlabel="Recall", ylabel="Precision")
        panel.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02), title=f"{classes[k]} against the rest (n = {len(truth)})")
        panel.legend(loc="lower right" if kind == "roc" else "lower left", fontsize=7)
    return figure


def confusion(predictions: dict[tuple[str, str], pd.DataFrame]) -> Figure:
    """Confusion matrices: counts, and colour by share of the true class."""
    if not predictions:
        return empty_figure("no subtyping predictions")
    figure, axes = grid_of(len(predictions), width=2.9, height=2.9)
    for panel, (key, rows) in zip(axes, predictions.items(), strict=True):
        truth, scores, classes = unpack(rows)
        counts = confusion_matrix(truth, scores.argmax(1), labels=range(len(classes)))
        share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
        panel.imshow(share, cmap="Blues", vmin=0, vmax=1)
        for i in range(len(classes)):
            for j in range(len(classes)):
                ink = "white" if share[i, j] > 0.55 else "black"
                panel.text(j, i, f"{counts[i, j]}\n{share[i, j]:.0%}", ha="center", va="center", color=ink, fontsize=8)
        ticks = range(len(classes))
        panel.set(xticks=ticks, yticks=ticks, xlabel="Predicted", ylabel="True", title=label_of(*key))
        panel.set_xticklabels(classes)
        panel.set_yticklabels(classes)
        panel.title.set_fontsize(8)
        panel.spines[:].set_visible(False)
    return figure


def calibration(predictions: dict[tuple[str, str], pd.DataFrame], bins: int = 5) -> Figure:
    """Reliability of the winning class's probability, in bins of equal numbers of patients."""
    if not predictions:
        return empty_figure("no subtyping predictions")
    figure, (panel,) = grid_of(1, width=4.4, height=3.9)
    panel.plot([0, 1], [0, 1], color="0.7", lw=0.8, zorder=0)
    for number, (key, rows) in enumerate(predictions.items()):
        truth, scores, _ = unpack(rows)
        top, right = scores.max(1), scores.argmax(1) == truth
        parts = np.array_split(np.argsort(top, kind="stable"), min(bins, len(top)))
        x = [top[p].mean() for p in parts]
        y = [right[p].mean() for p in parts]
        panel.plot(x, y, line(number), marker="o", ms=4, color=colour(number), lw=1.3, label=label_of(*key))
    panel.set(
        xlim=(0.2, 1.02), ylim=(-0.02, 1.04), xlabel="Predicted probability of the winner", ylabel="Share that is right"
    )
    panel.legend(loc="upper left", fontsize=7)
    return figure
