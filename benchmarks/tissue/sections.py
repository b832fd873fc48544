"""Sections of spatial transcriptomics as slides and samples of the workflow."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import tifffile
from anndata import AnnData
from PIL import Image

from mirror.config.rna import RnaSettings
from mirror.config.slides import EmbedSettings, SlideSettings
from mirror.core.atomic import atomic_path
from mirror.encoders.run import TileEncoder
from mirror.encoders.table import find_encoder
from mirror.features.shard import embed_shard
from mirror.io.features import FeatureFile
from mirror.rna.normalize import normalize
from mirror.slides.tiling.shard import tile_shard

ROOT = Path(__file__).resolve().parents[2]
SECTIONS = {"B4": "B", "C2": "C", "C3": "C", "C4": "C"}
PITCH_UM = 200.0  # distance of neighbouring spots
TILE_PX = 160  # 110 um at the images' resolution: about a spot


@dataclass
class Section:
    """One section: spots in rows, sorted by their place.

    Attributes
    ----------
    name, patient : str
    image : Path
    counts : DataFrame (spots, genes)
    place : ndarray of int (spots, 2)
        Column and row on the array.
    pixels : ndarray of float (spots, 2)
        Centre of each spot on the image.
    clusters : ndarray of object (spots,)
        Published expression cluster; empty where there is none.
    mpp : float
        Micrometres per pixel.
    """

    name: str
    patient: str
    image: Path
    counts: pd.DataFrame
    place: np.ndarray
    pixels: np.ndarray
    clusters: np.ndarray
    mpp: float


def read_section(folder: Path, name: str) -> Section:
    """Spots that have counts, a place under tissue and at least one count."""

    def by_spot(file: str) -> pd.DataFrame:
        table = pd.read_csv(folder / file, sep="\t")
        return table.set_index(pd.Index([f"{x}x{y}" for x, y in zip(table["x"], table["y"], strict=True)]))

    counts = pd.read_csv(folder / f"{name}.tsv.gz", sep="\t", index_col=0)
    spots = by_spot(f"{name}_selection.tsv")
    label = by_spot(f"{name}-cluster-annotation.tsv.gz")["label"].astype(str)
    keep = sorted(set(spots.index) & set(counts.index[counts.sum(axis=1) > 0]))
    spots, counts = spots.loc[keep], counts.loc[keep]
    pitch = [np.polyfit(spots[a], spots[f"pixel_{a}"], 1)[0] for a in ("x", "y")]
    return Section(
        name,
        SECTIONS[name],
        folder / f"{name}.jpg",
        counts,
        spots[["x", "y"]].to_numpy(int),
        spots[["pixel_x", "pixel_y"]].to_numpy(float),
        label.reindex(keep).fillna("").to_numpy(object),
        PITCH_UM / float(np.mean(pitch)),
    )


def write_pyramid(section: Section, out: Path) -> None:
    """The section's image as a tiled, pyramidal TIFF with its resolution."""
    if out.is_file():
        return
    image = Image.open(section.image).convert("RGB")
    levels = [image]
    while min(levels[-1].size) > 1024:
        levels.append(levels[-1].reduce(2))
    with atomic_path(out) as part, tifffile.TiffWriter(part, bigtiff=False) as tiff:
        for number, level in enumerate(levels):
            dots = 1e4 / (section.mpp * 2**number)
            tiff.write(
                np.asarray(level), tile=(256, 256), photometric="rgb", compression="jpeg",
                compressionargs={"level": 90},
                resolution=(dots, dots), resolutionunit="CENTIMETER", subfiletype=int(number > 0), metadata=None,
            )  # fmt: skip


def embed_sections(sections: list[Section], out: Path, encoder: str, random: bool, overlap: int) -> dict[str, Path]:
    """Pyramids, tiles and features; the feature folder of each encoder."""
    slides = []
    (out / "slides").mkdir(parents=True, exist_ok=True)
    for section in sections:
        path = out / "slides" / f"{section.name}.tiff"
        write_pyramid(section, path)
        slides.append({"slide_id": section.name, "patient_id": section.patient, "slide_path": str(path)})
        slides[-1]["mpp"] = section.mpp
    mpp = float(np.mean([section.mpp for section in sections]))
    settings = SlideSettings.model_validate({"tile": {"size_px": TILE_PX, "mpp": mpp, "overlap_px": overlap}})
    tiled = tile_shard(slides, settings, out, out / "tiled.tsv", threads=1)
    print(tiled[["slide_id", "status", "n_tiles", "mpp", "tissue_fraction", "message"]].to_string(index=False))
    trained = find_encoder(encoder, ROOT / "config" / "encoders.yaml")
    untrained = {"name": f"{trained.name}-random", "weights": "random", "package": ""}
    rows = [trained, trained.model_copy(update=untrained)] if random else [trained]
    for row in rows:
        started = time.time()
        embedded = embed_shard(slides, tiled, out, TileEncoder.load(row, EmbedSettings()), EmbedSettings())
        if set(embedded["status"]) != {"ok"}:
            sys.exit(embedded.to_string())
        print(f"{row.name}: {embedded['n_tiles'].sum()} tiles in {time.time() - started:.0f} s")
    return {row.name: out / "features" / row.name for row in rows}


@dataclass
class Samples:
    """Blocks of spots: rows of ``table`` (section, patient, x, y, cluster), their counts and bags of tiles."""

    table: pd.DataFrame
    counts: AnnData
    bags: dict[str, np.ndarray]


def make_samples(sections: list[Section], features: Path, block: int, reach_um: float) -> Samples:
    """Join spots to blocks of ``block`` x ``block``, and each block to the tiles within reach of a spot's centre.

    Blocks without a tile are dropped. A block's cluster is the commonest of its spots.
    """
    rows, counts, bags = [], [], {}
    genes = sorted(set.intersection(*(set(section.counts.columns) for section in sections)))
    for section in sections:
        file = FeatureFile(features / f"{section.name}.h5")
        centres = file.coords + float(file.coord_attrs["patch_size_level0"]) / 2
        values, reach = file.all().astype(np.float32), reach_um / section.mpp
        near = np.abs(section.pixels[:, None] - centres[None]).max(2) <= reach  # (spots, tiles)
        number = pd.Series([f"{section.name}_{x // block}x{y // block}" for x, y in section.place])
        for name, members in number.groupby(number).groups.items():
            tiles = near[members].any(0)
            if not tiles.any():
                continue
            known = pd.Series([c for c in section.clusters[members] if c], dtype=object)
            rows.append(
                {"sample": name, "section": section.name, "patient": section.patient, "tiles": int(tiles.sum()),
                 "x": section.pixels[members, 0].mean(), "y": section.pixels[members, 1].mean(),
                 "column": section.place[members[0], 0] // block, "row": section.place[members[0], 1] // block,
                 "cluster": known.mode().iloc[0] if len(known) else ""}
            )  # fmt: skip
            counts.append(section.counts[genes].to_numpy(np.float32)[members].sum(0))
            bags[str(name)] = values[tiles]
        lost = number.nunique() - sum(row["section"] == section.name for row in rows)
        if lost:
            print(f"{section.name}: {lost} of {number.nunique()} samples lie on no tile and are left out")
    table = pd.DataFrame(rows).set_index("sample")
    data = AnnData(np.array(counts), obs=pd.DataFrame(index=table.index), var=pd.DataFrame(index=genes))
    data.uns["mirror"] = json.dumps({"values": "counts"})
    return Samples(table, normalize(data, RnaSettings()), bags)


def folds_of(table: pd.DataFrame) -> list[tuple[str, list[str], list[str]]]:
    """(kind, training sections, test sections): sections of the larger patient, then patients."""
    by_patient = {p: sorted(part["section"].unique()) for p, part in table.groupby("patient")}
    everything = sorted(table["section"].unique())
    several = [s for sections in by_patient.values() if len(sections) > 1 for s in sections]
    folds = [("section", [s for s in everything if s != held], [held]) for held in several]
    return folds + [("patient", [s for s in everything if s not in own], own) for own in by_patient.values()]
