"""Follow-up that lies: the right value, or one line that names the lie."""

from __future__ import annotations

import uuid

import numpy as np
import pandas as pd
import pytest

from clinical_tables import IDS, N, plain, read, said, same_outcome
from mirror.core.errors import InputError
from mirror.readers.clinical.plausibility import check_followup


@pytest.mark.fault(
    stage="clinical",
    fault="named columns in a table that looks like a known format",
    sees="the table `what was read as what`; the named columns are used",
    survives="no format's own columns are taken instead",
)
@pytest.mark.parametrize("kind", ["cbioportal", "gdc", "tcga_cdr", "porpoise"])
def test_named_columns_win_over_any_format(tmp_path, kind):
    """cBioPortal, GDC, TCGA-CDR and PORPOISE lookalikes: time, event, patient and site are those of the config."""
    table = plain(
        dss_days=[50 + i for i in range(N)], dss_event=[int(i % 4 == 0) for i in range(N)], ward=["A", "B"] * 12
    )
    dead = [i % 3 == 0 for i in range(N)]
    looks = {
        "cbioportal": {"OS_STATUS": ["1:DECEASED" if d else "0:LIVING" for d in dead], "OS_MONTHS": range(1, N + 1)},
        "gdc": {"submitter_id": IDS, "project_id": "X", "vital_status": ["Dead" if d else "Alive" for d in dead],
                "days_to_death": [1 if d else "'--" for d in dead],
                "days_to_last_follow_up": ["'--" if d else 2 for d in dead]},
        "tcga_cdr": {"bcr_patient_barcode": IDS, "type": "BRCA", "OS": [int(d) for d in dead], "OS.time": 7},
        "porpoise": {"case_id": IDS, "slide_id": IDS, "survival_months": 3, "censorship": 0, "oncotree_code": "IDC"},
    }[kind]  # fmt: skip
    table = table.drop(columns=["os_days", "os_status"]).assign(**looks)
    found, facts, report = read(
        tmp_path / "c.csv", table, patient="patient_id", time="dss_days", event="dss_event", site="ward"
    )
    assert report["format"] == "table"
    assert found["time_days"].tolist() == table["dss_days"].tolist()
    assert found["event"].tolist() == table["dss_event"].tolist()
    assert found["site"].tolist() == table["ward"].tolist()
    assert (facts.get("time column"), facts.get("event column")) == ("dss_days", "dss_event")
    found, facts, report = read(
        tmp_path / "c.csv", table, format=kind, time="dss_days", event="dss_event", site="ward"
    )  # even where the format itself is named
    assert found["time_days"].tolist() == table["dss_days"].tolist()
    with pytest.raises(InputError, match=r"no column 'nope'.*`clinical\.time`"):
        read(tmp_path / "c.csv", table, time="nope", event="dss_event")
    with pytest.raises(InputError, match=r"no column 'nope'.*`clinical\.site`"):
        read(tmp_path / "c.csv", table, site="nope", endpoint="none")
    with pytest.raises(InputError, match=r"clinical\.event. is not"):
        read(tmp_path / "c.csv", table, format=kind, time="dss_days")


def test_a_format_needs_its_whole_signature(tmp_path):
    """One column of a format makes no format: days stay days."""
    days = plain().rename(columns={"os_status": "OS_STATUS", "os_days": "OS_DAYS"})
    found, _, report = read(tmp_path / "c.csv", days)
    assert report["format"] == "table" and found["time_days"].tolist() == days["OS_DAYS"].tolist()
    like_cdr = plain().rename(columns={"patient_id": "bcr_patient_barcode", "os_status": "OS", "os_days": "OS.time"})
    with pytest.raises(InputError, match=r"unit of time column 'OS\.time' is not known"):
        read(tmp_path / "c.csv", like_cdr)
    dates = plain(vital_status=["Dead", "Alive", "Alive"] * 8).drop(columns=["os_days", "os_status"])
    dates["days_to_death"] = [10 * i if i % 3 == 0 else "" for i in range(N)]
    dates["days_to_last_followup"] = ["" if i % 3 == 0 else 10 * i for i in range(N)]
    found, _, report = read(tmp_path / "c.csv", dates)  # a hospital's table: no portal's identifiers
    assert report["format"] == "table" and found["time_days"].tolist() == [10.0 * i for i in range(N)]
    assert found["event"].tolist() == plain()["os_status"].tolist()


@pytest.mark.fault(
    stage="clinical",
    fault="time of one endpoint, event of another",
    sees="both columns and their endpoints",
    survives="nothing is mixed",
)
def test_time_and_event_are_of_one_endpoint(tmp_path):
    """``dss_days`` with ``os_status`` is refused; a fitting partner is taken where only one is named."""
    table = plain(dss_days=range(N), dss_event=1)
    with pytest.raises(InputError, match="'dss_days' is of DSS, event column 'os_status' of OS"):
        read(tmp_path / "c.csv", table, time="dss_days", event="os_status")
    with pytest.raises(InputError, match=r"`clinical\.endpoint` is PFI"):
        read(tmp_path / "c.csv", table, time="dss_days", event="dss_event", endpoint="PFI")
    found, facts, _ = read(tmp_path / "c.csv", table, time="dss_days")
    assert facts.get("event column") == "dss_event" and found["event"].eq(1).all()


@pytest.mark.fault(
    stage="clinical",
    fault="several visits of a patient, some cells empty, in any order",
    sees="how many patients have several visits; time and event of the latest",
    survives="no time of one row with the event of another",
)
@pytest.mark.parametrize("names", ["same", "_1", "-2", ".1"])
@pytest.mark.parametrize("form", ["table", "cbioportal", "tcga_cdr", "porpoise"])
def test_time_and_event_come_from_the_latest_row(tmp_path, form, names):
    """An earlier visit, alive, first without a time; second rows under a suffixed name; every format."""
    base = plain()
    early = base.assign(os_days=(base["os_days"] // 3).astype(object), os_status=0)
    early.loc[::5, "os_days"] = ""
    late = base.assign(patient_id=base["patient_id"] + ("" if names == "same" else names))
    table = pd.concat([early, late]).sample(frac=1, random_state=3)
    if names != "same":
        table = table.sort_values("patient_id", key=lambda c: c.str.len(), kind="stable")
    factor = {"table": 1.0, "cbioportal": 30.4375, "tcga_cdr": 1.0, "porpoise": 30.44}[form]
    event = table["os_status"]
    table = {
        "table": table,
        "cbioportal": table.assign(os_status=event.map({0: "0:LIVING", 1: "1:DECEASED"})).rename(
            columns={"os_days": "OS_MONTHS", "os_status": "OS_STATUS", "patient_id": "PATIENT_ID"}
        ),
        "tcga_cdr": table.assign(type="BRCA").rename(
            columns={"patient_id": "bcr_patient_barcode", "os_days": "OS.time", "os_status": "OS"}
        ),
        "porpoise": table.assign(os_status=1 - event, slide_id=range(2 * N)).rename(
            columns={"patient_id": "case_id", "os_days": "survival_months", "os_status": "censorship"}
        ),
    }[form]
    found, facts, report = read(tmp_path / "c.csv", table)
    assert report["format"] == form and len(found) == N
    found = found.loc[IDS]
    assert np.allclose(found["time_days"], base["os_days"] * factor)
    assert found["event"].tolist() == base["os_status"].tolist()
    assert report["rows_joined"]["patients_with_several_times"] >= N - 5
    assert ("second rows" in said(facts)) == (names != "same")


def test_suffixed_rows_without_a_first_one(tmp_path):
    """``P00_1, P00_2``: rows of P00 where labels agree or the slide table says so; else a warning."""
    table = pd.concat(
        [plain(patient_id=[f"{p}_1" for p in IDS], os_status=0), plain(patient_id=[f"{p}_2" for p in IDS])]
    )
    table["os_days"] = [*range(1, N + 1), *plain()["os_days"]]
    found, facts, _ = read(tmp_path / "c.csv", table)
    same_outcome(found, plain())
    assert "further rows of a patient" in said(facts)
    mixed = table.assign(subtype=np.random.default_rng(0).permutation(table["subtype"]))
    found, facts, _ = read(tmp_path / "c.csv", mixed)
    assert len(found) == 2 * N and "each is read as a patient of its own" in said(facts)
    assert len(read(tmp_path / "c.csv", mixed, patients=IDS)[0]) == N
    assert len(read(tmp_path / "c.csv", mixed, patients=list(mixed["patient_id"]))[0]) == 2 * N
    trial = plain(patient_id=[f"C3L-{i}" for i in range(N)])  # one study, numbered patients
    assert len(read(tmp_path / "c.csv", trial)[0]) == N


@pytest.mark.fault(
    stage="clinical",
    fault="alive after death; an event without a time; progression undone by a later visit",
    sees="a count for each kind and the rule; under `contradictions: error` a refusal",
    survives="the patient, for subtyping",
)
def test_visits_that_contradict_each_other(tmp_path):
    """A row without the event after one with it is counted; for progression the event stands."""
    table = pd.concat([plain(os_status=1), plain(os_days=5000, os_status=0).head(2)])
    found, facts, _ = read(tmp_path / "c.csv", table)
    assert found["event"].tolist() == [0, 0] + [1] * (N - 2)
    assert "2 patients: a row without the event is later" in said(facts)
    found, _, _ = read(tmp_path / "c.csv", table, contradictions="missing")
    assert found["time_days"].isna().tolist() == [True, True] + [False] * (N - 2)
    with pytest.raises(InputError, match="vital facts: 2 patients"):
        read(tmp_path / "c.csv", table, contradictions="error")
    pfi = table.rename(columns={"os_days": "pfi_days", "os_status": "pfi_event"})
    found, facts, _ = read(tmp_path / "c.csv", pfi, endpoint="PFI")
    assert found["event"].eq(1).all() and found["time_days"].max() < 5000 and "the event counts" in said(facts)
    undated = pd.concat([plain(os_status=0), plain(os_days="", os_status=1).head(3)])
    found, facts, _ = read(tmp_path / "c.csv", undated)
    assert found["time_days"].isna().sum() == 3 and "3 patients: an event without a time" in said(facts)


def gdc(living_known: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The portal's clinical.tsv in its newer layout, and its follow_up.tsv: 45 living, 15 dead."""
    rows, later = [], []
    for i in range(60):
        dead, days = i % 4 == 0, 100 + 41 * i
        name = f"TCGA-ZZ-A{i:03d}"
        rows += [
            {"cases.case_id": str(uuid.UUID(int=i)), "cases.submitter_id": name, "project.project_id": "TCGA-XX",
             "demographic.vital_status": "Dead" if dead else "Alive",
             "demographic.days_to_death": days if dead else "'--",
             "diagnoses.days_to_last_follow_up": days if not dead and i % 20 < living_known else "'--",
             "diagnoses.primary_diagnosis": "Lobular" if i % 3 else "Ductal", "treatments.treatment_type": t}
            for t in ("Pharmaceutical", "Radiation")
        ]  # fmt: skip
        later += [{"cases.submitter_id": name, "follow_ups.days_to_follow_up": int(days * s)} for s in (1.0, 0.3)]
    return pd.DataFrame(rows), pd.DataFrame(later)


@pytest.mark.fault(
    stage="clinical",
    fault="follow-up of the living kept in a table of its own",
    sees="how many living and dead have no time, the file beside it and `clinical.also`; the flow's row says so",
    survives="the patients, for subtyping; all of them once the table is joined",
)
def test_follow_up_lost_for_one_outcome(tmp_path):
    """The portals' newer layout: loud without follow_up.tsv, whole with it."""
    clinical, later = gdc(4)
    later.to_csv(tmp_path / "follow_up.tsv", sep="\t", index=False)
    found, facts, report = read(tmp_path / "clinical.tsv", clinical, sep="\t")
    assert report["lost_follow_up"] == {"living": 45, "living_lost": 36, "dead": 15, "dead_lost": 0, "unknown": 0,
                                        "one_sided": True}  # fmt: skip
    assert "36 of 45 living and 0 of 15 dead without a time" in said(facts) and "follow_up.tsv" in said(facts)
    assert any("36 of 45 living" in row["reason"] for row in report["flow"])
    found, facts, _ = read(tmp_path / "clinical.tsv", clinical, sep="\t", also=[str(tmp_path / "follow_up.tsv")])
    assert found["time_days"].tolist() == [100.0 + 41 * i for i in range(60)] and not facts.warnings
    assert found["event"].tolist() == [float(i % 4 == 0) for i in range(60)]
    assert not read(tmp_path / "clinical.tsv", gdc(20)[0], sep="\t")[1].warnings


@pytest.mark.parametrize("side", [0, 1])
def test_follow_up_lost_in_a_plain_table(tmp_path, side):
    """Either side, whatever the format; a random loss is no alarm."""
    table = plain()
    table["os_days"] = table["os_days"].astype(object).mask(table["os_status"] == side, "[Not Available]")
    assert "follow-up lost for one outcome" in said(read(tmp_path / "c.csv", table)[1])
    table = plain()
    table["os_days"] = table["os_days"].astype(object).mask(pd.Series(range(N)) % 5 == 1, "")
    assert "lost for one outcome" not in said(read(tmp_path / "c.csv", table)[1])
    table = plain()
    table["os_status"] = table["os_status"].astype(object).mask(table["os_status"] == 0, "")
    assert "event missing: 16 of 24" in said(read(tmp_path / "c.csv", table)[1])


def test_tables_that_are_joined(tmp_path):
    """Follow-up and exposure beside a plain table: last contacts count, covariates are filled in, strangers leave."""
    table = plain(os_days=[d if e else "" for d, e in zip(plain()["os_days"], plain()["os_status"], strict=True)])
    seen = pd.DataFrame({"case": IDS * 2, "days_to_last_follow_up": [*([3] * N), *plain()["os_days"]]})
    seen.loc[[i % 3 == 0 for i in range(2 * N)], "days_to_last_follow_up"] = 1  # the dead: an earlier visit
    seen.to_csv(tmp_path / "seen.csv", index=False)
    smoke = pd.DataFrame({"n": range(N + 1), "Patient": [*reversed(IDS), "stranger"], "packs": range(N + 1)})
    smoke.to_csv(tmp_path / "smoke.csv", index=False)
    found, _, _ = read(
        tmp_path / "c.csv", table, covariates=["packs"], also=[str(tmp_path / "seen.csv"), str(tmp_path / "smoke.csv")]
    )
    same_outcome(found, plain())
    assert found["packs"].tolist() == list(reversed(range(N))) and "stranger" not in found.index
    (tmp_path / "other.csv").write_text("patient_id,x\nZ1,1\nZ2,2\n")
    with pytest.raises(InputError, match="no patient of the main clinical table"):
        read(tmp_path / "c.csv", table, also=[str(tmp_path / "other.csv")])


@pytest.mark.fault(
    stage="clinical",
    fault="vital facts that contradict each other",
    sees="a count of each kind, examples and the rule; `contradictions` changes it",
    survives="the patient, for subtyping",
)
def test_contradicting_vital_facts(tmp_path):
    """Alive with a date of death, dead without one, seen after death, vital status against the event."""
    dates = plain(vital_status=["Dead", "Alive", "Alive"] * 8).drop(columns=["os_days", "os_status"])
    dates["days_to_death"] = [10 * i + 5 if i % 3 == 0 else "" for i in range(N)]
    dates["days_to_last_follow_up"] = ["" if i % 3 == 0 else 10 * i + 5 for i in range(N)]
    dates.loc[1, "days_to_death"], dates.loc[0, "days_to_death"], dates.loc[3, "days_to_last_follow_up"] = 50, "", 900
    found, facts, report = read(tmp_path / "c.csv", dates)
    assert report["contradictions"] == {
        "alive with a date of death": 1, "dead without a date of death": 1, "last seen after the date of death": 1,
    }  # fmt: skip
    assert found["time_days"].isna().tolist()[:2] == [True, True] and found["time_days"].isna().sum() == 2
    assert found.loc["P03", "time_days"] == 35 and said(facts).count("vital facts") == 3
    with pytest.raises(InputError, match="vital facts: 1 patients"):
        read(tmp_path / "c.csv", dates, contradictions="error")
    against = plain(vital_status=["Dead", "Alive", "Alive"] * 8)
    against.loc[[1, 2], "vital_status"] = "Dead"
    found, facts, _ = read(tmp_path / "c.csv", against)
    same_outcome(found, plain())
    assert "2 patients: event against the vital status" in said(facts)
    assert read(tmp_path / "c.csv", against, contradictions="missing")[0]["time_days"].isna().sum() == 2
    against["vital_status"] = ["Alive", "Dead", "Dead"] * 8
    with pytest.raises(InputError, match="polarity is reversed"):
        read(tmp_path / "c.csv", against)


def test_the_site_column_is_used(tmp_path):
    """A site column that is there wins over the barcodes, which stand in where there is none; the facts say which."""
    barcodes = [f"TCGA-A{i % 3}-{i:04d}" for i in range(N)]
    found, facts, _ = read(tmp_path / "c.csv", plain(patient_id=barcodes, hospital=["H1", "H2"] * 12))
    assert found["site"].tolist() == ["H1", "H2"] * 12 and "column hospital, 2 sites" in str(facts.get("site"))
    found, facts, _ = read(tmp_path / "c.csv", plain(patient_id=barcodes))
    assert found["site"].tolist() == ["A0", "A1", "A2"] * 8 and "TCGA barcode" in str(facts.get("site"))
    found, facts, _ = read(tmp_path / "c.csv", plain(patient_id=barcodes, hospital=""))
    assert found["site"].tolist() == ["A0", "A1", "A2"] * 8
    assert read(tmp_path / "c.csv", plain())[1].get("site") == "none"


@pytest.mark.fault(
    stage="clinical",
    fault="follow-up columns under unusual names",
    sees="recognised, or all candidates and the settings to name them",
    survives="`endpoint: none` reads labels alone",
)
def test_follow_up_columns_are_recognised_or_listed(tmp_path):
    """Older Xena names and common ones are read; others are listed; never `skipped` alone."""
    for time, event, settings in (
        ("_OS", "_OS_IND", {}), ("overall_survival", "deceased", {"time_unit": "days"}),
        ("OS_days", "OS_event", {}), ("futime", "fustat", {"time_unit": "days"}),
        ("Overall Survival (days)", "Overall Survival Status", {}), ("survival_days", "dead", {}),
    ):  # fmt: skip
        renamed = plain().rename(columns={"os_days": time, "os_status": event})
        same_outcome(read(tmp_path / "c.csv", renamed, **settings)[0], plain())
    with pytest.raises(InputError, match="unit of time column 'overall_survival'"):
        read(tmp_path / "c.csv", plain().rename(columns={"os_days": "overall_survival", "os_status": "deceased"}))
    odd = plain().rename(columns={"os_days": "weeks_survived", "os_status": "passed_event"})
    with pytest.raises(InputError, match="times may be in weeks_survived, events in passed_event"):
        read(tmp_path / "c.csv", odd)
    found, facts, _ = read(tmp_path / "c.csv", odd, endpoint="none")
    assert found["label"].notna().all() and not facts.warnings


def test_the_polarity_alarm_is_quiet_on_small_tables(tmp_path):
    """Quarters of 10 to 15 patients look reversed by chance: no alarm on honest tables; a clear reversal is one."""
    rng = np.random.default_rng(5)
    alarms = 0
    for _ in range(120):
        n = int(rng.integers(40, 60))
        death, end = rng.exponential(1500, n), rng.uniform(200, 4000, n)
        table = pd.DataFrame({"time": np.minimum(death, end), "event": (death <= end).astype(float)})
        alarms += check_followup(table["time"], table["event"])[0]["polarity_suspicious"]
    assert alarms <= 1
    death, end = rng.exponential(4000, 60), rng.uniform(300, 3000, 60)
    assert check_followup(pd.Series(np.minimum(death, end)), pd.Series((death > end) * 1.0))[0]["polarity_suspicious"]


def test_covariates_follow_their_patient(tmp_path):
    """A format that sorts rows (the primary diagnosis first) keeps each covariate with its patient."""
    clinical, _ = gdc(20)
    clinical["diagnoses.diagnosis_is_primary_disease"] = ["false", "true"] * 60
    clinical["n"] = [i // 2 for i in range(120)]
    found, _, _ = read(tmp_path / "clinical.tsv", clinical, sep="\t", covariates=["n"])
    assert found["n"].tolist() == [int(name[-3:]) for name in found.index]
