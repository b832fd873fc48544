"""Joining the three tables: who is lost, and why."""

from __future__ import annotations

import json

import anndata
import numpy as np
import pandas as pd
import pytest

from mirror.cohort.build import build_cohort
from mirror.cohort.pool import pool_expression, pool_tables
from mirror.core.errors import InputError


def slides(n, failed=()):
    return pd.DataFrame(
        {
            "slide_id": [f"s{i}" for i in range(n)],
            "patient_id": [f"p{i}" for i in range(n)],
            "status": ["failed" if i in failed else "ok" for i in range(n)],
            "n_tiles": 5,
            "message": ["broken" if i in failed else "" for i in range(n)],
            "fingerprint": [f"f{i}" for i in range(n)],
        }
    )


def clinical(ids):
    return pd.DataFrame({"patient_id": ids, "label": "A", "time_days": 10.0, "event": 1})


def rna(ids):
    return pd.DataFrame({"sample_id": [f"{i}-01" for i in ids]}, index=pd.Index(ids, name="patient_id"))


def join(**changes):
    base = {
        "tiles": slides(4),
        "features": [slides(4)],
        "clinical": clinical(["p0", "p1", "p2", "p9"]),
        "rna": rna(["p1", "p2", "p3"]),
    }
    return build_cohort(**{**base, **changes})


def test_every_loss_is_counted():
    cohort = join()
    assert list(cohort.patients["patient_id"]) == ["p1", "p2"]
    assert list(cohort.slides["slide_id"]) == ["s1", "s2"]
    people = cohort.flow[cohort.flow["unit"] == "patients"].set_index("step")
    assert people.loc["patients with a usable slide or expression", "kept"] == 4
    assert people.loc["in the clinical table", "dropped"] == 1
    assert people.loc["with expression", "dropped"] == 1
    assert people.loc["in the cohort", "kept"] == 2


def test_any_modality_keeps_more():
    assert list(join(require="any").patients["patient_id"]) == ["p0", "p1", "p2"]


def test_failed_slides_are_lost_within_the_policy_and_stop_beyond_it():
    cohort = join(tiles=slides(4, failed=[1]), max_failed_fraction=0.3)
    assert list(cohort.patients["patient_id"]) == ["p2"]
    assert cohort.failures.loc[0, "message"] == "broken"
    with pytest.raises(InputError, match=r"2 of 4 slides failed.*s1: broken"):
        join(tiles=slides(4, failed=[1, 2]), max_failed_fraction=0.3)


def test_twins_of_one_patient_count_once_and_twins_of_two_stay_for_the_audit():
    twins = slides(4)
    twins.loc[3, ["fingerprint", "patient_id"]] = ["f2", "p2"]
    cohort = join(tiles=twins, features=[])
    assert "s3" not in set(cohort.slides["slide_id"])
    assert cohort.flow.set_index("step").loc["duplicate content", "dropped"] == 1
    strangers = slides(4)
    strangers.loc[2, "fingerprint"] = "f1"
    assert {"s1", "s2"} <= set(join(tiles=strangers, features=[]).slides["slide_id"])


def test_strangers_get_an_error_that_shows_the_identifiers():
    with pytest.raises(InputError, match=r"no patient is left.*slides say \['p0', 'p1'\].*\['TCGA"):
        join(rna=rna(["TCGA-AA-0001"]))


def test_pooled_cohorts_refuse_a_patient_in_two():
    a, b = pd.DataFrame({"patient_id": ["p1", "p2"]}), pd.DataFrame({"patient_id": ["p2"]})
    with pytest.raises(InputError, match="p2 in A and B"):
        pool_tables({"A": a, "B": b}, "patient_id", "patients")
    assert list(pool_tables({"A": a}, "patient_id", "patients")["cohort"]) == ["A", "A"]


def test_pooled_genes_by_intersection_and_union():
    def member(patients, genes):
        x = np.ones((len(patients), len(genes)), np.float32)
        member = anndata.AnnData(x, obs=pd.DataFrame(index=patients), var=pd.DataFrame({"symbol": genes}, index=genes))
        member.uns["mirror"] = json.dumps({"values": {"kind": "counts"}, "normalized": {"scale": "log1p"}})
        return member

    members = {"A": member(["p1"], ["g1", "g2"]), "B": member(["p2"], ["g2", "g3"])}
    assert list(pool_expression(members, "intersection").var_names) == ["g2"]
    union = pool_expression(members, "union")
    assert set(union.var_names) == {"g1", "g2", "g3"}
    assert np.isnan(union["p1", "g3"].X).all()
    assert json.loads(union.uns["mirror"])["values"]["kind"] == "counts"
    assert list(union.var.loc[["g1", "g3"], "symbol"]) == ["g1", "g3"]
    with pytest.raises(InputError, match="no gene in common"):
        pool_expression({"A": member(["p1"], ["g1"]), "B": member(["p2"], ["g3"])}, "intersection")
