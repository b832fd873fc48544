"""Valid slide tables with one random lie: the lie is named, or changes nothing."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mirror.core.errors import InputError
from mirror.plan.slide_table import read_slide_table

HEADER = ["slide_id", "patient_id", "slide_path", "mpp"]
Rows = list[list[str]]


@st.composite
def tables(draw) -> Rows:
    """Rows of 5 to 12 patients with one to three slides each, named after their patients or barcodes."""
    form = draw(st.sampled_from(["P{:02d}", "TCGA-ZZ-A{:03d}", "case {}", "Klinik_{}"]))
    rows: Rows = []
    for i in range(draw(st.integers(5, 12))):
        patient = form.format(i + 1)
        for k in range(draw(st.integers(1, 3))):
            slide = f"{patient}-01Z-00-DX{k + 1}" if form.startswith("TCGA") else f"{patient}_{'ABC'[k]}"
            rows.append([slide, patient, f"slides/{slide}.svs", draw(st.sampled_from(["0.25", "0.5", "", "0.4988"]))])
    return rows


def text_of(rows: Rows, sep: str = "\t", header: list[str] | None = None, end: str = "\n") -> str:
    return end.join(sep.join(row) for row in [header or HEADER, *rows]) + end


def read(folder: Path, text: str | bytes) -> list[tuple] | str:
    """What was read, or the one line of the error."""
    path = folder / "samples.tsv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    try:
        return [(s.slide_id, s.patient_id, s.slide_path, s.mpp) for s in read_slide_table(path)]
    except InputError as error:
        assert "\n" not in str(error) and "samples.tsv" in str(error)
        return str(error)


def other(rows: Rows, at: int) -> int:
    """A row of another patient."""
    return next(i for i in (*range(at, len(rows)), *range(at)) if rows[i][1] != rows[at][1])


def shifted(rows: Rows, column: int) -> Rows:
    """A column moved down by the slides of one patient."""
    by = sum(row[1] == rows[0][1] for row in rows)
    cells = [row[column] for row in rows]
    cells = cells[-by:] + cells[:-by]
    return [[*row[:column], cell, *row[column + 1 :]] for row, cell in zip(rows, cells, strict=True)]


def swap_patients(rows: Rows, at: int) -> Rows:
    out = [row.copy() for row in rows]
    b = other(rows, at)
    out[at][1], out[b][1] = out[b][1], out[at][1]
    return out


NAMED = {
    "a row twice": lambda r, at: text_of([*r, r[at]]),
    "slides and patients exchanged": lambda r, at: text_of([[p, s, w, m] for s, p, w, m in r]),
    "patients moved down": lambda r, at: text_of(shifted(r, 1)),
    "two patients exchanged": lambda r, at: text_of(swap_patients(r, at)),
    "cut in a row": lambda r, at: text_of(r[: at + 1])[: -2 - len(r[at][3]) - at % len(r[at][2])],
    "mpp in words": lambda r, at: text_of([[*x[:3], "20x"] if i == at else x for i, x in enumerate(r)]),
    "no patient": lambda r, at: text_of([[x[0], "", *x[2:]] if i == at else x for i, x in enumerate(r)]),
    "the header again": lambda r, at: text_of([*r[:at], HEADER, *r[at:]]),
    "a title line": lambda r, at: "Slides of the study\n" + text_of(r),
    "a column's name": lambda r, at: text_of(r, header=["slide", *HEADER[1:]]),
    "a tab in a path": lambda r, at: text_of([[*x[:2], "a\tb.svs", ""] if i == at else x for i, x in enumerate(r)]),
    "a path as a name": lambda r, at: text_of([["../" + x[0], *x[1:]] if i == at else x for i, x in enumerate(r)]),
    "UTF-16": lambda r, at: text_of(r).encode("utf-16"),
}  # fmt: skip
HARMLESS = {
    "commas": lambda r, at: text_of(r, ","),
    "semicolons": lambda r, at: text_of(r, ";"),
    "Windows": lambda r, at: text_of(r, end="\r\n"),
    "a byte order mark": lambda r, at: b"\xef\xbb\xbf" + text_of(r).encode(),
    "no line end": lambda r, at: text_of(r)[:-1],
    "blank lines": lambda r, at: text_of(r) + "\n\n",
    "blanks around cells": lambda r, at: text_of([[f" {x} " for x in row] for row in r]),
    "quotes": lambda r, at: text_of([[f'"{x}"' for x in row] for row in r]),
    "decimal commas": lambda r, at: text_of([[*x[:3], x[3].replace(".", ",")] for x in r]),
    "another column": lambda r, at: text_of([[*x, "note"] for x in r], header=[*HEADER, "note"]),
}


@settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=tables(), lie=st.sampled_from(sorted(NAMED)), at=st.integers(0, 10**6))
def test_a_lie_is_named(tmp_path: Path, rows: Rows, lie: str, at: int) -> None:
    assert isinstance(read(tmp_path, text_of(rows)), list)
    assert isinstance(read(tmp_path, NAMED[lie](rows, at % len(rows))), str), lie


@settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=tables(), what=st.sampled_from(sorted(HARMLESS)), seed=st.integers(0, 99))
def test_another_form_changes_nothing(tmp_path: Path, rows: Rows, what: str, seed: int) -> None:
    honest = read(tmp_path, text_of(rows))
    assert read(tmp_path, HARMLESS[what](rows, 0)) == honest
    random.Random(seed).shuffle(rows)
    assert sorted(read(tmp_path, text_of(rows)), key=str) == sorted(honest, key=str)


@pytest.mark.parametrize(
    "names", [["P1_A", "P10_A", "P2_A", "P3_A"], ["S1", "S2", "S3", "S4"], ["P1", "P10", "P2", "P3"]]
)
def test_names_that_begin_alike_are_no_contradiction(tmp_path: Path, names: list[str]) -> None:
    patients = ["P1", "P10", "P2", "P3"]
    rows = [[n, p, f"{n}.svs", ""] for n, p in zip(names, patients, strict=True)]
    assert isinstance(read(tmp_path, text_of(rows)), list)
    both = [["P1-2", "P1", "", ""], ["P1-2-1", "P1-2", "", ""], ["P3-1", "P3", "", ""], ["P4-1", "P4", "", ""]]
    assert isinstance(read(tmp_path, text_of(both)), list)  # a slide of P1 called as another patient
