"""Class targets: rows of predictions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd


def subtyping_rows(patients: Sequence[str], truth: np.ndarray, classes: Sequence[str], probabilities: np.ndarray):
    """Rows of one fold's subtype predictions.

    Parameters
    ----------
    patients : sequence of str, length n
    truth : ndarray of str, shape (n,)
    classes : sequence of str, length C
        The classes of the training patients, in the order of the probabilities' columns.
    probabilities : ndarray of float, shape (n, C)

    Returns
    -------
    pandas.DataFrame
        Columns patient_id, y_true, classes, probabilities.
    """
    if not np.isfinite(probabilities).all():
        raise ValueError("a predicted probability is not finite")
    return pd.DataFrame(
        {
            "patient_id": list(patients),
            "y_true": np.asarray(truth, dtype=object),
            "classes": [list(classes)] * len(patients),
            "probabilities": list(np.asarray(probabilities, dtype=np.float64)),
        }
    )
