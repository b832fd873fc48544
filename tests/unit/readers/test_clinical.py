"""Clinical tables: five formats, unit and polarity, odd times, labels."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mirror.cohort.labels import apply_labels
from mirror.config.sources import ClinicalSource
from mirror.core.errors import InputError
from mirror.readers.clinical import read_clinical
from mirror.readers.clinical.base import to_event, to_stage
from mirror.readers.clinical.plausibility import check_followup

CANONICAL = ["patient_id", "label", "time_days", "event", "site", "age", "sex", "stage"]
CBIO = """#Patient Identifier\tOverall Survival Status\tOverall Survival (Months)\tDisease Free Status\tDFS\tAge\tSex
#x\tx\tx\tx\tx\tx\tx
#STRING\tSTRING\tNUMBER\tSTRING\tNUMBER\tNUMBER\tSTRING
#1\t1\t1\t1\t1\t1\t1
PATIENT_ID\tOS_STATUS\tOS_MONTHS\tDFS_STATUS\tDFS_MONTHS\tAGE\tSEX
TCGA-AA-0001\t0:LIVING\t12\t0:DiseaseFree\t12\t55\tFemale
TCGA-AA-0002\t1:DECEASED\t2.5\t1:Recurred/Progressed\t1\t60\tMale
TCGA-AA-0003\t\t[Not Available]\t\t\t[Not Available]\tMale
"""


def read(path, **source):
    """Read with settings."""
    return read_clinical(ClinicalSource(path=str(path), **source))


def write(tmp_path, text, name="clinical.tsv"):
    """Write a table."""
    (tmp_path / name).write_text(text)
    return tmp_path / name


def test_cbioportal(tmp_path):
    """Four # lines, words for events, months; the label comes from the sample file beside it."""
    path = write(tmp_path, CBIO, "data_clinical_patient.txt")
    write(tmp_path, "#a\tb\nPATIENT_ID\tSAMPLE_ID\tONCOTREE_CODE\nTCGA-AA-0001\tx\tIDC\nTCGA-AA-0002\ty\tILC\n",
          "data_clinical_sample.txt")  # fmt: skip
    table, report = read(path)
    assert report["format"] == "cbioportal" and list(table.columns) == CANONICAL
    assert table["time_days"].tolist()[:2] == [12 * 30.4375, 2.5 * 30.4375] and np.isnan(table["time_days"][2])
    assert table["event"].tolist()[:2] == [0, 1]
    assert table["label"].tolist()[:2] == ["IDC", "ILC"] and report["label_from"] == "data_clinical_sample.txt"
    assert table["site"].tolist() == ["AA"] * 3 and table["sex"].tolist() == ["female", "male", "male"]
    dfi, _ = read(path, endpoint="DFI")
    assert dfi["time_days"].tolist()[:2] == [12 * 30.4375, 30.4375] and dfi["event"].tolist()[:2] == [0, 1]
    with pytest.raises(InputError, match="DSS_STATUS"):
        read(path, endpoint="DSS")


def test_tcga_cdr_real(test_data):
    """The real CDR: 11,160 patients, zero times counted, agreement with the vital status."""
    table, report = read(test_data / "clinical" / "TCGA-CDR.csv")
    assert report["format"] == "tcga_cdr" and len(table) == 11160 and table["label"].nunique() == 33
    assert report["times"] == {
        "without_time": 66,
        "without_event": 9,
        "negative": 0,
        "zero": 108,
        "zero_with_event": 19,
    }
    first = table.set_index("patient_id").loc["TCGA-OR-A5J1"]
    assert (first["time_days"], first["event"], first["stage"], first["age"]) == (1355, 1, "II", 58)
    assert report["plausibility"]["agrees_with_vital_status"] == 1.0
    assert report["contradictions"] == {"last seen after the date of death": 1}
    assert [line.split(":")[0] for line in report["warnings"]] == ["vital facts"]
    pfi, _ = read(test_data / "clinical" / "TCGA-CDR.csv", endpoint="PFI", label="histological_type")
    assert pfi.set_index("patient_id").loc["TCGA-OR-A5J1", "time_days"] == 754
    with pytest.raises(InputError, match="polarity is reversed"):
        read(test_data / "clinical" / "TCGA-CDR.csv", event_is="1_censored")


@pytest.mark.parametrize(
    ("rule", "kept", "shortest"), [("keep", 11094, 0.0), ("missing", 10986, 1.0), ("half_day", 11094, 0.5)]
)
def test_zero_times(test_data, rule, kept, shortest):
    """Times of zero are kept, set to missing or to half a day, as the config says."""
    table, report = read(test_data / "clinical" / "TCGA-CDR.csv", zero_times=rule)
    assert table["time_days"].notna().sum() == kept and table["time_days"].min() == shortest
    assert report["flow"][-1]["kept"] == kept and len(table) == 11160


def test_gdc_real(test_data):
    """The real GDC download: two rows per case, '-- for missing, deaths from days_to_death."""
    table, report = read(test_data / "clinical" / "gdc_lusc" / "clinical.tsv")
    raw = pd.read_csv(test_data / "clinical" / "gdc_lusc" / "clinical.tsv", sep="\t").drop_duplicates("submitter_id")
    assert report["format"] == "gdc" and len(table) == 135 == raw["submitter_id"].nunique()
    assert report["rows_joined"] | {"examples": []} == {
        "patients_with_several_rows": 135, "patients_with_several_times": 0, "patients_with_conflicts": 0,
        "conflicts": {}, "examples": [],
    }  # fmt: skip
    dead = raw[(raw["vital_status"] == "Dead") & (raw["days_to_death"] != "--")].iloc[0]
    row = table.set_index("patient_id").loc[dead["submitter_id"]]
    assert row["event"] == 1 and row["time_days"] == float(dead["days_to_death"])
    assert report["dead_without_date"] == 2 and table["time_days"].isna().sum() == 3
    with pytest.raises(InputError, match="PFI"):
        read(test_data / "clinical" / "gdc_lusc" / "clinical.tsv", endpoint="PFI")


def test_gdc_new_layout(tmp_path):
    """Columns with their entity in front; rows of a case joined by the latest follow-up."""
    head = "cases.submitter_id\tproject.project_id\tdemographic.vital_status\tdemographic.days_to_death\t"
    head += "diagnoses.days_to_last_follow_up\tdiagnoses.primary_diagnosis\tdemographic.gender\n"
    text = head + "C3L-1\tCPTAC-3\tAlive\t'--\t100\tNOS\tfemale\nC3L-1\tCPTAC-3\tAlive\t'--\t250\tNOS\tfemale\n"
    text += "C3L-2\tCPTAC-3\tDead\t40\t30\tNOS\tmale\nC3L-3\tCPTAC-3\tNot Reported\t'--\t9\tNOS\tmale\n"
    table, report = read(write(tmp_path, text), label="project.project_id")
    assert report["format"] == "gdc" and table["patient_id"].tolist() == ["C3L-1", "C3L-2", "C3L-3"]
    assert table["time_days"].tolist()[:2] == [250, 40] and table["event"].tolist()[:2] == [0, 1]
    assert np.isnan(table["event"][2]) and table["label"].tolist() == ["CPTAC-3"] * 3


def test_gdc_primary_diagnosis_names_the_label(tmp_path):
    """Of several diagnoses of a case the primary disease gives the label, wherever its row stands."""
    head = "cases.submitter_id\tdemographic.vital_status\tdemographic.days_to_death\tdiagnoses.days_to_last_follow_up\t"
    head += "diagnoses.diagnosis_is_primary_disease\tdiagnoses.primary_diagnosis\n"
    text = head + "C3L-1\tAlive\t'--\t9\tfalse\tOther\nC3L-1\tAlive\t'--\t8\ttrue\tAdenocarcinoma\n"
    table, _ = read(write(tmp_path, text))
    assert table["label"].tolist() == ["Adenocarcinoma"] and table["time_days"].tolist() == [9]


def test_cbioportal_from_the_download_button(tmp_path):
    """The web site writes the same columns under their display names."""
    text = "Study ID\tPatient ID\tOncotree Code\tOverall Survival (Months)\tOverall Survival Status\tDiagnosis Age\n"
    table, report = read(write(tmp_path, text + "b\tTCGA-AA-0001\tIDC\t4\t1:DECEASED\t50\n"))
    assert report["format"] == "cbioportal" and table["label"][0] == "IDC" and table["age"][0] == 50
    assert table["time_days"][0] == 4 * 30.4375 and table["event"][0] == 1


@pytest.mark.parametrize(("cohort", "n", "events"), [("brca", 956, 130), ("coadread", 340, 81)])
def test_porpoise_real(test_data, cohort, n, events):
    """PORPOISE: slide rows to patients, censorship turned to events, months to days near those of the CDR."""
    table, report = read(test_data / "rna" / f"tcga_{cohort}_all_clean.csv.zip")
    assert report["format"] == "porpoise" and report["one_means"] == "censored"
    assert len(table) == n and table["event"].sum() == events
    cdr, _ = read(test_data / "clinical" / "TCGA-CDR.csv")
    both = table.merge(cdr, on="patient_id", suffixes=("", "_cdr"))
    assert (both["event"] == both["event_cdr"]).mean() > 0.99
    assert np.median(np.abs(both["time_days"] - both["time_days_cdr"])) < 1
    assert not report["warnings"]


@pytest.mark.parametrize(("cohort", "n"), [("brca", 871), ("coadread", 298)])
def test_survpath_real(test_data, cohort, n):
    """SurvPath: a month is 30 days, so that the CDR's days come back exactly."""
    path = test_data / "clinical" / f"survpath_metadata_{cohort}.csv"
    table, report = read(path)
    assert report["flavour"] == "SurvPath" and len(table) == n
    cdr, _ = read(test_data / "clinical" / "TCGA-CDR.csv")
    both = table.merge(cdr[cdr["time_days"] > 0], on="patient_id", suffixes=("", "_cdr"))
    np.testing.assert_allclose(both["time_days"], both["time_days_cdr"], atol=1e-6)
    dss, _ = read(path, endpoint="DSS")
    assert dss["event"].sum() < table["event"].sum()


def test_plain_table(tmp_path):
    """Named columns, units and covariates; text from any column may be the label."""
    path = write(tmp_path, "who,kind,months,cens,grp\nP1,a,12,0,x\nP2,b,1.5,1,y\nP3,,,,\n", "c.csv")
    table, report = read(
        path, patient="who", label="kind", time="months", event="cens", event_is="1_censored", covariates=["grp"]
    )
    assert table["time_days"].tolist()[:2] == [365.25, 1.5 * 30.4375] and table["event"].tolist()[:2] == [1, 0]
    assert list(table.columns) == [*CANONICAL, "grp"] and table["site"].isna().all()
    assert report["time_unit"] == "months" and report["missing_label"] == 1


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ("patient_id,label,time,event", "unit of time column 'time'"),
        ("patient_id,label,time_days,flag", "no event column"),
        ("pat,label,time_days,event", r"no column 'patient_id' \(nearest: pat"),
    ],
)
def test_plain_table_errors(tmp_path, columns, words):
    """What cannot be told is asked for."""
    with pytest.raises(InputError, match=words):
        read(write(tmp_path, f"{columns}\nA,x,3,1\nB,y,5,0\n", "c.csv"))


def test_unknown_polarity_is_asked_for(tmp_path):
    """A column named flag does not say what 1 means; one named censored does."""
    path = write(tmp_path, "patient_id,time_days,flag\nA,3,1\nB,5,0\n", "c.csv")
    with pytest.raises(InputError, match=r"what 1 means in column 'flag'.*event_is"):
        read(path, event="flag")
    assert read(path, event="flag", event_is="1_event")[0]["event"].tolist() == [1, 0]


def test_negative_times_and_conflicts(tmp_path):
    """Negative times leave survival and are counted; rows that disagree are reported."""
    text = "patient_id\tlabel\ttime_days\tevent\nA\tx\t-3\t1\nB\tx\t5\t0\nB\ty\t5\t0\nC\tz\t7\t1\n"
    path = write(tmp_path, text)
    table, report = read(path)
    assert report["times"]["negative"] == 1 and np.isnan(table["time_days"][0]) and np.isnan(table["event"][0])
    assert report["flow"][-1] | {"reason": ""} == {
        "step": "follow-up: without negative times", "unit": "patients", "kept": 2, "dropped": 1, "reason": "",
    }  # fmt: skip
    assert report["rows_joined"]["conflicts"] == {"label": 1} and table["label"].tolist() == ["x", "x", "z"]
    assert any("disagree" in line for line in report["warnings"])
    with pytest.raises(InputError, match="negative_times"):
        read(path, negative_times="error")


def test_events_in_words_and_codes():
    """Words speak for themselves whatever the polarity, yes and no as 1 and 0 do not; R's 1/2 is refused."""
    words = pd.Series(
        ["Dead", "alive", "1:DECEASED", "0:LIVING", "1:PROGRESSION", "True", "no", "[Not Available]", None]
    )
    got = to_event(words, "censored", "c", "f")
    assert got.tolist()[:7] == [1, 0, 1, 0, 1, 0, 1] and got[7:].isna().all()
    assert to_event(words, "event", "c", "f").tolist()[:7] == [1, 0, 1, 0, 1, 1, 0]
    assert to_event(pd.Series(["1", "0", "1.0"]), "censored", "c", "f").tolist() == [0, 1, 0]
    with pytest.raises(InputError, match="R's coding"):
        to_event(pd.Series(["1", "2"]), "event", "c", "f")
    with pytest.raises(InputError, match="'maybe' is no event status"):
        to_event(pd.Series(["1", "maybe"]), "event", "c", "f")


def test_stages():
    """Every spelling of a stage, sub-stages merged."""
    text = ["Stage IIA", "stage iiic1", "IV", "Stage 0", "2", "I/II NOS", "[Discrepancy]", "Stage X", "Stage IS"]
    assert to_stage(pd.Series(text)).tolist()[:5] == ["II", "III", "IV", "0", "II"]
    assert to_stage(pd.Series(text))[5:8].isna().all() and to_stage(pd.Series(text))[8] == "I"


def test_polarity_on_all_cancers(test_data):
    """Over the 33 cancers and four endpoints of the CDR: no false alarm, and most reversals are noticed."""
    raw = pd.read_csv(test_data / "clinical" / "TCGA-CDR.csv", encoding="latin1", na_values=["#N/A"])
    alarms, noticed, cases = 0, 0, 0
    for endpoint in ("OS", "DSS", "PFI", "DFI"):
        for _, group in raw.groupby("type"):
            event, time = group[endpoint].astype(float), group[f"{endpoint}.time"].astype(float)
            if (event.notna() & time.notna()).sum() < 20:
                continue
            cases += 1
            alarms += check_followup(time, event)[0]["polarity_suspicious"]
            noticed += check_followup(time, 1 - event)[0].get("polarity_suspicious", False)
    assert cases == 124 and alarms == 0 and noticed >= 95


def test_units_that_are_implausible():
    """Months read as days, and days read as months, are noticed."""
    rng = np.random.default_rng(0)
    time, event = pd.Series(rng.uniform(1, 120, 100)), pd.Series((rng.random(100) < 0.3).astype(float))
    assert any("may be months" in line for line in check_followup(time, event)[1])
    assert any("time unit" in line for line in check_followup(time * 30.4 * 30.4, event)[1])
    assert any("every patient" in line for line in check_followup(time * 30, event * 0 + 1)[1])


def test_apply_labels():
    """Mergers, exclusions and rare labels, each counted; rare patients stay for survival."""
    table = pd.DataFrame({"label": ["CCRCC"] * 4 + ["KIRC"] * 2 + ["PRCC"] * 3 + ["OTH"] * 2 + [np.nan]})
    table.insert(0, "patient_id", [f"P{i}" for i in range(12)])
    out, flow = apply_labels(table, {"CCRCC": "KIRC", "X": "Y"}, ["OTH", "ZZZ"], 4)
    assert out["label"].value_counts().to_dict() == {"KIRC": 6} and len(out) == 10
    assert out["label"].isna().sum() == 4 and table["label"].notna().sum() == 11
    assert [(row["step"], row["kept"], row["dropped"]) for row in flow] == [
        ("label CCRCC becomes KIRC", 12, 0),
        ("label X becomes Y", 12, 0),
        ("label ZZZ excluded", 12, 0),
        ("excluded labels", 10, 2),
        ("labels of at least 4 patients (subtyping only)", 6, 3),
    ]
    assert flow[0]["reason"] == "4 patients" and "no patient" in flow[1]["reason"] and "OTH 2" in flow[3]["reason"]
    same, none = apply_labels(table, {}, [], 1)
    assert none == [] and same.equals(
        table.assign(label=table["label"].astype(object).where(table["label"].notna(), None))
    )


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    at=st.lists(st.tuples(st.integers(0, 700), st.sampled_from(list("\t,;\"#-01.:eN'[ \n\r"))), max_size=6),
    cut=st.integers(0, 700),
)
def test_damaged_tables_give_a_table_or_one_clear_error(tmp_path, at, cut):
    """A cBioPortal table with random damage is read, or refused in one line that names the file."""
    text = CBIO[: cut or None]
    for where, letter in at:
        where %= len(text) + 1
        text = text[:where] + letter + text[where:]
    path = tmp_path / "fuzz.txt"
    path.write_text(text, newline="")
    try:
        table, report = read(path)
    except InputError as error:
        assert "\n" not in str(error) and "fuzz.txt" in str(error)
    else:
        assert list(table.columns[:8]) == CANONICAL and table["patient_id"].is_unique
        assert set(table["event"].dropna().unique()) <= {0.0, 1.0}
        json.dumps(report, allow_nan=False)
