"""One key a patient, whatever form the identifier was written in."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .barcodes import parse
from .names import without_unseen

_SEPARATORS = re.compile(r"[._\s]+")


def patient_key(identifier: object) -> str:
    """Reduce an identifier to the form in which two spellings of one patient are equal.

    A TCGA sample, aliquot or slide barcode in any writing is cut to its 12-character patient
    barcode; any other identifier gets upper case, and hyphens for dots, underscores and blanks.

    Parameters
    ----------
    identifier : object
        For example ``tcga.a3.3307``, ``TCGA-A3-3307-01Z-00-DX1`` or ``Patient 7``.

    Returns
    -------
    str
        For example ``TCGA-A3-3307`` and ``PATIENT-7``. Meant for comparing, not for naming.
    """
    text = without_unseen(str(identifier)).strip()
    barcode = parse(text)
    return barcode.patient if barcode else _SEPARATORS.sub("-", text.upper())


def keyed(identifiers: Iterable[object]) -> dict[str, list[str]]:
    """Group identifiers by `patient_key`: key -> the spellings found, in order, without repeats."""
    groups: dict[str, list[str]] = {}
    for identifier in identifiers:
        spellings = groups.setdefault(patient_key(identifier), [])
        if str(identifier) not in spellings:
            spellings.append(str(identifier))
    return groups
