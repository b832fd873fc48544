"""Kaplan-Meier curves by predicted risk, and the time-dependent AUC, on one cohort."""

from pathlib import Path

import pandas as pd

from mirror.figures.classification import label_of
from mirror.figures.names import HEADS, method_order
from mirror.figures.style import save_figure
from mirror.figures.survival import kaplan_meier, time_dependent_auc

FULL = ("linear", "supervised", "finetune")


def main(predictions: list[Path], metrics: Path, names: dict[str, str], folder: Path, out: dict[str, Path]) -> None:
    """One Kaplan-Meier figure a method (folder), one of the first variant (declared), and the AUC."""
    drawn = {}
    for file in predictions:
        rows = pd.read_parquet(file)
        rows = rows[rows["protocol"].isin(FULL)].fillna({"head": ""})
        for key, some in rows.groupby(["method", "modality", "head"], sort=False):
            drawn[key] = some
    order = sorted(drawn, key=lambda k: (method_order(k[0]), k[1:]))
    for method, modality, head in order:
        text = label_of(method, modality) + (f", {HEADS.get(head, head)}" if head else "")
        stem = "_".join(filter(None, ["km", method, modality, head]))
        save_figure(kaplan_meier(drawn[method, modality, head], text), folder / f"{stem}.png", folder / f"{stem}.svg")
    # The declared figure: the last method in the tables' order on all modalities, or whatever there is.
    fused = [k for k in order if k[1] == "fused"]
    chosen = (fused or order)[-1] if order else None
    rows = drawn[chosen] if chosen else pd.DataFrame(columns=["patient_id", "time_days", "event", "risk_group"])
    title = label_of(*chosen[:2]) if chosen else ""
    save_figure(kaplan_meier(rows, title), out["km_png"], out["km_svg"])
    table = pd.read_csv(metrics, sep="\t", dtype={"fold": str}).fillna({"head": ""})
    mine = (
        (table["cohort"] == names["cohort"])
        & (table["scheme"] == names["scheme"])
        & table["encoder"].isin([names["encoder"], "none"])
        & (table["task"] == "survival")
        & table["protocol"].isin(FULL)
    )
    both = table[mine]
    variants = set(both.loc[both["modality"] == "fused", "method"])
    both = both[~both["method"].isin(variants) | (both["modality"] == "fused")]
    save_figure(time_dependent_auc(both), out["auc_png"], out["auc_svg"])


if "snakemake" in globals():
    from mirror.io.progress import run_step

    run_step(
        lambda: main(
            [Path(p) for p in snakemake.input.predictions],  # noqa: F821
            Path(snakemake.input.metrics),  # noqa: F821
            snakemake.params.names,  # noqa: F821
            Path(snakemake.output.km_png).parent,  # noqa: F821
            {k: Path(v) for k, v in snakemake.output.items()},  # noqa: F821
        ),
        snakemake.log[0],  # noqa: F821
    )
