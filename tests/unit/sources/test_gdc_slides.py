"""A slide table from a GDC sample sheet."""

from __future__ import annotations

import pandas as pd
import pytest

from mirror.core.errors import InputError
from mirror.sources.gdc_slides import slide_table

ROWS = [
    ("u1", "TCGA-33-6737-01Z-00-DX1.8ab1.svs", "TCGA-33-6737", "TCGA-33-6737-01Z"),
    ("u2", "TCGA-33-6737-01A-01-TS1.77aa.svs", "TCGA-33-6737", "TCGA-33-6737-01A"),
    ("u3", "TCGA-18-3410-11A-01-TS1.77ab.svs", "TCGA-18-3410", "TCGA-18-3410-11A"),
    ("u4", "TCGA-18-3410-01Z-00-DX1.77ac.svs", "TCGA-18-3410, TCGA-18-3410", "TCGA-18-3410-01Z"),
    ("u5", "bc5be208.htseq.counts.gz", "TCGA-18-3410", "TCGA-18-3410-01A"),
]


def sheet(path, rows=ROWS):
    pd.DataFrame(rows, columns=["File ID", "File Name", "Case ID", "Sample ID"]).to_csv(path, sep="\t", index=False)
    return path


def test_diagnostic_slides_with_the_files_where_gdc_client_leaves_them(tmp_path):
    (tmp_path / "TCGA-18-3410-01Z-00-DX1.77ac.svs").touch()
    table = slide_table(sheet(tmp_path / "s.tsv"), tmp_path)
    assert list(table["patient_id"]) == ["TCGA-18-3410", "TCGA-33-6737"]
    assert table.loc[0, "slide_path"] == str(tmp_path / "TCGA-18-3410-01Z-00-DX1.77ac.svs")
    assert table.loc[1, "slide_path"] == str(tmp_path / "u1" / "TCGA-33-6737-01Z-00-DX1.8ab1.svs")
    assert len(slide_table(tmp_path / "s.tsv", tmp_path, diagnostic_only=False)) == 4


def test_a_sheet_without_slides_says_so(tmp_path, test_data):
    with pytest.raises(InputError, match="no slide is listed"):
        slide_table(test_data / "clinical/gdc_lusc/gdc_sample_sheet.2020-02-13.tsv", tmp_path)


def test_a_manifest_is_not_a_sheet(tmp_path):
    (tmp_path / "m.txt").write_text("id\tfilename\tmd5\n")
    with pytest.raises(InputError, match="not the manifest"):
        slide_table(tmp_path / "m.txt", tmp_path)
