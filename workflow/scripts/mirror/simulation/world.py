"""Draw patients: latent factors, labels, survival, clinical columns and raw counts.

Three groups of factors are independent standard normals: ``shared`` (seen by slide and
expression), ``slide`` (the slide's own) and ``rna`` (expression's own). Labels and hazards
follow all three equally, so that a model that keeps only what is shared must lose.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..plan.simulated import DEFAULT, SITES, patient_names

GROUPS = ("shared", "slide", "rna")
N_FACTORS = 4  # a group; as in the published measurement of what retention keeps

# Strong but not perfect outcomes: over 400 patients a logistic model on the true factors reaches an
# AUROC of 0.91 and a Cox model a concordance of 0.80, so that even the truth leaves errors.
LABEL_LOG_ODDS = 1.6
LOG_HAZARD = 0.65
MEDIAN_DAYS = 1300.0
CENSOR_DAYS = (300.0, 4200.0)  # uniform follow-up: about 37 % of patients are censored
LABELS = ("SIM1", "SIM2")

# Bulk RNA-seq: library sizes around 30 million reads over 20,000 genes leave about 1,500 a gene;
# dispersion 0.15 is typical of human tissue replicates.
MEAN_COUNT = 600.0
DISPERSION = 0.15
MODULE_SHARE = 0.06  # of the genes, for each factor
LOADING = 0.6  # natural-log change in expression for one SD of the factor


@dataclass(frozen=True)
class World:
    """Everything drawn for one cohort.

    Attributes
    ----------
    factors : DataFrame (patients, 12)
        Columns ``{group}_{i}``.
    clinical : DataFrame
        patient_id, subtype, os_days, os_event, site, age, sex, stage.
    counts : DataFrame (genes, patients), int64
    modules : dict
        Factor name to its genes.
    """

    factors: pd.DataFrame
    clinical: pd.DataFrame
    counts: pd.DataFrame
    modules: dict[str, list[str]]


def draw_factors(n: int, rng: np.random.Generator) -> pd.DataFrame:
    """Independent standard-normal factors of ``n`` patients, columns ``{group}_{i}``."""
    names = [f"{group}_{i}" for group in GROUPS for i in range(N_FACTORS)]
    return pd.DataFrame(rng.standard_normal((n, len(names))), columns=names)


def group_scores(factors: pd.DataFrame) -> dict[str, np.ndarray]:
    """One unit-variance score a group (mean of its first two factors), from which outcomes are drawn."""
    return {g: (factors[f"{g}_0"] + factors[f"{g}_1"]).to_numpy() / np.sqrt(2) for g in GROUPS}


def draw_outcomes(factors: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Subtype, follow-up time (days) and event; each group of factors contributes equally."""
    n = len(factors)
    score = sum(group_scores(factors).values()) / np.sqrt(len(GROUPS))
    odds = 1 / (1 + np.exp(-LABEL_LOG_ODDS * np.sqrt(len(GROUPS)) * score))
    subtype = np.where(rng.random(n) < odds, LABELS[1], LABELS[0])
    # The last factors of each group drive survival, so that the two tasks are not one.
    late = sum((factors[f"{g}_2"] + factors[f"{g}_3"]).to_numpy() for g in GROUPS) / np.sqrt(2 * len(GROUPS))
    shape = 1.2  # Weibull hazards that rise slowly
    scale = MEDIAN_DAYS / np.log(2) ** (1 / shape)
    died = scale * (rng.exponential(size=n) * np.exp(-LOG_HAZARD * np.sqrt(len(GROUPS)) * late)) ** (1 / shape)
    censored = rng.uniform(*CENSOR_DAYS, size=n)
    return pd.DataFrame(
        {
            "subtype": subtype,
            "os_days": np.maximum(np.minimum(died, censored).round(), 1).astype(int),
            "os_event": (died <= censored).astype(int),
        }
    )


def draw_counts(
    factors: pd.DataFrame, n_genes: int, rng: np.random.Generator
) -> tuple[np.ndarray, list[str], dict[str, list[str]]]:
    """Negative-binomial counts whose modules follow the shared and RNA-only factors.

    Returns
    -------
    counts : int64 (genes, patients)
    genes : list of str
    modules : dict, factor name to gene names
    """
    genes = [f"GENE{i + 1:05d}" for i in range(n_genes)]
    visible = [name for name in factors if not name.startswith("slide_")]
    size = max(3, int(MODULE_SHARE * n_genes))
    order = rng.permutation(n_genes)
    log_mean = np.log(MEAN_COUNT) + rng.normal(0, 1.5, size=(n_genes, 1)) + np.zeros((1, len(factors)))
    modules: dict[str, list[str]] = {}
    for k, name in enumerate(visible):
        members = order[k * size : (k + 1) * size]
        sign = rng.choice([-1.0, 1.0], size=(len(members), 1), p=[0.3, 0.7])
        log_mean[members] += sign * LOADING * factors[name].to_numpy()[None]
        modules[name] = sorted(genes[i] for i in members)
    log_mean += rng.normal(0, 0.25, size=(1, len(factors)))  # library size
    mean = np.exp(log_mean)
    counts = rng.poisson(rng.gamma(1 / DISPERSION, mean * DISPERSION))
    return counts.astype(np.int64), genes, modules


def draw_world(n_patients: int, n_genes: int, seed: int, cohort: str = DEFAULT) -> World:
    """Draw a whole cohort; the same seed gives the same cohort, whose name is in its patients' names alone."""
    streams = [np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(4)]
    names = patient_names(n_patients, cohort)
    factors = draw_factors(n_patients, streams[0])
    outcomes = draw_outcomes(factors, streams[1])
    counts, genes, modules = draw_counts(factors, n_genes, streams[2])
    rng = streams[3]
    clinical = pd.DataFrame({"patient_id": names}).join(outcomes)
    clinical["site"] = [name.split("-")[1] for name in names]
    assert set(clinical["site"]) <= set(SITES)
    clinical["age"] = np.clip(rng.normal(61, 12, n_patients), 25, 90).round().astype(int)
    clinical["sex"] = rng.choice(["female", "male"], n_patients)
    clinical["stage"] = rng.choice(["I", "II", "III", "IV"], n_patients, p=[0.2, 0.4, 0.3, 0.1])
    factors.insert(0, "patient_id", names)
    table = pd.DataFrame(counts, index=pd.Index(genes, name="gene_id"), columns=names)
    return World(factors, clinical, table, modules)
