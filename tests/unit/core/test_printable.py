"""What may reach a log: no control characters, no passwords of web addresses, no formulas in names."""

from __future__ import annotations

import logging

import pytest

from mirror.core.barcodes import patient_id
from mirror.core.errors import InputError
from mirror.core.names import safe_name
from mirror.core.printable import mask_secrets, printable
from mirror.core.step import configure_logging


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("GET https://me:s3cret@hub.example/x.bin failed", "GET https://***@hub.example/x.bin failed"),
        ("https://hub.example/x?token=abc&rev=main", "https://hub.example/x?token=***&rev=main"),
        ("https://h.example/x?X-Amz-Signature=ab%2F12'", "https://h.example/x?X-Amz-Signature=***'"),
        ("https://hub.example:8443/x and mail@hub.example", "https://hub.example:8443/x and mail@hub.example"),
        ("a\x1b[2Jb\u202ec", "a\\x1b[2Jb\\x202ec"),
        ("plain text\tand\nlines", "plain text\tand\nlines"),
    ],
)
def test_printable(text, shown):
    assert printable(text) == shown
    assert printable(shown) == shown


@pytest.mark.fault(
    stage="security",
    fault="a password in an address (HF_ENDPOINT) whose requests are retried",
    sees="the address with *** in its place, in retry lines, errors and tracebacks",
    survives="the log can be shown",
)
def test_passwords_reach_no_log(tmp_path):
    log = configure_logging(tmp_path / "step.log")
    url = "https://me:s3cret@hub.example/model.bin"
    log.warning("thrown while requesting HEAD %s", url)
    try:
        raise ValueError(f"no answer from {url}")
    except ValueError:
        log.exception("failed\x1b[2J")
    log.error("%s", InputError("no answer", file=url))
    logging.getLogger().handlers[1].flush()
    text = (tmp_path / "step.log").read_text()
    assert "s3cret" not in text and text.count("https://***@hub.example/model.bin") == 3 and "\x1b" not in text
    assert "s3cret" not in str(InputError(f"{url}: refused"))
    assert mask_secrets("x" * 100_000 + "://") == "x" * 100_000 + "://"


@pytest.mark.fault(
    stage="security",
    fault="patients, slides and gene sets whose names are formulas",
    sees="an apostrophe before a patient and a gene set, the same in every table; a slide is refused",
    survives="the join",
)
def test_names_that_are_formulas(tmp_path):
    from mirror.readers.gene_lists import read_gmt

    assert patient_id("=cmd|'/C calc'!A0") == "'=cmd|'/C calc'!A0"
    assert patient_id(patient_id("@SUM(A1)")) == patient_id("@SUM(A1)") == "'@SUM(A1)"
    assert patient_id("-12") == "-12" and patient_id("TCGA-AA-0001-01A") == "TCGA-AA-0001"
    for name in ("=1+1", "+1", "@x"):
        with pytest.raises(InputError, match="spreadsheet"):
            safe_name(name)
    (tmp_path / "s.gmt").write_text("=1+1\tx\tTP53\tBRCA1\n")
    assert list(read_gmt(tmp_path / "s.gmt")) == ["'=1+1"]
