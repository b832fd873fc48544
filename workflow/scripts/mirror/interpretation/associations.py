"""What goes with a prototype: genes, gene sets, the label, survival. All over out-of-fold patients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

MIN_PATIENTS = 8
MIN_EVENTS = 5
"""Fewer events give no hazard ratio: its interval would be that of a handful of patients."""
ABSOLUTE = (1 / np.pi) / (1 - 2 / np.pi)
"""corr(|a|, |b|) over corr(a, b)^2 of jointly normal a and b, to second order."""


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
    if n < MIN_PATIENTS or scores.empty:
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


def _z_scores(r: np.ndarray, n: int) -> np.ndarray:
    """Correlations as normal deviates of their t statistics."""
    with np.errstate(divide="ignore"):
        t = r * np.sqrt((n - 2) / np.maximum(1 - r**2, 1e-15))
    return np.sign(r) * stats.norm.isf(np.maximum(stats.t.sf(np.abs(t), n - 2), 1e-300))


def gene_set_association(scores: pd.DataFrame, expression: pd.DataFrame, sets: dict[str, np.ndarray]) -> pd.DataFrame:
    """Whether the genes of a set go with a prototype more than the other genes do (a competitive test).

    The statistic is the mean absolute z (of Spearman's correlation) inside the set less that outside: sets
    hold genes of either sign. As in CAMERA (Wu and Smyth 2012, doi 10.1093/nar/gks461), its variance is
    inflated by the correlation between genes that the prototype leaves unexplained, which permuting genes
    would ignore (Goeman and Buehlmann 2007, doi 10.1093/bioinformatics/btm051); permuting patients would
    test another hypothesis, that no gene of the set goes with the prototype, which fails for random sets of
    any prototype that follows something real. The variance of the contrast of absolute deviates is exact to
    second order in the correlations, corr(|a|, |b|) = 0.876 corr(a, b)^2, over all pairs of genes, and in
    units of the spread that so correlated genes would show.

    Parameters
    ----------
    scores, expression
        As for `gene_correlations`.
    sets : dict
        Name to a bool mask (genes,).

    Returns
    -------
    DataFrame
        prototype, gene_set, genes, statistic, p (one-sided: more than the others), fdr (over the sets of a
        prototype), n.
    """
    columns = ["prototype", "gene_set", "genes", "statistic", "p", "fdr", "n"]
    both = scores.index.intersection(expression.index)
    n = len(both)
    usable = {name: mask for name, mask in sets.items() if 2 <= mask.sum() <= len(mask) - 2}
    if n < MIN_PATIENTS or not usable or scores.empty:
        return pd.DataFrame(columns=columns)
    x, genes = (_ranked(t.loc[both].to_numpy(float)) / np.sqrt(n) for t in (scores, expression))
    total = genes.shape[1]
    parts = []
    for i, name in enumerate(scores.columns):
        r = np.clip(genes.T @ x[:, i], -1, 1)
        left = genes - np.outer(x[:, i], r)  # what the prototype leaves of each gene
        length = np.sqrt((left**2).sum(axis=0))
        left = left / np.where(length > 1e-9, length, np.inf)
        square = ((left @ left.T) @ left * left).sum(axis=0)  # sum of squared correlations with all genes
        everything = square.sum()
        alone = 1 - ABSOLUTE * (everything - total) / (total * (total - 1))
        z = np.abs(_z_scores(r, n))
        rows = []
        for gene_set, mask in usable.items():
            m, rest = int(mask.sum()), int(total - mask.sum())
            inside = (left[:, mask].T @ left[:, mask]) ** 2
            one = 1 / m + 1 / rest
            pairs = one**2 * inside.sum() - 2 * one / rest * square[mask].sum() + everything / rest**2
            variance = (ABSOLUTE * (pairs - one) + one) / alone
            gap = z[mask].mean() - z[~mask].mean()
            spread = ((total - 1) * z.var(ddof=1) - gap**2 * m * rest / total) / (total - 2)
            known = spread > 0 and variance > 0
            p = float(stats.t.sf(gap / np.sqrt(spread * variance), n - 2)) if known else np.nan
            rows.append({"prototype": name, "gene_set": gene_set, "genes": m, "statistic": gap, "p": p, "n": n})
        parts.append(pd.DataFrame(rows).assign(fdr=lambda t: fdr(t["p"].to_numpy())))
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
        None where there are fewer than `MIN_EVENTS` events, no variation, or no finite maximum.
    """
    if np.sum(event) < MIN_EVENTS or np.ptp(x) == 0:
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
        if len(groups) == 2 and np.ptp(x) > 0:
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
