"""What is fitted over patients, fitted on a fold's training patients and applied to any.

The order is: quantile normalisation, missing values to the median, ComBat, z-scores, clipping;
pathway scores are means of the members' clipped z-scores, standardised in their turn.
"""

from __future__ import annotations

import json
import logging
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..config.rna import RnaSettings
from ..core.atomic import atomic_path
from ..core.errors import InputError
from .batch import Combat, quantile_map, quantile_reference
from .matrix import CHUNK, column_numbers, dense, row_numbers, values_kind
from .pathways import Membership, find_members

if TYPE_CHECKING:
    from anndata import AnnData

log = logging.getLogger("mirror")

VERSION = 1
MIN_SCALE = 1e-8
"""A gene whose training values vary by less than this (relative to their size) is constant."""


@dataclass(frozen=True)
class Transform:
    """A fold's fitted transform of expression.

    Attributes
    ----------
    genes : tuple of str
        Output features in order: genes, then ``pathway:NAME``.
    mean, scale : ndarray, float64 (G,)
        Per output feature; 0 and 1 without ``standardize``, scale 1 where constant in training.
    constant : ndarray, bool (G,)
        Output features that did not vary in training: they carry nothing.
    clip : float or None
        Bound of the output.
    patients : tuple of str
        The training patients that the parameters were fitted on, sorted.
    settings : dict
        The `RnaSettings` used.
    inputs : tuple of str
        Genes read: the output's genes, then pathway members that are not among them.
    input_mean, input_scale, median : ndarray, float64 (inputs,)
        Parameters of the genes read; ``median`` stands in for missing values.
    input_clip : float or None
        z-scores as read are clipped to this before anything else, because a single value of
        36,893 would own the gene's mean and variance.
    reference, reference_genes : ndarray float64 (R,) and tuple of str
        Quantile reference and the genes it ranges over; empty unless ``batch: quantile``.
    combat : Combat or None
        Batch effects, fitted over ``inputs``.
    members : Membership or None
        Pathways over ``inputs``.
    selected_with : tuple of str
        Patients whose labels or values chose the genes.
    leaks : bool
        The genes were chosen with labels of patients outside the training set, on purpose.
    """

    genes: tuple[str, ...]
    mean: np.ndarray
    scale: np.ndarray
    constant: np.ndarray
    clip: float | None
    patients: tuple[str, ...]
    settings: dict[str, Any]
    inputs: tuple[str, ...]
    input_mean: np.ndarray
    input_scale: np.ndarray
    median: np.ndarray
    input_clip: float | None = None
    reference: np.ndarray = field(default_factory=lambda: np.empty(0))
    reference_genes: tuple[str, ...] = ()
    combat: Combat | None = None
    members: Membership | None = None
    selected_with: tuple[str, ...] = ()
    leaks: bool = False

    def with_selection(self, patients: Sequence[str], leaks: bool) -> Transform:
        """The same transform, saying which patients chose its genes."""
        return replace(self, selected_with=tuple(patients), leaks=leaks)

    def apply(self, adata: AnnData, patients: Sequence[str] | None = None) -> np.ndarray:
        """Transformed expression.

        Parameters
        ----------
        adata : AnnData
            Output of :func:`mirror.rna.normalize.normalize`.
        patients : sequence of str, optional
            Rows wanted, in this order; all rows by default.

        Returns
        -------
        ndarray, float32 (n, G)
            C-contiguous, finite. A row depends on that patient's values alone.

        Raises
        ------
        InputError
            A patient or a gene is not in ``adata``; a batch unseen in training.
        """
        rows = np.arange(adata.n_obs) if patients is None else row_numbers(adata, patients)
        x = self._prepare(adata, rows)
        if self.members is None and len(self.inputs) == len(self.genes):
            return _zscore(x, self.mean, self.scale, self.clip)
        n_genes = len(self.genes) - (0 if self.members is None else len(self.members.names))
        out = np.empty((len(rows), len(self.genes)), dtype=np.float32)
        out[:, :n_genes] = _zscore(x[:, :n_genes].copy(), self.mean[:n_genes], self.scale[:n_genes], self.clip)
        if self.members is not None:
            z = _zscore(x, self.input_mean, self.input_scale, self.clip)
            scores = self.members.scores(z).astype(np.float32)
            out[:, n_genes:] = _zscore(scores, self.mean[n_genes:], self.scale[n_genes:], self.clip)
        return out

    def _prepare(self, adata: AnnData, rows: np.ndarray) -> np.ndarray:
        """Values before standardising, float32 (n, inputs)."""
        columns = column_numbers(adata, self.inputs)
        if self.reference_genes:
            ranked = column_numbers(adata, self.reference_genes)
            place = {column: number for number, column in enumerate(ranked)}
            x = quantile_map(_clipped(dense(adata.X, rows, ranked), self.input_clip), self.reference)
            x = np.ascontiguousarray(x[:, [place[column] for column in columns]])
        else:
            x = _clipped(dense(adata.X, rows, columns), self.input_clip)
        _fill(x, self.median)
        return x if self.combat is None else self.combat.apply(x, _batches(adata, rows, self.settings["batch_key"]))

    def save(self, path: str | Path) -> None:
        """Write an ``.npz`` without pickled objects, atomically; equal transforms give equal bytes."""
        arrays: dict[str, np.ndarray] = {
            name: np.asarray(getattr(self, name), dtype=np.float64)
            for name in ("mean", "scale", "input_mean", "input_scale", "median", "reference")
        }
        arrays["constant"] = self.constant
        for name in ("genes", "patients", "inputs", "reference_genes", "selected_with"):
            arrays[name] = np.asarray(getattr(self, name), dtype=np.str_)
        if self.combat is not None:
            arrays["combat_levels"] = np.asarray(self.combat.levels, dtype=np.str_)
            arrays |= {f"combat_{name}": getattr(self.combat, name) for name in ("mean", "sd", "shift", "spread")}
        if self.members is not None:
            arrays["members_names"] = np.asarray(self.members.names, dtype=np.str_)
            arrays |= {f"members_{name}": getattr(self.members, name) for name in ("starts", "columns")}
        note = {
            "version": VERSION,
            "clip": self.clip,
            "input_clip": self.input_clip,
            "settings": self.settings,
            "leaks": self.leaks,
        }
        arrays["note"] = np.asarray(json.dumps(note, sort_keys=True))
        with atomic_path(path) as part, open(part, "wb") as handle:
            np.savez_compressed(handle, **arrays)  # type: ignore[arg-type]

    @classmethod
    def load(cls, path: str | Path) -> Transform:
        """Read what :meth:`save` wrote.

        Raises
        ------
        InputError
            The file is missing, broken, or of another version.
        """
        try:
            with np.load(path, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
            note = json.loads(str(arrays["note"]))
        except FileNotFoundError:
            raise InputError("the fitted transform is not there", file=path) from None
        except (zipfile.BadZipFile, ValueError, KeyError, OSError, EOFError) as error:
            raise InputError(f"not a fitted transform ({error})", file=path, remedy="delete it and run again") from None
        if note.get("version") != VERSION:
            raise InputError(f"a transform of version {note.get('version')}", file=path, remedy="fit it again")
        texts = {
            name: tuple(str(item) for item in arrays[name])
            for name in ("genes", "patients", "inputs", "reference_genes", "selected_with")
        }
        combat = members = None
        if "combat_levels" in arrays:
            levels = tuple(str(level) for level in arrays["combat_levels"])
            combat = Combat(levels, *(arrays[f"combat_{name}"] for name in ("mean", "sd", "shift", "spread")))
        if "members_names" in arrays:
            names = tuple(str(name) for name in arrays["members_names"])
            members = Membership(names, arrays["members_starts"], arrays["members_columns"])
        return cls(
            **texts,  # type: ignore[arg-type]
            **{name: arrays[name] for name in ("mean", "scale", "input_mean", "input_scale", "median", "reference")},
            constant=arrays["constant"],
            clip=note["clip"],
            input_clip=note["input_clip"],
            settings=note["settings"],
            combat=combat,
            members=members,
            leaks=bool(note["leaks"]),
        )


def with_expression(adata: AnnData, patients: Sequence[str]) -> list[str]:
    """Those of ``patients`` that have expression, sorted, so that no result depends on the rows' order.

    Raises
    ------
    InputError
        None has.
    """
    found = sorted(set(patients) & set(adata.obs_names))
    if not found:
        raise InputError(f"none of the {len(patients)} training patients has expression")
    return found


def fit_transform(
    adata: AnnData, train_patients: Sequence[str], genes: Sequence[str], settings: RnaSettings
) -> Transform:
    """Fit a fold's transform on its training patients.

    Parameters
    ----------
    adata : AnnData
        Output of :func:`mirror.rna.normalize.normalize`.
    train_patients : sequence of str
        The fold's training patients; those without expression are passed over.
    genes : sequence of str
        Selected genes, in the output's order.
    settings : RnaSettings
        ``batch``, ``batch_key``, ``standardize``, ``clip``, ``pathways``.

    Returns
    -------
    Transform

    Raises
    ------
    InputError
        No training patient has expression; a gene is not measured at all in training; a batch
        of ComBat has one patient.
    """
    patients = with_expression(adata, train_patients)
    genes = list(dict.fromkeys(genes))
    if not genes:
        raise InputError("no gene to fit a transform for")
    rows = row_numbers(adata, patients)
    pathway_names: list[str] = []
    pathway_columns: list[np.ndarray] = []
    if settings.pathways:
        pathway_names, pathway_columns = find_members(adata, settings.pathways, _measured(adata, rows))
    columns = column_numbers(adata, genes)
    extra = np.setdiff1d(np.concatenate([np.empty(0, np.int64), *pathway_columns]), columns).astype(np.int64)
    inputs = (*genes, *(str(name) for name in adata.var_names[extra]))
    clip_read = settings.clip if values_kind(adata) == "zscore" else None
    bare = Transform(
        genes=inputs,
        mean=np.zeros(len(inputs)),
        scale=np.ones(len(inputs)),
        constant=np.zeros(len(inputs), dtype=bool),
        clip=None,
        patients=tuple(patients),
        settings=settings.model_dump(mode="json"),
        inputs=inputs,
        input_mean=np.zeros(len(inputs)),
        input_scale=np.ones(len(inputs)),
        median=np.full(len(inputs), np.nan),
        input_clip=clip_read,
    )
    if settings.batch == "quantile":
        everything = tuple(str(name) for name in adata.var_names[_measured(adata, rows)])
        read = _clipped(dense(adata.X, rows, column_numbers(adata, everything)), clip_read)
        bare = replace(bare, reference=quantile_reference(read), reference_genes=everything)
    x = bare._prepare(adata, rows)
    bare = replace(bare, median=_medians(x, inputs))
    _fill(x, bare.median)
    if settings.batch == "combat":
        batches = _batches(adata, rows, settings.batch_key)
        combat = Combat.fit(x, batches)
        bare, x = replace(bare, combat=combat), combat.apply(x, batches)
    mean, scale, constant = _moments(x) if settings.standardize else (bare.mean, bare.scale, bare.constant)
    fitted = replace(
        bare,
        genes=tuple(genes),
        mean=mean[: len(genes)],
        scale=scale[: len(genes)],
        constant=constant[: len(genes)],
        clip=settings.clip if settings.standardize else None,
        input_mean=mean,
        input_scale=scale,
    )
    if pathway_names:
        fitted = _with_pathways(fitted, pathway_names, pathway_columns, column_numbers(adata, inputs), x)
    if fitted.constant.any():
        log.info(
            "Scaling: %d of %d features do not vary in training and are scaled by 1",
            np.count_nonzero(fitted.constant),
            len(fitted.genes),
        )
    return fitted


def _with_pathways(
    fitted: Transform, names: list[str], columns: list[np.ndarray], of_inputs: np.ndarray, x: np.ndarray
) -> Transform:
    place = {int(column): number for number, column in enumerate(of_inputs)}
    positions = [sorted(place[int(column)] for column in group) for group in columns]
    members = Membership(
        tuple(names),
        np.concatenate([[0], np.cumsum([len(group) for group in positions])]).astype(np.int64),
        np.concatenate([np.asarray(group, dtype=np.int64) for group in positions]),
    )
    mean, scale = fitted.input_mean, fitted.input_scale
    if not fitted.settings["standardize"]:  # a mean of members needs a common scale even where the output has none
        mean, scale, _ = _moments(x)
    scores = members.scores(_zscore(x, mean, scale, fitted.settings["clip"])).astype(np.float32)
    score_mean, score_scale, score_constant = _moments(scores)
    return replace(
        fitted,
        genes=(*fitted.genes, *names),
        mean=np.concatenate([fitted.mean, score_mean]),
        scale=np.concatenate([fitted.scale, score_scale]),
        constant=np.concatenate([fitted.constant, score_constant]),
        input_mean=mean,
        input_scale=scale,
        members=members,
    )


def _measured(adata: AnnData, rows: np.ndarray) -> np.ndarray:
    """Genes with a value in some of these rows, bool (genes,)."""
    found = np.zeros(adata.n_vars, dtype=bool)
    for start in range(0, adata.n_vars, CHUNK):
        columns = np.arange(start, min(start + CHUNK, adata.n_vars))
        found[columns] = ~np.isnan(dense(adata.X, rows, columns)).all(axis=0)
    return found


def _batches(adata: AnnData, rows: np.ndarray, key: str) -> np.ndarray:
    if key not in adata.obs:
        raise InputError(f"rna.batch: combat needs the column {key!r} in the expression's obs")
    return adata.obs[key].astype(str).to_numpy()[rows]


def _medians(x: np.ndarray, genes: Sequence[str]) -> np.ndarray:
    """Median of the measured values, float64 (G,)."""
    out = np.empty(x.shape[1])
    for start in range(0, x.shape[1], CHUNK):
        part = x[:, start : start + CHUNK]
        missing = np.isnan(part)
        if missing.all(axis=0).any():
            raise InputError(
                "the gene has no value in any training patient",
                row=genes[start + int(np.argmax(missing.all(axis=0)))],
                remedy="drop such genes (expression.missing: drop_gene)",
            )
        out[start : start + CHUNK] = np.nanmedian(part, axis=0) if missing.any() else np.median(part, axis=0)
    return out


def _clipped(x: np.ndarray, bound: float | None) -> np.ndarray:
    """``x`` clipped in place to +-``bound``."""
    return x if bound is None else np.clip(x, -bound, bound, out=x)


def _fill(x: np.ndarray, median: np.ndarray) -> None:
    """Put the medians where values are missing, in place."""
    for start in range(0, x.shape[1], CHUNK):
        part = x[:, start : start + CHUNK]
        missing = np.isnan(part)
        if missing.any():
            np.copyto(part, median[start : start + CHUNK].astype(np.float32), where=missing)


def _moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, standard deviation (divided by n, as scikit-learn's scaler; 1 where constant) and constant, (G,) each."""
    mean, scale = np.empty(x.shape[1]), np.empty(x.shape[1])
    for start in range(0, x.shape[1], CHUNK):
        part = x[:, start : start + CHUNK].astype(np.float64)
        mean[start : start + CHUNK], scale[start : start + CHUNK] = part.mean(axis=0), part.std(axis=0)
    constant = scale <= MIN_SCALE * np.maximum(1.0, np.abs(mean))
    scale[constant] = 1.0
    return mean, scale, constant


def _zscore(x: np.ndarray, mean: np.ndarray, scale: np.ndarray, clip: float | None) -> np.ndarray:
    """``(x - mean) / scale`` clipped, float32, computed in float64 and written over ``x``."""
    for start in range(0, x.shape[1], CHUNK):
        part = slice(start, start + CHUNK)
        z = (x[:, part].astype(np.float64) - mean[part]) / scale[part]
        x[:, part] = z if clip is None else np.clip(z, -clip, clip)
    return x
