"""A multilayer perceptron on the fold's standardised genes."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from ...heads.scaling import Standardiser
from ..fold_data import FoldData
from ..mil import Objective
from ..registry import baseline

BATCH = 32
DROPOUT = 0.5


@baseline(
    "rna_mlp",
    tasks=("subtyping", "survival"),
    modality="rna",
    description="multilayer perceptron on genes",
    network=True,
    fewshot=False,
)
def fit(fold: FoldData):
    """One hidden layer, fixed epochs; cross-entropy, or discrete-time hazards on training-quantile bins."""
    x, train, x_test, test = fold.rna()
    settings = fold.settings.baseline
    objective = Objective(fold, train)
    scaler = Standardiser.fit(x, fold.clipped, rotate=False)
    a, b = (torch.as_tensor(scaler(part), dtype=torch.float32) for part in (x, x_test))
    torch.manual_seed(fold.seed)
    model = nn.Sequential(
        nn.Linear(a.shape[1], settings.mlp_width),
        nn.LayerNorm(settings.mlp_width),
        nn.GELU(),
        nn.Dropout(DROPOUT),
        nn.Linear(settings.mlp_width, objective.outputs),
    )
    optimiser = torch.optim.AdamW(model.parameters(), lr=settings.mlp_lr, weight_decay=settings.mlp_weight_decay)
    rng = np.random.default_rng(fold.seed)
    for _ in range(settings.mlp_epochs):
        for rows in np.array_split(rng.permutation(len(a)), max(1, len(a) // BATCH)):
            optimiser.zero_grad()
            objective.loss(model(a[rows]), torch.as_tensor(rows)).backward()
            optimiser.step()
    model.eval()
    with torch.no_grad():
        logits_train, logits = model(a).double().numpy(), model(b).double().numpy()
    return [("mlp", objective.rows(fold, test, logits_train, logits))]
