"""What an embedding knows of the simulated truth: training on small pairs in memory, and measures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from sklearn.model_selection import KFold, cross_val_predict

from ...config.evaluation import ProbeSettings, SurvivalSettings
from ...config.pretrain import PretrainSettings
from ...core.seeds import stream, torch_seed
from ...heads.logistic import fit_logistic
from ...heads.survival import fit_survival
from ...metrics.classification import subtyping_metrics
from ...metrics.retrieval import partner_ranks, retrieval_metrics
from ...metrics.survival import Censoring, FoldRisks, survival_metrics
from ...model.input_statistics import fit_input
from ...model.mirror import Mirror, build_model
from ...training.distributed import Group
from ...training.step import Batch, TrainStep, learning_rate, make_optimizer
from .readout import bag_summary, r2, ridge, standardised

RECALL_AT = (1, 5, 10)
GROUPS = {"slide_shared": "shared_", "slide_own": "slide_", "rna_shared": "shared_", "rna_own": "rna_"}


@dataclass(frozen=True)
class Pairs:
    """Pairs in memory.

    Attributes
    ----------
    bags : list of ndarray float32 (tiles, width)
    rna : ndarray float32 (n, genes)
        Standardised on the training pairs.
    patients : ndarray of int (n,)
        Rows of one patient share a number.
    factors : DataFrame (n, 12)
    """

    bags: list[np.ndarray]
    rna: np.ndarray
    patients: np.ndarray
    factors: pd.DataFrame

    def __len__(self) -> int:
        return len(self.bags)

    def take(self, rows: np.ndarray) -> Pairs:
        """Some of the pairs."""
        chosen = [self.bags[i] for i in rows]
        return Pairs(chosen, self.rna[rows], self.patients[rows], self.factors.iloc[rows])


@dataclass(frozen=True)
class Embedded:
    """Embeddings and projected embeddings of both modalities, float32 (n, D)."""

    slide: np.ndarray
    rna: np.ndarray
    slide_aligned: np.ndarray
    rna_aligned: np.ndarray

    @property
    def fused(self) -> np.ndarray:
        """Both embeddings side by side, (n, 2 D)."""
        return np.concatenate([self.slide, self.rna], 1)


def draw_rows(bag: np.ndarray, tokens: int, rng: np.random.Generator) -> np.ndarray:
    """``tokens`` rows of a bag in random order; rows repeat only where there are too few."""
    n = len(bag)
    return bag[rng.permutation(n)[:tokens] if n >= tokens else rng.integers(0, n, tokens)]


def train_model(pairs: Pairs, settings: PretrainSettings, seed: int, trained: bool = True) -> Mirror:
    """Pre-train on all pairs with the workflow's own model, losses and optimiser.

    A slim loop: bags in memory, no states, no validation patients; float32, one process.

    Parameters
    ----------
    pairs : Pairs
    settings : PretrainSettings
    seed : int
    trained : bool
        False returns the freshly initialised model.

    Raises
    ------
    FloatingPointError
        The loss is not finite.
    """
    train, tokens = settings.train, settings.model.tokens
    torch.manual_seed(torch_seed(seed, "init"))
    model = build_model(settings, pairs.rna.shape[1], pairs.bags[0].shape[1])
    if not trained:
        return model.eval()
    fit_input(model, lambda: (torch.from_numpy(bag) for bag in pairs.bags), len(pairs))
    step = TrainStep(model, settings, Group(), torch.float32).train()
    optimizer = make_optimizer(model, train)
    trained_parameters = [p for p in model.parameters() if p.requires_grad]
    rna, owner = torch.from_numpy(pairs.rna), torch.from_numpy(pairs.patients)
    rng = stream(seed, "recovery")
    per_epoch = len(pairs) // train.batch_size
    for update in range(train.epochs * per_epoch):
        if update % per_epoch == 0:
            order = rng.permutation(len(pairs))
        rows = order[update % per_epoch * train.batch_size :][: train.batch_size]
        bags = torch.from_numpy(np.stack([draw_rows(pairs.bags[i], tokens, rng) for i in rows]))
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(update, train.epochs * per_epoch, per_epoch, train)
        model.before_step()
        optimizer.zero_grad(set_to_none=True)
        loss = step(Batch(bags, rna[rows], owner[rows]))["total"]
        if not bool(torch.isfinite(loss)):
            raise FloatingPointError(f"the loss is {float(loss)} at update {update}")
        loss.backward()
        if train.clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(trained_parameters, train.clip_norm)
        optimizer.step()
        model.after_step()
    return model.eval()


@torch.inference_mode()
def embed(model: Mirror, pairs: Pairs, batch: int = 64) -> Embedded:
    """Embed pairs; bags of one length go together, each of them whole."""
    slide = np.empty((len(pairs), model.settings.model.embed_dim), np.float32)
    lengths = np.array([len(bag) for bag in pairs.bags])
    for length in np.unique(lengths):
        members = np.flatnonzero(lengths == length)
        for start in range(0, len(members), batch):
            rows = members[start : start + batch]
            slide[rows] = model.encode_slide(torch.from_numpy(np.stack([pairs.bags[i] for i in rows]))).numpy()
    rna = model.encode_rna(torch.from_numpy(pairs.rna))
    shared = model.align_slide(torch.from_numpy(slide)), model.align_rna(rna)
    return Embedded(slide, rna.numpy(), shared[0].numpy(), shared[1].numpy())


def input_summaries(pairs: Pairs, spread: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """What a linear readout of the input sees: mean (and SD) of the patch features; the genes."""
    return np.stack([bag_summary(bag, spread) for bag in pairs.bags]), pairs.rna


def recovered(x: np.ndarray, factors: np.ndarray, groups: np.ndarray | None = None, folds: int = 5) -> float:
    """R2 of a cross-validated ridge from ``x`` to factors, mean over the factors.

    Parameters
    ----------
    x : ndarray (n, D)
    factors : ndarray (n, k)
    groups : ndarray (n,), optional
        Rows with the same value stay in one fold.
    folds : int
        Outer folds; the penalty of each factor is chosen by leave-one-out inside the rest.
    """
    (z,) = standardised(x)
    number = np.arange(len(z)) if groups is None else np.unique(groups, return_inverse=True)[1]
    fold_of = np.empty(number.max() + 1, int)
    for i, (_, test) in enumerate(KFold(folds, shuffle=True, random_state=0).split(fold_of)):
        fold_of[test] = i
    splits = [(np.flatnonzero(fold_of[number] != i), np.flatnonzero(fold_of[number] == i)) for i in range(folds)]
    return r2(factors, cross_val_predict(ridge(), z, factors, cv=splits), factors.mean(0))


def truth_recovery(slide: np.ndarray, rna: np.ndarray, pairs: Pairs) -> dict[str, float]:
    """R2 of each modality's embedding for the shared and for its own factors."""
    out = {}
    for name, prefix in GROUPS.items():
        columns = [c for c in pairs.factors if str(c).startswith(prefix)]
        x = slide if name.startswith("slide") else rna
        out[name] = recovered(x, pairs.factors[columns].to_numpy(), pairs.patients)
    return out


def retrieval(slide: np.ndarray, rna: np.ndarray) -> dict[str, float]:
    """Recall and median rank: ``{metric}`` over both directions, ``{metric}_{direction}`` of each."""
    out: dict[str, float] = {}
    ranks = {"wsi_to_rna": partner_ranks(slide, rna), "rna_to_wsi": partner_ranks(rna, slide)}
    for direction, rank in ranks.items():
        for metric, value in retrieval_metrics(rank, np.ones((1, len(rank))), RECALL_AT).items():
            out[f"{metric}_{direction}"] = float(value[0])
    for metric in [f"recall_at_{k}" for k in RECALL_AT] + ["median_rank"]:
        out[metric] = float(np.mean([out[f"{metric}_{direction}"] for direction in ranks]))
    return out


def downstream(
    x: np.ndarray, outcomes: pd.DataFrame, n_train: int, seed: int, probe: ProbeSettings | None = None
) -> dict[str, float]:
    """Linear heads on frozen embeddings, fitted on the training rows and scored on the others.

    Parameters
    ----------
    x : ndarray (n, D)
        Training rows first.
    outcomes : DataFrame (n)
        subtype, os_days, os_event.
    n_train, seed : int
    probe : ProbeSettings, optional

    Returns
    -------
    dict
        accuracy, auroc, and auc_mean: the time-dependent AUC of a ridge Cox model, mean over horizons.
    """
    probe, survival = probe or ProbeSettings(inner_folds=3), SurvivalSettings()
    label = outcomes["subtype"].to_numpy().astype(str)
    time, event = outcomes["os_days"].to_numpy(float), outcomes["os_event"].to_numpy(int)
    fit, test = slice(0, n_train), slice(n_train, None)
    classes, p = fit_logistic(x[fit], label[fit], x[test], probe, seed)
    once = np.ones((1, len(x) - n_train))
    truth = np.searchsorted(classes, label[test])
    found = subtyping_metrics(truth, p, once)
    risks, _ = fit_survival(x[fit], time[fit], event[fit], x[test], "cox", survival, probe, seed)
    rows = np.arange(len(risks.risk))
    fold = FoldRisks(
        rows, time[test], event[test], risks.risk, risks.times, risks.survival, Censoring.fit(time[fit], event[fit])
    )
    curves, _ = survival_metrics([fold], once, survival.horizons_days)
    return {
        "accuracy": float(found["accuracy"][0]),
        "auroc": float(found["auroc"][0]),
        "auc_mean": float(curves["auc_mean"][0]),
    }
