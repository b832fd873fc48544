"""TCGA barcodes in every spelling, by example and by fuzzing."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.core.barcodes import parse, patient_id, site_of

CHARS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


@pytest.mark.parametrize(
    ("text", "patient", "sample"),
    [
        ("TCGA-3C-AALI", "TCGA-3C-AALI", "TCGA-3C-AALI"),
        ("TCGA-3C-AALI-01", "TCGA-3C-AALI", "TCGA-3C-AALI-01"),
        ("tcga-3c-aali-01a", "TCGA-3C-AALI", "TCGA-3C-AALI-01A"),
        ("TCGA.3C.AALI.11A.11R.A41B.07", "TCGA-3C-AALI", "TCGA-3C-AALI-11A"),
        ("TCGA_3C_AALI_06", "TCGA-3C-AALI", "TCGA-3C-AALI-06"),
        ('"TCGA-3C-AALI-01A-11R-A41B-07"', "TCGA-3C-AALI", "TCGA-3C-AALI-01A"),
        ("TCGA-3C-AALI-01Z-00-DX1.F6E9A5DF-D8FB-45CF-B4BD-C6B76294C291.svs", "TCGA-3C-AALI", "TCGA-3C-AALI-01Z"),
        ("/data/slides/TCGA-3C-AALI-01A-01-TS1.svs", "TCGA-3C-AALI", "TCGA-3C-AALI-01A"),
        ("C:\\data\\TCGA-3C-AALI-01A.svs", "TCGA-3C-AALI", "TCGA-3C-AALI-01A"),
    ],
)
def test_barcode_spellings(text, patient, sample):
    """Case, separators, quotes, folders, UUIDs and suffixes do not matter."""
    barcode = parse(text)
    assert (barcode.patient, barcode.sample) == (patient, sample)
    assert patient_id(text) == patient
    assert site_of(text) == "3C"


def test_barcode_parts():
    """Each part of an aliquot and of a slide is found."""
    aliquot = parse("TCGA-02-0001-01C-01D-0182-01")
    assert (aliquot.sample_type, aliquot.vial, aliquot.portion, aliquot.analyte) == ("01", "C", "01", "D")
    assert (aliquot.plate, aliquot.center, aliquot.aliquot) == ("0182", "01", "TCGA-02-0001-01C-01D-0182-01")
    assert not aliquot.is_normal
    assert parse("TCGA-02-0001-11A").is_normal
    assert parse("TCGA-02-0001-01Z-00-DX1").is_diagnostic_slide
    assert not parse("TCGA-02-0001-01A-01-BS1").is_diagnostic_slide


@pytest.mark.parametrize(
    "text", ["", "TCGA", "TCGA-3C", "TCGA-3C-AAL", "TCGA-3C-AALIX", "XTCGA-3C-AALI", "C3L-00001", "GTEX-1117F"]
)
def test_other_identifiers_are_left_alone(text):
    """What is no TCGA barcode is no barcode, and is its own patient."""
    assert parse(text) is None
    assert patient_id(f" {text} ") == text
    assert site_of(text) is None


@given(st.text(max_size=60) | st.from_regex(r"(?i)TCGA[-._]\w{2}[-._]\w{4}([-._]\d\d\w?([-._]\d\d\w?)?)?.*"))
def test_any_text_is_survived(text):
    """No text makes the parser fail; a barcode found has the promised form and is read back unchanged."""
    barcode = parse(text)
    if barcode is not None:
        assert re.fullmatch(r"TCGA-[A-Z0-9]{2}-[A-Z0-9]{4}", barcode.patient)
        assert parse(barcode.aliquot) == barcode
    assert patient_id(patient_id(text)) == patient_id(text)


@given(
    site=st.text(CHARS, min_size=2, max_size=2),
    person=st.text(CHARS, min_size=4, max_size=4),
    code=st.sampled_from(["01", "02", "03", "06", "11", "20"]),
    vial=st.sampled_from(["", "A", "B", "Z"]),
    separator=st.sampled_from("-._"),
    lower=st.booleans(),
)
def test_written_barcodes_are_read_back(site, person, code, vial, separator, lower):
    """Whatever the separator and case, the parts come back."""
    text = separator.join(["TCGA", site, person, code + vial])
    barcode = parse(text.lower() if lower else text)
    assert (barcode.site, barcode.participant, barcode.sample_type, barcode.vial) == (site, person, code, vial)
