"""What became of imported features: counts, notes and the size of tiles, over the slides of a table."""

from __future__ import annotations

from collections import defaultdict

import pandas as pd

from ..config.sources import FeatureSource
from ..core.facts import Facts
from ..io.tile_scale import SCALE_REMEDY, compare_scales, scale_groups
from ..readers.features.compare import COLUMNS as COMPARED
from ..readers.features.compare import unlike_slides

_OF_SLIDE = ("slide_id", "patient_id", "status", "n_tiles", "width", "message", "fingerprint", "tile_um", "doubts")
COLUMNS = (*_OF_SLIDE, *COMPARED)
SHOWN = 20  # slides whose doubts are named one by one


def note_features(source: FeatureSource, table: pd.DataFrame, facts: Facts) -> None:
    """Record how the slides of a table were read, and whether they fit together.

    Parameters
    ----------
    source : FeatureSource
        Where they came from.
    table : DataFrame
        Columns `COLUMNS`: one shard's, or the joined one of a cohort.
    facts : Facts
        Gets them.

    Raises
    ------
    InputError
        Tiles of several sizes, and ``mixed_scales`` is ``error``.
    """
    read = table[table["status"].isin(["ok", "empty"])]
    facts.note("format of features", source.format, "features.format")
    facts.note("slides read", f"{len(read)} of {len(table)}", source.path)
    tiles = read["n_tiles"].astype(int)
    if len(tiles):
        facts.note("tiles per slide", f"{tiles.min()} to {tiles.max()}, median {tiles.median():g}")
    if len(read) > 1 and (tiles == 1).all():
        facts.warn(
            "tiles per slide",
            f"each of the {len(read)} slides has one vector: these look like slide-level embeddings",
            source.path,
            "give patch features; one vector per slide leaves the slide encoder nothing to pool",
        )
    read = read.assign(message=read["message"].fillna(""), doubts=read["doubts"].fillna(""))
    notes: dict[str, list[str]] = defaultdict(list)
    for row in read.itertuples():
        told = str(row.message).removesuffix(str(row.doubts or "")).rstrip("; ")  # doubts are warnings, below
        if told:
            notes[told.replace(str(row.slide_id), "*")].append(str(row.slide_id))
    for message, ids in list(notes.items())[:10]:
        facts.note("note", f"{len(ids)} of {len(read)} slides (first {ids[0]}): {message}")
    doubted = read[read["doubts"].astype(str) != ""]
    for row in doubted.head(SHOWN).itertuples():
        facts.warn("features", f"{row.slide_id}: {row.doubts}", source.path)
    if len(doubted) > SHOWN:
        facts.warn(
            "features", f"{len(doubted) - SHOWN} more slides have doubts; see the column doubts of the status table"
        )
    compare_slides(source.encoder, read[read["status"] == "ok"], facts)
    check_scales(read, facts, source.mixed_scales)


def compare_slides(encoder: str, table: pd.DataFrame, facts: Facts) -> None:
    """Warn of slides whose features are unlike those of the others of the encoder.

    Parameters
    ----------
    encoder : str
        Its name, for the source of the facts.
    table : DataFrame
        Columns slide_id and `mirror.readers.features.compare.COLUMNS`.
    facts : Facts
        Gets the warnings.
    """
    for unlike in unlike_slides(table):
        facts.warn(unlike.subject, unlike.text, f"{encoder} features", unlike.remedy, examples=unlike.slides)


def check_scales(table: pd.DataFrame, facts: Facts, policy: str = "warn") -> None:
    """Compare the size of tiles over the slides of a table; a difference above 10 % is a warning or an error.

    Parameters
    ----------
    table : DataFrame
        Columns slide_id, status and tile_um (micrometres; missing where unknown).
    facts : Facts
        Gets the sizes and the warning.
    policy : {"warn", "error"}

    Raises
    ------
    InputError
        The sizes differ and ``policy`` is ``error``.
    """
    used = table[table["status"] == "ok"]
    sizes = pd.to_numeric(used["tile_um"], errors="coerce")
    rows = list(zip(used["slide_id"].astype(str), sizes.astype(float), strict=True))
    groups = scale_groups(rows)
    if groups:
        shown = ", ".join(f"{group.um:.4g} um ({len(group.slides)} slides)" for group in groups[:5])
        facts.note("tile size", shown, "tile side in pixels x micrometres per pixel")
    if unknown := int(sizes.isna().sum()):
        facts.note("tile size unknown", f"{unknown} of {len(used)} slides; fill the column mpp of the slide table")
    if (difference := compare_scales(rows)) is not None:
        say = facts.refuse if policy == "error" else facts.warn
        say("tile size", difference, "micrometres per tile over all slides", SCALE_REMEDY)
