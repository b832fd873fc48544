"""Join slides, expression and clinical data into one cohort; count what each step loses."""

import json
import logging
from pathlib import Path

import anndata
import pandas as pd

from mirror.cohort.build import build_cohort
from mirror.cohort.labels import apply_labels
from mirror.config.sources import ClinicalSource
from mirror.core.atomic import write_tsv
from mirror.core.barcodes import patient_id as patient_of
from mirror.readers.clinical.read import read_clinical

TEXT = {"slide_id": str, "patient_id": str, "message": str, "fingerprint": str, "label": str, "site": str}


def read_status(paths: list[Path]) -> pd.DataFrame | None:
    """Concatenate status tables; patients under their canonical identifier."""
    if not paths:
        return None
    table = pd.concat([pd.read_csv(p, sep="\t", dtype=TEXT) for p in paths], ignore_index=True)
    table["patient_id"] = [patient_of(p) for p in table["patient_id"]]
    return table


def without_labels(table: pd.DataFrame, exclude: dict) -> tuple[pd.DataFrame, list[dict]]:
    """Leave out patients by their label, before or after merging, and count them."""
    labels, _ = read_clinical(ClinicalSource(**exclude["source"]), table["patient_id"])
    mine = table.assign(label=table["patient_id"].map(labels.set_index("patient_id")["label"]))
    kept, counts = apply_labels(mine, exclude["map"], exclude["labels"], 1)
    return kept.drop(columns="label"), counts


def main(
    *,
    tiles: list[Path],
    features: dict[str, list[Path]],
    rna: Path | None,
    clinical: Path | None,
    clinical_report: Path | None,
    out: dict[str, Path],
    require: str,
    max_failed_fraction: float,
    excluded: dict[str, str],
    exclude: dict | None = None,
) -> None:
    """Read what exists, join it, write the tables; ``excluded`` slides of the slide table are counted.

    ``exclude`` says whose patients are left out by their label: ``labels``, ``map`` (mergers) and the clinical
    ``source`` of the labels.
    """
    log = logging.getLogger("mirror")
    table, steps = None, []
    if clinical:
        table = pd.read_csv(clinical, sep="\t", dtype=TEXT, keep_default_na=False, na_values=[""])
        steps = list(json.loads(clinical_report.read_text()).get("flow", [])) if clinical_report else []
    obs = anndata.read_h5ad(rna, backed="r").obs if rna else None
    status = [read_status(paths) for paths in (tiles, *features.values())]
    if table is not None:
        # Rare labels are rare among the patients of this study, not among a table's 11,000.
        people = {p for frame in status if frame is not None for p in frame["patient_id"]}
        people |= set(obs.index) if obs is not None else set()
        if people:
            mine = table["patient_id"].isin(people)
            steps.append(
                {
                    "step": "of these, in this study",
                    "unit": "patients",
                    "kept": int(mine.sum()),
                    "dropped": int((~mine).sum()),
                    "reason": "neither slide nor expression",
                }
            )
            table = table[mine]
        if exclude:
            table, counts = without_labels(table, exclude)
            steps += counts
    cohort = build_cohort(
        tiles=status[0],
        features=[frame for frame in status[1:] if frame is not None],
        clinical=table,
        rna=obs,
        require=require,
        max_failed_fraction=max_failed_fraction,
        clinical_flow=steps,
        excluded=excluded,
    )
    for row in cohort.flow.itertuples():
        log.info("%s: %d %s kept, %d dropped %s", row.step, row.kept, row.unit, row.dropped, row.reason)
    study = cohort.patients if table is None else table
    write_tsv(out.pop("study"), study[["patient_id"]])
    for name, path in out.items():
        write_tsv(path, getattr(cohort, name))


if "snakemake" in globals():
    from mirror.core.step import run_step

    given = snakemake.input
    run_step(
        lambda: main(
            tiles=[Path(p) for p in given.tiles],
            features={Path(p).stem: [Path(p)] for p in given.features},
            rna=Path(given.rna) if given.rna else None,
            clinical=Path(given.clinical) if given.clinical else None,
            clinical_report=Path(given.clinical_report) if given.clinical_report else None,
            out={k: Path(snakemake.output[k]) for k in ("patients", "study", "slides", "flow", "failures")},
            require=snakemake.params.require,
            exclude=snakemake.params.exclude,
            max_failed_fraction=snakemake.params.max_failed_fraction,
            excluded=snakemake.params.excluded,
        ),
        snakemake.log[0],
    )
