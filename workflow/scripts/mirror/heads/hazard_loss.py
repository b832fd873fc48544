"""Discrete-time survival likelihood for networks (Zadeh and Schmid, IEEE TPAMI 2021); for arrays see `hazards`."""

from __future__ import annotations

import torch
from torch import Tensor

from .hazards import CLAMP


def hazards(logits: Tensor) -> Tensor:
    """Sigmoid, clamped to [1e-7, 1 - 1e-7]; shape kept."""
    return torch.sigmoid(logits.float()).clamp(CLAMP, 1 - CLAMP)


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
        One logit per time bin.
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
    step, bins, events = torch.arange(h.shape[1], device=h.device), bins[:, None], events.float()
    hit = ((step == bins) & (events[:, None] == 1)).float()
    loss = -((hit * h.log() + (1 - hit) * torch.log1p(-h)) * (step <= bins)).sum(1)
    return ((1 - alpha) * loss + alpha * loss * events).mean()
