"""Linear heads trained by Adam, as published."""

from __future__ import annotations

import logging

import numpy as np

from ..config.evaluation import ProbeSettings

log = logging.getLogger(__name__)


def adam_linear(
    x: np.ndarray,
    x_test: np.ndarray,
    outputs: int,
    loss,
    lr: float,
    settings: ProbeSettings,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """The published recipe: one linear layer, N(0, 0.01), Adam, fixed epochs, no penalty.

    Parameters
    ----------
    x, x_test : ndarray, shapes (n, D) and (m, D)
        Embeddings as they are (the published probe does not standardise).
    outputs : int
    loss : callable
        ``loss(logits (b, outputs), rows (b,) int64 tensor) -> scalar tensor``.
    lr : float

    Returns
    -------
    train, test : ndarray of float64
        Logits, shapes (n, outputs) and (m, outputs).
    """
    import torch

    draw = torch.Generator().manual_seed(seed)
    a = torch.as_tensor(np.asarray(x, dtype=np.float32))
    head = torch.nn.Linear(a.shape[1], outputs)
    torch.nn.init.zeros_(head.bias)
    with torch.no_grad():
        head.weight.copy_(torch.randn(head.weight.shape, generator=draw) * 0.01)
    optimiser = torch.optim.Adam(head.parameters(), lr=lr)
    for _ in range(settings.epochs):
        for rows in torch.randperm(len(a), generator=draw).split(settings.batch_size):
            optimiser.zero_grad()
            loss(head(a[rows]), rows).backward()
            optimiser.step()
    with torch.no_grad():
        test = head(torch.as_tensor(np.asarray(x_test, dtype=np.float32)))
        return head(a).double().numpy(), test.double().numpy()
