"""Which genes enter the model, chosen inside a fold's training patients."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..config.rna import RnaSettings, SelectionSettings
from ..core.atomic import write_text, write_tsv
from ..core.errors import InputError
from ..readers.gene_lists import read_gene_list
from .gene_lists import match_genes
from .matrix import CHUNK, dense, row_numbers, values_kind
from .normalize import LINEAR
from .rankings import RANKERS, Ranking
from .transform import fit_transform, with_expression

if TYPE_CHECKING:
    from anndata import AnnData

log = logging.getLogger("mirror")

PUBLISHED_SHARE = 0.8


@dataclass(frozen=True)
class GeneSet:
    """Selected genes and why.

    Attributes
    ----------
    genes : list of str
        In the expression's order.
    table : DataFrame
        One row a selected gene, in the same order: ``gene``, ``reason`` (the method, ``list``, or
        ``both``), ``rank`` (1 is best; NaN where the method gives none), ``score``, ``leaks``.
    patients : tuple of str
        Patients whose values or labels had a say, sorted.
    leaks : bool
        True for ``method: published``, which looks at labels of test patients.
    messages : tuple of str
        Fallbacks and counts worth telling the user.
    curve : DataFrame or None
        rfecv: ``n_genes`` and cross-validated ``accuracy`` of each round.
    """

    genes: list[str]
    table: pd.DataFrame = field(compare=False)
    patients: tuple[str, ...]
    leaks: bool = False
    messages: tuple[str, ...] = ()
    curve: pd.DataFrame | None = field(default=None, compare=False)

    def write(self, genes: str | Path, table: str | Path) -> None:
        """Write the list (one identifier a line) and its table."""
        write_text(genes, "".join(f"{gene}\n" for gene in self.genes))
        write_tsv(table, self.table)


def select_genes(
    adata: AnnData,
    labels: pd.Series,
    train_patients: Sequence[str],
    settings: RnaSettings,
    seed: int,
    jobs: int | None = None,
) -> GeneSet:
    """Select genes on a fold's training patients.

    Candidates are the genes measured in some training patient and, where counts, TPM or FPKM were
    read, expressed in ``min_sample_fraction`` of them. The supervised methods see the fold's own
    `Transform` of the training patients. Patients are sorted first: neither their order nor any
    patient outside the training set changes the result, except by ``method: published``.

    Too few labels is no error. Labels with fewer than ``inner_folds`` training patients are left
    out of the selection; when fewer than two labels are left (a cohort of one subtype, or of
    none), all candidates are kept. ``messages`` says so.

    Parameters
    ----------
    adata : AnnData
        Output of :func:`mirror.rna.normalize.normalize`.
    labels : Series of str
        Subtype by patient; missing values allowed.
    train_patients : sequence of str
        The fold's training patients; those without expression are passed over.
    settings : RnaSettings
        Its ``selection`` names the method.
    seed : int
        Shuffles the inner folds, and draws the patients of ``method: published``.
    jobs : int, optional
        Threads; by default the processors this process may use.

    Returns
    -------
    GeneSet

    Raises
    ------
    InputError
        No training patient has expression; method list without a list, or none of its genes is
        measured; hvg of z-scores; more than one label a patient.
    """
    selection = settings.selection
    method, leaks = selection.method, selection.method == "published"
    if labels.index.has_duplicates:
        raise InputError("a patient has two labels", row=str(labels.index[labels.index.duplicated()][0]))
    train = with_expression(adata, train_patients)
    if leaks:
        train = _published_patients(adata, labels, seed)
    messages: list[str] = []
    candidates = _candidates(adata, train, settings)
    listed = _listed(adata, selection, candidates, messages)
    ranking = _ranking(adata, labels, train, candidates, settings, seed, jobs, messages)
    chosen = ranking.chosen if ranking is not None else np.zeros(len(candidates), dtype=bool)
    keep = chosen | listed
    reason = np.where(chosen & listed, "both", np.where(listed, "list", ranking.reason if ranking else method))
    rank = ranking.rank if ranking else np.full(len(candidates), np.nan)
    score = ranking.score if ranking else np.full(len(candidates), np.nan)
    genes = [str(gene) for gene in adata.var_names[candidates[keep]]]
    table = pd.DataFrame(
        {
            "gene": genes,
            "reason": reason[keep],
            "rank": rank[keep],
            "score": score[keep],
            "leaks": method == "published",
        }
    )
    messages.append(f"{len(genes)} of {adata.n_vars} genes kept ({', '.join(_counts(table['reason']))})")
    for message in messages:
        log.info("Gene selection: %s", message)
    return GeneSet(
        genes,
        table,
        tuple(train),
        leaks=leaks,
        messages=tuple(messages),
        curve=None if ranking is None else ranking.curve,
    )


def _counts(reasons: pd.Series) -> list[str]:
    return [f"{reason} {count}" for reason, count in reasons.value_counts().sort_index().items()]


def _published_patients(adata: AnnData, labels: pd.Series, seed: int) -> list[str]:
    """A random 80 % of all labelled patients with expression, test patients among them: this leaks."""
    everyone = with_expression(adata, [str(patient) for patient in labels.dropna().index])
    drawn = np.random.default_rng(seed).permutation(len(everyone))[: max(1, int(PUBLISHED_SHARE * len(everyone)))]
    return [everyone[number] for number in sorted(drawn)]


def _candidates(adata: AnnData, train: list[str], settings: RnaSettings) -> np.ndarray:
    """Columns that may be selected, int64 ascending."""
    rows = row_numbers(adata, train)
    linear = values_kind(adata) in LINEAR and "read" in adata.layers
    source = adata.layers["read"] if linear else adata.X
    needed = max(1, int(np.ceil(settings.min_sample_fraction * len(rows)))) if linear else 1
    kept = []
    for start in range(0, adata.n_vars, CHUNK):
        columns = np.arange(start, min(start + CHUNK, adata.n_vars))
        part = dense(source, rows, columns)
        seen = part > 0 if linear else ~np.isnan(part)
        measured = ~np.isnan(part).all(axis=0)
        kept.append(columns[measured & ((seen.sum(axis=0) >= needed) | (settings.min_sample_fraction == 0))])
    found = np.concatenate(kept)
    if found.size == 0:
        raise InputError("no gene is expressed in enough training patients", remedy="lower rna.min_sample_fraction")
    return found


def _listed(adata: AnnData, selection: SelectionSettings, candidates: np.ndarray, messages: list[str]) -> np.ndarray:
    """Candidates that the user's list names, bool."""
    if selection.gene_list is None:
        if selection.method == "list":
            raise InputError("selection.method: list needs selection.gene_list")
        return np.zeros(len(candidates), dtype=bool)
    names = read_gene_list(selection.gene_list, selection.gene_list_tumours)
    found = match_genes(adata, names)[candidates]
    messages.append(f"the list of {len(names)} names meets {int(found.sum())} expressed genes")
    if selection.method == "list" and not found.any():
        raise InputError("none of the list's genes is measured", file=selection.gene_list)
    return found


def _ranking(
    adata: AnnData,
    labels: pd.Series,
    train: list[str],
    candidates: np.ndarray,
    settings: RnaSettings,
    seed: int,
    jobs: int | None,
    messages: list[str],
) -> Ranking | None:
    """The method's choice among the candidates; None for the list alone."""
    method = settings.selection.method
    if method == "list":
        return None
    everything = Ranking.everything(len(candidates))
    if method == "all":
        return everything
    if method == "hvg":
        kind = values_kind(adata)
        if kind == "zscore" or settings.batch == "rank":
            raise InputError(
                "highly variable genes need expression levels, and these are z-scores or ranks",
                remedy="choose another selection.method",
            )
        x = dense(adata.X, row_numbers(adata, train), candidates)
        return RANKERS["hvg"](x, None, settings.selection, seed, jobs, log2=kind == "log2")
    y = labels.reindex(train).to_numpy(dtype=object)
    known = ~pd.isna(y)
    values, counts = np.unique(y[known].astype(str), return_counts=True)
    enough = values[counts >= settings.selection.inner_folds]
    rare = [f"{value} ({count})" for value, count in zip(values, counts, strict=True) if value not in enough]
    if rare:
        messages.append(f"labels too rare for {settings.selection.inner_folds} inner folds left out: {', '.join(rare)}")
    if len(enough) < 2:
        messages.append(f"{len(enough)} usable label(s) in training, so {method} cannot choose: all genes kept")
        return everything
    used = [patient for patient, value in zip(train, y, strict=True) if not pd.isna(value) and str(value) in enough]
    genes = [str(gene) for gene in adata.var_names[candidates]]
    bare = settings.model_copy(update={"pathways": None, "standardize": settings.standardize and method != "published"})
    x = fit_transform(adata, train, genes, bare).apply(adata, used)
    return RANKERS[method](x, labels.reindex(used).astype(str).to_numpy(), settings.selection, seed, jobs)
