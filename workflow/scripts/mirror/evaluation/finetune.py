"""Fine-tuning: the whole pre-trained model and a linear head, trained on the task."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from ..baselines.fold_data import FoldData
from ..baselines.mil import Objective
from ..compute.device import choose_device
from ..config.evaluation import EvaluationSettings
from ..core.hashing import sha256_file
from ..dataset.paired import PairedData
from ..heads.survival import TooFewEvents
from ..inference.encode import restore_model
from ..io.checkpoints import load_checkpoint
from ..io.predictions import Names, Result, empty, stamp
from ..io.splits import Fold, iterate_folds
from ..model.mirror import Mirror
from ..targets.base import who_takes_part

log = logging.getLogger(__name__)
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
    objective = Objective(fold, fold.train.loc[train])
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
    return [("finetuned", objective.rows(fold, fold.test.loc[test], logits_train, logits_test))], train


def evaluate_finetuned(
    checkpoints: Mapping[str, str | Path],
    load: Callable[[Fold], PairedData],
    patients: pd.DataFrame,
    splits: pd.DataFrame,
    task: str,
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
    known, notes = who_takes_part(patients, task)
    parts, seen, sources = [], {}, []
    for fold in iterate_folds(splits):
        train = known.loc[[p for p in fold.train if p in known.index]]
        test = known.loc[[p for p in fold.test if p in known.index]]
        if len(known) and not (len(train) and len(test)):
            notes.append(f"{fold.name}: no {'test' if len(train) else 'training'} patients with a known outcome")
        checkpoint = load_checkpoint(checkpoints[fold.name])
        seen[fold.name] = {"train": list(train.index), "encoder": {"patients": checkpoint.seen}}
        sources.append({"file": str(checkpoint.path), "sha256": sha256_file(checkpoint.path)})
        if not len(train) or not len(test):
            continue
        data = load(fold)
        device = choose_device(checkpoint.settings.train.device)
        for modality in settings.modalities:
            try:
                model = restore_model(checkpoint, device)  # anew: the modality before has changed the weights
                found, _ = finetune_fold(model, data, modality, FoldData(task, train, test, settings, seed))
            except TooFewEvents as reason:
                notes.append(f"{fold.name}, {modality}: left out, {reason}")
                continue
            if not found:
                notes.append(f"{fold.name}, {modality}: no patients with this modality")
            for head, rows in found:
                place = {"repeat": fold.repeat, "fold": fold.fold, "draw": 0, "seed": seed}
                how = {"task": task, "protocol": "finetune", "modality": modality, "head": head}
                parts.append(stamp(rows, names, **how, **place))
    for note in notes:
        log.warning("%s %s %s: %s", names.cohort, names.method, task, note)
    metadata = {
        "patients": seen,
        "settings": settings.model_dump(mode="json"),
        "seed": seed,
        "sources": sources,
        "notes": notes,
    }
    return Result(pd.concat(parts, ignore_index=True) if parts else empty(task), metadata)
