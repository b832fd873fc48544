"""A section and what was found on it, as a figure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from PIL import Image

from mirror.core.atomic import atomic_path

from .sections import Section


def draw(row: dict[str, Any], section: Section, out: Path) -> None:
    """The section, its published clusters, the prototypes of both sides, and the gene that is predicted best."""
    what = row["drawn"]
    table = what["table"]
    image = Image.open(section.image)
    shrink = max(image.size) // 1200
    thumb = np.asarray(image.reduce(shrink))
    span = [(table[a].min() - 400, table[a].max() + 400) for a in ("x", "y")]
    labels = pd.Categorical(table["cluster"])
    figure, axes = plt.subplots(2, 3, figsize=(15, 10), constrained_layout=True)
    scores = f"NMI {row['nmi_clusters']:.2f}, permuted {row['nmi_chance']:.2f}, moved {row['nmi_moved']:.2f}"
    panels = [
        ("H&E", None, None),
        ("Published expression clusters", np.where(table["cluster"] == "", np.nan, labels.codes), ("tab10", 0, 9)),
        (f"Prototypes by slide ({scores})", what["slide"], ("tab20", 0, 19)),
        ("Prototypes by RNA", what["rna"], ("tab20", 0, 19)),
        (f"{what['gene']}, measured (log CPM, standardised)", what["measured"], ("viridis", None, None)),
        (f"{what['gene']}, predicted from the slide (r = {what['r']:.2f})", what["predicted"], ("viridis", None, None)),
    ]
    for axis, (title, values, colours) in zip(axes.flat, panels, strict=True):
        axis.imshow(thumb, extent=(0, image.size[0], image.size[1], 0), alpha=1.0 if values is None else 0.35)
        if values is not None and colours is not None:
            shown = np.isfinite(np.asarray(values, float))
            axis.scatter(table["x"][shown], table["y"][shown], c=np.asarray(values)[shown], s=70, cmap=colours[0],
                         vmin=colours[1], vmax=colours[2], edgecolors="black", linewidths=0.3)  # fmt: skip
        axis.set(title=title, xlim=span[0], ylim=span[1][::-1], xticks=[], yticks=[])
    figure.suptitle(f"{row['section']} held out, trained on {row['trained on']}")
    with atomic_path(out / f"{row['fold']}_{row['section']}.png") as part:
        figure.savefig(part, dpi=80, format="png")
    plt.close(figure)
