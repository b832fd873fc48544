"""The page on which a person looks through a cohort's slides and marks those to leave out."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
import pandas as pd

from ..core.atomic import write_text
from .figures.cohort import flag_ranks, flags

NUMBERS = ("n_tiles", "mpp", "tissue_fraction", "pen_fraction")


def qc_cards(slides: pd.DataFrame, excluded: Mapping[str, str], thumbnails: Path, out: Path) -> list[dict[str, Any]]:
    """What the page shows of each slide, flagged slides first.

    Parameters
    ----------
    slides : DataFrame
        ``slide_id, status, n_tiles, mpp, mpp_source, tissue_fraction, pen_fraction, message``.
    excluded : mapping of str to str
        Slides that are left out already, with the reason.
    thumbnails : Path
        Folder of ``{slide_id}.jpg``.
    out : Path
        The page; links to pictures are relative to its folder.
    """
    slides = slides.assign(flag=flags(slides) if len(slides) else [])
    cards: list[dict[str, Any]] = []
    for row in slides.to_dict("records"):
        card: dict[str, Any] = {"slide": str(row["slide_id"]), "flag": row["flag"], "marked": False}
        for key in NUMBERS:
            value = pd.to_numeric(row.get(key), errors="coerce")
            card[key] = None if pd.isna(value) else float(value)
        for key in ("status", "mpp_source", "message"):
            card[key] = "" if pd.isna(row.get(key)) else str(row[key])
        cards.append(card)
    for slide, reason in excluded.items():
        left = {"status": "left out", "mpp_source": "", "message": reason, "flag": "left out", "marked": True}
        cards.append({"slide": slide, **left, **dict.fromkeys(NUMBERS)})
    for card in cards:
        picture = thumbnails / f"{card['slide']}.jpg"
        card["picture"] = quote(os.path.relpath(picture, out.parent)) if picture.is_file() else ""
    ranks = dict(zip((card["slide"] for card in cards), flag_ranks([card["flag"] for card in cards]), strict=True))
    return sorted(cards, key=lambda card: (ranks[card["slide"]], card["slide"]))


def write_qc_page(cards: list[dict[str, Any]], cohort: str, template: Path, out: Path) -> None:
    """Write the page. Pictures stay where they are, so that it opens at once for thousands of slides.

    Parameters
    ----------
    cards : list of dict
        From `qc_cards`.
    cohort : str
    template : Path
        Jinja2 template.
    out : Path
        The HTML file.
    """
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    page = environment.from_string(template.read_text(encoding="utf-8"))
    flagged = sum(bool(card["flag"]) for card in cards)
    write_text(out, page.render(cards=cards, cohort=cohort, flagged=flagged))
