"""One key a patient, whatever form the identifier was written in."""

from __future__ import annotations

import re
from collections.abc import Iterable

_TCGA = re.compile(r"^TCGA-([A-Z0-9]{2})-[A-Z0-9]{4}(?:-|$)")
_SEPARATORS = re.compile(r"[._\s]+")


def patient_key(identifier: object) -> str:
    """Reduce an identifier to the form in which two spellings of one patient are equal.

    Upper case, dots, underscores and blanks as hyphens; a TCGA sample, aliquot or slide
    barcode is cut to its 12-character patient barcode.

    Parameters
    ----------
    identifier : object
        For example ``tcga.a3.3307``, ``TCGA-A3-3307-01Z-00-DX1`` or ``Patient 7``.

    Returns
    -------
    str
        For example ``TCGA-A3-3307`` and ``PATIENT-7``. Meant for comparing, not for naming.
    """
    key = _SEPARATORS.sub("-", str(identifier).strip().upper())
    return key[:12] if _TCGA.match(key) else key


def tissue_source_site(identifier: object) -> str | None:
    """The two-character tissue source site of a TCGA barcode, or None for other identifiers."""
    match = _TCGA.match(patient_key(identifier))
    return match.group(1) if match else None


def keyed(identifiers: Iterable[object]) -> dict[str, list[str]]:
    """Group identifiers by `patient_key`: key -> the spellings found, in order, without repeats."""
    groups: dict[str, list[str]] = {}
    for identifier in identifiers:
        spellings = groups.setdefault(patient_key(identifier), [])
        if str(identifier) not in spellings:
            spellings.append(str(identifier))
    return groups
