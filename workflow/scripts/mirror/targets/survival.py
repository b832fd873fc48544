"""Survival targets: rows of predictions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..heads.survival import outcome


def outcome_of(table: pd.DataFrame) -> np.ndarray:
    """Follow-up times and events of rows of the patients table (see `mirror.heads.survival.outcome`)."""
    return outcome(table["time_days"].to_numpy(float), table["event"].to_numpy(float))


def survival_rows(
    patients: Sequence[str],
    time: np.ndarray,
    event: np.ndarray,
    risk: np.ndarray,
    threshold: float,
    survival_times: np.ndarray,
    survival: np.ndarray,
) -> pd.DataFrame:
    """Rows of one fold's survival predictions: one risk per patient.

    Parameters
    ----------
    patients : sequence of str, length n
    time, event, risk : ndarray, shape (n,)
        Follow-up in days, 1 for an event, and the risk (larger is worse).
    threshold : float
        Median risk of the training patients; a risk above it is the group "high".
    survival_times : ndarray of float, shape (T,)
        Days; may be empty where a model gives no survival function.
    survival : ndarray of float, shape (n, T)
        Probability of surviving beyond each time.
    """
    if not (np.isfinite(risk).all() and np.isfinite(survival).all()):
        raise ValueError("a predicted risk or survival probability is not finite")
    return pd.DataFrame(
        {
            "patient_id": list(patients),
            "time_days": np.asarray(time, dtype=np.float64),
            "event": np.asarray(event, dtype=np.int64),
            "risk": np.asarray(risk, dtype=np.float64),
            "risk_group": np.where(np.asarray(risk) > threshold, "high", "low"),
            "survival_times": [np.asarray(survival_times, dtype=np.float64)] * len(patients),
            "survival": list(np.asarray(survival, dtype=np.float64)),
        }
    )
