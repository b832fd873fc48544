"""Lists that end before their end: a table cut between two lines is known by what is missing at its end."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence

LEAST_ABSENT, LEAST_PRESENT = 3, 10
IN_ORDER = 0.98
SHARE, LEAST_TAIL = 0.01, 20


def tail_absent(present: Sequence[str], absent: Collection[str]) -> bool:
    """Whether names are in alphabetical order and all that are absent would follow the last one.

    Three absent of thirteen names are the last three by chance once in 286 times, more of them less often.

    Parameters
    ----------
    present : sequence of str
        In the order of the file; repeats are allowed.
    absent : collection of str
        Names that were expected and are not there.
    """
    names = list(dict.fromkeys(present))
    if len(set(absent)) < LEAST_ABSENT or len(names) < LEAST_PRESENT:
        return False
    rising = sum(a <= b for a, b in itertools.pairwise(names))
    return rising >= IN_ORDER * (len(names) - 1) and min(absent) > max(names)


def ends_early(names: Collection[str], reference: Sequence[str]) -> str:
    """Return the last of ``names`` where they are the beginning of a longer list, else an empty text.

    Parameters
    ----------
    names : collection of str
        For example a cohort's genes.
    reference : sequence of str
        The same names in their order, and more: those of another cohort.

    Returns
    -------
    str
        Empty where fewer than 1 % of ``reference``, or fewer than 20 names, are missing, or any of them elsewhere
        than at its end (1 % of those missing may be).
    """
    known = set(names)
    missing = [place for place, name in enumerate(reference) if name not in known]
    there = [place for place, name in enumerate(reference) if name in known]
    if len(missing) < max(LEAST_TAIL, SHARE * len(reference)) or not there:
        return ""
    behind = sum(place > there[-1] for place in missing)
    return str(reference[there[-1]]) if behind >= (1 - SHARE) * len(missing) else ""
