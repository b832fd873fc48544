"""Cohorts that a model learns from besides its own: nobody of the test fold may be among their patients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..core.errors import InputError
from ..core.patient_keys import patient_key
from .checks import EXAMPLES, same_vectors

REMEDY = "take these patients out of one of the two cohorts, or the cohort out of train.with"


def refuse_shared_patients(test: Sequence[str], theirs: Sequence[str], cohort: str) -> None:
    """Raise where a test patient is in another cohort, under any form of the identifier.

    Parameters
    ----------
    test : sequence of str
        Patients of the test fold.
    theirs : sequence of str
        Patients of the other cohort.
    cohort : str
        Its name.
    """
    tested = {patient_key(patient) for patient in test}
    shared = sorted(patient for patient in theirs if patient_key(patient) in tested)
    if shared:
        raise InputError(
            f"{len(shared)} test patients are also patients of cohort {cohort}, which this variant learns from",
            row=", ".join(shared[:EXAMPLES]),
            remedy=REMEDY,
        )


def refuse_shared_slides(test: pd.DataFrame, theirs: pd.DataFrame, cohort: str) -> None:
    """Raise where the other cohort has a slide with the content of a test patient's slide.

    Parameters
    ----------
    test, theirs : DataFrame
        ``slide_id`` and, where known, ``fingerprint`` (content; empty where unknown).
    cohort : str
    """
    if "fingerprint" not in test or "fingerprint" not in theirs:
        return
    known = {str(mark): slide for mark, slide in zip(test["fingerprint"], test["slide_id"], strict=True)}
    for empty in ("", "nan", "None"):
        known.pop(empty, None)
    for mark, slide in zip(theirs["fingerprint"].astype(str), theirs["slide_id"], strict=True):
        if mark in known:
            raise InputError(
                f"slide {slide} of cohort {cohort}, which this variant learns from, has the content of the test "
                f"slide {known[mark]}",
                row=str(slide),
                remedy=REMEDY,
            )


def refuse_shared_expression(
    test: tuple[Sequence[str], np.ndarray], theirs: tuple[Sequence[str], np.ndarray], cohort: str, tolerance: float
) -> None:
    """Raise where the other cohort has the expression of a test patient, even after rounding.

    Parameters
    ----------
    test, theirs : tuple of (patients, ndarray (n, G))
        Expression as read, of the same genes in one order.
    cohort : str
    tolerance : float
        See `mirror.audit.checks.same_vectors`.
    """
    (tested, x), (others, y) = test, theirs
    if not len(tested) or not len(others) or not x.shape[1]:
        return
    names = [*tested, *others]
    for group in same_vectors(np.concatenate([x, y]), tolerance):
        mine = [names[row] for row in group if row < len(tested)]
        twins = [names[row] for row in group if row >= len(tested)]
        if mine and twins:
            raise InputError(
                f"patient {twins[0]} of cohort {cohort}, which this variant learns from, has the expression of the "
                f"test patient {mine[0]}",
                row=str(twins[0]),
                remedy=REMEDY,
            )
