"""The losses of pre-training."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ..config.pretrain import PretrainSettings, StyleSettings
from .mirror import MirrorOutput, Retained
from .style import Style, balanced_assignments


def info_nce(slide: Tensor, rna: Tensor, logit_scale: Tensor, patients: Tensor | None = None) -> Tensor:
    """Symmetric InfoNCE: mean of both directions' cross-entropies.

    Parameters
    ----------
    slide, rna : Tensor (B, D)
        Projected embeddings; row i of each is a pair.
    logit_scale : Tensor ()
    patients : Tensor int (B,), optional
        Rows of one patient are then not each other's negatives.

    Returns
    -------
    Tensor ()
    """
    logits = logit_scale.float() * (slide.float() @ rna.float().T)
    if patients is not None:
        same = patients[:, None] == patients[None]
        same.fill_diagonal_(False)
        logits = logits.masked_fill(same, -torch.inf)
    pairs = torch.arange(len(logits), device=logits.device)
    return 0.5 * (F.cross_entropy(logits, pairs) + F.cross_entropy(logits.T, pairs))


def retention_loss(retained: Retained) -> Tensor:
    """Mean squared error over the entries that count.

    Over tokens it is the mean over the width, averaged over masked tokens.
    """
    error = (retained.rebuilt.float() - retained.target.float()).square()
    if retained.mask is None:
        return error.mean()
    if error.dim() > retained.mask.dim():
        error = error.mean(-1)
    mask = retained.mask.to(error.dtype)
    return (error * mask).sum() / mask.sum().clamp(min=1)


def style_loss(style: Style) -> Tensor:
    """sum over the latent of exp(logvar) + mu^2 - 1 - logvar, mean over the batch: ()."""
    mu, logvar = style.mu.float(), style.logvar.float()
    return (logvar.exp() + mu.square() - 1 - logvar).sum(-1).mean()


def cluster_loss(slide: Tensor, rna: Tensor) -> Tensor:
    """Symmetric KL of softmaxed prototype scores (B, K), mean over the batch: ()."""
    a, b = F.log_softmax(slide.float(), -1), F.log_softmax(rna.float(), -1)
    forward = F.kl_div(b, a, reduction="batchmean", log_target=True)
    backward = F.kl_div(a, b, reduction="batchmean", log_target=True)
    return 0.5 * (forward + backward)


def balanced_loss(slide: Style, rna: Style, settings: StyleSettings) -> Tensor:
    """Both modalities predict balanced assignments to the prototypes: mean cross-entropy, ().

    The published loss is least where all scores are equal. Here equal scores predict nothing, since
    the assignments are balanced over the batch and the queue. ``swapped``: each modality predicts the
    assignment of the other one (Caron et al., 2020). ``consensus``: both predict the assignment of the
    mean of their scores.

    Parameters
    ----------
    slide, rna : Style
        Scores are cosines over ``settings.temperature``; queued rows of both belong to the same pairs.
    settings : StyleSettings
    """

    def known(*styles: Style) -> Tensor:
        scores = torch.stack([style.scores.detach().float() for style in styles]).mean(0)
        queued = [style.queued for style in styles if style.queued is not None]
        if queued:
            n = min(len(q) for q in queued)
            scores = torch.cat([scores, torch.stack([q[:n].float() for q in queued]).mean(0)])
        assigned = balanced_assignments(scores * settings.temperature, settings.epsilon)
        return assigned[: len(styles[0].scores)]

    if settings.cluster == "swapped":
        targets = [(known(rna), slide), (known(slide), rna)]
    else:
        both = known(slide, rna)
        targets = [(both, slide), (both, rna)]
    errors = [-(target * F.log_softmax(asked.scores.float(), -1)).sum(-1).mean() for target, asked in targets]
    return 0.5 * torch.stack(errors).sum()


def orthogonality_loss(alignment: Tensor, code: Tensor) -> Tensor:
    """Squared cosine between alignment embeddings and retention codes (B, D), mean: ()."""
    return F.cosine_similarity(alignment.float(), code.float(), dim=-1).square().mean()


def compute_losses(
    output: MirrorOutput,
    settings: PretrainSettings,
    patients: Tensor | None = None,
    gather: Callable[[Tensor], Tensor] | None = None,
    everything: bool = False,
) -> dict[str, Tensor]:
    """Every loss term of a batch and their weighted sum.

    Parameters
    ----------
    output : MirrorOutput
        Terms whose modality is missing are left out.
    settings : PretrainSettings
    patients : Tensor int (B,), optional
        Patient of each pair, used where ``alignment.mask_same_patient``. With ``gather`` it
        must hold the gathered batch's patients.
    gather : callable, optional
        Differentiable gathering of rows over ranks, for the contrastive loss.
    everything : bool
        Compute also terms of weight zero.

    Returns
    -------
    dict
        ``alignment``, ``slide_retention``, ``rna_retention``, ``style``, ``cluster``,
        ``orthogonality`` where they apply, unweighted, and ``total``; scalars, float32.
    """
    weights = {
        "alignment": settings.alignment.weight,
        "slide_retention": settings.retention.slide_weight,
        "rna_retention": settings.retention.rna_weight,
        "style": settings.style.style_weight,
        "cluster": settings.style.cluster_weight,
        "orthogonality": settings.retention.orthogonality_weight,
    }
    terms: dict[str, Callable[[], Tensor]] = {}
    slide, rna = output.slide_alignment, output.rna_alignment
    if slide is not None and rna is not None:
        whole: Callable[[Tensor], Tensor] = gather or (lambda x: x)
        shown = patients if settings.alignment.mask_same_patient else None
        terms["alignment"] = lambda: info_nce(whole(slide), whole(rna), output.logit_scale, shown)
    slide_kept, rna_kept = output.slide_retention, output.rna_retention
    if slide_kept is not None:
        terms["slide_retention"] = lambda: retention_loss(slide_kept)
    if rna_kept is not None:
        terms["rna_retention"] = lambda: retention_loss(rna_kept)
    styles = [style for style in (output.slide_style, output.rna_style) if style is not None]
    if styles:
        terms["style"] = lambda: 0.5 * torch.stack([style_loss(style) for style in styles]).sum()
    if len(styles) == 2:
        published = settings.style.cluster == "kl"
        terms["cluster"] = lambda: (
            cluster_loss(styles[0].scores, styles[1].scores)
            if published
            else balanced_loss(styles[0], styles[1], settings.style)
        )
    pairs = [(a, kept.code) for a, kept in ((slide, slide_kept), (rna, rna_kept)) if a is not None and kept is not None]
    if pairs:
        terms["orthogonality"] = lambda: torch.stack([orthogonality_loss(*pair) for pair in pairs]).mean()
    losses = {name: term() for name, term in terms.items() if everything or weights[name] > 0}
    total = torch.stack([weights[name] * loss for name, loss in losses.items()]).sum() if losses else None
    losses["total"] = output.logit_scale.float() * 0 if total is None else total
    return losses
