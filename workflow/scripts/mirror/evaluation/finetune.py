"""Fine-tuning: the whole pre-trained model and a linear head, trained on the task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from ..baselines.fold_data import FoldData
from ..baselines.mil import Objective
from ..compute.device import choose_device
from ..config.evaluation import EvaluationSettings
from ..dataset.paired import PairedData
from ..inference.encode import restore_model
from ..io.checkpoints import load_checkpoint
from ..io.predictions import Names, Result
from ..io.splits import Fold
from ..model.mirror import Mirror
from ..targets.fit import rows_of
from ..targets.folds import FoldRun

HEAD_SD = 0.01
"""Spread of the head's first weights, as published."""


class _Inputs:
    """Bags and RNA of patients; a patient's slides are averaged after encoding."""

    def __init__(self, data: PairedData, modality: str, tokens: int, device: torch.device) -> None:
        self.data, self.modality, self.tokens, self.device = data, modality, tokens, device
        self.row = {p: i for i, p in enumerate(data.rna_patients)}
        self.slides = data.slides.groupby("patient_id")["slide_id"].apply(list).to_dict() if data.bags else {}

    def have(self, patients: list[str]) -> list[str]:
        """Those that have what the modality needs."""
        wsi, rna = self.modality in ("wsi", "fused"), self.modality in ("rna", "fused")
        return [p for p in patients if (not wsi or p in self.slides) and (not rna or p in self.row)]

    def embed(self, model: Mirror, patient: str, seed: int, epoch: int | None) -> Tensor:
        """Embedding of one patient, (1, D) or (1, 2D): random patches in training (an epoch is given)."""
        parts = []
        if self.modality in ("wsi", "fused"):
            bags = self.data.bags
            assert bags is not None
            tokens = []
            for slide in self.slides[patient]:
                if epoch is None:
                    bag = bags.whole(slide, self.tokens, seed)
                else:
                    bag = bags.bag(slide, min(self.tokens, bags.length(slide)), seed, epoch)
                tokens.append(model.encode_slide(bag[None].to(self.device)))
            parts.append(torch.stack(tokens).mean(0))
        if self.modality in ("rna", "fused"):
            vector = torch.from_numpy(self.data.rna[self.row[patient]])
            parts.append(model.encode_rna(vector[None].to(self.device)))
        return torch.cat(parts, dim=1)


def finetune_fold(
    model: Mirror, data: PairedData, modality: str, fold: FoldData
) -> tuple[list[tuple[str, pd.DataFrame]], list[str]]:
    """Fine-tune on a fold's training patients for a fixed number of epochs and predict its test patients.

    Parameters
    ----------
    model : Mirror
        Its weights are changed.
    data : PairedData
        The fold's bags and transformed expression.
    modality : {"wsi", "rna", "fused"}
    fold : FoldData
        Task, training and test patients, settings and seed.

    Returns
    -------
    predictions : list of (head, rows)
    trained_on : list of str
        Training patients that have the modality.
    """
    settings = fold.settings.finetune
    device = next(model.parameters()).device
    inputs = _Inputs(data, modality, settings.tokens, device)
    train, test = inputs.have(list(fold.train.index)), inputs.have(list(fold.test.index))
    if not train or not test:
        return [], train
    objective = Objective(fold.task, fold.train.loc[train], fold.settings)
    torch.manual_seed(fold.seed)
    width = model.settings.model.embed_dim * (2 if modality == "fused" else 1)
    head = nn.Linear(width, objective.outputs)
    nn.init.normal_(head.weight, std=HEAD_SD)
    nn.init.zeros_(head.bias)
    head.to(device)
    model.requires_grad_(True)
    groups = [
        {"params": model.parameters(), "lr": settings.lr},
        {"params": head.parameters(), "lr": settings.lr_head},
    ]
    optimiser, rng = torch.optim.Adam(groups), np.random.default_rng(fold.seed)
    for epoch in range(settings.epochs):
        model.train()
        for rows in np.array_split(rng.permutation(len(train)), -(-len(train) // settings.batch_size)):
            optimiser.zero_grad()
            logits = torch.cat([head(inputs.embed(model, train[row], fold.seed, epoch)) for row in rows])
            objective.loss(logits.cpu(), torch.as_tensor(rows)).backward()
            optimiser.step()
    model.eval()
    with torch.no_grad():
        logits_train, logits_test = (
            np.concatenate([head(inputs.embed(model, p, fold.seed, None)).cpu().numpy() for p in part]).astype(float)
            for part in (train, test)
        )
    objective.set_threshold(logits_train)
    return [("finetuned", rows_of(objective.prediction(logits_test), fold.test.loc[test], fold.target))], train


def evaluate_finetuned(
    checkpoints: Mapping[str, str | Path],
    load: Callable[[Fold], PairedData],
    patients: pd.DataFrame,
    splits: pd.DataFrame,
    task: Any,
    names: Names,
    settings: EvaluationSettings,
    seed: int,
) -> Result:
    """Fine-tune each fold's checkpoint, for every modality of the settings.

    Parameters
    ----------
    checkpoints : mapping of fold name to path
    load : callable
        Gives a fold's data (see `mirror.dataset.paired.load_paired`).
    patients, splits, task, names, settings, seed
        See `evaluate_embeddings`.

    Returns
    -------
    Result
        Protocol ``finetune``, head ``finetuned``.
    """
    run, sources = FoldRun(task, patients, splits, names, settings, seed), []
    for fold in run:
        checkpoint = load_checkpoint(checkpoints[fold.name])
        run.seen[fold.name]["encoder"] = {"patients": checkpoint.seen}
        sources.append(checkpoint.path)
        if run.is_empty(fold):
            continue
        data = load(fold.source)
        device = choose_device(checkpoint.settings.train.device)
        for modality in settings.modalities:
            with run.attempt(f"{fold.name}, {modality}"):
                model = restore_model(checkpoint, device)  # anew: the modality before has changed the weights
                of_fold = FoldData(task, fold.train, fold.test, settings, seed)
                found, _ = finetune_fold(model, data, modality, of_fold)
                if not found:
                    run.notes.append(f"{fold.name}, {modality}: no patients with this modality")
                for head, rows in found:
                    run.add(rows, fold, protocol="finetune", modality=modality, head=head)
    return run.result(sources)
