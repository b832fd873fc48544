"""The table of what scores add to clinical covariates."""

from __future__ import annotations

import html
from pathlib import Path

import pandas as pd

from ...core.atomic import atomic_path, write_text
from ..display_names import HEADS, MODALITIES, method_name, metric_name

LEGEND = (
    "Nested linear models in the same folds: clinical covariates alone, and covariates with the method's out-of-fold "
    "score, both fitted on a fold's training patients and scored on its test patients (pooled, as in the other "
    "tables). In brackets 95 % intervals over test patients; the difference is paired, its p value adjusted by Holm's "
    "correction over the methods of one target. Hazard ratio: per standard deviation of the out-of-fold risk, adjusted "
    "for the covariates, stratified by fold; LR: likelihood-ratio test of the score. Its interval and p are widened "
    "(the standard error by the square root of two), because a cross-validated score varies more than a fixed "
    "covariate. Scores of training patients are out of fold as well, from models of which some have seen the test "
    "patients' outcomes: p values of this table are approximate (measured in docs/evaluation.md)."
)
HEADER = [
    "Cohort", "Target", "Encoder", "Method", "Input", "Metric", "Clinical", "Clinical + score", "Difference",
    "p (Holm)", "Hazard ratio", "LR p", "Patients", "Covariates",
]  # fmt: skip


def _interval(value: float, low: float, high: float) -> str:
    if pd.isna(value):
        return "–"
    return f"{value:.3f}" + ("" if pd.isna(low) else f" [{low:.3f}, {high:.3f}]")


def _p(value: float) -> str:
    return "–" if pd.isna(value) else f"{value:.2g}"


def texts_of(added: pd.DataFrame, titles: dict[str, str], targets: dict[str, str]) -> list[list[str]]:
    """The cells of every row as text; rows without both models say why in the last column."""
    out = []
    for row in added.fillna({"head": "", "encoder": "", "note": "", "covariates": ""}).itertuples():
        what = ", ".join(filter(None, [MODALITIES.get(row.modality, row.modality), HEADS.get(row.head, "")]))
        size = (
            "–" if pd.isna(row.n) else f"{int(row.n)}" + ("" if pd.isna(row.events) else f" ({int(row.events)} events)")
        )
        out.append(
            [
                titles.get(row.cohort, row.cohort),
                targets.get(row.task, row.task),
                "" if row.encoder == "none" else row.encoder,
                method_name(row.method),
                what,
                metric_name(row.metric),
                _interval(row.clinical, row.clinical_low, row.clinical_high),
                _interval(row.with_score, row.with_score_low, row.with_score_high),
                _interval(row.difference, row.ci_low, row.ci_high),
                _p(row.p_holm),
                _interval(row.hazard_ratio, row.hr_low, row.hr_high),
                _p(row.lr_p),
                size,
                "; ".join(filter(None, [row.covariates, row.note])),
            ]
        )
    return out


def write_added(added: pd.DataFrame, folder: Path, name: str, titles: dict[str, str], targets: dict[str, str]) -> None:
    """Write ``{name}.csv`` (the numbers), ``.md`` and ``.html``; columns that say nothing are left out."""
    texts = texts_of(added, titles, targets)
    keep = [k for k in range(len(HEADER)) if any(row[k] not in ("", "–") for row in texts)]
    with atomic_path(folder / f"{name}.csv") as part:
        added.to_csv(part, index=False, float_format="%.6g")
    lines = ["**What it adds to clinical covariates**", "", "| " + " | ".join(HEADER[k] for k in keep) + " |"]
    lines.append("|" + "---|" * len(keep))
    lines += ["| " + " | ".join(row[k].replace("|", "\\|") for k in keep) + " |" for row in texts]
    write_text(folder / f"{name}.md", "\n".join([*lines, "", LEGEND, ""]))
    head = "".join(f"<th>{html.escape(HEADER[k])}</th>" for k in keep)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(row[k])}</td>" for k in keep) + "</tr>" for row in texts)
    write_text(folder / f"{name}.html", f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")
