"""Look for leaks between the sets of every fold; stop the run at one that is not allowed."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mirror.audit.provenance import read_all_fitted
from mirror.audit.run import conclude, read_expression_rows, run_audit
from mirror.config.audit import AuditSettings
from mirror.io.splits import read_splits
from mirror.io.tables import read_outcomes


def main(
    splits: Path,
    out: Path,
    settings: dict[str, Any],
    patients: Path | None = None,
    slides: Path | None = None,
    expression: Path | None = None,
    fitted: Sequence[Path] = (),
    site_preserving: bool | None = None,
    labels: Sequence[Path] = (),
) -> None:
    """Write the audit of one scheme.

    Parameters
    ----------
    splits : Path
        ``splits.tsv``.
    out : Path
        ``leaks.json``, or ``leaks_{encoder}.json`` after training.
    settings : dict
        As `AuditSettings`.
    patients, slides : Path, optional
        The cohort's ``patients.tsv`` and ``slides.tsv``.
    expression : Path, optional
        The cohort's ``.h5ad``.
    fitted : sequence of Path
        Whatever was fitted: transforms, gene-set notes, checkpoints, embeddings, predictions.
    site_preserving : bool, optional
        Whether the scheme promises to keep sites together; when not given, as ``splits.json``
        beside the splits says.
    labels : sequence of Path
        Outcomes of targets with classes.
    """
    table = read_splits(splits)
    made = splits.with_suffix(".json")
    if site_preserving is None:
        site_preserving = made.is_file() and json.loads(made.read_text())["kind"] == "site"
    text = {"patient_id": str, "slide_id": str, "label": str, "site": str, "fingerprint": str}
    checks = run_audit(
        table,
        AuditSettings.model_validate(settings),
        patients=None if patients is None else pd.read_csv(patients, sep="\t", dtype=text),
        slides=None if slides is None else pd.read_csv(slides, sep="\t", dtype=text),
        expression=None if expression is None else read_expression_rows(expression, table["patient_id"].unique()),
        fitted=read_all_fitted(fitted),
        site_preserving=site_preserving,
        labels={path.stem: read_outcomes(path)["label"] for path in labels},
    )
    conclude(checks, out)


if "snakemake" in globals():
    from mirror.core.step import run_step

    def listed(name: str) -> list[Path]:
        """The files of an input that not every rule has."""
        found = snakemake.input.get(name) or []
        return [Path(p) for p in ([found] if isinstance(found, str) else found)]

    def one(name: str) -> Path | None:
        """An input of one file, or none."""
        return next(iter(listed(name)), None)

    run_step(
        lambda: main(
            splits=Path(snakemake.input.splits),
            out=Path(snakemake.output.leaks),
            settings=snakemake.params.settings,
            patients=one("patients"),
            slides=one("slides"),
            expression=one("rna"),
            labels=listed("labels"),
            fitted=[
                path for kind in ("transforms", "checkpoints", "embeddings", "predictions") for path in listed(kind)
            ],
        ),
        snakemake.log[0],
    )
