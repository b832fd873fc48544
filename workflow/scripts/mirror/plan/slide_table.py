"""The slide table: one row per slide, read with the standard library while the DAG is built."""

from __future__ import annotations

import csv
import difflib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from ..core.barcodes import parse
from ..core.barcodes import patient_id as patient_of
from ..core.errors import InputError
from ..core.hashing import sha256_file
from ..core.names import FORBIDDEN, LONGEST, safe_name
from ..core.regular_file import refuse_irregular, require_regular

SLIDE_COLUMNS = ("slide_id", "patient_id", "slide_path", "mpp")
NAMED, LEAST_NAMED = 0.8, 4
_BREAK = re.compile(r"[^0-9A-Z]")


@dataclass(frozen=True)
class SlideRow:
    """One row of the slide table."""

    slide_id: str
    patient_id: str
    slide_path: str
    mpp: float | None
    size: int | None  # bytes; None while the file is missing. A replaced file reruns its shard.
    mask: str | None = None  # GeoJSON that replaces or cuts the tissue mask
    mask_hash: str | None = None  # of its content: a changed mask reruns its shard, which tiles that slide alone

    def as_dict(self) -> dict[str, Any]:
        """The row as a dictionary; without the keys of a mask where there is none."""
        return {k: v for k, v in vars(self).items() if v is not None or not k.startswith("mask")}


def _number(text: str, file: str, row: int) -> float | None:
    if text.strip().lower() in ("", "na", "n/a", "#n/a", "nan", "none", "null"):
        return None
    try:
        return float(text.strip().replace(",", "."))
    except ValueError:
        raise InputError(
            f"mpp is `{text}`, not a number", file=file, row=f"row {row}", remedy="micrometres per pixel, as in 0.25"
        ) from None


def read_slide_table(path: str | Path | Sequence[str | Path]) -> list[SlideRow]:
    """Read ``slide_id, patient_id, slide_path[, mpp, mask]`` (tab- or comma-separated).

    Slide names are brought to the one spelling that files are written under (`safe_name`), so that
    every step finds what another wrote; paths are left as they are, since the file system knows them so.

    Parameters
    ----------
    path : path-like, or sequence of path-like
        One table, or several of one cohort: a slide stands in one of them.

    Raises
    ------
    InputError
        A missing file or column, an empty or repeated identifier, a name that cannot be a file's;
        names the row.
    """
    seen = _Seen({}, {})
    files = [path] if isinstance(path, str | Path) else path
    return [row for file in files for row in _read_one(file, seen)]


class _Seen(NamedTuple):
    """What the rows so far name."""

    slides: dict[str, tuple[str, str]]
    """Place (its row, and its table where it is another one) and spelling of each slide."""
    files: dict[tuple[int, int | str], tuple[str, str]]
    """Place and patient of each file."""


def _place(number: int, table: str) -> str:
    return f"row {number}\n{table}"


def _from(place: str, table: str) -> str:
    """A place as seen from a table: without the name of the same table."""
    row, _, other = place.partition("\n")
    return row if other == table else f"{row} of {other}"


def _read_one(path: str | Path, known: _Seen) -> list[SlideRow]:
    """Read one table; ``known`` holds the rows of those before it, and takes this one's."""
    file = str(path)
    refuse_irregular(path, "slide table")
    try:
        with open(path, encoding="utf-8-sig", newline="") as handle:
            head = handle.readline()
            handle.seek(0)
            rows = csv.DictReader(handle, delimiter=next((mark for mark in "\t,;" if mark in head), ","))
            columns = [c.strip() for c in rows.fieldnames or []]
            rows.fieldnames = columns
            twice = next((c for c in SLIDE_COLUMNS if columns.count(c) > 1), None)
            if twice:
                raise InputError(f"column `{twice}` is there twice", file=file, remedy="keep one")
            missing = [c for c in SLIDE_COLUMNS[:2] if c not in columns]
            if missing:
                near = difflib.get_close_matches(missing[0], columns, n=1, cutoff=0.0)
                raise InputError(
                    f"column `{missing[0]}` is missing",
                    file=file,
                    remedy=f"rename `{near[0]}`?" if near else "see config/README.md",
                )
            slides: list[SlideRow] = []
            short, number = (0, 0), 0  # the last row with fewer fields than the header; the last row
            seen, owners = known
            for number, row in enumerate(rows, start=2):
                if any(cell.strip() for cell in row.get(None, ())):  # type: ignore[call-overload]
                    raise InputError(
                        f"has more fields than the header has columns ({len(columns)})",
                        file=file,
                        row=f"row {number}",
                        remedy="quote paths that hold the separator, or separate by tabs",
                    )
                if None in row.values():
                    short = number, sum(value is not None for value in row.values())
                written, patient = (row["slide_id"] or "").strip(), (row["patient_id"] or "").strip()
                if (written, patient) == SLIDE_COLUMNS[:2]:
                    raise InputError(
                        "the header is repeated here", file=file, row=f"row {number}", remedy="delete the line"
                    )
                if not written or not patient:
                    raise InputError("slide_id or patient_id is empty", file=file, row=f"row {number}")
                if FORBIDDEN.search(patient.replace("/", "").replace("\\", "")) or len(patient) > LONGEST:
                    raise InputError(
                        f"patient_id holds control characters, or over {LONGEST} letters",
                        file=file,
                        row=f"row {number}",
                        remedy="rename the patient",
                    )
                try:
                    slide = safe_name(written)
                except InputError as error:
                    raise InputError(error.problem, file=file, row=f"row {number}", remedy=error.remedy) from None
                if slide in seen:
                    first, spelling = seen[slide]
                    unlike = "" if spelling == written else ", its accents written as other Unicode characters"
                    raise InputError(
                        f"slide_id `{slide}` is also in {_from(first, file)}{unlike}",
                        file=file,
                        row=f"row {number}",
                        remedy="give every slide one row and a name of its own",
                    )
                seen[slide] = _place(number, file), written
                where = (row.get("slide_path") or "").strip()
                size, there = None, None
                try:
                    there = os.stat(where) if where else None
                except (OSError, ValueError):  # ValueError: a path that no file system can hold
                    there = None
                if there is not None:
                    size = there.st_size
                    file_key = (there.st_dev, there.st_ino or os.path.abspath(where))  # links are the same file
                    first, owner = owners.setdefault(file_key, (_place(number, file), patient))
                    if patient_of(owner) != patient_of(patient):
                        raise InputError(
                            f"the file is also that of patient `{owner}` ({_from(first, file)}): {where}",
                            file=file,
                            row=f"row {number}",
                            remedy="a slide of two patients would be in training and test at once; keep one row",
                        )
                _check_barcodes(slide, patient, where, file, number)
                mask = (row.get("mask") or "").strip() or None
                mark = _mask_hash(mask, file, f"row {number}") if mask else None
                slides.append(
                    SlideRow(slide, patient, where, _number(row.get("mpp") or "", file, number), size, mask, mark)
                )
    except FileNotFoundError:
        raise InputError(
            "this slide table does not exist", file=file, remedy="create it, or correct the path"
        ) from None
    except UnicodeDecodeError:
        raise InputError("not a UTF-8 text table", file=file) from None
    if not slides:
        raise InputError("the slide table has no rows", file=file)
    if short[0] == number and not _ends_in_a_line(path):
        raise InputError(
            f"the table ends in the middle of a line: {short[1]} fields where the header has {len(columns)}",
            file=file,
            row=f"row {number}",
            remedy="copy it again, or complete its last line",
        )
    _check_swapped(slides, file)
    _check_prefixes(slides, file)
    return slides


def _mask_hash(mask: str, file: str | Path, row: str) -> str:
    """Hash of an annotation's content."""
    try:
        require_regular(mask, "annotation")
        return sha256_file(mask)[:16]
    except (InputError, OSError, ValueError) as error:
        problem = error.problem if isinstance(error, InputError) else str(error)
        raise InputError(
            f"mask `{mask[:200]}`: {problem}", file=file, row=row, remedy="correct the path, or leave the cell empty"
        ) from None


def attach_masks(slides: list[SlideRow], folder: str | Path) -> tuple[list[SlideRow], list[Path]]:
    """Give slides the annotations that lie in a folder.

    Parameters
    ----------
    slides : list of SlideRow
        The slide table. A mask that it names itself is kept.
    folder : path-like
        Holds ``{name}.geojson`` (or ``.json``), where the name is the slide_id or the slide's file name with or
        without its ending.

    Returns
    -------
    slides : list of SlideRow
    unused : list of Path
        Annotations of no slide.

    Raises
    ------
    InputError
        No such folder, or two annotations of one slide.
    """
    where = Path(folder)
    if not where.is_dir():
        raise InputError("is not a folder", file=folder, remedy="make it, or remove `masks` from the configuration")
    files = sorted(path for path in where.iterdir() if path.suffix.lower() in (".geojson", ".json"))
    by_name: dict[str, list[Path]] = {}
    for path in files:
        by_name.setdefault(path.stem, []).append(path)
    out, used = [], {os.path.abspath(slide.mask) for slide in slides if slide.mask}
    for slide in slides:
        picture = Path(slide.slide_path)
        found = [p for n in dict.fromkeys((slide.slide_id, picture.name, picture.stem)) for p in by_name.get(n, [])]
        if len(found) > 1:
            names = ", ".join(path.name for path in found)
            raise InputError(f"slide {slide.slide_id} has several: {names}", file=folder, remedy="keep one of them")
        used |= {os.path.abspath(path) for path in found}
        if found and slide.mask is None:
            mark = _mask_hash(str(found[0]), folder, slide.slide_id)
            slide = replace(slide, mask=str(found[0]), mask_hash=mark)
        out.append(slide)
    return out, [path for path in files if os.path.abspath(path) not in used]


def _check_barcodes(slide: str, patient: str, where: str, file: str, row: int) -> None:
    """Refuse a row whose TCGA barcodes are of two patients: a column was sorted or shifted by itself."""
    own = parse(patient)
    for name, text in (("slide_id", slide), ("slide_path", where)):
        other = parse(text)
        if own is not None and other is not None and own.patient != other.patient:
            raise InputError(
                f"{name} is of patient {other.patient}, patient_id is `{patient}`",
                file=file,
                row=f"row {row}",
                remedy="correct the row; all rows, if a column was sorted or shifted by itself",
            )


def _ends_in_a_line(path: str | Path) -> bool:
    with open(path, "rb") as handle:
        handle.seek(-1, os.SEEK_END)
        return handle.read() in (b"\n", b"\r")


def _check_prefixes(slides: list[SlideRow], file: str) -> None:
    """Refuse a row whose slide is named after another patient of the table.

    Where at least `NAMED` of the slides begin with a patient's identifier (``P07-A.svs`` of ``P07``), one that begins
    with that of another patient shows a column that was sorted or shifted by itself.
    """
    patients = {slide.patient_id.upper() for slide in slides}
    begins: list[tuple[str, bool]] = []  # the longest patient that a slide's name begins with; whether its own does
    for slide in slides:
        name, own = slide.slide_id.upper(), slide.patient_id.upper()
        ends = [len(name), *(match.start() for match in _BREAK.finditer(name))]
        known = [name[:end] for end in ends if name[:end] in patients]
        begins.append((max(known, key=len, default=""), own in known))
    if len(slides) < LEAST_NAMED or sum(bool(owner) for owner, _ in begins) < NAMED * len(slides):
        return
    for number, (slide, (owner, own_too)) in enumerate(zip(slides, begins, strict=True), start=2):
        if owner and not own_too and patient_of(owner) != patient_of(slide.patient_id.upper()):
            raise InputError(
                f"slide `{slide.slide_id}` begins with the identifier of patient `{owner}`, patient_id is "
                f"`{slide.patient_id}`",
                file=file,
                row=f"row {number}",
                remedy="correct the row; all rows, if a column was sorted or shifted by itself",
            )


def _check_swapped(slides: list[SlideRow], file: str) -> None:
    """Refuse a table whose patient_id holds the slides: each file is named after it, none after the slide_id."""

    def named(name: str, path: str) -> bool:
        stem = os.path.basename(path.replace("\\", "/"))
        return bool(name) and (stem == name or stem.startswith(f"{name}."))

    known = [slide for slide in slides if slide.slide_path]
    swapped = [s for s in known if named(s.patient_id, s.slide_path) and not named(s.slide_id, s.slide_path)]
    types = [s for s in slides if (a := parse(s.patient_id)) and (b := parse(s.slide_id)) and a.slide and not b.slide]
    if len(slides) > 1 and (2 * len(swapped) > len(known) > 0 or 2 * len(types) > len(slides)):
        first = (swapped or types)[0]
        raise InputError(
            f"patient_id holds names of slides (`{first.patient_id}`), slide_id those of patients (`{first.slide_id}`)",
            file=file,
            remedy="swap the two columns",
        )


def read_exclusions(path: str | Path, slides: list[SlideRow]) -> dict[str, str]:
    """Read which slides a person left out.

    Parameters
    ----------
    path : path-like
        One slide_id per line, optionally a tab and the reason; empty lines and lines with ``#`` are passed over.
    slides : list of SlideRow
        The slide table.

    Returns
    -------
    dict of str to str
        slide_id to reason.

    Raises
    ------
    InputError
        No such file, or a name that is not in the slide table.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise InputError("does not exist", file=path, remedy="correct `exclude_slides`, or remove it") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read ({error})", file=path, remedy="correct `exclude_slides`") from None
    names = {slide.slide_id for slide in slides}
    out = {}
    for number, line in enumerate(lines, start=1):
        slide, _, reason = line.partition("\t")
        slide = slide.strip()
        if not slide or slide.startswith("#"):
            continue
        if slide not in names:
            near = difflib.get_close_matches(slide, names, n=1)
            raise InputError(
                f"slide `{slide[:80]}` is not in the slide table",
                file=path,
                row=f"line {number}",
                remedy=f"did you mean `{near[0]}`?" if near else "remove the line",
            )
        out[slide] = reason.strip()
    return out
