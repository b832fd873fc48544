"""Does the style cluster? Use of prototypes, agreement of both modalities, stability, associations.

Everything is measured on patients that the model of a fold was not trained on.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
from sklearn.metrics import normalized_mutual_info_score

from ..metrics.style import agreement, perplexity, stability, usage
from .associations import fdr, gene_set_association, outcome_association
from .prototypes import FoldScores, choose

log = logging.getLogger("mirror")

COLLAPSED = 2.0
"""Fewer prototypes in effective use are called a collapse."""
MOST = 64
"""Prototypes that are tested for associations, the most used first."""
COLUMNS = [
    "variant", "prototypes", "patients", "perplexity", "perplexity_slide", "perplexity_rna", "agreement",
    "agreement_chance", "agreement_p", "stability_ari", "stability_slide", "stability_rna", "label_nmi", "used",
    "labels_fdr05", "survival_fdr05", "sets_fdr05", "collapsed",
]  # fmt: skip


@dataclass(frozen=True)
class FoldStyle:
    """Prototype scores of one fold.

    Attributes
    ----------
    slides : FoldScores
        Slide side.
    rna : DataFrame (patients, K)
        RNA side; may be empty.
    test : set of str
        Patients that the fold tests.
    """

    slides: FoldScores
    rna: pd.DataFrame
    test: set[str]

    def won(self, side: str) -> pd.Series:
        """Prototype with the highest score (mean over a patient's slides), by patient."""
        scores = self.slides.of_everyone() if side == "slide" else self.rna
        return pd.Series(scores.to_numpy(float).argmax(1) if len(scores) else [], index=scores.index, dtype=np.int64)


def read_fold(fold: str, path: Path) -> FoldStyle | None:
    """A fold's embeddings; None where its model was trained without style.

    Parameters
    ----------
    fold : str
    path : Path
        ``{fold}.h5ad``.
    """
    data = anndata.read_h5ad(path)
    if not json.loads(str(data.uns["mirror"])).get("style_trained", True):
        return None
    people = data.obs["patient_id"].astype(str).to_numpy()
    sets = data.obs["set"].astype(str).to_numpy()
    slide_id = data.obs["slide_id"].astype(str).to_numpy()
    slide = np.asarray(data.obsm["X_prototypes_wsi"], float)
    keep = np.isfinite(slide).all(1) & (slide_id != "")
    names = slide_id[keep]
    scores = FoldScores(
        fold,
        pd.DataFrame(slide[keep], index=names),
        pd.Series(people[keep], index=names),
        pd.Series(sets[keep], index=names),
    )
    rna = np.asarray(data.obsm["X_prototypes_rna"], float)
    keep = np.isfinite(rna).all(1)
    vectors = pd.DataFrame(rna[keep], index=people[keep])
    vectors = vectors[~vectors.index.duplicated()]
    return FoldStyle(scores, vectors, set(people[sets == "test"]))


def measure(
    variant: str,
    folds: list[FoldStyle],
    patients: pd.DataFrame,
    expression: pd.DataFrame | None,
    gene_sets: dict[str, np.ndarray],
    permutations: int,
    seed: int,
) -> tuple[dict, pd.DataFrame]:
    """One variant's style clustering over the folds of one repeat.

    Parameters
    ----------
    variant : str
    folds : list of FoldStyle
    patients : DataFrame
        Indexed by patient_id: label, time_days, event; any may be missing.
    expression : DataFrame (patients, genes) or None
    gene_sets : dict
        Name to a bool mask (genes,).
    permutations, seed : int

    Returns
    -------
    row : dict
        See `COLUMNS`. Shares ``*_fdr05`` are of the used prototypes (those that at least one
        out-of-fold slide scores highest, at most `MOST`), at a false discovery rate of 0.05 over all
        prototypes (and gene sets). NaN where something cannot be measured.
    prototypes : DataFrame
        One row a used prototype: variant, prototype, use, match, its associations.
    """
    k = folds[0].slides.table.shape[1]
    won = {side: [f.won(side) for f in folds] for side in ("slide", "rna")}
    row: dict = dict.fromkeys(COLUMNS, np.nan) | {"variant": variant, "prototypes": k}
    row["patients"] = len(set().union(*(f.test & set(w.index) for f, w in zip(folds, won["slide"], strict=True))))
    for side, series in won.items():
        tested = [w[w.index.isin(f.test)] for f, w in zip(folds, series, strict=True)]
        values = [perplexity(usage(w.to_numpy(), k)) for w in tested if len(w)]
        row[f"perplexity_{side}"] = float(np.mean(values)) if values else np.nan
        row[f"stability_{side}"] = stability([w.to_dict() for w in series], [f.test for f in folds])
    row["perplexity"] = np.nanmean([row["perplexity_slide"], row["perplexity_rna"]])
    row["stability_ari"] = np.nanmean([row["stability_slide"], row["stability_rna"]]) if len(folds) > 1 else np.nan
    parts = []
    for i, f in enumerate(folds):
        both = pd.DataFrame({"slide": won["slide"][i], "rna": won["rna"][i]}).dropna().astype(np.int64)
        parts.append(both[both.index.isin(f.test)].assign(fold=i))
    pairs = pd.concat(parts)
    met = agreement(pairs["slide"].to_numpy(), pairs["rna"].to_numpy(), pairs["fold"].to_numpy(), permutations, seed)
    row |= {"agreement": met.value, "agreement_chance": met.chance, "agreement_p": met.p}

    chosen = choose([f.slides for f in folds], min(k, MOST), redundant=1.0)
    table = chosen.table[chosen.table["use"] > 0]
    scores = chosen.scores[list(table["prototype"])]
    row["used"] = len(table)
    labels = patients["label"].reindex(scores.index) if "label" in patients else pd.Series("", scores.index)
    known = labels.notna() & (labels.astype(str) != "")
    if known.sum() and labels[known].nunique() > 1:
        row["label_nmi"] = float(
            normalized_mutual_info_score(labels[known].astype(str), scores[known].to_numpy(float).argmax(1))
        )
    outcome = outcome_association(scores, patients)
    for kind in ("label", "survival"):
        if outcome[f"{kind}_fdr"].notna().any():
            row[f"{kind}{'s' if kind == 'label' else ''}_fdr05"] = float((outcome[f"{kind}_fdr"] < 0.05).mean())
    described = table.merge(outcome, on="prototype")
    if expression is not None and gene_sets:
        sets = gene_set_association(scores, expression, gene_sets)
        sets["fdr"] = fdr(sets["p"].to_numpy(float))  # over all prototypes and sets
        best = sets.drop_duplicates("prototype")[["prototype", "gene_set", "fdr"]]
        described = described.merge(best.rename(columns={"fdr": "set_fdr"}), on="prototype", how="left")
        found = sets[sets["fdr"] < 0.05].groupby("prototype").size()
        described["sets_fdr05"] = described["prototype"].map(found).fillna(0).astype(int)
        row["sets_fdr05"] = float((described["sets_fdr05"] > 0).mean())
    lowest = np.nanmin([row["perplexity_slide"], row["perplexity_rna"]])
    row["collapsed"] = bool(lowest < COLLAPSED)
    if row["collapsed"]:
        log.warning("%s: the style has COLLAPSED: %.2f of %d prototypes are in effective use", variant, lowest, k)
    return row, described.assign(variant=variant)[["variant", *(c for c in described if c != "variant")]]
