"""`mirror init`: a configuration and a slide table from a folder of slides, an expression file and a clinical table."""

from __future__ import annotations

import logging
import re
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..core.errors import InputError
from ..core.names import safe_name
from .feature_files import FoundFeatures, find_features
from .recognise import Row, Table, recognise_clinical, recognise_expression
from .slide_files import SlideFile, find_slides, link_patients, read_links, without_frozen
from .write import config_text, line_of, samples_text, shown

log = logging.getLogger("mirror")
MARK = {"ok": "ok", "look": "CHECK", "open": "EDIT"}
CONFIG, SAMPLES, UNDECIDED = "config.yaml", "samples.tsv", "slides_without_patient.tsv"


@dataclass(frozen=True)
class Request:
    """What the user gave.

    Attributes
    ----------
    out : Path
        Folder of the new study.
    slides, expression, clinical : Path or None
    sheets : tuple of Path
        Sample sheets, or tables of slides and patients.
    pattern, label, cohort : str or None
    encoder : str
    frozen : bool
        Keep frozen sections and normals.
    features : Path or None
        Features that another tool made of the slides.
    small : bool
        Sizes for a first run on a CPU.
    """

    out: Path
    slides: Path | None = None
    expression: Path | None = None
    clinical: Path | None = None
    sheets: tuple[Path, ...] = ()
    pattern: str | None = None
    label: str | None = None
    cohort: str | None = None
    encoder: str = "efficientnet-lite0"
    frozen: bool = False
    features: Path | None = None
    small: bool = False


@dataclass
class Study:
    """What was recognised and written."""

    config: Path
    samples: Path | None
    rows: list[Row] = field(default_factory=list)
    patients: dict[str, set[str]] = field(default_factory=dict)

    @property
    def complete(self) -> set[str]:
        """Patients of every table that was given."""
        return set.intersection(*self.patients.values()) if self.patients else set()


def init(request: Request) -> Study:
    """Recognise the inputs and write the study's files. Nothing that exists is overwritten.

    Raises
    ------
    InputError
        Nothing was given, the study exists, or no slide is in the folder.
    """
    if not (request.slides or request.features or request.expression):
        raise InputError("none of --slides, --features and --expression was given", remedy="see `mirror init --help`")
    config = request.out / CONFIG
    for file in (config, request.out / SAMPLES, request.out / UNDECIDED):
        if file.exists():
            raise InputError("exists; nothing was written", file=file, remedy="choose another folder, or delete it")
    cohort = request.cohort or re.sub(r"\W+", "_", request.out.absolute().name, flags=re.ASCII).strip("_") or "STUDY"
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", cohort):
        raise InputError(f"{cohort!r} cannot be a cohort's name", remedy="letters, digits, dashes and underscores")

    study = Study(config, None)
    sheets = _sheets(request, study.rows)
    clinical = recognise_clinical(request.clinical, request.label) if request.clinical else None
    made = find_features(request.features) if request.features else None
    slides, undecided = _slides(request, made, sheets, clinical, study.rows)
    expression = None
    if request.expression:
        log.info("Reading %s", request.expression)
        expression = recognise_expression(request.expression, {s.patient for s in slides} or None, sheets)
        if undecided and expression.patients:  # its patients may be in the slides' names
            found = link_patients(undecided, request.slides or request.features or "", {}, None, expression.patients)
            slides = sorted([*slides, *(s for s in found if s.patient)], key=lambda s: s.slide_id)
            undecided = [s for s in found if not s.patient]
    if request.slides or request.features:
        study.rows += _slide_rows(slides, undecided, request)
        study.patients["slides"] = {s.patient for s in slides}
    for name, table in (("expression", expression), ("clinical", clinical)):
        if table:
            study.rows += table.rows
            study.patients[name] = table.patients
    study.rows.append(_meeting(study))
    study.samples = request.out / SAMPLES if slides else None
    title = request.out.absolute().name
    text = config_text(
        title, cohort, request.out, study.samples, expression, clinical, request.encoder, made, request.small
    )
    request.out.mkdir(parents=True, exist_ok=True)
    if undecided:
        _write(request.out / UNDECIDED, samples_text(undecided, request.slides is not None))
    if study.samples:
        _write(study.samples, samples_text(slides, request.slides is not None))
    _write(config, text)
    for row in study.rows:
        line = line_of(text, row.edit) if row.edit and " " not in row.edit else None
        if line and row.state == "open":
            row.edit = f"edit {shown(config)} line {line} ({row.edit})"
    return study


def _write(path: Path, text: str) -> None:
    with open(path, "x", encoding="utf-8", newline="") as handle:
        handle.write(text)


def _sheets(request: Request, rows: list[Row]) -> list[Path]:
    """The sample sheets that were given, and those that the GDC portal's names give away."""
    found = list(request.sheets)
    for given in (request.slides, request.expression, request.clinical):
        if given is None:
            continue
        for folder in (given if given.is_dir() else given.parent, given.parent):
            found += [f for f in sorted(folder.glob("gdc_sample_sheet*.tsv")) if f not in found]
    for sheet in found:
        rows.append(Row("sample sheet", f"{shown(sheet)}{'' if sheet in request.sheets else ' (found by its name)'}"))
    return found


def _slides(
    request: Request,
    made: FoundFeatures | None,
    sheets: list[Path],
    clinical: Table | None,
    rows: list[Row],
) -> tuple[list[SlideFile], list[SlideFile]]:
    """Slides with a patient, and slides without."""
    root = request.slides or request.features
    if root is None:
        return [], []
    if made:
        what = (
            f"{made.format}: {len(made.slides)} slides in {shown(made.path)}, {made.width} wide, encoder {made.encoder}"
        )
        rows.append(Row("features", what))
    if request.slides:
        found = find_slides(request.slides)
        kinds = ", ".join(f"{n} {kind}" for kind, n in sorted(found.formats.items()))
        rows.append(Row("slides", f"{len(found.slides)} in {shown(request.slides)} ({kinds})"))
        if found.passed_over:
            other = ", ".join(f"{n} {kind or 'without suffix'}" for kind, n in sorted(found.passed_over.items()))
            rows.append(Row("files left out", f"{other}: no slides"))
        files = found.slides
    else:
        files = made.slides if made else []
    slides, frozen = (files, 0) if request.frozen else without_frozen(files)
    if frozen:
        rows.append(Row("frozen or normal", f"{frozen} slides left out by their TCGA barcodes", "--frozen keeps them"))
    links: dict[str, str] = {}
    for sheet in sheets:
        links = read_links(sheet) | links
    known = clinical.patients if clinical else ()
    linked = link_patients(slides, root, links, request.pattern, known)
    for slide in linked:
        safe_name(slide.slide_id)
    return [s for s in linked if s.patient], [s for s in linked if not s.patient]


def _slide_rows(slides: list[SlideFile], undecided: list[SlideFile], request: Request) -> list[Row]:
    rows = []
    if slides:
        how = ", ".join(f"{k} {v}" for k, v in Counter(s.how for s in slides).most_common())
        example = f"{slides[0].slide_id} is of patient {slides[0].patient}"
        several = sum(n > 1 for n in Counter(s.patient for s in slides).values())
        patients = len({s.patient for s in slides})
        rows.append(Row("patients of slides", f"{patients} ({several} with several slides), by {how}; {example}"))
    if undecided:
        names = ", ".join(s.slide_id for s in undecided[:3])
        what = f"{len(undecided)} slides without a patient ({names}{' ...' if len(undecided) > 3 else ''})"
        where = shown(request.out / UNDECIDED)
        remedy = f"give --sample-sheet or --pattern, or fill in {where} and append its rows to {SAMPLES}"
        rows.append(Row("patients of slides", what, remedy, "open"))
    return rows


def _meeting(study: Study) -> Row:
    """How many patients the tables have in common."""
    sizes = ", ".join(f"{name} {len(found)}" for name, found in study.patients.items())
    n = len(study.complete)
    if len(study.patients) < 2:
        return Row("patients", sizes)
    text = f"{n} in all of: {sizes}"
    smallest = min(len(found) for found in study.patients.values())
    if n == 0:
        examples = "; ".join(f"{k}: {', '.join(sorted(v)[:2]) or 'none'}" for k, v in study.patients.items())
        return Row("patients", f"{text} (for example {examples})", "make the identifiers agree", "open")
    if 2 * n < smallest:
        return Row("patients", text, "check the identifiers", "look")
    return Row("patients", text)


def render(rows: Sequence[Row], width: int = 110) -> str:
    """Return the rows as an aligned text table, what is to be edited last."""
    order = {"ok": 0, "look": 1, "open": 2}
    left = max(len(row.what) for row in rows)
    lines = []
    for row in sorted(rows, key=lambda r: order[r.state]):
        text = row.value + (f" -> {row.edit}" if row.edit and row.state != "ok" else "")
        parts = textwrap.wrap(text, max(30, width - left - 9), break_on_hyphens=False) or [""]
        lines.append(f"{MARK[row.state]:6} {row.what:{left}}  {parts[0]}")
        lines += [" " * (left + 9) + part for part in parts[1:]]
    return "\n".join(lines)
