"""What goes with a prototype: genes, gene sets, the label, survival. All over out-of-fold patients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

MIN_PATIENTS = 8


def fdr(p: np.ndarray) -> np.ndarray:
    """Benjamini and Hochberg's adjusted p values; NaN stays NaN."""
    out = np.full(len(p), np.nan)
    known = np.isfinite(p)
    if known.any():
        out[known] = stats.false_discovery_control(np.asarray(p)[known], method="bh")
    return out


def _ranked(values: np.ndarray) -> np.ndarray:
    """Standardised ranks by column; constant columns are zero, so that they correlate with nothing."""
    ranks = stats.rankdata(values, axis=0)
    spread = ranks.std(axis=0)
    return (ranks - ranks.mean(axis=0)) / np.where(spread > 0, spread, np.inf)


def gene_correlations(scores: pd.DataFrame, expression: pd.DataFrame) -> pd.DataFrame:
    """Spearman correlation of every prototype with every gene, FDR over the genes of a prototype.

    Parameters
    ----------
    scores : DataFrame (patients, prototypes)
    expression : DataFrame (patients, genes)
        Any monotone scale.

    Returns
    -------
    DataFrame
        prototype, gene, r, p, fdr, n; sorted by prototype and p.
    """
    both = scores.index.intersection(expression.index)
    columns = ["prototype", "gene", "r", "p", "fdr", "n"]
    n = len(both)
    if n < MIN_PATIENTS:
        return pd.DataFrame(columns=columns)
    r = np.clip(_ranked(scores.loc[both].to_numpy(float)).T @ _ranked(expression.loc[both].to_numpy(float)) / n, -1, 1)
    with np.errstate(divide="ignore"):
        t = r * np.sqrt((n - 2) / (1 - r**2))
    p = 2 * stats.t.sf(np.abs(t), n - 2)
    parts = []
    for i, name in enumerate(scores.columns):
        parts.append(
            pd.DataFrame(
                {"prototype": name, "gene": expression.columns, "r": r[i], "p": p[i], "fdr": fdr(p[i]), "n": n}
            )
        )
    return pd.concat(parts).sort_values(["prototype", "p"], kind="stable")[columns].reset_index(drop=True)


def gene_set_association(
    scores: pd.DataFrame,
    expression: pd.DataFrame,
    sets: dict[str, np.ndarray],
    permutations: int,
    seed: int,
) -> pd.DataFrame:
    """Whether the genes of a set go with a prototype more than other genes do.

    The statistic is the mean absolute Spearman correlation inside the set less that outside (sets hold
    genes of either sign). Its p value comes from permuting patients, which keeps the correlation
    between genes; permuting genes, as a hypergeometric or rank test implies, would be far too bold
    (Goeman and Buehlmann 2007, doi 10.1093/bioinformatics/btm051).

    Parameters
    ----------
    scores, expression
        As for `gene_correlations`.
    sets : dict
        Name to a bool mask (genes,).
    permutations, seed : int

    Returns
    -------
    DataFrame
        prototype, gene_set, genes, statistic, p, fdr (over the sets of a prototype), n.
    """
    columns = ["prototype", "gene_set", "genes", "statistic", "p", "fdr", "n"]
    both = scores.index.intersection(expression.index)
    n = len(both)
    if n < MIN_PATIENTS or not sets:
        return pd.DataFrame(columns=columns)
    x, genes = _ranked(scores.loc[both].to_numpy(float)), _ranked(expression.loc[both].to_numpy(float))
    inside = np.stack([mask / mask.sum() for mask in sets.values()]).astype(float)
    outside = np.stack([~mask / max((~mask).sum(), 1) for mask in sets.values()]).astype(float)
    weights = (inside - outside).T
    rng = np.random.default_rng(seed)
    orders = [np.arange(n), *(rng.permutation(n) for _ in range(permutations))]
    parts = []
    for i, name in enumerate(scores.columns):
        shuffled = np.stack([x[order, i] for order in orders])
        value = np.abs(shuffled @ genes / n) @ weights  # (1 + permutations, sets)
        p = (1 + (value[1:] >= value[0] - 1e-12).sum(0)) / (permutations + 1)
        size = [int(mask.sum()) for mask in sets.values()]
        parts.append(
            pd.DataFrame(
                {
                    "prototype": name,
                    "gene_set": list(sets),
                    "genes": size,
                    "statistic": value[0],
                    "p": p,
                    "fdr": fdr(p),
                    "n": n,
                }
            )
        )
    table = pd.concat(parts).sort_values(["prototype", "p", "statistic"], ascending=[True, True, False], kind="stable")
    return table[columns].reset_index(drop=True)


@dataclass(frozen=True)
class CoxFit:
    """Univariate Cox: hazard ratio a unit, its 95 % interval, Wald p."""

    ratio: float
    low: float
    high: float
    p: float


def univariate_cox(x: np.ndarray, time: np.ndarray, event: np.ndarray, steps: int = 50) -> CoxFit | None:
    """Cox regression on one covariate (Breslow's ties, Newton's method).

    Returns
    -------
    CoxFit or None
        None where there are no events, no variation, or no finite maximum.
    """
    if not event.any() or np.ptp(x) == 0:
        return None
    order = np.argsort(-time, kind="stable")
    x, time, event = np.asarray(x, float)[order], time[order], event[order].astype(bool)
    # With times falling, the risk set of row i is everyone up to the last row of its tie.
    last = np.searchsorted(-time, -time, side="right") - 1
    beta = 0.0
    for _ in range(steps):
        w = np.exp(np.clip(beta * x, -50, 50))
        s0, s1, s2 = (np.cumsum(w * x**k)[last] for k in range(3))
        gradient = (x - s1 / s0)[event].sum()
        information = (s2 / s0 - (s1 / s0) ** 2)[event].sum()
        if information <= 1e-12:
            return None
        change = float(np.clip(gradient / information, -2, 2))
        beta += change
        if abs(change) < 1e-9:
            break
    if abs(beta) > 20:
        return None
    error = 1 / np.sqrt(information)
    return CoxFit(
        float(np.exp(beta)),
        float(np.exp(beta - 1.96 * error)),
        float(np.exp(beta + 1.96 * error)),
        float(2 * stats.norm.sf(abs(beta) / error)),
    )


def outcome_association(scores: pd.DataFrame, patients: pd.DataFrame) -> pd.DataFrame:
    """Association of every prototype with the label and with survival.

    Parameters
    ----------
    scores : DataFrame (patients, prototypes)
        In standard deviations, so that hazard ratios are a standard deviation.
    patients : DataFrame
        Indexed by patient_id: label, time_days, event; any may be missing.

    Returns
    -------
    DataFrame
        prototype, label_test ("auroc of X" or "kruskal"), label_value, label_p, label_fdr,
        hazard_ratio, hr_low, hr_high, survival_p, survival_fdr, n_label, n_survival, events.
    """
    known = patients.reindex(scores.index)
    label = known["label"] if "label" in known else pd.Series(np.nan, index=known.index)
    time, event = (
        pd.to_numeric(known[c], errors="coerce") if c in known else pd.Series(np.nan, index=known.index)
        for c in ("time_days", "event")
    )
    followed = (time > 0) & event.isin([0, 1])
    named = label.notna() & (label.astype(str) != "")
    classes = sorted(label[named].astype(str).unique())
    rows = []
    for name in scores:
        x = scores[name].to_numpy(float)
        row = {"prototype": name, "n_label": int(named.sum()), "n_survival": int(followed.sum())}
        row["events"] = int(event[followed].sum())
        groups = [x[(named & (label.astype(str) == c)).to_numpy()] for c in classes]
        row |= {"label_test": "", "label_value": np.nan, "label_p": np.nan}
        if len(groups) == 2:
            u = stats.mannwhitneyu(groups[1], groups[0])
            row |= {"label_test": f"AUROC of {classes[1]}"}
            row |= {"label_value": u.statistic / (len(groups[0]) * len(groups[1])), "label_p": u.pvalue}
        elif len(groups) > 2 and np.ptp(x) > 0:
            h = stats.kruskal(*groups)
            row |= {"label_test": "Kruskal-Wallis H", "label_value": h.statistic, "label_p": h.pvalue}
        at = followed.to_numpy()
        fit = univariate_cox(x[at], time[followed].to_numpy(float), event[followed].to_numpy(int)) if at.any() else None
        row |= {"hazard_ratio": np.nan, "hr_low": np.nan, "hr_high": np.nan, "survival_p": np.nan}
        if fit:
            row |= {"hazard_ratio": fit.ratio, "hr_low": fit.low, "hr_high": fit.high, "survival_p": fit.p}
        rows.append(row)
    table = pd.DataFrame(rows)
    for kind in ("label", "survival"):
        table[f"{kind}_fdr"] = fdr(table[f"{kind}_p"].to_numpy(float))
    return table
