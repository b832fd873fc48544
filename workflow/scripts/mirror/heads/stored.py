"""Fitted heads from plain data."""

from __future__ import annotations

from typing import Any

from .logistic import ClassPrediction, LogisticHead
from .ridge import NumberPrediction, RidgeHead
from .survival import HEADS, SurvivalHead, SurvivalPrediction

Head = LogisticHead | SurvivalHead | RidgeHead
Prediction = ClassPrediction | SurvivalPrediction | NumberPrediction


def head_from_dict(data: dict[str, Any]) -> Head:
    """The head that ``to_dict`` of any head gave.

    Raises
    ------
    ValueError
        The data are of no known kind of head.
    """
    kind = data.get("kind")
    if kind == "logistic":
        return LogisticHead.from_dict(data)
    if kind == "ridge":
        return RidgeHead.from_dict(data)
    if kind == "coxnet":  # scikit-survival's Coxnet is imported only where one is stored
        from .elastic_cox import ElasticCoxHead

        return ElasticCoxHead.from_dict(data)
    if kind in HEADS:
        return HEADS[kind].from_dict(data)
    raise ValueError(f"no head is of the kind {kind!r}; known: logistic, ridge, coxnet, {', '.join(HEADS)}")
