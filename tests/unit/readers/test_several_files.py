"""Several files of one cohort: expression joined over common genes, clinical tables joined on the patient."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mirror.config.sources import ClinicalSource, ExpressionSource
from mirror.core.errors import InputError
from mirror.core.facts import Facts
from mirror.readers.clinical.read import read_clinical
from mirror.readers.expression.read import read_expression

GENES = [f"GENE{i}" for i in range(60)]


def counts(patients, genes=GENES, seed=0):
    """Counts, genes in rows."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame(rng.negative_binomial(2, 0.01, (len(genes), len(patients))), genes, patients)


def expression(tmp_path, **files) -> tuple[ExpressionSource, list[str]]:
    """Files as a source."""
    paths = []
    for name, frame in files.items():
        paths.append(str(tmp_path / f"{name}.tsv"))
        frame.to_csv(paths[-1], sep="\t", index_label="gene")
    return ExpressionSource(path=paths), paths


def names(letter, n=8):
    """Identifiers."""
    return [f"{letter}{i:02d}" for i in range(n)]


def test_files_are_joined_over_the_genes_that_all_have(tmp_path):
    a, b = counts(names("A")), counts(names("B", 6), [*GENES[10:], "OTHER1", "OTHER2"], 1)
    source, (first, second) = expression(tmp_path, a=a, b=b)
    found = Facts("x")
    adata, report = read_expression(source, found=found)
    assert list(adata.obs_names) == names("A") + names("B", 6)
    assert list(adata.var_names) == GENES[10:]
    assert (np.r_[a.loc[GENES[10:]].T, b.loc[GENES[10:]].T] == adata.X).all()
    assert adata.obs["file"].tolist() == ["a.tsv"] * 8 + ["b.tsv"] * 6
    assert report["values"]["kind"] == "counts" and set(report["files"]) == {first, second}
    said = {fact.subject: str(fact.value) for fact in found}
    assert said["genes in common"] == "50 (a.tsv 60, b.tsv 52)"
    assert "a.tsv 8 patients, 60 genes; b.tsv 6 patients, 52 genes" in said["files joined"]
    assert said["b.tsv: values"] == "counts"


def test_a_file_alone_is_read_as_before(tmp_path):
    source, (path,) = expression(tmp_path, a=counts(names("A")))
    listed, _ = read_expression(source)
    alone, _ = read_expression(ExpressionSource(path=path))
    assert source.further == [] and (listed.X == alone.X).all() and list(alone.obs) == list(listed.obs)


def test_other_kinds_of_values_are_refused(tmp_path):
    source, (first, second) = expression(
        tmp_path, a=counts(names("A")), b=np.log2(counts(names("B"), seed=1) + 1).round(4)
    )
    with pytest.raises(InputError, match="one kind") as error:
        read_expression(source)
    assert str(error.value).startswith(second) and first in str(error.value)


def test_no_common_gene_is_refused(tmp_path):
    source, (first, second) = expression(
        tmp_path, a=counts(names("A")), b=counts(names("B"), [f"OTHER{i}" for i in range(60)], 1)
    )
    with pytest.raises(InputError, match="no gene in common") as error:
        read_expression(source)
    assert first in str(error.value) and second in str(error.value)


def test_few_common_genes_are_said(tmp_path):
    source, _ = expression(
        tmp_path, a=counts(names("A")), b=counts(names("B"), GENES[:20] + [f"OTHER{i}" for i in range(40)], 1)
    )
    found = Facts("x")
    read_expression(source, found=found)
    assert any(fact.subject == "genes in common" and "20 of the 60" in str(fact.value) for fact in found.warnings)


@pytest.mark.parametrize("same", [True, False])
def test_patients_of_two_files_are_said(tmp_path, same):
    a = counts(names("A"))
    b = pd.concat([a[["A01"]] if same else a[["A01"]] + 3, counts(names("B"), seed=1)], axis=1)
    source, _ = expression(tmp_path, a=a, b=b)
    found = Facts("x")
    adata, _ = read_expression(source, found=found)
    assert adata.n_obs == 16 and (a["A01"].to_numpy() == adata["A01"].X).all()
    row = adata.obs.loc["A01"]
    assert (row["n_samples"], row["n_different"], row["file"]) == (2, 1 if same else 2, "a.tsv;b.tsv")
    (fact,) = [fact for fact in found if fact.subject == "patients in several files"]
    assert (fact.level == "info") == same
    refusing = source.model_copy(update={"duplicates": "error"})
    if same:
        assert read_expression(refusing)[0].n_obs == 16
    else:
        with pytest.raises(InputError, match="A01"):
            read_expression(refusing)


def test_constant_genes_are_those_of_the_joined_matrix(tmp_path):
    """A gene that is constant in each file but not in both is kept."""
    a, b = counts(names("A")), counts(names("B"), seed=1)
    a.loc["GENE0"], b.loc["GENE0"] = 5, 9
    a.loc["GENE1"] = b.loc["GENE1"] = 7
    source, _ = expression(tmp_path, a=a, b=b)
    adata, _ = read_expression(source.model_copy(update={"constant_genes": "drop"}))
    assert "GENE0" in adata.var_names and "GENE1" not in adata.var_names


def test_files_of_two_scales_and_z_scores_are_said(tmp_path):
    a, b = (np.log2(counts(names(x), seed=i) + 1).round(4) for i, x in enumerate("AB"))
    found = Facts("x")
    read_expression(expression(tmp_path, a=a, b=(b + 3).round(4))[0], found=found)
    assert any(fact.subject == "scales of the files" for fact in found.warnings)
    rng = np.random.default_rng(0)
    a, b = (pd.DataFrame(rng.standard_normal((60, 20)).round(4), GENES, names(x, 20)) for x in "AB")
    found = Facts("x")
    read_expression(expression(tmp_path, c=a, d=b)[0], found=found)
    assert any(fact.subject == "z-scores of several files" for fact in found.warnings)


def test_only_the_cohorts_patients_are_read_and_the_others_said_once(tmp_path):
    source, _ = expression(tmp_path, a=counts(names("A")), b=counts(names("B"), seed=1))
    found = Facts("x")
    adata, report = read_expression(source, ["A01", "B02", "C03"], found=found)
    assert list(adata.obs_names) == ["A01", "B02"] and report["patients_without_expression"] == 1
    said = [str(fact.value) for fact in found if "without expression" in fact.subject]
    assert said == ["1 (C03)"]


# -- clinical tables ---------------------------------------------------------------------------


def table(path, patients, seed=0, **more):
    """A plain clinical table."""
    rng = np.random.default_rng(seed)
    n = len(patients)
    frame = pd.DataFrame(
        {"patient_id": patients, "subtype": ["x", "y"] * (n // 2) + ["x"] * (n % 2),
         "os_days": rng.integers(100, 3000, n), "os_event": rng.integers(0, 2, n)}
    ).assign(**more)  # fmt: skip
    frame.to_csv(path, sep="\t", index=False)
    return str(path)


def clinical(*paths, **more) -> ClinicalSource:
    """A source with named columns."""
    named = {"label": "subtype", "time": "os_days", "event": "os_event", "time_unit": "days", "event_is": "1_event"}
    return ClinicalSource(path=list(paths), **{**named, **more})


def test_tables_of_other_patients_are_put_below_each_other(tmp_path):
    a, b = table(tmp_path / "a.tsv", names("A")), table(tmp_path / "b.tsv", names("B"), 1)
    found = Facts("x")
    both, report = read_clinical(clinical(a, b), facts=found)
    each = [read_clinical(clinical(path))[0] for path in (a, b)]
    pd.testing.assert_frame_equal(both, pd.concat(each, ignore_index=True))
    assert report["source"] == "a.tsv, b.tsv"
    said = {fact.subject: str(fact.value) for fact in found}
    assert "8 rows of 8 patients, 0 of them in the tables before it" in said["tables joined"]
    assert {"labels by table", "events by table", "time by table"} <= said.keys()


def test_columns_of_the_same_patients_are_joined_and_new_patients_kept(tmp_path):
    a = table(tmp_path / "a.tsv", names("A"))
    pd.DataFrame({"Patient": ["A00", "A01", "Z99"], "age": [50, 60, 70]}).to_csv(tmp_path / "b.csv", index=False)
    found, _ = read_clinical(clinical(a, str(tmp_path / "b.csv")))
    ages = found.set_index("patient_id")["age"]
    assert ages["A00"] == 50 and ages["Z99"] == 70 and np.isnan(ages["A02"]) and len(found) == 9


def test_a_named_column_that_a_table_lacks_is_said(tmp_path):
    a, b = table(tmp_path / "a.tsv", names("A")), table(tmp_path / "b.tsv", names("B"), 1)
    frame = pd.read_csv(b, sep="\t").rename(columns={"subtype": "histology"})
    frame.to_csv(b, sep="\t", index=False)
    found = Facts("x")
    out, _ = read_clinical(clinical(a, b), facts=found)
    assert out["label"].notna().sum() == 8
    (fact,) = [fact for fact in found.warnings if fact.subject == "label"]
    assert "8 patients have no column subtype" in str(fact.value) and "b.tsv lacks it" in str(fact.value)


def test_columns_that_differ_by_case_are_one(tmp_path):
    a, b = table(tmp_path / "a.tsv", names("A")), table(tmp_path / "b.tsv", names("B"), 1)
    pd.read_csv(b, sep="\t").rename(columns=str.upper).to_csv(b, sep="\t", index=False)
    out, _ = read_clinical(clinical(a, b))
    assert out["label"].notna().all() and out["time_days"].notna().all()


def test_times_of_two_units_are_said(tmp_path):
    a, b = table(tmp_path / "a.tsv", names("A", 20)), table(tmp_path / "b.tsv", names("B", 20), 1)
    frame = pd.read_csv(b, sep="\t")
    frame["os_days"] = (frame["os_days"] / 30.4).round(1)
    frame.to_csv(b, sep="\t", index=False)
    found = Facts("x")
    read_clinical(clinical(a, b), facts=found)
    assert any(fact.subject == "times of the tables" for fact in found.warnings)


def test_strangers_and_other_formats_are_refused(tmp_path):
    a = table(tmp_path / "a.tsv", names("A"))
    pd.DataFrame({"patient_id": names("B"), "height": range(8)}).to_csv(tmp_path / "b.csv", index=False)
    with pytest.raises(InputError, match="neither a column nor a patient") as error:
        read_clinical(clinical(a, str(tmp_path / "b.csv")))
    assert "b.csv" in str(error.value)
    cdr = {"bcr_patient_barcode": names("C"), "type": "LUAD", "OS": 1, "OS.time": 5, "DSS": 1, "DSS.time": 5}
    pd.DataFrame(cdr).to_csv(tmp_path / "c.csv", index=False)
    with pytest.raises(InputError, match="name it first"):
        read_clinical(ClinicalSource(path=[a, str(tmp_path / "c.csv")]))


def test_errors_name_all_tables(tmp_path):
    a, b = table(tmp_path / "a.tsv", names("A")), table(tmp_path / "b.tsv", names("B"), 1, os_days="soon")
    with pytest.raises(InputError, match="soon") as error:
        read_clinical(clinical(a, b))
    assert "a.tsv" in str(error.value) and "b.tsv" in str(error.value)


@pytest.mark.parametrize("flipped", [False, True])
def test_an_event_that_means_the_opposite_in_one_table_is_said(tmp_path, flipped):
    a, b = table(tmp_path / "a.tsv", names("A", 20)), table(tmp_path / "b.tsv", names("B", 20), 1)
    for path, share in ((a, 3), (b, 17 if flipped else 5)):
        frame = pd.read_csv(path, sep="\t")
        frame["os_event"] = [1] * share + [0] * (20 - share)
        frame.to_csv(path, sep="\t", index=False)
    found = Facts("x")
    read_clinical(clinical(a, b), facts=found)
    said = [str(fact.value) for fact in found.warnings if fact.subject == "events of the tables"]
    assert said == (["b.tsv has the event in 85% of the patients, a.tsv in 15%"] if flipped else [])
