"""One variant on one cohort: everything that figures and cards are drawn from."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, replace
from pathlib import Path

import anndata
import numpy as np
import pandas as pd

from ..compute.device import choose_device, steady
from ..config.interpretation import InterpretationSettings
from ..core.atomic import atomic_path, write_json, write_tsv
from ..core.hashing import sha256_file
from ..dataset.bags import BagSource
from ..inference.encode import restore_model
from ..io.checkpoints import load_checkpoint
from ..io.slide_maps import SlideMap
from .associations import gene_correlations, gene_set_association, outcome_association
from .expression import read_associated
from .geojson import write_map
from .prototypes import FoldScores, Prototypes, choose
from .tile_scores import FoldTiles, agreement, pick_gallery, scan_fold

log = logging.getLogger("mirror")


@dataclass(frozen=True)
class FoldFiles:
    """One fold's embeddings and checkpoint."""

    fold: str
    embeddings: Path
    checkpoint: Path


def read_scores(fold: str, embeddings: anndata.AnnData) -> FoldScores:
    """Slide-side prototype scores of a fold (rows without a slide left out)."""
    scores = np.asarray(embeddings.obsm["X_prototypes_wsi"], float)
    keep = np.isfinite(scores).all(1) & (embeddings.obs["slide_id"].astype(str) != "").to_numpy()
    names = embeddings.obs.loc[keep, "slide_id"].astype(str).to_numpy()
    table = pd.DataFrame(scores[keep], index=names)
    people = pd.Series(embeddings.obs.loc[keep, "patient_id"].astype(str).to_numpy(), index=names)
    sets = pd.Series(embeddings.obs.loc[keep, "set"].astype(str).to_numpy(), index=names)
    return FoldScores(fold, table, people, sets)


def spread_over(order: list[str], number: int) -> list[str]:
    """``number`` entries spread evenly over an ordered list, both ends among them."""
    if number >= len(order):
        return list(order)
    return [order[i] for i in np.unique(np.linspace(0, len(order) - 1, number).round().astype(int))]


def by_risk(predictions: Path | None, patients: list[str]) -> list[str]:
    """Patients in order of the out-of-fold risk predicted from both modalities, else by name."""
    if predictions is not None:
        rows = pd.read_parquet(predictions)
        rows = rows[(rows["modality"] == "fused") & (rows["protocol"] == "linear") & rows["patient_id"].isin(patients)]
        if len(rows):
            rows = rows[rows["head"] == sorted(rows["head"].unique())[0]]
            # risks of different folds have different scales: ranks within the fold do not
            rank = rows.groupby(["repeat", "fold"])["risk"].rank(pct=True)
            mean = rank.groupby(rows["patient_id"].to_numpy()).mean()
            return list(mean.sort_values(kind="stable").index)
    return sorted(patients)


def interpret(
    folds: list[FoldFiles],
    patients: pd.DataFrame,
    rna: Path | None,
    gene_sets: Path | None,
    predictions: Path | None,
    features: Path,
    settings: InterpretationSettings,
    min_focus: float | None,
    seed: int,
    folder: Path,
    threads: int = 1,
) -> None:
    """Write prototypes, galleries, associations and slide maps of out-of-fold test patients.

    Parameters
    ----------
    folds : list of FoldFiles
        The folds of one repeat: each patient is tested in one.
    patients : DataFrame
        Indexed by patient_id: label, time_days, event.
    rna : Path or None
        Normalised expression.
    gene_sets : Path or None
        GMT.
    predictions : Path or None
        Survival predictions of this variant, to choose whose card is drawn.
    features : Path
        Folder of ``{slide_id}.h5``.
    settings : InterpretationSettings
    min_focus : float or None
        As the slides were encoded.
    seed : int
    folder : Path
        Output; see docs/outputs.md.
    threads : int
    """
    read = {f.fold: anndata.read_h5ad(f.embeddings) for f in folds}
    fold_scores = [read_scores(name, data) for name, data in read.items()]
    chosen = choose(fold_scores, settings.prototypes, settings.redundant)
    names = list(chosen.table["prototype"])
    order = by_risk(predictions, list(chosen.scores.index))
    carded = spread_over(order, settings.cards)
    shown = dict.fromkeys([*carded, *spread_over(order, settings.slides)])
    first_slide: dict[str, str] = {}
    for scores in fold_scores:
        for slide, patient in scores.patients[scores.sets == "test"].sort_index().items():
            first_slide.setdefault(patient, slide)
    drawn = {first_slide[p]: p for p in shown if p in first_slide}
    maps, parts = _scan(folds, fold_scores, read, chosen, set(drawn), features, settings, min_focus, threads)

    candidates = pd.concat([part.candidates for part in parts], ignore_index=True)
    gallery = pick_gallery(
        candidates, chosen.scores, settings.gallery_share, settings.tiles, settings.tiles_per_patient
    )
    table = chosen.table.assign(tiles_agree=agreement(pd.concat([part.slide_means for part in parts]), chosen.scores))
    gallery["prototype"] = [names[i] for i in gallery["prototype"]]
    table = table.assign(reason=below_floor(table, settings))
    kept = list(table.loc[table["reason"] == "", "prototype"])
    genes, sets = _expression(rna, gene_sets, chosen.scores[kept], settings)
    # Adjusted over every prototype that was asked, not over those that are shown.
    outcome = outcome_association(chosen.asked, patients)
    outcome = outcome.set_index("prototype").reindex(kept).reset_index()
    maps = {slide: without(one, table["reason"] != "") for slide, one in maps.items()}
    write_tsv(folder / "genes.tsv", genes)
    write_tsv(folder / "gene_sets.tsv", sets)
    write_tsv(folder / "gallery.tsv", gallery)
    write_tsv(folder / "scores.tsv", chosen.scores.assign(fold=chosen.folds).rename_axis("patient_id").reset_index())
    write_tsv(folder / "prototypes.tsv", table.merge(outcome, on="prototype", how="left"))
    _write_maps(folder, maps, drawn, names)
    write_json(
        folder / "interpretation.json",
        {
            "patients": len(chosen.scores),
            "cards": carded,
            "slides": {slide: patient for slide, patient in drawn.items() if slide in maps},
            "settings": settings.model_dump(mode="json"),
            "seed": seed,
            "gene_sets": str(gene_sets) if gene_sets else None,
            "sources": [
                {"fold": f.fold, "embeddings": str(f.embeddings), "sha256": sha256_file(f.embeddings)} for f in folds
            ],
        },
    )


def below_floor(table: pd.DataFrame, settings: InterpretationSettings) -> list[str]:
    """Why a prototype gets no association and no map; empty where it does.

    Parameters
    ----------
    table : DataFrame
        ``spread``, ``match`` and ``tiles_agree`` of the chosen prototypes.
    settings : InterpretationSettings
        ``min_spread``, ``min_match``, ``min_agreement``.
    """
    floors = {"spread": settings.min_spread, "match": settings.min_match, "tiles_agree": settings.min_agreement}
    reasons = []
    for row in table.to_dict("records"):
        failed = [
            f"{name} {row[name]:.2g} below {floor:g}" if np.isfinite(row[name]) else f"{name} not defined"
            for name, floor in floors.items()
            if floor > 0 and not row[name] >= floor
        ]
        reasons.append("; ".join(failed))
    return reasons


def without(drawn: SlideMap, gone: pd.Series) -> SlideMap:
    """A map without some of the chosen prototypes: their scores are NaN, their tiles are those of another."""
    out = gone.to_numpy(bool)
    if not out.any():
        return drawn
    scores = np.where(out, np.nan, drawn.scores).astype(np.float32)
    won = np.where((drawn.won >= 0) & out[np.maximum(drawn.won, 0)], -1, drawn.won)
    return replace(drawn, scores=scores, won=won)


def _scan(folds, fold_scores, read, chosen: Prototypes, drawn, features, settings, min_focus, threads):
    """Maps by slide, and what every fold's tiles gave."""
    maps: dict[str, SlideMap] = {}
    parts: list[FoldTiles] = []
    for files, scores in zip(folds, fold_scores, strict=True):
        checkpoint = load_checkpoint(files.checkpoint)
        encoded = json.loads(str(read[files.fold].uns["mirror"]))
        test = scores.patients[scores.sets == "test"].sort_index()
        bags = BagSource(
            {slide: features / f"{slide}.h5" for slide in test.index}, order=encoded["token_order"], min_focus=min_focus
        )
        device = choose_device(checkpoint.settings.train.device)
        with steady(device, checkpoint.settings, threads):
            model = restore_model(checkpoint, device)
            found = scan_fold(
                model,
                bags,
                test.items(),
                chosen.numbers(files.fold),
                drawn,
                encoded["max_tokens"],
                checkpoint.seed,
                settings.tiles_per_patient,
                device,
            )
        maps |= found.maps
        parts.append(found)
        log.info("%s: %d test slides scored", files.fold, len(test))
    return maps, parts


def _expression(rna, gene_sets, scores: pd.DataFrame, settings: InterpretationSettings):
    """Gene and gene-set associations; empty tables where there is no expression."""
    if rna is None:
        empty = pd.DataFrame()
        return gene_correlations(scores, empty), gene_set_association(scores, empty, {})
    expression, masks = read_associated(rna, gene_sets, scores.index, settings.min_set)
    sets = gene_set_association(scores, expression, masks)
    return gene_correlations(scores, expression), sets


def _write_maps(folder: Path, maps: dict[str, SlideMap], drawn: dict[str, str], names: list[str]) -> None:
    """``maps.npz`` for the figures, one GeoJSON a slide, and the table that lists them."""
    arrays, rows = {}, []
    for slide, patient in drawn.items():
        if slide not in maps:
            continue
        one = maps[slide]
        for key in ("coords", "attention", "scores", "won"):
            arrays[f"{slide}/{key}"] = getattr(one, key)
        arrays[f"{slide}/size"] = np.array(one.size)
        file = folder / "geojson" / f"{slide}.geojson"
        write_map(file, slide, one, names)
        rows.append({"slide_id": slide, "patient_id": patient, "tiles": len(one.coords), "geojson": file.name})
    with atomic_path(folder / "maps.npz") as part:
        np.savez_compressed(part, **arrays)
    write_tsv(folder / "maps.tsv", pd.DataFrame(rows, columns=["slide_id", "patient_id", "tiles", "geojson"]))
