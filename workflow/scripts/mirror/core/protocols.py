"""Names of protocols: how a model is trained and tested for a target.

With one number of shots the protocol of few-shot rows is ``fewshot``; with several it is ``fewshot_{k}``, so that each
number has rows, intervals and tests of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

FEWSHOT = "fewshot"


def is_fewshot(protocol: str) -> bool:
    """Whether models of a protocol are trained on k-shot draws."""
    return protocol == FEWSHOT or protocol.startswith(f"{FEWSHOT}_")


def shots(k: int | Sequence[int]) -> list[int]:
    """The numbers of shots of ``evaluation.fewshot.k``, the smallest first."""
    return [k] if isinstance(k, int) else sorted(set(k))


def fewshot_protocol(k: int, all_shots: Sequence[int]) -> str:
    """The protocol of one number of shots among those of the configuration."""
    return FEWSHOT if len(all_shots) == 1 else f"{FEWSHOT}_{k}"


def shots_of(protocol: str) -> int | None:
    """k of ``fewshot_{k}``; None for every other protocol (``fewshot`` does not name its number)."""
    number = protocol.removeprefix(f"{FEWSHOT}_")
    return int(number) if number != protocol and number.isdigit() else None


def fewshot_name(protocol: str) -> str:
    """A few-shot protocol in words: "few-shot", or with its number "5-shot"."""
    number = shots_of(protocol)
    return "few-shot" if number is None else f"{number}-shot"


def table_shots(fewshot: Mapping[str, Any]) -> int:
    """The number of shots of the few-shot tables: ``table_k``, by default the largest of ``k``.

    Parameters
    ----------
    fewshot : mapping
        The section ``evaluation.fewshot``.
    """
    return int(fewshot.get("table_k") or max(shots(fewshot["k"])))


def is_curve(evaluation: Mapping[str, Any]) -> bool:
    """Whether a configuration's section ``evaluation`` asks for several numbers of shots."""
    return FEWSHOT in evaluation["protocols"] and len(shots(evaluation["fewshot"]["k"])) > 1
