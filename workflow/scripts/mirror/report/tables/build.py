"""Tables in the paper's layout: methods by cohorts, mean and SD over folds, 95 % CI over patients.

A table is made once, as numbers, and written as CSV (the numbers), Markdown, LaTeX and HTML
(the text), so that no form can say something else than another.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ...core.reserved import NO_ENCODER
from ..display_names import HEADS, MODALITIES, method_name, method_order, metric_name

LEGEND = (
    "Pooled out-of-fold value (AUROC, AUPRC and survival metrics compare patients of one fold only) ± SD over folds; "
    "in brackets its 95 % interval, over test patients and, by refits of linear heads, over training patients. "
    "† no refit: the interval over test patients is widened by the square root of two; so are those of accuracy, F1, "
    "kappa and the Brier score where heads are refitted. The pre-training of encoders is not "
    "repeated. Bold: the best pre-declared row of the primary metric, where it differs from the next after "
    "Holm's correction over all pairs. Other metrics are not tested."
)
ROW = ["encoder", "method", "modality", "head"]
MODALITY_ORDER = list(MODALITIES)
REPORTED = "reported"
COUNTS = {"training_events"}
WIDENED = "widened"


@dataclass(frozen=True)
class Cell:
    """One figure of a table.

    Attributes
    ----------
    mean : float
        The pooled value: the one that the interval, the ranks and the comparisons are of.
    sd : float
        Over folds; NaN with one fold.
    low, high : float
        Interval of ``mean``.
    bold : bool
        The best of its column, and better than the runner-up beyond chance.
    mark : str
        What the reader must know about the interval: a dagger without refits.
    folds, of : int
        Folds that define the metric, and all folds.
    count : bool
        The value is a number of patients.
    fold_mean : float
        Mean over folds, as the published tables have it.
    """

    mean: float
    sd: float
    low: float
    high: float
    bold: bool = False
    mark: str = ""
    folds: int = 0
    of: int = 0
    count: bool = False
    fold_mean: float = float("nan")

    def text(self) -> str:
        """``0.812 ± 0.030 [0.770, 0.850]``; the parts that exist."""
        if np.isnan(self.mean):
            return "–"
        if self.count:
            return f"{self.mean:.0f}"
        out = f"{self.mean:.3f}"
        if not np.isnan(self.sd):
            out += f" ± {self.sd:.3f}"
        if 0 < self.folds < self.of:
            out += f" ({self.folds} of {self.of} folds)"
        if not np.isnan(self.low):
            out += f" [{self.low:.3f}, {self.high:.3f}]{self.mark}"
        return out


@dataclass(frozen=True)
class Table:
    """A finished table.

    Attributes
    ----------
    name : str
        File name without suffix.
    title, note : str
        Caption, and what the reader must know.
    rows : list of dict
        ``encoder, method, modality, head`` and display texts.
    columns : list of (cohort, metric)
    cells : dict
        (row number, column number) to Cell.
    n : dict
        Cohort to "n patients[, m events]".
    legend : str
        What the figures and brackets of a cell are.
    """

    name: str
    title: str
    note: str
    rows: list[dict[str, str]]
    columns: list[tuple[str, str]]
    cells: dict[tuple[int, int], Cell]
    n: dict[str, str]
    legend: str = LEGEND

    def header(self, titles: dict[str, str] | None = None) -> list[str]:
        """Column heads."""
        titles = titles or {}
        cohorts = {c for c, _ in self.columns}
        heads = [
            metric_name(m) if len(cohorts) == 1 else f"{titles.get(c, c)}: {metric_name(m)}" for c, m in self.columns
        ]
        return ["Encoder", "Method", "Input", "Head", *heads]

    def row_texts(self, number: int) -> list[str]:
        """The texts before the figures."""
        row = self.rows[number]
        return [row["encoder_text"], row["method_text"], row["modality_text"], row["head_text"]]


def build_table(
    metrics: pd.DataFrame,
    comparisons: pd.DataFrame,
    *,
    name: str,
    title: str,
    task: str,
    protocols: tuple[str, ...],
    wanted: list[str],
    scheme: str,
    methods: list[str] | None = None,
    note: str = "",
    reported: pd.DataFrame | None = None,
    legend: str = LEGEND,
) -> Table | None:
    """Make one table from the long metrics.

    Parameters
    ----------
    metrics, comparisons : DataFrame
        As written by compute_metrics.
    task, protocols, scheme : str
        Which rows.
    wanted : list of str
        Metrics, in order.
    methods : list of str, optional
        Only these; all by default.
    reported : DataFrame, optional
        Figures reported elsewhere (see `mirror.report.tables.reported`), in rows of their own.
    legend : str
        What the figures and brackets of a cell are, where it is not the usual.

    Returns
    -------
    Table or None
        None where no row matches.
    """
    some = metrics[
        (metrics["task"] == task)
        & metrics["protocol"].isin(protocols)
        & (metrics["scheme"] == scheme)
        & metrics["metric"].isin(wanted)
    ]
    if methods is not None:
        some = some[some["method"].isin(methods)]
    if some.empty:
        return None
    some = some.fillna({"head": "", "modality": "", "encoder": ""})
    cohorts = list(dict.fromkeys(some["cohort"]))
    columns = [(c, m) for c in cohorts for m in wanted if ((some["cohort"] == c) & (some["metric"] == m)).any()]
    keys = sorted(
        some[ROW].drop_duplicates().itertuples(index=False, name=None),
        key=lambda k: (method_order(k[1]), k[0], _rank(k[2]), k[3]),
    )
    best = _significant_best(comparisons, task, protocols, scheme)
    folds_of = _folds_of(metrics, task, protocols, scheme)
    cells: dict[tuple[int, int], Cell] = {}
    by_key = dict(list(some.groupby([*ROW, "cohort", "metric"], sort=False)))
    for i, key in enumerate(keys):
        for j, (cohort, metric) in enumerate(columns):
            values = by_key.get((*key, cohort, metric))
            if values is None:
                continue
            cells[i, j] = _cell(values, metric, folds_of.get((*key, cohort), 0), _is_best(best, cohort, metric, key))
    rows = [_row_texts(k) for k in keys]
    if reported is not None:
        note = " ".join(filter(None, [note, _add_reported(reported, task, protocols, methods, columns, rows, cells)]))
    return Table(name, title, note, rows, columns, cells, _sizes(metrics, some, cohorts), legend)


def _cell(values: pd.DataFrame, metric: str, of: int, bold: bool) -> Cell:
    """One row's metric: the pooled value with its interval; a metric without one (truth recovery) is a mean."""
    single = values[values["fold"].astype(str) != "pooled"]
    by_fold = single.groupby(["repeat", "fold"])["value"].mean().to_numpy(float)
    sd = by_fold.std(ddof=1) if len(by_fold) > 1 else np.nan
    mean = by_fold.mean() if len(by_fold) else np.nan
    pooled = values[values["fold"].astype(str) == "pooled"]
    if pooled.empty:
        return Cell(mean, sd, np.nan, np.nan, bold, folds=len(by_fold), of=of, fold_mean=mean)
    row = pooled.iloc[0]
    value = float(pooled["value"].mean())
    low, high = (np.nan, np.nan) if len(pooled) > 1 else (row["ci_low"], row["ci_high"])
    mark = "†" if row.get("covers", "") == WIDENED else ""
    if metric in COUNTS:
        return Cell(value, np.nan, np.nan, np.nan, count=True)
    return Cell(value, sd, low, high, bold, mark, len(by_fold), of, fold_mean=mean)


def _folds_of(metrics: pd.DataFrame, task: str, protocols: tuple[str, ...], scheme: str) -> dict[tuple, int]:
    """Folds that a row was scored in, by (encoder, method, modality, head, cohort)."""
    some = metrics[
        (metrics["task"] == task)
        & metrics["protocol"].isin(protocols)
        & (metrics["scheme"] == scheme)
        & (metrics["fold"].astype(str) != "pooled")
    ].fillna({"head": "", "modality": "", "encoder": ""})
    counted = some.drop_duplicates([*ROW, "cohort", "repeat", "fold"]).groupby([*ROW, "cohort"]).size()
    return {tuple(key): int(n) for key, n in counted.items()}


def _add_reported(
    reported: pd.DataFrame,
    task: str,
    protocols: tuple[str, ...],
    methods: list[str] | None,
    columns: list[tuple[str, str]],
    rows: list[dict[str, str]],
    cells: dict[tuple[int, int], Cell],
) -> str:
    """Append rows of reported figures to ``rows`` and ``cells``; the sources, for the caption."""
    some = reported[(reported["task"] == task) & reported["protocol"].isin(protocols)]
    if methods is not None:
        some = some[some["method"].isin(methods)]
    sources = []
    for (method, source), values in some.groupby(["method", "source"], sort=False):
        found = {
            columns.index((row.cohort, row.metric)): Cell(row.mean, row.sd, np.nan, np.nan)
            for row in values.itertuples()
            if (row.cohort, row.metric) in columns
        }
        if found:
            cells |= {(len(rows), j): cell for j, cell in found.items()}
            rows.append(_row_texts((REPORTED, method, "", "")))
            sources.append(f"{method_name(method)}, reported: {source}.")
    return " ".join(sources)


def _rank(modality: str) -> int:
    return MODALITY_ORDER.index(modality) if modality in MODALITY_ORDER else len(MODALITY_ORDER)


def _row_texts(key: tuple[str, str, str, str]) -> dict[str, str]:
    encoder, method, modality, head = key
    return {
        **dict(zip(ROW, key, strict=True)),
        "encoder_text": "" if encoder == NO_ENCODER else encoder,
        "method_text": method_name(method),
        "modality_text": MODALITIES.get(modality, modality.replace("_", " ")),
        "head_text": HEADS.get(head, head),
    }


def _sizes(metrics: pd.DataFrame, some: pd.DataFrame, cohorts: list[str]) -> dict[str, str]:
    """Patients, events, and the share of the largest class, which a guess reaches in accuracy."""
    out = {}
    for cohort in cohorts:
        share = metrics[(metrics["cohort"] == cohort) & (metrics["metric"] == "majority_share")]
        share = share[share["task"].isin(some["task"].unique()) & share["scheme"].isin(some["scheme"].unique())]
        rows = some[(some["cohort"] == cohort) & (some["fold"].astype(str) == "pooled")]
        if rows.empty:
            rows = some[some["cohort"] == cohort]
        text = f"{int(rows['n'].max())} patients"
        events = pd.to_numeric(rows["events"], errors="coerce").max()
        text = text if pd.isna(events) else f"{text}, {int(events)} events"
        out[cohort] = f"{text}, largest class {share['value'].max():.1%}" if len(share) else text
    return out


def _is_best(best: dict[str, set[tuple]], cohort: str, metric: str, key: tuple[str, str, str, str]) -> bool:
    """Whether a row beats the runner-up in the table of its encoder (in all of them, where it reads no features)."""
    encoder, *rest = key
    tables = [found for name, found in best.items() if encoder in (name, NO_ENCODER)]
    return bool(tables) and all((cohort, metric, *rest) in found for found in tables)


def _significant_best(
    comparisons: pd.DataFrame, task: str, protocols: tuple[str, ...], scheme: str
) -> dict[str, set[tuple]]:
    """By patch encoder: (cohort, metric, method, modality, head) that differ from their runner-up."""
    if comparisons.empty:
        return {}
    rows = comparisons[
        (comparisons["task"] == task)
        & comparisons["protocol_a"].isin(protocols)
        & (comparisons["scheme"] == scheme)
        & comparisons["significant_vs_runner_up"].astype(bool)
    ].fillna({"head_a": "", "modality_a": ""})
    best: dict[str, set[tuple]] = {str(e): set() for e in comparisons["encoder"].dropna().unique()}
    for row in rows.itertuples():
        best[str(row.encoder)].add((row.cohort, row.metric, row.method_a, row.modality_a, row.head_a))
    return best
