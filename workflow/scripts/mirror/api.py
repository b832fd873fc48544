"""What a notebook needs: each function computes and returns; none writes a file.

These are the same functions that the workflow's steps call, with defaults. ``import mirror`` loads none of them before
it is used.

Examples
--------
>>> import mirror
>>> with mirror.open_slide("slide.svs") as slide:
...     tiles = mirror.find_tiles(slide)
...     features = mirror.encode_tiles(slide, tiles, mirror.load_encoder("phikon"))
>>> expression = mirror.read_expression("counts.tsv")
>>> checkpoint = mirror.load_checkpoint("results/models/BRCA/phikon/cv5/mirror/r0f0.safetensors")
>>> embeddings = mirror.embed(checkpoint, {"slide": features}, {"slide": "patient"})
>>> scores, predictions = mirror.cross_validate(mirror.LogisticHead(), embeddings.obsm["X_wsi"], labels)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .config.slides import EmbedSettings, SlideSettings
from .core.errors import InputError
from .heads.elastic_cox import ElasticCoxHead
from .heads.logistic import LogisticHead
from .heads.survival import CoxHead, DiscreteHead, outcome
from .io.checkpoints import Checkpoint, load_checkpoint
from .io.embeddings import load_fold
from .io.features import FeatureFile
from .io.tiles import TileTable
from .readers.clinical import read_clinical as _read_clinical
from .readers.expression import read_expression as _read_expression
from .slides.reading.iterate import iterate_tiles
from .slides.reading.open import open_slide
from .slides.reading.slide import Slide
from .slides.tiling.tile import tiles_of

if TYPE_CHECKING:
    import anndata

    from .encoders.run import TileEncoder

__all__ = [
    "CoxHead",
    "DiscreteHead",
    "ElasticCoxHead",
    "FeatureFile",
    "InputError",
    "LogisticHead",
    "cross_validate",
    "embed",
    "encode_tiles",
    "find_tiles",
    "load_checkpoint",
    "load_encoder",
    "load_fold",
    "open_slide",
    "outcome",
    "read_clinical",
    "read_expression",
]
ENCODERS = Path(__file__).resolve().parents[3] / "config" / "encoders.yaml"


def find_tiles(slide: Slide, mpp: float | None = None, settings: SlideSettings | None = None) -> TileTable:
    """Tissue tiles of a slide.

    Parameters
    ----------
    slide : Slide
        An open slide (`open_slide`).
    mpp : float, optional
        Micrometres per pixel at level 0; by default the slide's own.
    settings : SlideSettings, optional
        Size and resolution of tiles, tissue detection. By default 256 px at 0.5 micrometres per pixel.

    Returns
    -------
    TileTable
        ``coords`` int64 (N, 2), level-0 pixels, top left; tissue and pen share of each tile.

    Raises
    ------
    InputError
        The resolution is unknown or contradicted, or the slide is smaller than a tile.
    """
    return tiles_of(slide, slide.path.stem, settings or SlideSettings(), mpp).table


def load_encoder(name: str, weights: str | Path | None = None, device: str = "auto") -> TileEncoder:
    """A patch encoder of ``config/encoders.yaml`` with its weights.

    Parameters
    ----------
    name : str
        Row of the table.
    weights : path-like, optional
        A local file of weights (safetensors, or a state dict loaded with ``weights_only=True``).
    device : {"auto", "cpu", "cuda"}
    """
    from .encoders.run import TileEncoder
    from .encoders.table import find_encoder

    local = {name: str(weights)} if weights else {}
    settings = EmbedSettings.model_validate({"device": device, "weights": local})
    return TileEncoder.load(find_encoder(name, ENCODERS), settings)


def encode_tiles(slide: Slide, tiles: TileTable, encoder: TileEncoder, batch: int = 64) -> np.ndarray:
    """Patch features of a slide's tiles.

    Returns
    -------
    ndarray of float32, shape (N, D)
        In the order of ``tiles.coords``.
    """
    out = np.empty((len(tiles), encoder.row.width), np.float32)
    size_px, size_level0 = int(tiles.grid["patch_size"]), float(tiles.grid["patch_size_level0"])
    for rows, pixels in iterate_tiles(slide, tiles.coords, size_level0, size_px, batch=batch):
        out[rows] = next(iter(encoder.encode([pixels])))
    return out


def _texts(path: str | Path | Sequence[str | Path]) -> str | list[str]:
    return str(path) if isinstance(path, str | Path) else [str(one) for one in path]


def read_expression(path: str | Path | Sequence[str | Path], **settings: Any) -> anndata.AnnData:
    """Expression of one cohort as AnnData, samples in rows.

    Parameters
    ----------
    path : path-like, or sequence of path-like
        A file or folder in any format of docs/expression_and_clinical.md, or several of one cohort.
    **settings
        Fields of ``cohorts.<name>.expression`` (``format``, ``values`` ...).
    """
    from .config.sources import ExpressionSource

    return _read_expression(ExpressionSource.model_validate({"path": _texts(path), **settings}))[0]  # type: ignore[operator]


def read_clinical(path: str | Path | Sequence[str | Path], **settings: Any) -> pd.DataFrame:
    """One row per patient: patient_id, and label, time_days, event, site, covariates where known.

    ``path`` is a table, or several of one cohort; ``settings`` are the fields of ``cohorts.<name>.clinical``.
    """
    from .config.sources import ClinicalSource

    return _read_clinical(ClinicalSource.model_validate({"path": _texts(path), **settings}))[0]  # type: ignore[operator]


def embed(
    checkpoint: Checkpoint | str | Path,
    bags: Mapping[str, np.ndarray | str | Path] | None = None,
    patients: Mapping[str, str] | None = None,
    rna: Mapping[str, np.ndarray] | None = None,
    genes: Sequence[str] | None = None,
    max_tokens: int | None = None,
) -> anndata.AnnData:
    """Embeddings of slides, expression profiles, or both.

    Parameters
    ----------
    checkpoint : Checkpoint or path-like
        A pre-trained model.
    bags : mapping of slide to ndarray (n, D) or feature file
        Patch features of the encoder that the model was trained with.
    patients : mapping of slide to patient
        By default each slide is a patient of its own.
    rna : mapping of patient to ndarray (G,)
        Expression as the model's fold transformed it.
    genes : sequence of str, length G
        Their names, compared with the model's.
    max_tokens : int, optional
        Patches per slide at most; 0 for all.

    Returns
    -------
    AnnData
        obsm ``X_wsi``, ``X_rna`` (n, D), ``X_fused`` (n, 2D), ``X_style``, prototype scores; NaN where a modality is
        missing.
    """
    from .dataset.paired import PairedData
    from .inference.encode import encode

    owners = dict(patients) if patients else {slide: slide for slide in bags or {}}
    people = {*owners.values(), *(rna or {})}
    data = PairedData.from_arrays(bags or {}, owners, rna or {}, dict.fromkeys(people, ""), genes)
    return encode(checkpoint, data, max_tokens=max_tokens)


def cross_validate(
    head: Any,
    X: np.ndarray,
    y: np.ndarray,
    groups: Sequence[str] | None = None,
    folds: int = 5,
    seed: int = 0,
) -> tuple[pd.DataFrame, np.ndarray]:
    """Out-of-fold predictions of a head, folds by patient.

    Parameters
    ----------
    head : estimator
        `LogisticHead`, `CoxHead`, `DiscreteHead`, or anything with scikit-learn's ``fit`` and ``predict_proba`` or
        ``predict``. It is cloned for each fold.
    X : ndarray, shape (n, D)
    y : ndarray, shape (n,)
        Labels, or an outcome of `outcome(time, event)`.
    groups : sequence of str, optional
        Patient of each row; by default each row is a patient.
    folds : int
    seed : int

    Returns
    -------
    scores : DataFrame
        One row per fold: accuracy and AUROC, or the concordance index.
    predictions : ndarray
        Probabilities (n, K), or risks (n,).
    """
    from .evaluation.cross_validation import cross_validate as run

    return run(head, X, y, groups, folds, seed)
