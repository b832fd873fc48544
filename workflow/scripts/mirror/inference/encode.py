"""Embeddings of a whole cohort from one checkpoint."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ..compute.device import choose_device, steady
from ..config.pretrain import PretrainSettings
from ..core.errors import InputError
from ..core.hashing import sha256_file
from ..core.progress import progress
from ..dataset.paired import PairedData
from ..io.checkpoints import Checkpoint, load_checkpoint
from ..model.mirror import Mirror, build_model
from ..model.style import Style

log = logging.getLogger("mirror.training")
SHOWN = ("site",)
"""Columns of the patients' table that embeddings carry; outcomes are none of them."""


def restore_model(checkpoint: Checkpoint, device: torch.device) -> Mirror:
    """Build the checkpoint's model with its weights, in evaluation mode.

    Raises
    ------
    InputError
        When the weights do not fit the configuration in the header.
    """
    model = build_model(checkpoint.settings, checkpoint.n_genes, checkpoint.feature_width)
    try:
        model.load_state_dict(checkpoint.weights)
    except RuntimeError as error:
        raise InputError(
            "the checkpoint's weights do not fit its configuration",
            file=checkpoint.path,
            remedy="delete it and let the workflow train it again",
        ) from error
    return model.to(device).eval()


@dataclass
class _Encoded:
    """What one modality gives, a row each; rows missing here are NaN in the result."""

    rows: list[int] = field(default_factory=list)
    embedding: list[np.ndarray] = field(default_factory=list)
    aligned: list[np.ndarray] = field(default_factory=list)
    style: list[np.ndarray] = field(default_factory=list)
    scores: list[np.ndarray] = field(default_factory=list)

    def add(self, row: int, embedding: Tensor, aligned: Tensor, style: Style) -> None:
        self.rows.append(row)
        for where, value in (
            (self.embedding, embedding),
            (self.aligned, aligned),
            (self.style, style.mu),
            (self.scores, style.scores),
        ):
            where.append(value[0].float().cpu().numpy())

    def full(self, name: str, n: int, width: int) -> np.ndarray:
        out = np.full((n, width), np.nan, dtype=np.float32)
        values = getattr(self, name)
        if values:
            out[self.rows] = np.stack(values)
        return out


def encode(
    checkpoint: str | Path | Checkpoint,
    data: PairedData,
    *,
    settings: PretrainSettings | None = None,
    max_tokens: int | None = None,
    device: torch.device | None = None,
    threads: int | None = None,
) -> anndata.AnnData:
    """Embed every slide and every RNA vector of a cohort, training and test patients alike.

    A slide is encoded alone, from every patch, or from a subset of ``max_tokens`` that (seed, slide)
    fixes: its embedding depends on no other slide and not on how often it is asked for. Memory is
    that of one bag. The order of patches is as in training (``train.token_order``).

    Parameters
    ----------
    checkpoint : path-like or Checkpoint
        The fold's model.
    data : PairedData
        The cohort; slides, expression, or both.
    settings : PretrainSettings, optional
        Expected configuration, checked against the checkpoint's.
    max_tokens : int, optional
        Patches per slide at most, 0 for all; by default ``train.encode_tokens``.
    device : torch.device, optional
        By default ``train.device``.
    threads : int, optional
        CPU threads of the job.

    Returns
    -------
    AnnData
        A row per slide, and a row (``slide_id`` empty) for each patient with RNA alone. ``X`` and
        obsm ``X_fused`` (n, 2D): slide and RNA embedding side by side; ``X_wsi``, ``X_rna`` (n, D);
        ``X_align_wsi``, ``X_align_rna`` (n, D): projected, for retrieval; ``X_style`` (n, 2L): means
        (no noise) of the style latents of slide and RNA; ``X_prototypes_wsi``, ``X_prototypes_rna``
        (n, K): scores of these means. Float32; NaN where a modality is missing. obs: patient_id,
        slide_id, set, site, has_wsi, has_rna, n_tokens. ``uns["mirror"]``:
        JSON with the checkpoint's path and SHA-256, seed, training and validation patients, tokens.

    Raises
    ------
    InputError
        When the checkpoint does not belong to these data, or an embedding is not finite.
    """
    width = data.bags.width if data.bags else None
    if not isinstance(checkpoint, Checkpoint):
        genes = data.genes if data.rna_patients else None
        checkpoint = load_checkpoint(checkpoint, settings=settings, genes=genes, feature_width=width)
    used = settings or checkpoint.settings
    limit = used.train.encode_tokens if max_tokens is None else max_tokens
    device = device or choose_device(used.train.device)
    obs = _rows(data)
    slides, people = _Encoded(), _Encoded()
    n_tokens = np.zeros(len(obs), dtype=np.int64)
    with steady(device, used, threads), torch.inference_mode():
        model = restore_model(checkpoint, device)
        rows = {p: i for i, p in enumerate(data.rna_patients)}
        vectors: dict[str, Tensor] = {}
        with_slide = [(i, s) for i, s in enumerate(obs["slide_id"]) if s]
        for i, slide in progress(with_slide, "Encoding", total=len(with_slide), unit="slide"):
            assert data.bags is not None
            bag = data.bags.whole(slide, limit, checkpoint.seed)
            n_tokens[i] = len(bag)
            embedding = model.encode_slide(bag[None].to(device))
            _check(embedding, data.bags.path(slide), f"slide {slide}")
            # Style without noise: an embedding must not change from run to run.
            style = model.slide_style(embedding, embedding.new_zeros(1))
            slides.add(i, embedding, model.align_slide(embedding), style)
        for i, patient in enumerate(obs["patient_id"]):
            if patient not in rows:
                continue
            if patient not in vectors:
                vector = torch.from_numpy(data.rna[rows[patient]])[None].to(device)
                vectors[patient] = model.encode_rna(vector)
                _check(vectors[patient], None, f"patient {patient}")
            vector = vectors[patient]
            people.add(i, vector, model.align_rna(vector), model.rna_style(vector, vector.new_zeros(1)))
    sizes = checkpoint.settings.model
    obs["n_tokens"] = n_tokens
    return _assemble(obs, slides, people, sizes.embed_dim, sizes.style_dim, sizes.prototypes, {
        "checkpoint": str(checkpoint.path),
        "checkpoint_sha256": sha256_file(checkpoint.path) if checkpoint.path.is_file() else "",
        "variant": checkpoint.variant,
        "seed": checkpoint.seed,
        "code_version": checkpoint.code_version,
        "patients_seen": checkpoint.seen,
        "validation_patients": checkpoint.validation_patients,
        "max_tokens": limit,
        "token_order": used.train.token_order,
        "style": "mean of the latent, no noise",
        "style_trained": checkpoint.settings.style.style_weight > 0 or checkpoint.settings.style.cluster_weight > 0,
    })  # fmt: skip


def _check(embedding: Tensor, file: Path | None, who: str) -> None:
    if not bool(torch.isfinite(embedding).all()):
        raise InputError(
            "its embedding is not finite",
            file=file,
            row=who,
            remedy="look for NaN or infinity in its input and make it again",
        )


def _rows(data: PairedData) -> pd.DataFrame:
    """The result's obs: slides first, then patients with RNA alone."""
    slides = data.slides[["slide_id", "patient_id"]].iloc[: len(data.slides) if data.bags else 0]
    have = set(slides["patient_id"])
    alone = [p for p in data.rna_patients if p not in have]
    rows = pd.concat([slides, pd.DataFrame({"slide_id": [""] * len(alone), "patient_id": alone})], ignore_index=True)
    rows = rows.astype(str)
    people = data.patients.reindex(rows["patient_id"])
    rows["set"] = people["set"].fillna("").astype(str).to_numpy()
    for name in SHOWN:
        values = people[name] if name in people else pd.Series("", index=people.index, dtype=object)
        rows[name] = values.astype(object).where(values.notna(), "").astype(str).to_numpy()
    if "cohort" in data.slides or "cohort" in people:
        rows["cohort"] = _cohorts(data, rows, people)
    rows["has_wsi"] = (rows["slide_id"] != "").to_numpy()
    rows["has_rna"] = rows["patient_id"].isin(data.rna_patients).to_numpy()
    rows.index = pd.Index([s or f"patient:{p}" for s, p in zip(rows["slide_id"], rows["patient_id"], strict=True)])
    return rows[["patient_id", "slide_id", *(c for c in rows if c not in ("patient_id", "slide_id"))]]


def _cohorts(data: PairedData, rows: pd.DataFrame, people: pd.DataFrame) -> np.ndarray:
    if "cohort" in people:
        return people["cohort"].fillna("").astype(str).to_numpy()
    of = dict(zip(data.slides["patient_id"], data.slides["cohort"], strict=True))
    return rows["patient_id"].map(of).fillna("").astype(str).to_numpy()


def _assemble(
    obs: pd.DataFrame, slides: _Encoded, people: _Encoded, dim: int, style: int, prototypes: int, stored: dict
) -> anndata.AnnData:
    n = len(obs)
    wsi, rna = slides.full("embedding", n, dim), people.full("embedding", n, dim)
    fused = np.concatenate([wsi, rna], axis=1)
    fused[np.isnan(fused).any(axis=1)] = np.nan
    var = pd.DataFrame(index=[*(f"wsi_{i}" for i in range(dim)), *(f"rna_{i}" for i in range(dim))])
    result = anndata.AnnData(X=fused, obs=obs, var=var)
    result.obsm["X_wsi"], result.obsm["X_rna"], result.obsm["X_fused"] = wsi, rna, fused.copy()
    result.obsm["X_align_wsi"] = slides.full("aligned", n, dim)
    result.obsm["X_align_rna"] = people.full("aligned", n, dim)
    result.obsm["X_style"] = np.concatenate([slides.full("style", n, style), people.full("style", n, style)], axis=1)
    result.obsm["X_prototypes_wsi"] = slides.full("scores", n, prototypes)
    result.obsm["X_prototypes_rna"] = people.full("scores", n, prototypes)
    result.uns["mirror"] = json.dumps(stored, sort_keys=True)
    return result


def write_embeddings(path: str | Path, embeddings: anndata.AnnData) -> None:
    """Write the embeddings atomically (gzip)."""
    from ..core.atomic import atomic_path

    with atomic_path(path) as part:
        embeddings.write_h5ad(part, compression="gzip")
