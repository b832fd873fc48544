"""Discrete-time survival likelihood (Zadeh and Schmid, IEEE TPAMI 2021)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SMALLEST = 1e-7


def hazards(logits: Tensor) -> Tensor:
    """Sigmoid, clamped to [1e-7, 1 - 1e-7]; shape kept."""
    return torch.sigmoid(logits.float()).clamp(SMALLEST, 1 - SMALLEST)


def survival_function(logits: Tensor) -> Tensor:
    """Probability to survive each bin, (n, bins): cumulative product of one minus the hazards."""
    return torch.cumprod(1 - hazards(logits), 1)


def risk(logits: Tensor) -> Tensor:
    """Minus the sum of the survival function, (n,): higher means sooner."""
    return -survival_function(logits).sum(1)


def nll_survival(logits: Tensor, bins: Tensor, events: Tensor, alpha: float = 0.0) -> Tensor:
    """Negative log likelihood of discrete event times.

    Parameters
    ----------
    logits : Tensor (n, K)
        One logit a time bin.
    bins : Tensor (n,)
        Bin of the event or of censoring, 0 to K - 1.
    events : Tensor (n,)
        1 where the event happened, 0 where censored.
    alpha : float
        Weight moved from all patients to those with an event.

    Returns
    -------
    Tensor ()
        Mean of (1 - alpha) nll + alpha nll of events.
    """
    h = hazards(logits)
    bins, events = bins.long()[:, None], events.float()
    log_alive = F.pad(torch.log1p(-h).cumsum(1), (1, 0))
    before, at = log_alive.gather(1, bins)[:, 0], log_alive.gather(1, bins + 1)[:, 0]
    event_term = -events * (before + torch.log(h).gather(1, bins)[:, 0])
    censored_term = -(1 - events) * at
    return ((1 - alpha) * (event_term + censored_term) + alpha * event_term).mean()
