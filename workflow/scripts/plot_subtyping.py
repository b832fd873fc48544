"""ROC, precision-recall, confusion and calibration of every method on one cohort."""

from pathlib import Path

import pandas as pd

from mirror.report.display_names import method_order
from mirror.report.figures.classification import calibration, confusion, curves
from mirror.report.figures.style import save_figure, use_style

FULL = ("linear", "supervised", "finetune")


def collect(files: list[Path]) -> dict[tuple[str, str], pd.DataFrame]:
    """Rows by (method, modality): baselines as they are, variants by their fused embedding."""
    found = {}
    for file in files:
        rows = pd.read_parquet(file)
        rows = rows[rows["protocol"].isin(FULL)]
        for key, some in rows.groupby(["method", "modality"], sort=False):
            found[key] = some
    variants = {m for m, modality in found if modality == "fused"}
    kept = {k: v for k, v in found.items() if k[0] not in variants or k[1] == "fused"}
    return dict(sorted(kept.items(), key=lambda item: method_order(item[0][0])))


def main(predictions: list[Path], seed: int, out: dict[str, Path]) -> None:
    """Draw the four figures."""
    use_style()
    found = collect(predictions)
    save_figure(curves(found, "roc", seed), out["roc_png"], out["roc_svg"])
    save_figure(curves(found, "pr", seed), out["pr_png"], out["pr_svg"])
    save_figure(confusion(found), out["confusion_png"], out["confusion_svg"])
    save_figure(calibration(found), out["calibration_png"], out["calibration_svg"])


if "snakemake" in globals():
    from mirror.core.step import run_step

    run_step(
        lambda: main(
            [Path(p) for p in snakemake.input.predictions],
            snakemake.params.seed,
            {k: Path(v) for k, v in snakemake.output.items()},
        ),
        snakemake.log[0],
    )
