"""Rule plot_transfer: Kaplan-Meier curves of one cohort by the risk that another cohort's models gave."""

from pathlib import Path

import pandas as pd

from mirror.metrics.survival import logrank_p
from mirror.report.display_names import HEADS, method_order
from mirror.report.figures.classification import label_of
from mirror.report.figures.style import save_figure, use_style
from mirror.report.figures.survival import kaplan_meier

NOBODY = pd.DataFrame(columns=["patient_id", "time_days", "event", "risk_group"])


def choose(files: list[Path]) -> tuple[pd.DataFrame, str]:
    """Rows of the last variant in the tables' order, of both modalities where it has them; and what to call it."""
    found = {}
    for file in files:
        for key, rows in pd.read_parquet(file).groupby(["method", "modality", "head"], sort=True):
            found[key] = rows
    if not found:
        return NOBODY, ""
    order = sorted(found, key=lambda k: (k[1] == "fused", method_order(k[0]), k[2] == "cox"))
    method, modality, head = order[-1]
    return found[order[-1]], f"{label_of(method, modality)}, {HEADS.get(head, head)}"


def main(predictions: list[Path], title: str, png: Path, svg: Path) -> None:
    """Draw it."""
    use_style()
    rows, what = choose(predictions)
    people = rows.groupby("patient_id").agg(
        time=("time_days", "first"), event=("event", "first"), group=("risk_group", lambda g: g.mode().iloc[0])
    )
    # The models never saw these patients: for them the groups are fixed, and the nominal p holds.
    p = logrank_p(people["time"].to_numpy(float), people["event"].to_numpy(), people["group"].to_numpy())
    note = "log-rank p: not defined" if p is None else f"log-rank p = {p:.2g}"
    save_figure(kaplan_meier(rows, f"{title}\n{what}", note), png, svg)


if "snakemake" in globals():
    from mirror.core.step import run_step

    step = snakemake
    run_step(
        lambda: main(
            predictions=[Path(path) for path in step.input.predictions],
            title=step.params.title,
            png=Path(step.output.png),
            svg=Path(step.output.svg),
        ),
        step.log[0],
    )
