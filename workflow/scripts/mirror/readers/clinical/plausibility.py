"""Does follow-up look as follow-up does? Polarity and unit, checked against the numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

_LONG_DAYS = 50 * 365.25
_SHORT_DAYS = 200.0
_YEAR = 365.25
_SMALL = 64
"""Below so many patients chance alone makes a quarter look reversed: there the alarm needs a test."""
_CHANCE = 0.01


def check_followup(time_days: pd.Series, event: pd.Series) -> tuple[dict[str, Any], list[str]]:
    """Judge polarity and unit of follow-up.

    With the right polarity most long observations are censored: people who are still alive are observed until
    the study ends. Turned round, the longest-observed patients "die" and early times are "censored".

    Parameters
    ----------
    time_days, event : pandas.Series
        float; event 1 = it happened. Missing values are left out.

    Returns
    -------
    numbers : dict
        Patients, events, share of events in each quarter of follow-up, longest and median time.
    warnings : list of str
        What is suspicious; empty when nothing is.
    """
    ok = time_days.notna() & event.notna()
    time, happened = time_days[ok].to_numpy(float), event[ok].to_numpy(float)
    n = len(time)
    numbers: dict[str, Any] = {"patients": n, "events": int(happened.sum())}
    if n == 0:
        return numbers, ["no patient has both time and event"]
    numbers |= {"median_days": float(np.median(time)), "longest_days": float(time.max())}
    warnings: list[str] = []
    if happened.all() or not happened.any():
        which = "every patient has the event" if happened.all() else "no patient has the event"
        warnings.append(f"{which}: survival cannot be evaluated, and the event column or its polarity may be wrong")
    if time.max() > _LONG_DAYS:
        warnings.append(f"the longest follow-up is {time.max() / 365.25:.0f} years: the time unit may be wrong")
    elif n >= 20 and time.max() < _SHORT_DAYS:
        warnings.append(f"the longest follow-up is {time.max():.0f} days: times may be months, read as days")
    elif n >= 20 and time.max() < _YEAR:
        warnings.append(f"the longest follow-up is {time.max():.0f} days: the time unit may be wrong (months, years?)")
    if n >= 20 and 0 < happened.sum() < n:
        quarters = np.array_split(happened[np.argsort(time, kind="stable")], 4)
        share = [float(q.mean()) for q in quarters]
        numbers["event_share_by_quarter"] = [round(s, 3) for s in share]
        overall = float(happened.mean())
        late = share[3] >= 0.6 and share[3] > share[0] + 0.15
        mostly = overall >= 0.7 and share[3] >= 0.65 and np.median(time) > 1.5 * 365.25
        if n < _SMALL:
            late = late and _chance(quarters[3], quarters[0]) < _CHANCE
            mostly = mostly and _chance(quarters[3]) < _CHANCE
        if late or mostly:
            warnings.append(
                f"{share[3]:.0%} of the quarter with the longest follow-up have the event, {share[0]:.0%} of the "
                f"quarter with the shortest ({overall:.0%} of all): the event polarity looks reversed; check "
                "`clinical.event_is`"
            )
            numbers["polarity_suspicious"] = True
    numbers.setdefault("polarity_suspicious", False)
    return numbers, warnings


def _chance(late: np.ndarray, early: np.ndarray | None = None) -> float:
    """Probability of so many late events by chance: against the early quarter (Fisher's exact test), or half."""
    from scipy.stats import binomtest, fisher_exact

    happened = int(late.sum())
    if early is None:
        return float(binomtest(happened, len(late), 0.5, "greater").pvalue)
    table = [[happened, len(late) - happened], [int(early.sum()), len(early) - int(early.sum())]]
    return float(fisher_exact(table, "greater")[1])
