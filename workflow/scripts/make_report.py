"""One self-contained HTML report."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

import mirror
from mirror.plan.paths import names_in
from mirror.report.contents import (
    CEILING,
    add_audit,
    add_inputs,
    add_methods,
    add_prototypes,
    add_reproduction,
    add_style,
    add_tables,
    empty_sections,
    fits_text,
)
from mirror.report.headline import answers
from mirror.report.identifiers import Identifiers
from mirror.report.methods_text import warnings_of
from mirror.report.page import plain_caption, render_report


def main(
    *,
    figures: list[tuple[str, str, str, str]],
    titles: dict[str, str],
    metrics: Path,
    comparisons: Path,
    left_out: Path,
    prototypes: list[Path],
    clusters: list[Path],
    tables: Path,
    leaks: list[Path],
    splits: list[Path],
    facts: list[Path],
    captions: Path,
    template: Path,
    config: dict[str, Any],
    variants: dict[str, Any],
    encoders: dict[str, Any],
    simulated: list[str],
    notes: list[str],
    shown: dict[str, str],
    identifiers: Identifiers,
    out: Path,
) -> None:
    """Collect everything and render it."""
    sections = empty_sections(figures)
    audits = {", ".join(names_in("audit", p).values()): json.loads(p.read_text()) for p in leaks}
    for check in (check for audit in audits.values() for check in audit["checks"]):
        check["message"] = identifiers.text(str(check.get("message", "")))
    numbers = pd.read_csv(metrics, sep="\t", dtype={"fold": str, "head": str})
    compared = pd.read_csv(comparisons, sep="\t", dtype={"head_a": str, "head_b": str})
    for scheme in config["splits"]:
        sections["Result"].answer += answers(numbers, compared, scheme, shown, titles)
    if any(simulated):
        sections["Result"].paragraphs.append(CEILING)
    add_tables(sections, tables)
    for section, path, title, caption in figures:
        text = plain_caption((captions / f"{caption}.rst").read_text(encoding="utf-8"))
        sections[section].figure(Path(path), title, text)
    add_style(sections["Style: does it cluster?"], clusters, titles)
    add_prototypes(sections["Prototypes"], prototypes, titles)
    add_methods(sections["Methods"], config, variants, fits_text(numbers, left_out), identifiers)
    add_audit(sections["Leak audit"], audits, splits, identifiers)
    add_inputs(sections["Inputs"], facts, identifiers)
    add_reproduction(sections["Reproducing this"])
    stamp = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    subtitle = f"{', '.join(config['cohorts'])} · written {stamp} · MIRROR workflow {mirror.__version__}"
    warnings = [*(f"Note: {note}." for note in notes), *warnings_of(config, encoders, simulated, audits)]
    render_report(template, config["title"], subtitle, warnings, list(sections.values()), out)


if "snakemake" in globals():
    from mirror.core.step import run_step

    smk = snakemake
    run_step(
        lambda: main(
            figures=[tuple(f) for f in smk.params.figures],
            titles=dict(smk.params.titles),
            metrics=Path(smk.input.metrics),
            comparisons=Path(smk.input.comparisons),
            left_out=Path(smk.input.left_out),
            prototypes=[Path(p) for p in smk.input.prototypes],
            clusters=[Path(p) for p in smk.input.clusters],
            tables=Path(smk.input.tables),
            leaks=[Path(p) for p in smk.input.leaks],
            splits=[Path(p) for p in smk.input.splits],
            facts=[Path(p) for p in smk.input.facts],
            captions=Path(smk.params.captions),
            template=Path(smk.input.template),
            config=smk.params.config,
            variants=smk.params.variants,
            encoders=smk.params.encoders,
            simulated=list(smk.params.simulated),
            notes=list(smk.params.notes),
            shown=dict(smk.params.shown),
            identifiers=Identifiers.read(smk.params.identifiers, smk.input.key),
            out=Path(smk.output.report),
        ),
        smk.log[0],
    )
