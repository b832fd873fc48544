"""Other cohorts that a model learns from besides the training patients of its fold."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import anndata
import numpy as np
import pandas as pd

from ..audit.partners import refuse_shared_expression, refuse_shared_patients, refuse_shared_slides
from ..config.rna import RnaSettings
from ..core.errors import InputError
from ..io.status import drop_failed
from ..io.tables import read_table
from ..rna.matrix import dense, row_numbers
from ..rna.transform import Transform, fit_transform
from .bags import Affine, BagSource
from .paired import PARTNER, PairedData

log = logging.getLogger("mirror.training")
SAMPLED = 20_000  # patches of a cohort that give its location and scale
SEED = "scale"


@dataclass(frozen=True)
class Partner:
    """Files of another cohort, as plain values.

    Attributes
    ----------
    name : str
        The cohort.
    patients : str
        ``patients.tsv``.
    slides, expression : str
        ``slides.tsv`` and ``{cohort}.h5ad``; empty where the cohort has none.
    feature_status : list of str
        The embedding step's tables.
    """

    name: str
    patients: str
    slides: str = ""
    expression: str = ""
    feature_status: list[str] = field(default_factory=list)


def add_partners(
    data: PairedData,
    partners: Sequence[Partner],
    *,
    scale: str,
    expression: str | Path,
    transform: str | Path,
    features_dir: str | Path,
    tolerance: float,
    cache_gb: float = 0.0,
    seed: int = 0,
) -> PairedData:
    """The fold's data with all patients of other cohorts added, in the set `PARTNER`.

    Of another cohort's expression the genes of the fold are read and nothing else, so that memory is that of the
    model's input.

    Parameters
    ----------
    data : PairedData
        The fold's data.
    partners : sequence of Partner
    scale : {"per_cohort", "fold"}
        ``per_cohort``: each gene is standardised with the other cohort's own mean and standard deviation, and each
        patch feature is brought from that cohort's median and interquartile range to those of the fold's training
        slides. ``fold``: everything is scaled as the fold's training patients are.
    expression, transform : path-like
        The fold's own expression and transform.
    features_dir : path-like
        Folder of ``{slide_id}.h5``.
    tolerance : float
        Largest difference of expression vectors that count as the same.
    cache_gb : float
        See `BagSource`.
    seed : int
        Of the patches that are sampled for location and scale.

    Raises
    ------
    InputError
        A patient, slide or expression vector of the test fold is in another cohort; patch features of another width;
        no gene of the fold is measured there.
    """
    assert data.bags is not None
    fitted = Transform.load(transform)
    people, slides = [data.patients], [data.slides]
    rna, names = [data.rna], list(data.rna_patients)
    test = data.members("test")
    tested = data.slides[data.slides["patient_id"].isin(test)]
    files = {slide: _path(data.bags, slide) for slide in data.slides["slide_id"]}
    maps: dict[str, Affine] = {}
    target = None
    for partner in partners:
        table = read_table(partner.patients, ["patient_id"]).set_index("patient_id")
        refuse_shared_patients(test, table.index.tolist(), partner.name)
        again = sorted(set(table.index) & set().union(*(part.index for part in people)))
        if again:
            raise InputError(
                f"{len(again)} patients of cohort {partner.name} are in another cohort that this model learns from",
                row=again[0],
                remedy="give every patient to one cohort",
            )
        people.append(table.assign(set=PARTNER))
        pairs = 0
        if partner.slides:
            owned = read_table(partner.slides, ["slide_id", "patient_id"])
            owned = drop_failed(owned[owned["patient_id"].isin(table.index)], partner.feature_status)
            refuse_shared_slides(tested, owned, partner.name)
            theirs = {slide: Path(features_dir) / f"{slide}.h5" for slide in owned["slide_id"]}
            if theirs:
                bags = BagSource(theirs, order=data.bags.order, min_focus=data.bags.min_focus)
                if bags.width != data.bags.width:
                    raise InputError(
                        f"patch features of cohort {partner.name} are {bags.width} wide, not {data.bags.width}",
                        file=next(iter(theirs.values())),
                        remedy="use features of one encoder, or leave the cohort out of train.with",
                    )
                if scale == "per_cohort":
                    train = data.slides["slide_id"][data.slides["patient_id"].isin(data.members("train"))]
                    target = target or location_and_scale(data.bags, train.tolist(), seed)
                    maps |= dict.fromkeys(theirs, Affine.between(location_and_scale(bags, list(theirs), seed), target))
            files |= theirs
            slides.append(owned)
        if partner.expression:
            own, x = _partner_rna(partner, table.index.tolist(), fitted, scale)
            shared = _shared_genes(partner.expression, fitted.inputs)
            refuse_shared_expression(
                _as_read(expression, test, shared), _as_read(partner.expression, own, shared), partner.name, tolerance
            )
            rna.append(x)
            names += own
            pairs = len(set(own) & set(slides[-1]["patient_id"] if partner.slides else ()))
        log.info(
            "Learning from cohort %s too: %d patients, %d of them with both modalities", partner.name, len(table), pairs
        )
    joined = pd.concat(slides, ignore_index=True).sort_values("slide_id", ignore_index=True)
    n_tiles = dict(zip(joined["slide_id"], joined["n_tiles"], strict=True)) if "n_tiles" in joined else None
    source = BagSource(files, cache_gb, n_tiles, data.bags.order, data.bags.min_focus, maps)
    patients = pd.concat(people)
    patients.index.name = "patient_id"
    return replace(data, patients=patients, slides=joined, bags=source, rna=np.concatenate(rna), rna_patients=names)


def location_and_scale(bags: BagSource, slides: Sequence[str], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Median and interquartile range of each patch feature, (D,) each, from a sample of every slide's patches.

    Features whose quartiles agree take the standard deviation, constant ones 1.
    """
    each = max(1, SAMPLED // max(1, len(slides)))
    rows = np.concatenate([bags.rows(s, bags.draw(s, min(each, bags.length(s)), seed, SEED)).numpy() for s in slides])
    low, middle, high = np.percentile(rows, [25, 50, 75], axis=0)
    sd = rows.std(0)
    spread = np.where(high - low > 1e-6 * np.maximum(sd, 1e-12), high - low, sd)
    return middle, np.where(spread > 0, spread, 1.0)


def _path(bags: BagSource, slide: str) -> Path:
    path = bags.path(slide)
    assert path is not None, "features in memory have no file"
    return path


def _shared_genes(path: str, genes: Sequence[str]) -> list[str]:
    """Those of ``genes`` that a file has."""
    known = set(anndata.read_h5ad(path, backed="r").var_names)
    return [gene for gene in genes if gene in known]


def _take(path: str | Path, patients: Sequence[str], genes: Sequence[str]) -> anndata.AnnData:
    """Some patients and genes of an expression file; the rest is not read into memory."""
    stored = anndata.read_h5ad(path, backed="r")
    columns = stored.var_names.get_indexer(pd.Index(genes))
    taken = stored[:, np.sort(columns)].to_memory()
    stored.file.close()
    return taken[taken.obs_names.isin(set(patients)), list(genes)].copy()


def _as_read(path: str | Path, patients: Sequence[str], genes: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """Expression as read, of those of ``patients`` that have any."""
    taken = _take(path, patients, genes)
    x = taken.layers.get("read", taken.X)
    return taken.obs_names.astype(str).tolist(), dense(x, np.arange(taken.n_obs), np.arange(taken.n_vars))


def _partner_rna(
    partner: Partner, patients: Sequence[str], fitted: Transform, scale: str
) -> tuple[list[str], np.ndarray]:
    """Patients with expression, and float32 (n, G) in the order of the fold's genes; missing genes are 0, the mean."""
    genes = _shared_genes(partner.expression, fitted.genes)
    inputs = _shared_genes(partner.expression, fitted.inputs)
    if not genes:
        raise InputError(
            f"cohort {partner.name} measures none of the {len(fitted.genes)} genes of the fold",
            file=partner.expression,
            remedy="use the same gene identifiers in both cohorts, or leave the cohort out of train.with",
        )
    taken = _take(partner.expression, patients, inputs)
    names = taken.obs_names.astype(str).tolist()
    if scale == "fold":
        missing = [gene for gene in fitted.inputs if gene not in set(inputs)]
        blank = anndata.AnnData(np.full((len(names), len(missing)), np.nan, np.float32), obs=taken.obs[[]])
        blank.var_names = pd.Index(missing, dtype=object)
        whole = anndata.concat([taken, blank], axis=1, merge="first", uns_merge="first") if missing else taken
        return names, fitted.apply(whole, names)
    measured = dense(taken.X, row_numbers(taken, names), np.arange(taken.n_vars))
    empty = set(taken.var_names[np.isnan(measured).all(axis=0)])
    genes = [gene for gene in genes if gene not in empty]
    settings = RnaSettings.model_validate({**fitted.settings, "pathways": None, "batch": "none"})
    values = fit_transform(taken, names, genes, settings).apply(taken, names)
    out = np.zeros((len(names), len(fitted.genes)), np.float32)
    place: Mapping[str, int] = {gene: i for i, gene in enumerate(fitted.genes)}
    out[:, [place[gene] for gene in genes]] = values
    lacking = len(fitted.genes) - len(genes)
    if lacking:
        log.warning(
            "Cohort %s lacks %d of %d features of the fold: they are set to the mean",
            partner.name,
            lacking,
            len(fitted.genes),
        )
    return names, out
