"""Contact sheet of a cohort's slides."""

from pathlib import Path

import pandas as pd

from mirror.report.figures.cohort import contact_sheet
from mirror.report.figures.style import save_figure, use_style
from mirror.report.identifiers import Identifiers


def main(tables: list[Path], thumbnails: Path, png: Path, identifiers: Identifiers) -> None:
    """Draw the sheet; the thumbnails are pixels, so there is no SVG."""
    use_style()
    text = {"slide_id": str, "message": str}
    slides = pd.concat([pd.read_csv(p, sep="\t", dtype=text) for p in tables], ignore_index=True)
    slides["shown"] = slides["slide_id"].map(identifiers.slide)
    save_figure(contact_sheet(slides, thumbnails), png)


if "snakemake" in globals():
    from mirror.core.step import run_step

    run_step(
        lambda: main(
            [Path(p) for p in snakemake.input.tables],
            Path(snakemake.params.thumbnails),
            Path(snakemake.output.png),
            Identifiers.read(snakemake.params.identifiers, snakemake.input.key),
        ),
        snakemake.log[0],
    )
