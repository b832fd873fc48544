"""Contact sheet of a cohort's slides."""

from pathlib import Path

import pandas as pd

from mirror.report.figures.cohort import contact_sheet
from mirror.report.figures.style import save_figure, use_style


def main(tables: list[Path], thumbnails: Path, png: Path) -> None:
    """Draw the sheet; the thumbnails are pixels, so there is no SVG."""
    use_style()
    text = {"slide_id": str, "message": str}
    slides = pd.concat([pd.read_csv(p, sep="\t", dtype=text) for p in tables], ignore_index=True)
    save_figure(contact_sheet(slides, thumbnails), png)


if "snakemake" in globals():
    from mirror.core.step import run_step

    run_step(
        lambda: main(
            [Path(p) for p in snakemake.input.tables],
            Path(snakemake.params.thumbnails),
            Path(snakemake.output.png),
        ),
        snakemake.log[0],
    )
