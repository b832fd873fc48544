"""ROC, precision-recall, confusion and calibration from out-of-fold predictions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.metrics import average_precision_score, confusion_matrix, roc_auc_score

from ..display_names import FULL, MODALITIES, method_name, method_order
from .request import Request
from .style import colour, empty_figure, grid_of, line

GRID = np.linspace(0, 1, 101)
RESAMPLES = 300


def label_of(method: str, modality: str) -> str:
    """Legend text of a method."""
    if modality == "truth":
        return method_name(method)
    return f"{method_name(method)} ({MODALITIES.get(modality, modality)})"


def unpack(rows: pd.DataFrame, order: Sequence[str] = ()) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Truth and probabilities of one method, averaged over repeats and draws; classes in ``order``, then by name.

    Returns
    -------
    truth : int64 (n,)
    probabilities : float64 (n, classes)
    classes : list of str
    """
    rank = {name: place for place, name in enumerate(order)}
    classes = sorted(
        {str(c) for names in rows["classes"] for c in names}, key=lambda name: (rank.get(name, len(rank)), name)
    )
    table = np.zeros((len(rows), len(classes)))
    for i, (names, values) in enumerate(zip(rows["classes"], rows["probabilities"], strict=True)):
        table[i, [classes.index(str(c)) for c in names]] = values
    frame = pd.DataFrame(table).assign(patient_id=rows["patient_id"].to_numpy(), truth=rows["y_true"].to_numpy())
    mean = frame.groupby("patient_id").agg({**dict.fromkeys(range(len(classes)), "mean"), "truth": "first"})  # type: ignore[misc]
    truth = np.array([classes.index(str(c)) for c in mean["truth"]])
    return truth, mean[list(range(len(classes)))].to_numpy(), classes


def _one_curve(truth: np.ndarray, score: np.ndarray, kind: str) -> np.ndarray:
    """One model's curve on the grid: the numbers of scikit-learn's curves, without their checks of input.

    It is called for every resample, fold and method, where those checks took nine tenths of the time.
    """
    order = np.argsort(score, kind="mergesort")[::-1]
    last = np.r_[np.flatnonzero(np.diff(score[order])), len(score) - 1]  # of each run of equal scores
    hits = np.cumsum(truth[order], dtype=float)[last]
    misses = 1 + last - hits
    if kind == "roc":
        if len(last) > 2:  # points on a straight line
            kept = np.flatnonzero(np.r_[True, np.logical_or(np.diff(misses, 2), np.diff(hits, 2)), True])
            hits, misses = hits[kept], misses[kept]
        hits, misses = np.r_[0, hits], np.r_[0, misses]
        return np.interp(GRID, misses / misses[-1], hits / hits[-1])
    precision, recall = np.r_[1, hits / (hits + misses)], np.r_[0, hits / hits[-1]]
    return np.interp(GRID, recall, precision)


def _weight(truth: np.ndarray, kind: str) -> float:
    """What a model's curve counts: its pairs, or its positives; nothing with one class alone, as in the metrics."""
    positive, negative = float(truth.sum()), float(len(truth) - truth.sum())
    if not positive or not negative:
        return 0.0
    return positive * negative if kind == "roc" else positive


def _mean_curve(models: list[tuple[np.ndarray, np.ndarray]], kind: str) -> np.ndarray | None:
    """Weighted mean of the models' curves: its area is the pooled metric. None without both classes in any."""
    weights = [_weight(truth, kind) for truth, _ in models]
    if not sum(weights):
        return None
    some = [w * _one_curve(t, s, kind) for w, (t, s) in zip(weights, models, strict=True) if w]
    return np.sum(some, axis=0) / sum(weights)


def _band(
    models: list[tuple[np.ndarray, np.ndarray]], kind: str, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float] | None:
    """Mean curve on a fixed grid, its pointwise 95 % band by bootstrap over the test patients, and its area."""
    middle = _mean_curve(models, kind)
    if middle is None:
        return None
    draws = []
    for _ in range(RESAMPLES):
        picks = [rng.integers(0, len(t), len(t)) for t, _ in models]
        drawn = _mean_curve([(t[i], s[i]) for i, (t, s) in zip(picks, models, strict=True)], kind)
        if drawn is not None:
            draws.append(drawn)
    low, high = np.percentile(draws, [2.5, 97.5], axis=0) if draws else (middle, middle)
    area = roc_auc_score if kind == "roc" else average_precision_score
    weights = [_weight(t, kind) for t, _ in models]
    value = sum(w * area(t, s) for w, (t, s) in zip(weights, models, strict=True) if w) / sum(weights)
    return middle, low, high, float(value)


def models_of(rows: pd.DataFrame, names: list[str], k: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Truth (0, 1) and score of class ``k`` for each model: one per fold, repeat and draw."""
    parts = []
    by = [c for c in ("repeat", "fold", "draw") if c in rows]
    for _, some in rows.groupby(by, sort=True) if by else [((), rows)]:
        score = np.zeros(len(some))
        for i, (known, values) in enumerate(zip(some["classes"], some["probabilities"], strict=True)):
            here = [str(c) for c in known]
            score[i] = values[here.index(names[k])] if names[k] in here else 0.0
        parts.append(((some["y_true"].astype(str) == names[k]).to_numpy().astype(int), score))
    return parts


def curves(predictions: dict[tuple[str, str], pd.DataFrame], kind: str, seed: int) -> Figure:
    """ROC or precision-recall curves with bootstrap bands, a panel per method.

    Two classes: one curve, and the other methods' in grey. More: a curve a class, against the rest.

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
        return empty_figure("no predictions")
    drawn: dict[tuple[tuple[str, str], str], tuple] = {}
    for number, (key, (truth, _, names)) in enumerate(series.items()):
        for k in [len(names) - 1] if len(names) == 2 else range(len(names)):
            found = _band(models_of(predictions[key], names, k), kind, np.random.default_rng([seed, number, k]))
            if found is not None:
                drawn[key, names[k]] = (*found, float((truth == k).mean()))
    if not drawn:
        return empty_figure("one class alone: there is nothing to tell apart")
    classes = list(dict.fromkeys(name for _, name in drawn))
    methods = list(dict.fromkeys(key for key, _ in drawn))
    figure, axes = grid_of(len(methods), width=2.6, height=2.55, columns=3, sharex=True, sharey=True)
    for panel, key in zip(axes, methods, strict=True):
        for other, (value, *_) in drawn.items():
            if len(classes) == 1 and other[0] != key:
                panel.plot(GRID, value, color="0.85", lw=0.7, zorder=0)
        for number, name in enumerate(classes):
            if (key, name) not in drawn:
                continue
            value, low, high, area, share = drawn[key, name]
            tone = colour(number)
            words = f"{name}: {area:.2f}" if len(classes) > 1 else f"{'AUROC' if kind == 'roc' else 'AP'} {area:.2f}"
            panel.plot(GRID, value, line(number), color=tone, lw=1.7, label=words)
            panel.fill_between(GRID, low, high, color=tone, alpha=0.16, lw=0)
            if kind == "pr":
                panel.axhline(share, color=tone, lw=0.7, ls=":", zorder=0)
        if kind == "roc":
            panel.plot([0, 1], [0, 1], color="0.6", lw=0.7, ls=":", zorder=0)
        panel.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.03))
        panel.set_title(label_of(*key), fontsize=8)
        panel.legend(loc="lower right" if kind == "roc" else "lower left", fontsize=7, handlelength=1.2)
    _outer_labels(figure, kind == "roc", classes, len(next(iter(series.values()))[0]))
    return figure


def _outer_labels(figure: Figure, roc: bool, classes: list[str], n: int) -> None:
    figure.supxlabel("False positive rate" if roc else "Recall", fontsize=9)
    figure.supylabel("True positive rate" if roc else "Precision", fontsize=9)
    what = f"{classes[0]} against the rest" if len(classes) == 1 else "each class against the rest"
    figure.suptitle(f"{what} (n = {n} patients)", fontsize=9)


def confusion(predictions: dict[tuple[str, str], pd.DataFrame], order: Sequence[str] = ()) -> Figure:
    """Confusion matrices: counts, and colour by share of the true class."""
    if not predictions:
        return empty_figure("no predictions")
    figure, axes = grid_of(len(predictions), width=2.9, height=2.9)
    for panel, (key, rows) in zip(axes, predictions.items(), strict=True):
        truth, scores, classes = unpack(rows, order)
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
    """Reliability of the winning class's probability, a panel per method.

    Bins hold equal numbers of patients; bars are Wilson's 95 % intervals of the share that is right.
    """
    if not predictions:
        return empty_figure("no predictions")
    figure, axes = grid_of(len(predictions), width=2.6, height=2.55, columns=3, sharex=True, sharey=True)
    lowest = 1.0
    for panel, (key, rows) in zip(axes, predictions.items(), strict=True):
        truth, scores, classes = unpack(rows)
        top, right = scores.max(1), scores.argmax(1) == truth
        parts = np.array_split(np.argsort(top, kind="stable"), min(bins, len(top)))
        x = np.array([top[p].mean() for p in parts])
        y = np.array([right[p].mean() for p in parts])
        low, high = _wilson(y, np.array([len(p) for p in parts]))
        error = [np.maximum(y - low, 0), np.maximum(high - y, 0)]
        panel.plot([0, 1], [0, 1], color="0.6", lw=0.7, ls=":", zorder=0)
        panel.errorbar(x, y, error, fmt="o-", ms=4, lw=1.2, elinewidth=0.9, capsize=2, color=colour(0))
        panel.set_title(label_of(*key), fontsize=8)
        lowest = min(lowest, 1 / max(len(classes), 1), float(x.min()))
    for panel in axes:
        panel.set(xlim=(lowest - 0.03, 1.03), ylim=(-0.03, 1.03))
    n = len({str(p) for rows in predictions.values() for p in rows["patient_id"]})
    figure.supxlabel(f"Predicted probability of the winner (n = {n} patients)", fontsize=9)
    figure.supylabel("Share that is right", fontsize=9)
    return figure


def _wilson(share: np.ndarray, n: np.ndarray, z: float = 1.96) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's score interval of a proportion."""
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return middle - half, middle + half


def collect(files: Sequence[Path]) -> dict[tuple[str, str], pd.DataFrame]:
    """Rows by (method, modality): baselines as they are, variants by their fused embedding."""
    found = {}
    for file in files:
        rows = pd.read_parquet(file)
        rows = rows[rows["protocol"].isin(FULL)]
        for key, some in rows.groupby(["method", "modality"], sort=False):
            found[key] = some
    variants = {m for m, modality in found if modality == "fused"}
    kept = {k: v for k, v in found.items() if k[0] not in variants or k[1] == "fused"}
    return dict(sorted(kept.items(), key=lambda item: method_order(item[0][0])))


def draw(request: Request) -> dict[str, Figure]:
    """The figures of a class or ordinal target by name (see `mirror.plan.kinds`)."""
    found, seed = collect(request.predictions), request.seed
    out = {"roc": curves(found, "roc", seed)}
    if request.target["kind"] == "class":
        out["pr"] = curves(found, "pr", seed)
    return out | {"confusion": confusion(found, request.target["order"]), "calibration": calibration(found)}
