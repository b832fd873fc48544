"""Divide a cohort's patients into folds under one scheme."""

import logging
from pathlib import Path
from typing import Any

import pandas as pd

from mirror.cohort.splits.published import read_published
from mirror.cohort.splits.stratified import make_splits
from mirror.config.splits import SplitSettings
from mirror.core.atomic import write_json, write_tsv
from mirror.io.tables import read_table


def main(
    patients: Path,
    out: Path,
    settings: dict[str, Any],
    seed: int,
    cohort: str = "",
    report: Path | None = None,
    strata: Path | None = None,
) -> None:
    """Write ``splits.tsv`` and, beside it, ``splits.json`` with counts and messages.

    Parameters
    ----------
    patients : Path
        The cohort's ``patients.tsv``.
    out : Path
        ``splits.tsv``: patient_id, repeat, fold, set.
    settings : dict
        The scheme, as `SplitSettings`.
    seed : int
        Seed of the scheme.
    cohort : str
        Filled in for ``{cohort}`` in the path of published splits.
    report : Path, optional
        Counts and messages; ``splits.json`` beside ``out`` when not given.
    strata : Path, optional
        What folds are balanced in, as `gather_strata` writes it.
    """
    scheme = SplitSettings.model_validate(settings)
    table = pd.read_csv(patients, sep="\t", dtype={"patient_id": str, "label": str, "site": str})
    if strata is not None:
        known = read_table(strata, ["patient_id"]).set_index("patient_id")
        for column in known:
            table[column] = known[column].reindex(table["patient_id"]).to_numpy()
    facts: dict[str, Any] = {"kind": scheme.kind, "folds": scheme.folds, "repeats": scheme.repeats, "seed": seed}
    if scheme.kind == "published":
        folder = str(scheme.path).replace("{cohort}", cohort)
        splits, published = read_published(
            folder, scheme.folds, repair=scheme.repair, cohort_patients=table["patient_id"].tolist()
        )
        facts["published"] = published.as_dict()
    else:
        splits = make_splits(table, scheme, seed)
    facts["messages"] = splits.attrs["messages"]
    facts["patients"] = int(splits["patient_id"].nunique())
    write_json(report or out.with_suffix(".json"), facts)
    write_tsv(out, splits)
    logging.getLogger("mirror").info(
        "%d patients in %d folds x %d repeats", facts["patients"], scheme.folds, scheme.repeats
    )


if "snakemake" in globals():
    from mirror.core.step import run_step

    run_step(
        lambda: main(
            patients=Path(snakemake.input.patients),
            out=Path(snakemake.output.splits),
            settings=snakemake.params.settings,
            seed=snakemake.params.seed,
            cohort=snakemake.wildcards.get("cohort", ""),
            report=Path(found) if (found := snakemake.output.get("report")) else None,
            strata=Path(given) if (given := snakemake.input.get("strata")) else None,
        ),
        snakemake.log[0],
    )
