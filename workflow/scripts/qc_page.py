"""The page on which a person looks through a cohort's slides."""

from pathlib import Path

import pandas as pd

from mirror.report.qc_page import qc_cards, write_qc_page


def main(
    tables: list[Path], excluded: dict[str, str], thumbnails: Path, cohort: str, template: Path, out: Path
) -> None:
    """Write the page of one cohort from its tile tables."""
    text = {"slide_id": str, "message": str}
    slides = pd.concat([pd.read_csv(p, sep="\t", dtype=text) for p in tables], ignore_index=True)
    write_qc_page(qc_cards(slides, excluded, thumbnails, out), cohort, template, out)


if "snakemake" in globals():
    from mirror.core.step import run_step

    run_step(
        lambda: main(
            [Path(p) for p in snakemake.input.tables],
            snakemake.params.excluded,
            Path(snakemake.params.thumbnails),
            snakemake.wildcards.cohort,
            Path(snakemake.params.template),
            Path(snakemake.output.page),
        ),
        snakemake.log[0],
    )
