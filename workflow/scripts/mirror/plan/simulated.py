"""Names of the simulated patients and slides; standard library only, since the DAG is built from them."""

from __future__ import annotations

DEFAULT = "SIM"
SITES = ("A1", "B2", "C3", "D4", "E5", "F6")
SECOND_SLIDE_EVERY = 6  # about as often as TCGA patients have a second diagnostic slide


def patient_names(n: int, cohort: str = DEFAULT) -> list[str]:
    """``{cohort}-{site}-{number}``, in the manner of a barcode: the second part is the submitting site.

    Cohorts of one configuration so share no patient, and can be pooled.
    """
    first = "".join(c for c in cohort if c.isalnum()) or DEFAULT
    return [f"{first}-{SITES[i * 7 % len(SITES)]}-{i + 1:04d}" for i in range(n)]


def slide_names(n: int, cohort: str = DEFAULT) -> list[tuple[str, str]]:
    """(slide_id, patient_id) of every slide; every sixth patient has two."""
    out = []
    for i, patient in enumerate(patient_names(n, cohort)):
        for k in range(2 if i % SECOND_SLIDE_EVERY == SECOND_SLIDE_EVERY - 1 else 1):
            out.append((f"{patient}-DX{k + 1}", patient))
    return out
