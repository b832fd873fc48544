"""Slide files in a folder, and the patient of each."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ..core.barcodes import parse, patient_id
from ..core.errors import InputError
from ..readers.tables import read_table

WHOLE_SLIDE = (".svs", ".ndpi", ".mrxs", ".scn", ".vms", ".vmu", ".bif", ".svslide", ".tif", ".tiff", ".dcm", ".czi")
PICTURE = (".png", ".jpg", ".jpeg")
_FILE_COLUMNS = ("file name", "file_name", "filename", "slide_id", "slide", "file id", "file_id", "id")
_PATIENT_COLUMNS = ("case id", "case_id", "patient_id", "patient id", "patient", "case_submitter_id")


@dataclass(frozen=True)
class SlideFile:
    """One slide.

    Attributes
    ----------
    path : Path
        The file; the folder where several DICOM files make one slide.
    slide_id : str
        Name of its own, from the file name.
    patient : str
        Empty where unknown.
    how : str
        Where the patient was found.
    """

    path: Path
    slide_id: str
    patient: str = ""
    how: str = ""


@dataclass(frozen=True)
class Found:
    """Slides of a folder, and how many files of other kinds were passed over."""

    slides: list[SlideFile]
    formats: dict[str, int]
    passed_over: dict[str, int]


def find_slides(folder: str | Path) -> Found:
    """Find slide files, however deep.

    Plain pictures (PNG, JPEG) count only where the folder has no other format: beside slides they are thumbnails.
    Several DICOM files in one folder are one slide.

    Raises
    ------
    InputError
        No such folder, or no slide in it.
    """
    root = Path(folder)
    if not root.is_dir():
        raise InputError("is not a folder", file=root, remedy="give the folder that holds the slides")
    files = sorted(
        Path(where) / name
        for where, folders, names in os.walk(root, followlinks=True)
        for name in names
        if not name.startswith(".") and not name.endswith((".partial", ".part", ".tmp"))
    )
    whole = [file for file in files if file.suffix.lower() in WHOLE_SLIDE]
    pictures = [file for file in files if file.suffix.lower() in PICTURE]
    chosen = whole or pictures
    if not chosen:
        kinds = ", ".join(f"{n} {kind or 'without suffix'}" for kind, n in _kinds(files).most_common(5)) or "no file"
        raise InputError(f"no slide in this folder ({kinds})", file=root, remedy=f"formats: {', '.join(WHOLE_SLIDE)}")
    dicom = Counter(file.parent for file in chosen if file.suffix.lower() == ".dcm")
    paths = [f for f in chosen if f.suffix.lower() != ".dcm" or dicom[f.parent] == 1]
    paths += [folder for folder, n in dicom.items() if n > 1]
    names = _slide_names(sorted(paths), root)
    passed = _kinds(file for file in files if file not in set(chosen))
    return Found([SlideFile(p, names[p]) for p in sorted(paths)], dict(_kinds(chosen)), dict(passed))


def _kinds(files: Iterable[Path]) -> Counter[str]:
    return Counter(file.suffix.lower() for file in files)


def _slide_names(paths: list[Path], root: Path) -> dict[Path, str]:
    """A name per slide: the file's; with the folder's in front, or the suffix behind, where two are alike."""
    forms = (
        _stem,
        lambda path: "_".join([*path.relative_to(root).parent.parts, _stem(path)]),
        lambda path: "_".join(path.relative_to(root).parts),
    )
    names: dict[Path, str] = {}
    for form in forms:
        rest = [path for path in paths if path not in names]
        tried = {path: form(path) for path in rest}
        counts = Counter(tried.values())
        names |= {path: name for path, name in tried.items() if counts[name] == 1 and name not in names.values()}
    return {path: names.get(path, "_".join(path.relative_to(root).parts)) for path in paths}


def _stem(path: Path) -> str:
    name = path.name
    for end in (".ome.tif", ".ome.tiff"):
        if name.lower().endswith(end):
            return name[: -len(end)]
    return path.stem if path.suffix.lower() in WHOLE_SLIDE + PICTURE else name


def read_links(sheet: str | Path) -> dict[str, str]:
    """Read which file belongs to which patient.

    Parameters
    ----------
    sheet : path-like
        A GDC sample sheet, or a table with a column of file names (or slide names) and one of patients.

    Returns
    -------
    dict of str to str
        From file name, file id and slide name to the patient.

    Raises
    ------
    InputError
        A column is missing. A GDC manifest is named as such: it lists files without their patients.
    """
    table = read_table(sheet)
    lower = {str(column).lower(): column for column in reversed(list(table.columns))}
    files = [lower[name] for name in _FILE_COLUMNS if name in lower]
    patient = next((lower[name] for name in _PATIENT_COLUMNS if name in lower), None)
    if {"id", "filename", "md5"} <= set(lower) and patient is None:
        raise InputError(
            "is a GDC manifest, which lists files without their patients",
            file=sheet,
            remedy="download the Sample Sheet of the same cart and give it with --sample-sheet",
        )
    if not files or patient is None:
        lack = "patients" if files else "files"
        raise InputError(
            f"has no column of {lack} (it has {', '.join(map(str, table.columns[:8]))})",
            file=sheet,
            remedy="columns File Name and Case ID, or slide_id and patient_id",
        )
    out: dict[str, str] = {}
    for row in table.to_dict("records"):
        owner = str(row[patient]).split(",")[0].strip()
        for column in files:
            key = str(row[column]).strip()
            if key and owner:
                out.setdefault(key, patient_id(owner))
    return out


def link_patients(
    slides: list[SlideFile],
    root: str | Path,
    links: Mapping[str, str],
    pattern: str | None = None,
    known: Iterable[str] = (),
) -> list[SlideFile]:
    """Find the patient of each slide: by the pattern; else a sheet, a TCGA barcode, or a patient of the other tables.

    Parameters
    ----------
    slides : list of SlideFile
    root : path-like
        Folder of the slides.
    links : mapping
        From `read_links`.
    pattern : str, optional
        Regular expression, searched for in the path below ``root``; its group ``patient``, or its first, or the
        whole match is the patient. With a pattern nothing else is tried.
    known : iterable of str
        Patients of the clinical and expression tables. A slide belongs to the longest that its file name or its
        folder equals or begins with, up to a separator.

    Raises
    ------
    InputError
        The pattern is no regular expression.
    """
    if pattern is not None:
        try:
            search = re.compile(pattern)
        except re.error as error:
            raise InputError(f"--pattern {pattern!r} is no regular expression ({error})") from None
        return [_by_pattern(slide, Path(root), search) for slide in slides]
    owners = sorted({str(k) for k in known if str(k)}, key=len, reverse=True)
    return [_by_name(slide, Path(root), links, owners) for slide in slides]


def _by_pattern(slide: SlideFile, root: Path, search: re.Pattern[str]) -> SlideFile:
    match = search.search(slide.path.relative_to(root).as_posix())
    if match is None:
        return slide
    group = "patient" if "patient" in search.groupindex else 1 if search.groups else 0
    return replace(slide, patient=patient_id(match[group] or ""), how="pattern")


def _by_name(slide: SlideFile, root: Path, links: Mapping[str, str], owners: list[str]) -> SlideFile:
    above = slide.path.parent
    folders = [above.name] if above != root else []
    for key in (slide.path.name, slide.slide_id, *folders):
        if key in links:
            return replace(slide, patient=links[key], how="sample sheet")
    for name in (slide.path.name, *folders):
        if code := parse(name):
            return replace(slide, patient=code.patient, how="TCGA barcode")
    for name, where in ((_stem(slide.path), "file name"), *((folder, "folder") for folder in folders)):
        for owner in owners:
            if name == owner or (name.startswith(owner) and not name[len(owner)].isalnum()):
                return replace(slide, patient=owner, how=f"{where} begins with a known patient")
    return slide


def without_frozen(slides: list[SlideFile]) -> tuple[list[SlideFile], int]:
    """Leave out frozen sections and normals by their TCGA barcodes, where there are diagnostic slides as well."""
    codes = {slide: parse(slide.path.name) for slide in slides}
    if not any(code and code.is_diagnostic_slide for code in codes.values()):
        return slides, 0
    kept = [s for s, code in codes.items() if code is None or (code.is_diagnostic_slide and not code.is_normal)]
    return kept, len(slides) - len(kept)
