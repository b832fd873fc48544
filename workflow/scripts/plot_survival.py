"""Kaplan-Meier curves by predicted risk, and the time-dependent AUC, on one cohort."""

from pathlib import Path

import pandas as pd

from mirror.report.display_names import HEADS, method_order
from mirror.report.figures.classification import label_of
from mirror.report.figures.style import save_figure, use_style
from mirror.report.figures.survival import kaplan_meier, time_dependent_auc

FULL = ("linear", "supervised", "finetune")


def collect(files: list[Path]) -> dict[tuple[str, str, str], pd.DataFrame]:
    """Rows by (method, modality, head), in the tables' order: variants by their fused embedding where they have one."""
    drawn = {}
    for file in files:
        rows = pd.read_parquet(file)
        rows = rows[rows["protocol"].isin(FULL)].fillna({"head": ""})
        for key, some in rows.groupby(["method", "modality", "head"], sort=True):
            drawn[key] = some
    variants = {m for m, modality, _ in drawn if modality == "fused"}
    kept = [k for k in drawn if k[0] not in variants or k[1] == "fused"]
    return {k: drawn[k] for k in sorted(kept, key=lambda k: (method_order(k[0]), k[1:]))}


def main(predictions: list[Path], metrics: Path, names: dict[str, str], folder: Path, out: dict[str, Path]) -> None:
    """The declared figure is MIRROR's (the last method but the ceiling); every other method's lies beside it."""
    use_style()
    drawn = collect(predictions)
    methods = [k for k in drawn if k[1] != "truth"]
    fused = [k for k in methods if k[1] == "fused"]
    chosen = (fused or methods)[-1] if methods else None
    for key in drawn:
        method, modality, head = key
        text = label_of(method, modality) + (f", {HEADS[head]}" if HEADS.get(head) else "")
        figure = kaplan_meier(drawn[key], text)
        if key == chosen:
            save_figure(figure, out["km_png"], out["km_svg"])
        else:
            save_figure(figure, folder / f"{'_'.join(filter(None, ['km', method, modality, head]))}.png")
    if chosen is None:
        nobody = pd.DataFrame(columns=["patient_id", "time_days", "event", "risk_group"])
        save_figure(kaplan_meier(nobody, ""), out["km_png"], out["km_svg"])
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
    from mirror.core.step import run_step

    run_step(
        lambda: main(
            [Path(p) for p in snakemake.input.predictions],
            Path(snakemake.input.metrics),
            snakemake.params.names,
            Path(snakemake.output.km_png).parent,
            {k: Path(v) for k, v in snakemake.output.items()},
        ),
        snakemake.log[0],
    )
