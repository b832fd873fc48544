"""Tables cut between two lines, with a whole header: known by what is missing at the end."""

from __future__ import annotations

import logging
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest

from mirror.cohort.pool import pool_expression
from mirror.config.sources import ClinicalSource, ExpressionSource
from mirror.core.facts import Facts
from mirror.readers.clinical.read import read_clinical
from mirror.readers.expression.read import read_expression

PATIENTS = [f"TCGA-ZZ-A{i:03d}" for i in range(1, 31)]
RNG = np.random.default_rng(1)
COUNTS = pd.DataFrame(RNG.poisson(40, (30, 120)), index=pd.Index(PATIENTS, name="sample"),
                      columns=[f"{chr(90 - i * 26 // 120)}QX{i}" for i in range(120)])  # fmt: skip
CLINICAL = pd.DataFrame({"patient_id": PATIENTS, "subtype": ["A", "B"] * 15, "os_days": RNG.integers(30, 3000, 30),
                         "os_status": RNG.integers(0, 2, 30)})  # fmt: skip


def clinical(folder: Path, table: pd.DataFrame) -> str:
    table.to_csv(folder / "clinical.csv", index=False)
    facts = Facts("clinical.csv")
    read_clinical(ClinicalSource(path=str(folder / "clinical.csv"), label="subtype"), PATIENTS, facts)
    return "\n".join(fact.text() for fact in facts.warnings)


def expression(folder: Path, table: pd.DataFrame) -> str:
    table.to_csv(folder / "counts.csv")
    _, report = read_expression(ExpressionSource(path=str(folder / "counts.csv")), PATIENTS)
    return "\n".join(report["warnings"])


@pytest.mark.fault(
    stage="tables",
    fault="a table cut between two lines, its header whole",
    sees="that all missing patients of the slide table would follow the last row; for genes in rows, that names "
    "in order end early, or that a pooled cohort's genes are the beginning of another's. Cut among genes in no order, "
    "one cohort alone, it is not seen: compare `genes` in doctor with the source",
    survives="what was read",
)
@pytest.mark.parametrize("read", [clinical, expression])
def test_the_last_patients_are_missing(tmp_path: Path, read) -> None:
    whole = CLINICAL if read is clinical else COUNTS
    words = "would follow: the rest of the file may be missing"
    assert words in read(tmp_path, whole[:22]) and "TCGA-ZZ-A022" in read(tmp_path, whole[:22])
    for harmless in (whole, whole.iloc[[*range(10), *range(14, 30)]], whole[:22].sample(frac=1, random_state=2)):
        assert words not in read(tmp_path, harmless)


def test_a_pooled_cohort_whose_genes_are_the_beginning_of_anothers(caplog: pytest.LogCaptureFixture) -> None:
    def member(names: list[str], first: int) -> anndata.AnnData:
        values = np.ones((4, len(names)), np.float32)
        obs = pd.DataFrame(index=[f"P{first + i}" for i in range(4)])
        return anndata.AnnData(values, obs=obs, var=pd.DataFrame(index=names))

    genes = [f"G{i * 7919 % 1000}" for i in range(1000)]  # in no alphabetical order
    with caplog.at_level(logging.WARNING):
        pool_expression({"A": member(genes, 0), "B": member(genes[:600], 10)}, "intersection")
    assert f"B: its genes are those of A up to {genes[599]}, and the 400 behind it are missing" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        pool_expression({"A": member(genes, 0), "B": member(sorted(genes)[:600], 10)}, "intersection")
    assert "may be cut" not in caplog.text
