"""What a report says of patients: pseudonyms and no folders, unless the configuration wants identifiers as given.

A report is one file that is mailed and shown. Tables and predictions in the results folder keep the identifiers;
the key that ties a pseudonym to a patient is a file beside the report.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from ..core.atomic import write_tsv

Mode = Literal["pseudonyms", "none", "as_given"]
COLUMNS = ["kind", "as_given", "pseudonym"]
_FOLDER = re.compile(r"(?<![\w.:/\\-])(?:~|[A-Za-z]:)?[/\\](?:[^/\\\s'\"<>|,;:()\[\]{}]+[/\\])*(?=[^/\\\s])")
_SHORTEST = 4
"""Purely numeric identifiers of fewer characters are not looked for in running text, where any count would match."""


def write_key(patients: Iterable[str], slides: Mapping[str, str], mode: Mode, path: Path) -> pd.DataFrame:
    """Write the key: identifiers to pseudonyms.

    Pseudonyms are numbered in an order drawn from the operating system, which no seed of a report gives away.
    Those of an existing key stay, so that figures drawn before still agree.

    Parameters
    ----------
    patients : iterable of str
        Identifiers as in the workflow's tables.
    slides : mapping
        Slide to its patient.
    mode : {"pseudonyms", "none"}
        ``none``: every patient is called ``patient``.
    path : Path
        The key, tsv: kind, as_given, pseudonym.
    """
    old = pd.DataFrame(columns=COLUMNS)
    if path.is_file():
        old = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    names: dict[tuple[str, str], str] = {}
    if mode == "pseudonyms" and list(old.columns) == COLUMNS and not old["pseudonym"].isin(["patient", "slide"]).any():
        names = {(row.kind, row.as_given): row.pseudonym for row in old.itertuples()}
    people = sorted({*patients, *slides.values()} - {given for kind, given in names if kind == "patient"})
    used = sum(kind == "patient" for kind, _ in names)
    random.SystemRandom().shuffle(people)
    for number, patient in enumerate(people, start=used + 1):
        names["patient", patient] = "patient" if mode == "none" else f"Patient {number:04d}"
    counts: dict[str, int] = {}
    for slide in sorted(slides):
        counts[slides[slide]] = counts.get(slides[slide], 0) + 1
        own = f"{names['patient', slides[slide]]}, slide {counts[slides[slide]]}"
        names.setdefault(("slide", slide), "slide" if mode == "none" else own)
    rows = [(kind, given, shown) for (kind, given), shown in names.items()]
    table = pd.DataFrame(rows, columns=COLUMNS).sort_values(["kind", "pseudonym", "as_given"], ignore_index=True)
    write_tsv(path, table)
    return table


class Identifiers:
    """How patients, slides and folders are named in what is shown.

    Parameters
    ----------
    mode : {"pseudonyms", "none", "as_given"}
        ``report.identifiers``.
    key : DataFrame or None
        What `write_key` wrote; None where identifiers are shown as given.
    """

    def __init__(self, mode: Mode, key: pd.DataFrame | None) -> None:
        self.mode = mode
        rows = key.itertuples() if key is not None and mode != "as_given" else ()
        self._names = {(str(row.kind), str(row.as_given)): str(row.pseudonym) for row in rows}
        shown = {given: name for (_, given), name in self._names.items()}
        # A slide's name often begins with the patient's: the longest first.
        known = sorted((g for g in shown if len(g) >= _SHORTEST or not g.isdigit()), key=len, reverse=True)
        self._shown = shown
        words = "|".join(map(re.escape, known))
        self._known = re.compile(rf"(?<![A-Za-z0-9])(?:{words})(?![A-Za-z0-9])") if known else None

    @classmethod
    def read(cls, mode: Mode, path: str | Path | None) -> Identifiers:
        """Read the key; without one identifiers must be wanted as given."""
        if mode == "as_given" or not path:
            return cls("as_given", None)
        return cls(mode, pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False))

    @property
    def as_given(self) -> bool:
        """Whether nothing is masked."""
        return self.mode == "as_given"

    def patient(self, name: str) -> str:
        """A patient's name in the report."""
        return name if self.as_given else self._names.get(("patient", name), "patient")

    def slide(self, name: str) -> str:
        """A slide's name in the report."""
        return name if self.as_given else self._names.get(("slide", name), "slide")

    def text(self, text: str) -> str:
        """Running text without identifiers and folders."""
        if self.as_given:
            return text
        if self._known is not None:
            text = self._known.sub(lambda hit: self._shown[hit.group()], text)
        return hide_folders(text)

    def settings(self, value: Any) -> Any:
        """A configuration without absolute folders and identifiers."""
        if self.as_given:
            return value
        if isinstance(value, dict):
            return {key: self.settings(entry) for key, entry in value.items()}
        if isinstance(value, list):
            return [self.settings(entry) for entry in value]
        if isinstance(value, str):
            absolute = value.startswith(("/", "~", "\\")) or re.match(r"[A-Za-z]:[/\\]", value) is not None
            last = value.rstrip("/\\").replace("\\", "/").rsplit("/", 1)[-1]
            return f".../{last}" if absolute else self.text(value)
        return value

    def facts(self, row: pd.Series) -> dict[str, str]:
        """What a card says of a patient: all, as given; or label, decade, sex, stage and whole years; or the label."""
        out: dict[str, str] = {}
        if isinstance(row.get("label"), str):
            out["Label"] = row["label"]
        if self.mode == "none":
            return out
        time, event = pd.to_numeric(row.get("time_days")), pd.to_numeric(row.get("event"))
        if pd.notna(time) and pd.notna(event):
            years = f"{time / 365.25:.1f}" if self.as_given else f"about {time / 365.25:.0f}"
            out["Follow-up"] = f"{years} years, {'event' if event else 'censored'}"
        for name in ("site", "age", "sex", "stage"):
            value = row.get(name)
            if pd.isna(value) or (name == "site" and not self.as_given):
                continue
            if name == "age" and not self.as_given:
                decade = int(float(value)) // 10 * 10
                out["Age"] = f"{decade} to {decade + 9}" if decade < 90 else "90 or more"
            else:
                out[name.capitalize()] = f"{value:g}" if isinstance(value, float) else str(value)
        return out


def hide_folders(text: str) -> str:
    """Return ``text`` with the folders of absolute paths replaced by ``...``; file names and addresses stay."""
    return _FOLDER.sub(".../", text)
