"""Heatmaps, galleries, associations and patient cards of one variant."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from mirror.io.slide_maps import SlideMap, read_maps
from mirror.io.tables import read_outcomes, read_patients, with_outcomes
from mirror.report.figures.card import Card, draw_card
from mirror.report.figures.interpretation import Picture, associations, gallery, heatmaps
from mirror.report.figures.style import empty_figure, save_figure, use_style
from mirror.report.identifiers import Identifiers
from mirror.slides.reading.iterate import iterate_tiles
from mirror.slides.reading.open import open_slide

THUMBNAIL_PX = 700
TILE_PX = 160
CARD_TILES = 6
PIXEL_DPI = 130  # pictures of tissue: more would only be a larger file


def thumbnail(path: str, mpp: float) -> Picture:
    """A slide's scanned region, about `THUMBNAIL_PX` wide or high."""
    with open_slide(path) as slide:
        x, y, width, height = slide.bounds
        scale = max(1.0, max(width, height) / THUMBNAIL_PX)
        return Picture(slide.overview(scale), scale, (x, y), mpp)


def cut(path: str, coords: np.ndarray, size: float) -> list[np.ndarray]:
    """Tiles at ``coords``, uint8 (`TILE_PX`, `TILE_PX`, 3) each, in that order."""
    out: list[np.ndarray] = [np.empty(0)] * len(coords)
    for rows, pixels in iterate_tiles(path, coords, size, TILE_PX, workers=1, batch=16):
        for row, tile in zip(rows, pixels, strict=True):
            out[row] = tile
    return out


def gallery_pixels(tiles: pd.DataFrame, slides: pd.DataFrame) -> dict[int, np.ndarray]:
    """Pixels of the gallery's tiles by row; slides that are no longer there are left out."""
    found: dict[int, np.ndarray] = {}
    for slide, rows in tiles.groupby("slide_id"):
        if slide not in slides.index or not Path(slides.loc[slide, "slide_path"]).exists():
            continue
        pixels = cut(slides.loc[slide, "slide_path"], rows[["x", "y"]].to_numpy(np.int64), float(rows["size"].iloc[0]))
        found |= dict(zip(rows.index, pixels, strict=True))
    return found


def predicted(files: dict[str, Path | None], patient: str) -> tuple[pd.DataFrame, dict[str, float], str]:
    """Class probabilities by modality, percentile of risk by modality, and the testing fold."""
    classes, ranks, fold = [], {}, ""
    if files["subtyping"]:
        rows = pd.read_parquet(files["subtyping"])
        rows = rows[(rows["protocol"] == "linear") & (rows["patient_id"] == patient) & (rows["repeat"] == 0)]
        for row in rows.itertuples():
            fold = f"r{row.repeat}f{row.fold}"
            for name, p in zip(row.classes, row.probabilities, strict=True):
                classes.append({"modality": row.modality, "class": name, "probability": p})
    if files["survival"]:
        rows = pd.read_parquet(files["survival"])
        rows = rows[(rows["protocol"] == "linear") & (rows["repeat"] == 0)]
        if len(rows):
            rows = rows[rows["head"] == sorted(rows["head"].unique())[0]]
            rows = rows.assign(rank=100 * rows.groupby(["modality", "fold"])["risk"].rank(pct=True))
            for row in rows[rows["patient_id"] == patient].itertuples():
                ranks[row.modality] = float(row.rank)
                fold = f"r{row.repeat}f{row.fold}"
    return pd.DataFrame(classes, columns=["modality", "class", "probability"]), ranks, fold


def top_tiles(drawn: SlideMap, path: str) -> list[tuple[np.ndarray, float]]:
    """The tiles of most attention."""
    best = np.argsort(-drawn.attention, kind="stable")[:CARD_TILES]
    rank = 100 * (rankdata(drawn.attention) - 0.5) / len(drawn.attention)
    return list(zip(cut(path, drawn.coords[best], drawn.size), rank[best].tolist(), strict=True))


def main(
    folder: Path,
    tables: list[Path],
    patients: Path,
    outcomes: list[Path],
    predictions: dict[str, Path | None],
    title: str,
    genes: int,
    out: dict[str, Path],
    cards: list[Path],
    identifiers: Identifiers,
) -> None:
    """Draw everything; ``folder`` is the interpretation's."""
    use_style()
    text = {"slide_id": str, "patient_id": str, "slide_path": str}
    parts = [pd.read_csv(p, sep="\t", dtype=text) for p in tables]
    slides = pd.concat(parts).set_index("slide_id") if parts else pd.DataFrame(columns=["slide_path", "mpp"])
    prototypes, tiles, gene_table, sets, scores = (
        pd.read_csv(folder / f"{name}.tsv", sep="\t", dtype={"patient_id": str, "slide_id": str, "gene": str})
        for name in ("prototypes", "gallery", "genes", "gene_sets", "scores")
    )
    names = list(prototypes["prototype"])
    maps = read_maps(folder / "maps.npz")
    pictures = {
        slide: thumbnail(slides.loc[slide, "slide_path"], float(slides.loc[slide, "mpp"]))
        for slide in maps
        if slide in slides.index and Path(slides.loc[slide, "slide_path"]).exists()
    }
    record = json.loads((folder / "interpretation.json").read_text(encoding="utf-8"))
    wide = dict(list(maps.items())[: record["settings"]["slides"]])
    shown = [{identifiers.slide(slide): value for slide, value in part.items()} for part in (wide, pictures)]
    if len(shown[0]) < len(wide):  # without any name slides are told apart by their number
        shown = [{f"slide {i + 1}": part[s] for i, s in enumerate(wide) if s in part} for part in (wide, pictures)]
    save_figure(heatmaps(*shown, names), out["heatmaps_png"], dpi=PIXEL_DPI)  # pixels: no SVG
    use = prototypes.set_index("prototype")["use"].to_dict()
    save_figure(gallery(tiles, gallery_pixels(tiles, slides), names, use), out["gallery_png"], dpi=PIXEL_DPI)
    drawn = associations(prototypes, gene_table, sets, genes)
    save_figure(drawn, out["associations_png"], out["associations_svg"])

    people = with_outcomes(read_patients(patients), *map(read_outcomes, outcomes)).drop(columns="patient_id")
    of = {patient: slide for slide, patient in record["slides"].items()}
    by_patient = scores.set_index("patient_id")
    for number, path in enumerate(cards):
        if number >= len(record["cards"]):
            save_figure(empty_figure("fewer test patients than cards"), path)
            continue
        patient = record["cards"][number]
        slide = of.get(patient, "")
        probabilities, ranks, fold = predicted(predictions, patient)
        fold = fold or str(by_patient.loc[patient, "fold"])
        card = Card(
            identifiers.patient(patient),
            identifiers.slide(slide) if slide else "",
            f"{title}; held out in fold {fold}",
            identifiers.facts(people.loc[patient]),
            probabilities,
            ranks,
            by_patient.loc[patient, names].astype(float),
            top_tiles(maps[slide], slides.loc[slide, "slide_path"]) if slide in pictures else [],
        )
        save_figure(draw_card(card, maps.get(slide), pictures.get(slide)), path, dpi=PIXEL_DPI)


if "snakemake" in globals():
    from mirror.core.step import run_step

    smk = snakemake
    run_step(
        lambda: main(
            folder=Path(smk.input.prototypes).parent,
            tables=[Path(p) for p in smk.input.slides],
            patients=Path(smk.input.patients),
            outcomes=[Path(p) for p in (smk.input.labels, smk.input.follow_up) if p],
            predictions={
                task: Path(smk.input[task]) if smk.input[task] else None for task in ("subtyping", "survival")
            },
            title=smk.params.title,
            genes=smk.params.genes,
            out={k: Path(v) for k, v in smk.output.items() if k.endswith(("_png", "_svg"))},
            cards=[Path(p) for p in smk.output.get("cards", [])],
            identifiers=Identifiers.read(smk.params.identifiers, smk.input.key),
        ),
        smk.log[0],
    )
