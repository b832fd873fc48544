"""Which samples of a file belong to the cohort, and one row per patient."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ...config.sources import ExpressionSource
from ...core.barcodes import SAMPLE_TYPES, parse, patient_id
from ...core.errors import InputError
from ..tables import missing_column, read_table

_SHEET_COLUMNS = {
    "sample": ("sample id", "sample_id", "sample", "sample_submitter_id"),
    "patient": ("case id", "patient_id", "patient id", "case_id", "patient", "case_submitter_id"),
    "type": ("sample type", "sample_type", "tissue type", "type"),
}
_ENDS = re.compile(r"[-._:]")
_NAMELESS = {"", "nan", "none", "na", "n/a", "<na>", "null"}


class SampleSelector:
    """Decides, from identifiers alone, which samples are read; counts what it leaves out.

    Parameters
    ----------
    source : ExpressionSource
        ``sample_types`` (order of preference) and ``sample_sheet`` are used.
    patients : iterable of str or None
        The cohort's patients; None takes everyone.
    """

    def __init__(self, source: ExpressionSource, patients: Iterable[str] | None) -> None:
        self.types = list(source.sample_types)
        self.patients = None if patients is None else {patient_id(str(p)) for p in patients}
        self.sheet = read_sheet(source.sample_sheet) if source.sample_sheet else {}
        self.normals_skipped: Counter[str] = Counter()
        self.types_skipped: Counter[str] = Counter()
        self.other_patients = 0
        self.lesser_samples: list[str] = []
        self.seen_examples: list[str] = []
        self.n_seen = 0
        self.nameless = 0
        self.by_prefix = 0

    def knows(self, name: str) -> bool:
        """Whether ``name`` is in the sample sheet, or is or begins with one of the cohort's patients."""
        if name in self.sheet:
            return True
        return self.patients is not None and (patient_id(name) in self.patients or self._owner(name) is not None)

    def _owner(self, sample: str) -> tuple[str, str] | None:
        """The cohort's patient whose identifier begins ``sample`` (``TARGET-30-PAAPFA-01A``, ``C3L-00001-02``).

        The longest that ends at a dash, dot, underscore or colon; the sample type is known for TARGET alone.
        """
        for end in reversed([match.start() for match in _ENDS.finditer(sample)]):
            patient = sample[:end]
            if end >= 3 and self.patients is not None and patient in self.patients:
                code = sample[end + 1 : end + 3] if patient.upper().startswith("TARGET-") else ""
                return patient, code if code in SAMPLE_TYPES else ""
        return None

    def describe(self, sample: str) -> tuple[str, str]:
        """Return (patient, two-digit sample type or ``""``) of an identifier as a file writes it."""
        if sample in self.sheet:
            return self.sheet[sample]
        barcode = parse(sample)
        if barcode is not None:
            return barcode.patient, barcode.sample_type
        name = patient_id(sample)
        if name.lower() in _NAMELESS:
            return "", ""
        if self.patients is not None and name not in self.patients:
            return self._owner(name) or (name, "")
        return name, ""

    def __call__(self, samples: Sequence[str]) -> np.ndarray:
        """Return the positions of the samples to read, ascending (int64).

        Of a patient's samples only those of the most preferred type that the patient has are kept.
        """
        described = [self.describe(str(sample)) for sample in samples]
        tcga = any(parse(str(sample)) for sample in samples[:2000])
        self.n_seen = len(samples)
        self.seen_examples = [str(s) for s in samples[:3]]
        rank = {code: position for position, code in enumerate(self.types)}
        best: dict[str, int] = {}
        candidates: list[tuple[int, str, int]] = []
        for position, (sample, (patient, code)) in enumerate(zip(samples, described, strict=True)):
            if tcga and not code and str(sample).upper().startswith(("GTEX-", "GTEX.", "K-562", "K.562")):
                self.normals_skipped["GTEx"] += 1  # the toil matrices hold both; GTEx donors are healthy
                continue
            if code and code not in rank:
                name = SAMPLE_TYPES.get(code, "unknown type")
                counter = self.normals_skipped if code in {"10", "11", "12", "13", "14"} else self.types_skipped
                counter[f"{code} {name}"] += 1
                continue
            if not patient:
                self.nameless += 1
                continue
            if self.patients is not None and patient not in self.patients:
                self.other_patients += 1
                continue
            self.by_prefix += bool(not parse(str(sample)) and sample not in self.sheet and patient != str(sample))
            order = rank.get(code, -1)  # no type at all: the identifier is the patient's own
            candidates.append((position, patient, order))
            best[patient] = min(order, best.get(patient, order))
        kept = []
        for position, patient, order in candidates:
            if order == best[patient]:
                kept.append(position)
            else:
                self.lesser_samples.append(str(samples[position]))
        return np.asarray(kept, dtype=np.int64)

    def require(self, n_read: int, file: str) -> None:
        """Raise `InputError` when nothing was selected; shows how both sides write identifiers."""
        if n_read:
            return
        wanted = ", ".join(sorted(self.patients)[:3]) if self.patients else "any"
        skipped = sum(self.normals_skipped.values()) + sum(self.types_skipped.values())
        raise InputError(
            f"none of its {self.n_seen} samples (such as {', '.join(self.seen_examples)}) belongs to the cohort "
            f"(patients such as {wanted}; {skipped} are of sample types left out)",
            file=file,
            remedy="check the identifiers, `sample_types`, or name a `sample_sheet`",
        )

    def report(self) -> dict[str, Any]:
        """Return the counts for the provenance."""
        return {
            "samples_in_file": self.n_seen,
            "normals_excluded": dict(self.normals_skipped),
            "other_types_excluded": dict(self.types_skipped),
            "samples_of_other_patients": self.other_patients,
            "samples_without_identifier": self.nameless,
            "samples_named_after_a_patient": self.by_prefix,
            "samples_of_less_preferred_type": len(self.lesser_samples),
            "less_preferred_examples": self.lesser_samples[:10],
        }


def read_sheet(path: str) -> dict[str, tuple[str, str]]:
    """Read a GDC sample sheet, or a table of ``sample_id, patient_id[, sample_type]``.

    Returns
    -------
    dict
        From sample identifier, file name and file id (whatever the sheet has) to (patient, type code).

    Raises
    ------
    InputError
        When a needed column is missing.
    """
    table = read_table(path)
    lower = {str(name).lower(): name for name in reversed(table.columns)}  # of columns that differ by case, the first
    columns = {}
    for role, names in _SHEET_COLUMNS.items():
        found = next((lower[name] for name in names if name in lower), None)
        if found is None and role != "type":
            raise missing_column(names[0], table.columns, path)
        columns[role] = found
    codes = {name.lower(): code for code, name in SAMPLE_TYPES.items()}
    # The GDC renamed its types over the years, and cBioPortal has its own.
    codes |= {"primary tumor": "01", "recurrent tumor": "02", "normal": "11", "tumor": "01", "primary": "01",
              "metastasis": "06", "recurrence": "02", "local recurrence": "02"}  # fmt: skip
    keys = [lower[name] for name in ("file name", "file id", "file_name", "file_id") if name in lower]
    sheet: dict[str, tuple[str, str]] = {}
    for row in table.to_dict("records"):
        sample = str(row[columns["sample"]]).split(",")[0].strip()  # a pooled file lists the same case twice
        patient = patient_id(str(row[columns["patient"]]).split(",")[0])
        barcode = parse(sample)
        stated = str(row[columns["type"]]).split(",")[0].strip().lower() if columns["type"] else ""
        code = barcode.sample_type if barcode and barcode.sample_type else codes.get(stated, "")
        for key in [sample, *(str(row[name]) for name in keys)]:
            sheet.setdefault(key, (patient, code))
    return sheet


def one_row_a_patient(
    values: np.ndarray, samples: list[str], patients: list[str], policy: str, file: str
) -> tuple[np.ndarray, pd.DataFrame, dict[str, Any]]:
    """Apply the ``duplicates`` policy.

    Rows of a patient that are equal (PORPOISE repeats a patient for every slide) are one row without any
    policy; rows that differ are decided by it.

    Parameters
    ----------
    values : numpy.ndarray
        float32 (samples, genes).
    samples, patients : list of str
        Identifier and patient of each row.
    policy : {"first", "mean", "highest_total", "error"}
        ``first`` is the first in the file; ``mean`` averages, leaving missing cells out; ``highest_total``
        takes the sample with the largest sum of values (the deepest library for counts).
    file : str
        Named in the error.

    Returns
    -------
    values : numpy.ndarray
        float32 (patients, genes).
    obs : pandas.DataFrame
        Index patient_id; sample_id, n_samples (rows the patient had), n_different (distinct ones).
    report : dict
    """
    groups: dict[str, list[int]] = {}
    for row, patient in enumerate(patients):
        groups.setdefault(patient, []).append(row)
    keep: list[int] = []
    obs: list[tuple[str, str, int, int]] = []
    differing: list[str] = []
    repeated = 0
    averaged: dict[int, np.ndarray] = {}
    for patient, rows in groups.items():
        distinct = [rows[0]]
        for row in rows[1:]:
            if not any(np.array_equal(values[row], values[other], equal_nan=True) for other in distinct):
                distinct.append(row)
        repeated += len(rows) - len(distinct)
        chosen, name = distinct[0], samples[distinct[0]]
        if len(distinct) > 1:
            differing.append(patient)
            if policy == "highest_total":
                chosen = max(distinct, key=lambda row: float(np.nansum(values[row], dtype=np.float64)))
                name = samples[chosen]
            elif policy == "mean":
                averaged[len(keep)] = _mean(values[distinct])
                name = ";".join(dict.fromkeys(samples[row] for row in distinct))
        keep.append(chosen)
        obs.append((patient, name, len(rows), len(distinct)))
    if differing and policy == "error":
        raise InputError(
            f"{len(differing)} patients have several samples with different values ({', '.join(differing[:5])})",
            file=file,
            remedy="set `duplicates` to first, mean or highest_total, or remove the samples that do not count",
        )
    if keep != list(range(len(values))):
        values = values[keep]
    for row, mean in averaged.items():
        values[row] = mean
    frame = pd.DataFrame(obs, columns=["patient_id", "sample_id", "n_samples", "n_different"]).set_index("patient_id")
    report = {
        "policy": policy,
        "equal_rows_merged": repeated,
        "patients_with_different_samples": len(differing),
        "patients_with_different_samples_examples": differing[:20],
        "samples_left_out_or_averaged": int(frame["n_different"].sum() - len(frame)),
    }
    return values, frame, report


def _mean(rows: np.ndarray) -> np.ndarray:
    """Mean over rows, leaving NaN out; NaN where every row is missing."""
    seen = np.isfinite(rows)
    total = np.where(seen, rows, 0).sum(axis=0, dtype=np.float64)
    count = seen.sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)
