"""Embed once and solve, against running the frozen encoders again in each of 100 epochs.

    python benchmarks/probe.py [--patients 48] [--tokens 100] [--epochs 100]

The published linear probe trains one layer for 100 epochs by Adam, and runs the frozen slide
and RNA encoders anew for every batch of every epoch, in training mode: their dropout stays
active, so that the head sees another noisy copy of each patient in each epoch. It also scores
the held-out fold after every epoch. Ours embeds every patient once, in evaluation mode, and
solves the convex problem (L2 logistic regression, penalty chosen inside the training patients).

Both sides see the same simulated bags and genes (label and patch means share a latent factor),
the same model (`mirror.model`, random weights: the time does not depend on them), the same
folds and threads. A third run, Adam on embeddings made once, tells how much of the difference
is the dropout and how much the solver. The last epoch counts, never the best one.

The last line is one JSON object: seconds of either side over all folds, the difference of their
mean AUROC (ours - published) and the SD of ours over folds.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow" / "scripts"))

from mirror.config.evaluation import ProbeSettings
from mirror.config.pretrain import ModelSettings, PretrainSettings
from mirror.heads.logistic import fit_logistic
from mirror.model.mirror import build_model

LR, SMOOTHING, BATCH, HEAD_SD = 2e-3, 0.1, 16, 0.01
NOISE = 1.5
LABEL_NOISE = 0.4


def simulate(patients: int, tokens: int, width: int, genes: int) -> tuple[torch.Tensor, torch.Tensor, np.ndarray]:
    """Bags (n, tokens, width), genes (n, genes) and labels (n,) that share a latent factor."""
    rng = np.random.default_rng(0)
    factor = rng.normal(size=(patients, 2))
    label = (factor[:, 0] + LABEL_NOISE * rng.normal(size=patients) > 0).astype(int)
    shift = (factor @ rng.normal(size=(2, width)))[:, None] * 0.2
    bags = shift + rng.normal(size=(patients, tokens, width))
    rna = 0.3 * factor @ rng.normal(size=(2, genes)) + NOISE * rng.normal(size=(patients, genes))
    return torch.as_tensor(bags, dtype=torch.float32), torch.as_tensor(rna, dtype=torch.float32), label


@torch.no_grad()
def embed(model, bags: torch.Tensor, rna: torch.Tensor, rows: np.ndarray) -> torch.Tensor:
    """Slide and RNA embeddings side by side, (len(rows), 2D), in batches as the probe's."""
    parts = [
        torch.cat([model.encode_slide(bags[part]), model.encode_rna(rna[part])], 1)
        for part in np.array_split(rows, -(-len(rows) // BATCH))
    ]
    return torch.cat(parts)


def published(model, bags, rna, label, train, test, epochs: int, seed: int) -> np.ndarray:
    """Probability of class 1 of the test patients after the last epoch."""
    torch.manual_seed(seed)
    head = torch.nn.Linear(2 * model.settings.model.embed_dim, 2)
    torch.nn.init.normal_(head.weight, std=HEAD_SD)
    torch.nn.init.zeros_(head.bias)
    optimiser = torch.optim.Adam(head.parameters(), lr=LR)
    criterion = torch.nn.CrossEntropyLoss(label_smoothing=SMOOTHING)
    target, rng = torch.as_tensor(label), np.random.default_rng(seed)
    p = np.zeros(len(test))
    for _ in range(epochs):
        model.train()
        for rows in np.array_split(rng.permutation(train), -(-len(train) // BATCH)):
            optimiser.zero_grad()
            criterion(head(embed(model, bags, rna, rows)), target[rows]).backward()
            optimiser.step()
        model.eval()
        with torch.no_grad():
            p = head(embed(model, bags, rna, test)).softmax(1)[:, 1].numpy()
    return p


def main() -> None:
    """Parse the command line, time both sides, print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=48)
    parser.add_argument("--tokens", type=int, default=100)
    parser.add_argument("--width", type=int, default=128, help="width of a patch feature")
    parser.add_argument("--genes", type=int, default=500)
    parser.add_argument("--embed-dim", type=int, default=96)
    parser.add_argument("--epochs", type=int, default=100, help="fewer than 100 scales the published side's time")
    parser.add_argument("--folds", type=int, default=3)
    a = parser.parse_args()
    bags, rna, label = simulate(a.patients, a.tokens, a.width, a.genes)
    sizes = ModelSettings(embed_dim=a.embed_dim, tokens=a.tokens, prototypes=64)
    torch.manual_seed(0)
    model = build_model(PretrainSettings(model=sizes), a.genes, a.width)
    seconds = {"ours": 0.0, "published": 0.0}
    scores: dict[str, list[float]] = {"ours": [], "published": [], "adam_once": []}
    model.eval()
    embed(model, bags, rna, np.arange(BATCH))  # warm up
    fit_logistic(np.eye(4), np.array(list("aabb")), np.eye(4), ProbeSettings(), 0)
    folds = StratifiedKFold(a.folds, shuffle=True, random_state=0).split(label, label)
    for fold, (train, test) in enumerate(folds):
        start = time.perf_counter()
        model.eval()
        x = embed(model, bags, rna, np.r_[train, test]).numpy()
        _, p = fit_logistic(x[: len(train)], label[train].astype(str), x[len(train) :], ProbeSettings(), fold)
        seconds["ours"] += time.perf_counter() - start
        scores["ours"].append(roc_auc_score(label[test], p[:, 1]))
        start = time.perf_counter()
        q = published(model, bags, rna, label, train, test, a.epochs, fold)
        seconds["published"] += time.perf_counter() - start
        scores["published"].append(roc_auc_score(label[test], q))
        adam = ProbeSettings(solver="adam", epochs=a.epochs)
        _, once = fit_logistic(x[: len(train)], label[train].astype(str), x[len(train) :], adam, fold)
        scores["adam_once"].append(roc_auc_score(label[test], once[:, 1]))
        print(
            f"fold {fold}: " + ", ".join(f"{name} AUROC {found[-1]:.3f}" for name, found in scores.items()), flush=True
        )
    scale = 100 / a.epochs
    if scale != 1:
        print(
            f"the published side ran {a.epochs} epochs; its time is scaled by {scale:g}, its AUROC is after {a.epochs}"
        )
    means = {name: float(np.mean(found)) for name, found in scores.items()}
    print(
        f"{a.patients} patients, {a.tokens} patches, width {a.embed_dim}, {a.folds} folds, "
        f"{torch.get_num_threads()} threads: "
        f"{seconds['published'] * scale / seconds['ours']:.0f} times less; AUROC {means['ours']:.3f} (ours), "
        f"{means['published']:.3f} (published, dropout active), {means['adam_once']:.3f} (Adam, embedded once)"
    )
    print(
        json.dumps(
            {
                "ours_s": round(seconds["ours"], 3),
                "published_s": round(seconds["published"] * scale, 3),
                "metric_difference": round(means["ours"] - means["published"], 4),
                "fold_sd": round(float(np.std(scores["ours"], ddof=1)), 4),
            }
        )
    )


if __name__ == "__main__":
    main()
