"""Heads as estimators: kept after fitting, stored as plain JSON, and predicting alike when read back."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from sksurv.util import Surv

from mirror.config.evaluation import ProbeSettings, SurvivalSettings
from mirror.heads.elastic_cox import ElasticCoxHead
from mirror.heads.logistic import LogisticHead
from mirror.heads.scaling import Scaling
from mirror.heads.stored import head_from_dict
from mirror.heads.survival import CoxHead, DiscreteHead, outcome

PROBE = ProbeSettings(C=[0.01, 0.1], inner_folds=3, epochs=3)
ADAM = PROBE.model_copy(update={"solver": "adam"})


def _data(width: int, n: int = 50):
    rng = np.random.default_rng(width)
    x, x_test = rng.normal(size=(n, width)), 1.5 * rng.normal(size=(9, width))
    x[:, -1] = 3.0  # a constant column, whose scale is infinite
    time = np.ceil(rng.exponential(500 * np.exp(-x[:, 0])))
    return x, x_test, np.where(x[:, 0] > 0, "late", "early"), outcome(time, rng.random(n) < 0.6)


def _stored(head):
    """Through the text of a JSON file, which knows no infinities."""
    return head_from_dict(json.loads(json.dumps(head.to_dict(), allow_nan=False)))


@pytest.mark.parametrize("width", [6, 80], ids=["narrow", "wider than long"])
@pytest.mark.parametrize("scaling", [Scaling(), Scaling(1.0, None), "weights"], ids=["plain", "clipped", "weighted"])
@pytest.mark.parametrize("probe", [PROBE, ADAM], ids=["lbfgs", "adam"])
def test_stored_classifiers_predict_alike(width, scaling, probe):
    """Two classes, three classes and one class; a rotation is folded into the coefficients."""
    x, x_test, label, _ = _data(width)
    scaling = Scaling(None, np.linspace(0.5, 2, width)) if scaling == "weights" else scaling
    for y in (label, np.where(x[:, 1] > 1, "other", label), np.full(len(x), "only")):
        head = LogisticHead(probe, 3, scaling).fit(x, y)
        again = _stored(head)
        assert np.allclose(again.predict_proba(x_test), head.predict_proba(x_test), rtol=1e-10, atol=1e-12)
        assert list(again.predict(x_test)) == list(head.predict(x_test))
        assert again.to_dict() == head.to_dict()


@pytest.mark.parametrize("width", [6, 80], ids=["narrow", "wider than long"])
@pytest.mark.parametrize("kind", ["cox", "discrete", "adam", "coxnet"])
def test_stored_survival_models_predict_alike(kind, width, monkeypatch):
    """Risks, curves at the model's times and at others, threshold and notes."""
    monkeypatch.setattr("mirror.heads.elastic_cox.REPEATS", 1)
    x, x_test, _, y = _data(width)
    make = {"cox": CoxHead, "discrete": DiscreteHead, "adam": DiscreteHead, "coxnet": ElasticCoxHead}[kind]
    head = make(SurvivalSettings(), ADAM if kind == "adam" else PROBE, 1, Scaling(2.0)).fit(x, y)
    again = _stored(head)
    assert np.allclose(again.predict_risk(x_test), head.predict_risk(x_test), rtol=1e-9, atol=1e-11)
    years = 365.25 * np.arange(1, 4)
    for times in (None, years):
        curves = head.predict_survival(x_test, times)
        assert np.allclose(again.predict_survival(x_test, times), curves, rtol=1e-9, atol=1e-11)
        assert curves.min() >= 0 and curves.max() <= 1 and (np.diff(curves, axis=1) <= 1e-12).all()
    assert (again.threshold_, again.notes_) == (head.threshold_, head.notes_)
    assert again.to_dict() == head.to_dict()


def test_curves_at_the_models_own_times_are_the_stored_ones():
    """Asking for ``times_`` is asking for the default."""
    x, x_test, _, y = _data(6)
    for head in (CoxHead(), DiscreteHead()):
        head.fit(x, y)
        assert np.array_equal(head.predict_survival(x_test, head.times_), head.predict_survival(x_test))


def test_heads_work_with_scikit_learn_and_scikit_survival():
    """Outcomes of scikit-survival, cloning and cross-validation of scikit-learn."""
    x, _, label, y = _data(6)
    assert np.array_equal(y, Surv.from_arrays(y["event"], y["time"]))
    head = clone(LogisticHead(PROBE))
    assert head.settings == PROBE and cross_val_score(head, x, label, cv=3).mean() > 0.8
    assert clone(CoxHead(probe=PROBE, seed=3)).get_params()["seed"] == 3


def test_an_unknown_kind_is_named():
    """Data of another version are refused."""
    with pytest.raises(ValueError, match="kind 'forest'"):
        head_from_dict({"kind": "forest"})


def test_converging_heads_need_no_torch(root):
    """Fitting, storing and predicting with the default solver imports no PyTorch."""
    code = """
import sys
import numpy as np
from mirror.heads.logistic import LogisticHead
from mirror.heads.survival import CoxHead, DiscreteHead, outcome
from mirror.targets.fit import fit_task
x = np.random.default_rng(0).normal(size=(40, 3))
y = outcome(np.exp(x[:, 0]) + 1, np.arange(40) % 2)
for head in (CoxHead(), DiscreteHead()):
    head.fit(x, y).prediction(x)
LogisticHead().fit(x, np.where(x[:, 0] > 0, "a", "b")).predict_proba(x)
assert "torch" not in sys.modules
"""
    environment = {"PYTHONPATH": str(root / "workflow" / "scripts"), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
