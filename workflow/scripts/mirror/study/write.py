"""The two files of a new study: the slide table and the configuration."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import date
from pathlib import Path
from typing import Any

from .feature_files import FoundFeatures
from .recognise import Table
from .slide_files import SlideFile

_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./@%+-]*")
_WORDS = {"null", "true", "false", "yes", "no", "on", "off", "y", "n", "none"}


def scalar(value: Any) -> str:
    """Return a value as one YAML scalar, quoted where it could be read as anything but text."""
    text = str(value)
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    return json.dumps(text, ensure_ascii=False)


def shown(path: str | Path) -> str:
    """Return a path as the configuration writes it: relative below the working folder, else absolute."""
    full = Path(path).absolute()
    try:
        return full.relative_to(Path.cwd()).as_posix()
    except ValueError:
        return str(full)


def samples_text(slides: list[SlideFile], paths: bool = True) -> str:
    """Return the slide table, tab-separated; without ``paths`` the slides' files are not at hand."""
    out = io.StringIO()
    table = csv.writer(out, delimiter="\t", lineterminator="\n")  # quotes what would break a row
    table.writerow(["slide_id", "patient_id", "slide_path"])
    table.writerows([s.slide_id, s.patient, s.path.absolute() if paths else ""] for s in slides)
    return out.getvalue()


# Written by `init --small`: hours of a CPU become minutes. Results need the defaults.
SMALL_EVALUATION = [
    "  fewshot: {k: 3, draws: 3}    # small; remove this line for results",
    "  statistics: {bootstrap: 200}    # small; remove this line for results",
]
SMALL = [
    "",
    "# Small sizes, to see a run end on a CPU: remove everything below for results.",
    "rna:",
    "  selection: {method: anova, n_genes: 200}",
    "pretrain:",
    "  model:",
    "    {embed_dim: 64, slide_heads: 4, landmarks: 16, rna_heads: 4, style_dim: 16, style_hidden: [64, 32],",
    "     prototypes: 32, tokens: 16}",
    "  train: {epochs: 10, lr: 0.0005, workers: 0}",
]


def config_text(
    title: str,
    cohort: str,
    folder: Path,
    samples: Path | None,
    expression: Table | None,
    clinical: Table | None,
    encoder: str,
    features: FoundFeatures | None = None,
    small: bool = False,
) -> str:
    """Return a short, commented configuration.

    Parameters
    ----------
    title, cohort : str
        Name of the study and of its cohort.
    folder : Path
        Folder of the study.
    samples : Path or None
        The slide table, where there are slides.
    expression, clinical : Table or None
    encoder : str
        Row of the encoder table.
    features : FoundFeatures, optional
        Features that take the place of tiling and an encoder.
    small : bool
        Add sizes for a first run on a CPU.
    """
    lines = [
        f"# Written by `mirror init` on {date.today().isoformat()}; yours to edit.",
        "# Every key, its range and its default: config/README.md.",
        f"title: {scalar(title)}",
        f"results: {scalar(shown(folder / 'results'))}",
        "",
        "cohorts:",
        f"  {scalar(cohort)}:",
    ]
    if samples:
        lines.append(f"    samples: {scalar(shown(samples))}    # slide_id, patient_id, slide_path, optional mpp")
    if not (samples and expression):
        lines.append("    require: any    # one of the two modalities is not there")
    if features:
        entry = f"format: {features.format}, path: {scalar(shown(features.path))}, width: {features.width}"
        lines += ["    features:", f"      - {{{entry}, encoder: {scalar(features.encoder)}}}"]
    if expression:
        lines.append("    expression:")
        lines += _keys(expression, "")
        lines.append("      # values: counts    # or tpm, fpkm, log2, log1p, zscore; recognised where left out")
    if clinical:
        lines.append("    clinical:")
        plain = clinical.format in ("", "table")
        lines += _keys(clinical, "label time event time_unit event_is" if plain else "label")
        if clinical.format in ("tcga_cdr", "cbioportal"):
            lines.append("      endpoint: OS    # or DSS, PFI, DFI, or none")
        elif "time" not in clinical.settings:
            lines.append("      # endpoint: none    # a study without survival analysis")
    if samples and not features:
        lines += [
            "",
            f"encoders: [{scalar(encoder)}]    # others, with their licences: docs/encoders.md",
            "# encoders: [uni2-h]    # gated: accept the terms on its page, then `export HF_TOKEN=...`",
        ]
    lines += ["", "splits:", "  cv5: {kind: stratified, folds: 5}    # kind: site keeps each hospital in one fold"]
    lines += ["", "variants:", "  mirror: {}", "  mirror_plus: {}"]
    tasks = [
        t for t, have in (("subtyping", "labels"), ("survival", "follow_up")) if clinical and getattr(clinical, have)
    ]
    if clinical and len(tasks) == 1:
        lines += [
            "",
            "evaluation:",
            f"  tasks: {json.dumps(tasks)}    # subtyping needs labels, survival needs follow-up",
        ]
        lines += SMALL_EVALUATION if small else []
    elif small:
        lines += ["", "evaluation:", *SMALL_EVALUATION]
    if small:
        lines += SMALL
    return "\n".join(lines) + "\n"


def _keys(table: Table, offered: str) -> list[str]:
    """Keys of a source; those that are not set are offered as comments."""
    lines = []
    for key, value in table.settings.items():
        written = shown(value) if key in ("path", "sample_sheet") else value
        others = [c.split(" (")[0] for c in table.alternatives.get(key, []) if c.split(" (")[0] != value]
        lines.append(f"      {key}: {scalar(written)}" + (f"    # or {', '.join(others[:4])}" if others else ""))
    for key in offered.split():
        if key not in table.settings:
            first = table.alternatives.get(key, [])
            usual = {"time_unit": "months    # or days, years", "event_is": "1_event    # or 1_censored"}
            names = [c.split(" (")[0] for c in first]
            more = f"    # or {', '.join(names[1:4])}" if names[1:] else ""
            lines.append(f"      # {key}: {usual.get(key) or scalar(names[0] if names else 'COLUMN') + more}")
    return lines


def line_of(text: str, key: str) -> int | None:
    """Return the number of the line that sets or offers a key such as ``clinical.label``; None where there is none."""
    section, _, name = key.partition(".")
    inside = False
    for number, line in enumerate(text.splitlines(), start=1):
        bare = line.strip().lstrip("# ")
        if bare.startswith(f"{section}:"):
            inside = True
            if not name:
                return number
        elif inside and name and bare.startswith(f"{name}:"):
            return number
    return None
