"""A slide table from a GDC sample sheet, as the GDC portal's cart gives it.

Run as ``python -m mirror.sources.gdc_slides SHEET SLIDES_DIR OUT`` (with ``workflow/scripts`` on the path).
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import pandas as pd

from ..core.atomic import write_tsv
from ..core.barcodes import parse
from ..core.errors import InputError
from ..core.regular_file import refuse_irregular

NEEDED = ("File ID", "File Name", "Case ID", "Sample ID")
log = logging.getLogger("mirror")


def slide_table(sheet: str | Path, slides: str | Path, diagnostic_only: bool = True) -> pd.DataFrame:
    """Turn a GDC sample sheet into ``slide_id, patient_id, slide_path``.

    Parameters
    ----------
    sheet : path-like
        ``gdc_sample_sheet.*.tsv``.
    slides : path-like
        Where the slides are: ``{File ID}/{File Name}`` as gdc-client leaves them, or flat.
    diagnostic_only : bool
        Keep DX (formalin-fixed, diagnostic) slides of primary tumours; drop frozen TS and BS slides.

    Returns
    -------
    DataFrame
        Sorted by slide. Files that are not there yet are listed all the same: the workflow names them.

    Raises
    ------
    InputError
        Not a sample sheet, or no slide in it.
    """
    refuse_irregular(sheet, "sample sheet")
    table = pd.read_csv(sheet, sep="\t", dtype=str)
    missing = [c for c in NEEDED if c not in table]
    if missing:
        raise InputError(
            f"column `{missing[0]}` is missing",
            file=sheet,
            remedy="download the Sample Sheet of the cart, not the manifest",
        )
    table = table[table["File Name"].str.lower().str.endswith((".svs", ".tif", ".tiff", ".ndpi"))]
    if diagnostic_only:
        codes = [parse(name) for name in table["File Name"]]
        keep = [code is not None and code.is_diagnostic_slide and not code.is_normal for code in codes]
        log.info("%d of %d slides are diagnostic slides of tumours", sum(keep), len(table))
        table = table[keep]
    if table.empty:
        raise InputError("no slide is listed", file=sheet, remedy="put Slide Images into the cart")
    folder = Path(slides)
    paths = []
    for file_id, name in zip(table["File ID"], table["File Name"], strict=True):
        flat = folder / name
        paths.append(str(flat if flat.exists() else folder / file_id / name))
    out = pd.DataFrame(
        {
            "slide_id": [Path(name).stem for name in table["File Name"]],
            "patient_id": [case.split(",")[0].strip() for case in table["Case ID"]],
            "slide_path": paths,
        }
    )
    return out.drop_duplicates("slide_id").sort_values("slide_id", ignore_index=True)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sheet", type=Path)
    parser.add_argument("slides", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--frozen", action="store_true", help="keep frozen slides and normals as well")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    table = slide_table(given.sheet, given.slides, not given.frozen)
    write_tsv(given.out, table)
    absent = sum(not Path(p).exists() for p in table["slide_path"])
    log.info("%d slides of %d patients; %d files not there yet", len(table), table["patient_id"].nunique(), absent)


if __name__ == "__main__":
    main()
