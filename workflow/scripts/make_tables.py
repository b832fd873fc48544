"""Tables in the paper's layout, from the metrics."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from mirror.core.atomic import write_json
from mirror.report.tables.added import write_added
from mirror.report.tables.build import Table, build_table
from mirror.report.tables.catalogue import TARGETS, TRANSFER, Shots, allowed_leaks, row_notes, transfers, wanted
from mirror.report.tables.reported import read_reported
from mirror.report.tables.write import write_table


def main(
    metrics: Path,
    comparisons: Path,
    schemes: list[str],
    variants: list[str],
    titles: dict[str, str],
    shots: Shots,
    audits: list[Path],
    reported: Path | None,
    folder: Path,
    index: Path,
    sources: Sequence[tuple[str, ...]] = (),
    horizons_days: Sequence[float] = (),
    notes: Path | None = None,
    targets: Sequence[dict] = TARGETS,
    added: Sequence[Path] = (),
) -> None:
    """Write every table that has rows, and ``index.json`` that lists them in order.

    ``sources`` are the (source cohort, split scheme, target) of the transfers; ``horizons_days`` those of the AUC;
    ``notes`` is what the fits noted.
    """
    numbers = pd.read_csv(metrics, sep="\t", dtype={"fold": str, "head": str, "events": "Float64"})
    compared = pd.read_csv(comparisons, sep="\t")
    elsewhere = read_reported(reported)
    fits = pd.read_csv(notes, sep="\t", dtype=str) if notes else None
    listed = []
    leaking = allowed_leaks(audits)
    survival = [target["name"] for target in targets if target["kind"] == "survival"]

    def write(kind: str, scheme: str, spec: dict) -> None:
        section = spec.pop("section")
        note = " ".join(filter(None, [spec.get("note", ""), leaking]))
        spec = {"scheme": scheme, "reported": elsewhere, **spec, "note": note}
        table: Table | None = build_table(numbers, compared, **spec)
        if table:
            write_table(table, folder, titles)
            listed.append(
                {"name": table.name, "kind": kind, "title": table.title, "scheme": spec["scheme"], "section": section}
            )

    for scheme in schemes:
        for spec in wanted(variants, shots, horizons_days, targets):
            kind = spec["name"]
            if kind in survival:
                spec = {**spec, "note": row_notes(numbers, fits, scheme, kind)}
            write(kind, scheme, spec if len(schemes) == 1 else {**spec, "name": f"{scheme}_{kind}"})
    for spec in transfers(list(sources), titles):
        write(TRANSFER, "", {**spec, "reported": None})
    gains = [table for table in (pd.read_csv(path, sep="\t", dtype={"head": str}) for path in added) if len(table)]
    for scheme in schemes:
        mine = [table[table["scheme"] == scheme] for table in gains if (table["scheme"] == scheme).any()]
        if mine:
            name = "what_it_adds" if len(schemes) == 1 else f"{scheme}_what_it_adds"
            write_added(pd.concat(mine), folder, name, titles, {t["name"]: t["title"] for t in targets})
            words = {"kind": "what_it_adds", "title": "What it adds to clinical covariates", "section": "What it adds"}
            listed.append({"name": name, "scheme": scheme, **words})
    write_json(index, listed)


if "snakemake" in globals():
    from mirror.core.step import run_step

    run_step(
        lambda: main(
            Path(snakemake.input.metrics),
            Path(snakemake.input.comparisons),
            snakemake.params.schemes,
            snakemake.params.variants,
            snakemake.params.titles,
            snakemake.params.shots,
            [Path(p) for p in snakemake.input.leaks],
            Path(snakemake.input.reported) if snakemake.input.reported else None,
            Path(snakemake.output.index).parent,
            Path(snakemake.output.index),
            snakemake.params.sources,
            snakemake.params.horizons,
            Path(snakemake.input.notes),
            list(snakemake.params.targets),
            [Path(p) for p in snakemake.input.added],
        ),
        snakemake.log[0],
    )
