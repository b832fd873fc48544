"""Split schemes for some cohorts, and cohorts that are not evaluated on their own."""

from __future__ import annotations

import pytest

from mirror.core.errors import InputError
from mirror.plan.plan import Plan
from mirror.plan.work import count_work

SIMULATED = {"simulate": {"patients": 12}}
PUBLISHED = {"kind": "published", "path": "folds/{cohort}", "folds": 3}


def plan(root, cohorts, **more) -> Plan:
    """A plan of simulated cohorts with what is given to each."""
    config = {"cohorts": {n: {**({} if "joint" in c else SIMULATED), **c} for n, c in cohorts.items()}, **more}
    return Plan.read({"encoders": ["demo-random"], **config}, root)


POOL = {"A": {"evaluate": False}, "B": {"evaluate": False}, "pan": {"joint": ["A", "B"]}}


def test_members_that_are_not_evaluated_have_neither_folds_nor_results(root):
    p = plan(root, POOL)
    assert p.cohorts == ["A", "B", "pan"] and p.evaluated == p.scored == ["pan"]
    assert p.schemes("A") == [] and p.schemes("pan") == ["cv5"]
    assert p.predictions("A") == [] and all("/pan/" in path for path in p.predictions("pan"))
    assert all("/pan/" in path for path in p.added("cv5"))
    assert p.all_tasks == ["subtyping", "survival"]
    whole = plan(root, {n: {k: v for k, v in c.items() if k != "evaluate"} for n, c in POOL.items()})
    assert whole.evaluated == ["A", "B", "pan"]
    ours, theirs = count_work(p), count_work(whole)
    assert set(ours.models) == {"pan"} and set(theirs.models) == {"A", "B", "pan"}
    assert ours.jobs["tiling"] == theirs.jobs["tiling"] and 3 * ours.jobs["pre-training"] == theirs.jobs["pre-training"]


def test_a_scheme_may_be_for_some_cohorts(root):
    p = plan(root, {"A": {}, "B": {}}, splits={"published": {**PUBLISHED, "cohorts": ["A"]}, "cv2": {"folds": 2}})
    assert p.schemes("A") == ["published", "cv2"] and p.schemes("B") == ["cv2"]
    assert not [path for path in p.predictions("B") if "/published/" in path]
    assert {path.split("/")[2] for path in p.added("published")} == {"A"}
    assert count_work(p).folds == 2
    models = count_work(p).models
    assert models["A"] == 3 * (3 + 2) and models["B"] == 3 * 2


def test_a_pool_alone_may_have_published_folds(root):
    p = plan(root, POOL, splits={"published": {**PUBLISHED, "cohorts": ["pan"]}})
    assert [p.schemes(name) for name in p.cohorts] == [[], [], ["published"]]


def test_a_target_of_a_transfer_needs_no_folds(root):
    p = plan(root, {"A": {}, "B": {"evaluate": False}}, evaluation={"transfer": [{"source": "A", "target": "B"}]})
    assert p.evaluated == ["A"] and p.scored == ["A", "B"]
    assert [(t.source, t.target, t.scheme) for t in p.transfers] == [("A", "B", "cv5")]


def test_a_cohort_that_a_variant_learns_from_needs_no_folds(root):
    p = plan(root, {"A": {}, "B": {"evaluate": False}}, variants={"mirror": {"train": {"with": ["B"]}}})
    assert p.evaluated == ["A"]


REFUSED = [
    ({"A": {"evaluate": False}}, {}, "no cohort is evaluated"),
    (
        {"A": {}, "B": {"evaluate": False}},
        {},
        "cohort `B` has `evaluate: false`, and no pooled cohort, transfer or variant",
    ),
    ({"A": {}}, {"splits": {"s": {"cohorts": ["AA"]}}}, "no cohort is called `AA`; did you mean `A`"),
    ({"A": {}, "B": {}}, {"splits": {"s": {"cohorts": ["A"]}}}, "cohort `B` has no split scheme"),
    (POOL, {"splits": {"s": {"cohorts": ["A", "pan"]}}}, "cohort `A` is not evaluated"),
    (
        {"A": {}, "B": {"evaluate": False}},
        {"evaluation": {"transfer": [{"source": "A", "target": "B"}, {"source": "B", "target": "A"}]}},
        "no model is trained on `B`",
    ),
]


@pytest.mark.parametrize(("cohorts", "more", "said"), REFUSED)
def test_what_leaves_nothing_or_contradicts_is_refused(root, cohorts, more, said):
    with pytest.raises(InputError) as error:
        plan(root, cohorts, **more)
    assert said in str(error.value) and error.value.remedy
