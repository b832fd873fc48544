"""Training curves: every loss term, temperature, spread of the embeddings, retrieval on validation patients."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from .style import colour, empty_figure, grid_of

SKIP = {"epoch", "step", "split", "lr", "seconds", "pairs_per_s", "n"}
TITLES = {
    "total": "Total loss",
    "alignment": "Alignment (InfoNCE)",
    "slide_retention": "Slide retention",
    "rna_retention": "RNA retention",
    "style": "Style (KL to the prior)",
    "cluster": "Cluster (KL between modalities)",
    "orthogonality": "Orthogonality",
    "logit_scale": "Logit scale",
    "var_wsi": "Variance of slide embeddings",
    "var_rna": "Variance of RNA embeddings",
    "spread_wsi": "Spread of slide embeddings",
    "spread_rna": "Spread of RNA embeddings",
    "recall_at_1_slide_to_rna": "Recall@1, slide to RNA",
    "recall_at_1_rna_to_slide": "Recall@1, RNA to slide",
    "median_rank_slide_to_rna": "Median rank, slide to RNA",
    "median_rank_rna_to_slide": "Median rank, RNA to slide",
    "grad_norm": "Gradient norm",
}


def training_curves(logs: dict[str, pd.DataFrame]) -> Figure:
    """Every logged quantity by epoch: mean over folds (line) and each fold (thin).

    Parameters
    ----------
    logs : dict
        Fold to its log; column ``split`` says whether a row is of training or validation patients.
    """
    if not logs:
        return empty_figure("no training logs")
    table = pd.concat([log.assign(fold_id=fold) for fold, log in logs.items()], ignore_index=True)
    if "split" in table:
        table["split"] = table["split"].replace({"watched": "validation"})  # the word of version 0.1.0
    numeric = [c for c in table.columns if c not in SKIP | {"fold_id"} and pd.api.types.is_numeric_dtype(table[c])]
    numeric = [c for c in numeric if table[c].notna().any() and table[c].nunique() > 1]
    if not numeric:
        return empty_figure("nothing changed in training")
    figure, axes = grid_of(len(numeric), width=2.7, height=2.0, columns=4)
    splits = list(dict.fromkeys(table["split"])) if "split" in table else ["train"]
    for panel, name in zip(axes, numeric, strict=True):
        for number, split in enumerate(splits):
            rows = table[table["split"] == split] if "split" in table else table
            rows = rows.dropna(subset=[name])
            if rows.empty:
                continue
            for _, fold in rows.groupby("fold_id"):
                panel.plot(fold["epoch"], fold[name], color=colour(number), lw=0.5, alpha=0.4)
            mean = rows.groupby("epoch")[name].mean()
            panel.plot(mean.index, mean, color=colour(number), lw=1.6, label=split)
        panel.set_title(TITLES.get(name, name.replace("_", " ")), fontsize=8)
        panel.set_xlabel("Epoch")
    handles = {h.get_label(): h for panel in axes for h in panel.get_legend_handles_labels()[0]}
    figure.legend(handles.values(), handles.keys(), loc="outside upper right", ncols=len(handles))  # type: ignore[call-overload]
    return figure
