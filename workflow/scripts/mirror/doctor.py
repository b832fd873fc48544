"""What is missing or suspicious, before hours are spent: one table of checks.

Each check is a small function that returns rows; none of them writes or computes anything that
the workflow needs. A check that cannot run says so in its row instead of ending the others.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from threading import Lock
from typing import Any

import pandas as pd

from .core.errors import InputError
from .core.facts import Facts
from .core.findings import Finding, State
from .core.progress import progress

MARK = {"ok": "ok", "warning": "WARN", "problem": "PROBLEM"}
BYTES_PER_TILE = 2.2  # a float16 feature of width 1 with its share of coordinates and chunk overhead
TILES_PER_SLIDE = 12_000  # a large TCGA diagnostic slide at 20x with 256 px tiles


def check_slides(
    cohort: str, slides: list[dict[str, Any]], settings: dict[str, Any] | None = None, threads: int = 8
) -> Iterator[Finding]:
    """Open every slide, compare what is known of its resolution, read one tile's worth of pixels."""
    from .config.slides import SlideSettings
    from .slides.reading.mpp import check_scale, resolve_mpp
    from .slides.reading.open import check_extent, open_slide

    used = SlideSettings.model_validate(settings or {}).resolved()
    plain = Lock()  # pictures that are held whole are opened one at a time

    def look(slide: dict[str, Any]) -> tuple[str, str, str]:
        name, path = slide["slide_id"], slide["slide_path"]
        held = str(path).lower().endswith((".png", ".jpg", ".jpeg"))
        try:
            with plain if held else nullcontext(), open_slide(path) as opened:
                check_extent(opened)
                found = resolve_mpp(opened.properties, slide["mpp"], path, used.resolution_conflict)
                size = opened.scanned_size
                odd = check_scale(found.value, size, used.tile.mpp, used.whole_mount, used.resolution_conflict, path)
                opened.read(0, 0, 0, 16, 16)
                note = "; ".join(text for text in (*opened.notes, found.note, *odd) if text)
                return name, "warning" if note else "ok", f"{found.value:.3g} {found.source} {note}"
        except InputError as error:
            return name, "problem", str(error)
        except Exception as error:  # a damaged file may raise anything; it must not end the other checks
            return name, "problem", f"{slide['slide_path']}: cannot be read ({type(error).__name__}: {error})"

    with ThreadPoolExecutor(threads) as pool:
        rows = list(progress(pool.map(look, slides), f"slides of {cohort}", len(slides), "slide"))
    table = pd.DataFrame(rows, columns=["slide", "state", "text"])
    good = table[table["state"] != "problem"]
    if len(good):
        mpps = good["text"].str.split().str[0].value_counts()
        sources = good["text"].str.split().str[1].value_counts()
        detail = f"{len(good)} of {len(table)} open; mpp " + ", ".join(f"{k} ({v})" for k, v in mpps.head(5).items())
        detail += "; from " + ", ".join(f"{k} ({v})" for k, v in sources.items())
        yield Finding(f"{cohort}: slides", "ok" if len(good) == len(table) else "warning", detail)
    for state in ("problem", "warning"):
        some = table[table["state"] == state]
        for row in some.head(10).itertuples():
            yield Finding(f"{cohort}: {row.slide}", state, row.text)
        if len(some) > 10:
            yield Finding(f"{cohort}: slides", state, f"and {len(some) - 10} more")


def check_tables(cohort: str, settings: dict[str, Any], slide_patients: set[str] | None) -> Iterator[Finding]:
    """Read expression and clinical data; compare identifiers across the three tables."""
    from .cohort.labels import apply_labels
    from .config.sources import ClinicalSource, ExpressionSource
    from .core.barcodes import patient_id
    from .readers.clinical.read import read_clinical
    from .readers.expression.read import read_expression

    groups: dict[str, set[str]] = {}
    if slide_patients is not None:
        groups["slides"] = {patient_id(p) for p in slide_patients}
    if settings["expression"]:
        found = Facts(settings["expression"]["path"])
        adata, report = read_expression(ExpressionSource(**settings["expression"]), found=found)
        groups["expression"] = set(adata.obs_names)
        kind, why = report["values"]["kind"], report["values"]["reason"]
        yield Finding(
            f"{cohort}: expression",
            "ok",
            f"{adata.n_obs} patients x {adata.n_vars} genes; format {report['format']}, values {kind} ({why})",
        )
        yield from findings_of(found, f"{cohort}: expression")
    if settings["clinical"]:
        facts = Facts(settings["clinical"]["path"])
        wanted = slide_patients if settings["require"] == "both" else None
        table, report = read_clinical(ClinicalSource(**settings["clinical"]), wanted, facts)
        groups["clinical"] = set(table["patient_id"])
        table, _ = apply_labels(table, settings["label_map"], settings["exclude_labels"], settings["min_label_count"])
        labels = ", ".join(f"{k} {v}" for k, v in table["label"].value_counts().items()) or "none"
        events = int(pd.to_numeric(table["event"]).fillna(0).sum())
        yield Finding(f"{cohort}: clinical", "ok", f"{len(table)} patients; labels {labels}; {events} events")
        yield from findings_of(facts, f"{cohort}: clinical")
    if len(groups) > 1:
        common = set.intersection(*groups.values())
        sizes = ", ".join(f"{k} {len(v)}" for k, v in groups.items())
        state: State = (
            "problem" if not common else "warning" if 2 * len(common) < len(min(groups.values(), key=len)) else "ok"
        )
        detail = f"{len(common)} patients in all of: {sizes}"
        if state != "ok":
            detail += "; for example " + "; ".join(f"{k}: {', '.join(sorted(v)[:2])}" for k, v in groups.items())
        yield Finding(f"{cohort}: identifiers", state, detail)


def check_features(cohort: str, settings: dict[str, Any], slides: list[dict[str, Any]]) -> Iterator[Finding]:
    """Look at the headers of imported features: names, widths, the size of tiles."""
    from .config.sources import FeatureSource
    from .features.inspect import inspect_features

    for source in settings["features"]:
        given = FeatureSource(**source)
        facts = Facts(given.path)
        inspect_features(given, slides, facts)
        yield from findings_of(facts, f"{cohort}: features {given.encoder}")


def findings_of(facts: Facts, what: str) -> Iterator[Finding]:
    """The facts of one input as rows: what was read as what, then what contradicts it."""
    for fact in facts:
        state: State = {"info": "ok", "warning": "warning", "error": "problem"}[fact.level]  # type: ignore[assignment]
        yield Finding(what, state, fact.text())


def check_encoder(row: dict[str, Any], local: str | None) -> Iterator[Finding]:
    """Whether an encoder's weights are at hand, or could be fetched."""
    from .encoders.table import EncoderRow
    from .encoders.weights import find_weights

    encoder = EncoderRow(**row)
    name = f"encoder {encoder.name}"
    if encoder.weights == "random":
        yield Finding(name, "warning", "random weights: features are untrained, for demonstration only")
        return
    weights = find_weights(encoder, local)
    yield Finding(name, "ok", f"weights at hand ({Path(weights.file).name})")


def check_machine(results: Path, slides: int, widths: list[int]) -> Iterator[Finding]:
    """GPU, memory, disk, and whether the results folder can be written."""
    from .compute.gpus import list_gpus

    gpus = list_gpus()
    detail = f"{len(gpus)} found" if gpus else "none: features and pre-training run on the CPU"
    yield Finding("GPU", "ok" if gpus else "warning", detail)
    results.mkdir(parents=True, exist_ok=True)
    if not os.access(results, os.W_OK):
        yield Finding("results folder", "problem", f"{results} cannot be written; choose another with `results:`")
    free = shutil.disk_usage(results).free
    need = int(slides * TILES_PER_SLIDE * BYTES_PER_TILE * sum(widths))
    state: State = "ok" if free > 1.2 * need + 2**30 else "problem"
    yield Finding("disk space", state, f"{free / 1e9:.1f} GB free, features need up to {need / 1e9:.1f} GB")


def guarded(what: str, check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """Run a check; an error becomes its row."""
    try:
        yield from check()
    except InputError as error:
        yield Finding(what, "problem", str(error))


def render(findings: list[Finding]) -> str:
    """The findings as an aligned text table, problems last so that they stand above the prompt."""
    order = {"ok": 0, "warning": 1, "problem": 2}
    rows = sorted(findings, key=lambda f: order[f.state])
    width = max(len(f.what) for f in rows)
    return "\n".join(f"{MARK[f.state]:8}{f.what:{width}}  {f.detail}" for f in rows)
