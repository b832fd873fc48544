"""Linear heads trained by Adam, as published. PyTorch is imported where one is fitted or applied."""

from __future__ import annotations

import numpy as np

from ..config.evaluation import ProbeSettings


def fit_adam_linear(
    x: np.ndarray, outputs: int, loss, lr: float, settings: ProbeSettings, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """The published recipe: one linear layer, N(0, 0.01), Adam, fixed epochs, no penalty.

    Parameters
    ----------
    x : ndarray, shape (n, D)
        Embeddings as they are (the published probe does not standardise).
    outputs : int
    loss : callable
        ``loss(logits (b, outputs), rows (b,) int64 tensor) -> scalar tensor``.
    lr : float
    settings : ProbeSettings
        Epochs and batch size.
    seed : int
        Seed of the first weights and the order of the patients.

    Returns
    -------
    weight, bias : ndarray of float32, shapes (outputs, D), (outputs,)
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
    return head.weight.detach().numpy(), head.bias.detach().numpy()


def apply_linear(weight: np.ndarray, bias: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Logits of a linear layer, computed in float32 as in training; float64 (n, outputs)."""
    import torch

    a, w, b = (torch.as_tensor(np.ascontiguousarray(part, dtype=np.float32)) for part in (x, weight, bias))
    return torch.nn.functional.linear(a, w, b).double().numpy()
