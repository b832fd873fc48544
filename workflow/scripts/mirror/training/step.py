"""One training step: forward pass and losses in one module, the optimiser and its schedule."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..config.pretrain import PretrainSettings, TrainSettings
from ..model.losses import compute_losses
from ..model.mirror import Mirror, MirrorOutput
from ..model.noise import Draws
from .distributed import Group
from .monitor import spread, variance


@dataclass(frozen=True)
class Batch:
    """What one step sees.

    Attributes
    ----------
    bags : Tensor
        float32 (B + U, N, D_p); the first B belong to pairs, the rest are unpaired slides.
    rna : Tensor
        float32 (B + V, G); the first B belong to pairs, the rest are unpaired patients.
    patients : Tensor
        int64 (B,), a number per patient.
    """

    bags: Tensor
    rna: Tensor
    patients: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same on ``device``."""
        return Batch(*(t.to(device, non_blocking=True) for t in (self.bags, self.rna, self.patients)))


class TrainStep(nn.Module):
    """Model and losses as one module, so that DDP wraps exactly one forward pass.

    Parameters
    ----------
    model : Mirror
        The model; its parameters are this module's.
    settings : PretrainSettings
        The variant.
    group : Group
        Processes whose batches are one batch for the contrastive loss.
    precision : torch.dtype
        Of autocast; losses are always computed in float32.
    """

    def __init__(self, model: Mirror, settings: PretrainSettings, group: Group, precision: torch.dtype) -> None:
        super().__init__()
        self.model, self.settings, self.group, self.precision = model, settings, group, precision

    def _autocast(self, device: torch.device) -> torch.autocast:
        return torch.autocast(device.type, dtype=self.precision, enabled=self.precision != torch.float32)

    def forward(self, batch: Batch, draws: Draws | None = None) -> dict[str, Tensor]:
        """Losses of a batch.

        Parameters
        ----------
        batch : Batch
            On the model's device.
        draws : Draws, optional
            Noise of the pairs, to be used instead of torch's generator.

        Returns
        -------
        dict of str to scalar Tensor
            Every loss term and ``total``; without gradient ``logit_scale``, ``var_wsi``, ``var_rna``,
            ``spread_wsi``, ``spread_rna`` of the pairs.
        """
        n = len(batch.patients)
        with self._autocast(batch.bags.device):
            paired = self.model(batch.bags[:n], batch.rna[:n], draws)
        losses = self._losses(paired, batch.patients)
        for name, weight, bags, rna in (
            ("slide_retention", self.settings.retention.slide_weight, batch.bags[n:], None),
            ("rna_retention", self.settings.retention.rna_weight, None, batch.rna[n:]),
        ):
            rows = bags if rna is None else rna
            if rows is None or len(rows) == 0 or name not in losses:
                continue
            with self._autocast(rows.device):
                alone = self.model(bags, rna)
            extra = self._losses(alone, None).get(name)
            if extra is None:  # a retention that reads the other modality (TANGLE) has nothing to rebuild
                continue
            joined = (n * losses[name] + len(rows) * extra) / (n + len(rows))
            losses["total"] = losses["total"] + weight * (joined - losses[name])
            losses[name] = joined
        with torch.no_grad():
            losses["logit_scale"] = paired.logit_scale
            for modality, embedding in (("wsi", paired.slide_embedding), ("rna", paired.rna_embedding)):
                losses[f"var_{modality}"] = variance(embedding)
                losses[f"spread_{modality}"] = spread(embedding)
        return losses

    def _losses(self, output: MirrorOutput, patients: Tensor | None) -> dict[str, Tensor]:
        shown = None if patients is None else self.group.gather_constant(patients)
        with torch.autocast(output.logit_scale.device.type, enabled=False):
            return compute_losses(output, self.settings, patients=shown, gather=self.group.gather)


def make_optimizer(model: nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    """Adam (decoupled weight decay where it is asked for, on matrices and kernels alone)."""
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.dim() >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=settings.lr, fused=True)


def learning_rate(update: int, updates: int, per_epoch: int, settings: TrainSettings) -> float:
    """Learning rate of update ``update`` (from 0) of ``updates``: linear warm-up, then constant or half a cosine."""
    warm = settings.warmup_epochs * per_epoch
    if update < warm:
        return settings.lr * (update + 1) / (math.floor(warm) + 1)
    if settings.schedule == "constant":
        return settings.lr
    return settings.lr * 0.5 * (1 + math.cos(math.pi * (update - warm) / max(updates - warm, 1)))


class Average:
    """Exponential moving average of a model's weights; buffers are copied.

    The decay grows from 0.1 with the number of updates, so that the first weights do not linger.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model: nn.Module, updates: int) -> None:
        """Take in the weights after ``updates`` updates."""
        weight = 1 - min(self.decay, (1 + updates) / (10 + updates))
        torch._foreach_lerp_(list(self.model.parameters()), list(model.parameters()), weight)
        for mine, theirs in zip(self.model.buffers(), model.buffers(), strict=True):
            mine.copy_(theirs)
