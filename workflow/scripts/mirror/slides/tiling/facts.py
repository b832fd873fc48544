"""What tiling read as what, over all slides of a cohort: for the log, doctor and the report."""

from __future__ import annotations

import pandas as pd

from ...core.facts import Facts
from ...io.tile_scale import SCALE_REMEDY, compare_scales, scale_groups

SHOWN = 20  # slides named one by one
HARMLESS = ("taken from the TIFF resolution",)  # a message of nothing else is a fact, not a warning


def slide_facts(table: pd.DataFrame, cohort: str) -> Facts:
    """Gather what was found on the slides of a cohort.

    Parameters
    ----------
    table : DataFrame
        Status table of `tile_shard`: slide_id, status, n_tiles, mpp, mpp_source, tile_um, message.
    cohort : str
        Its name.

    Returns
    -------
    Facts
        Counts of status, resolution and its sources, size of tiles; a warning for each slide with a message that
        matters (the first 20 by name), and one when the tiles of two slides differ in size by more than 10 %.
    """
    facts = Facts(f"slides of {cohort}")
    counts = table["status"].value_counts()
    facts.note("slides", f"{len(table)}: " + ", ".join(f"{n} {status}" for status, n in counts.items()), "status table")
    read = table[table["status"] != "failed"]
    mpp = pd.to_numeric(read["mpp"], errors="coerce").round(3).dropna()
    if len(mpp):
        shown = mpp.value_counts()
        text = ", ".join(f"{value:g} um/px ({n} slides)" for value, n in shown.head(6).items())
        facts.note("resolution", text + (f" and {len(shown) - 6} more" if len(shown) > 6 else ""), "level 0")
        sources = read["mpp_source"].value_counts()
        words = {"table": "column mpp", "slide": "the slide's metadata", "tiff": "TIFF resolution tags",
                 "objective": "objective power (a guess)"}  # fmt: skip
        text = ", ".join(f"{words.get(str(k), str(k))} ({n} slides)" for k, n in sources.items())
        facts.note("resolution from", text, "most trusted first: table, metadata, tags, objective")
    ok = table[table["status"] == "ok"]
    sizes = pd.to_numeric(ok["tile_um"], errors="coerce").astype(float)
    rows = list(zip(ok["slide_id"].astype(str), sizes, strict=True))
    groups = scale_groups(rows)
    if groups:
        text = ", ".join(f"{group.um:.4g} um ({len(group.slides)} slides)" for group in groups[:5])
        facts.note("tile size", text, "tile side in level-0 pixels x micrometres per pixel")
    difference = compare_scales(rows)
    if difference is not None:
        facts.warn("tile size", difference, "micrometres per tile over all slides", SCALE_REMEDY)
    odd = table[table["message"].fillna("").astype(str) != ""]
    shown = 0
    for row in odd.itertuples():
        parts = [part for part in str(row.message).split("; ") if not any(word in part for word in HARMLESS)]
        if not parts:
            continue  # counted under `resolution from`
        shown += 1
        if shown <= SHOWN:
            facts.warn(f"slide {row.slide_id}", "; ".join(parts), str(row.status))
    if shown > SHOWN:
        facts.warn("slides", f"{shown - SHOWN} more have a message; see the column message of the status table")
    return facts
