"""MIRROR a second time, written for reading: plain functions over parameters under the reference's names.

It shares no code with the library but its list of names and shapes, and gives golden files of any
size, in the form that `check_golden.py` reads. Slow; for tests alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from mirror.config.pretrain import PretrainSettings
from mirror.model.mirror import build_model
from mirror.model.reference import key_map

WEIGHTS = {"alignment": 0.5, "wsi_retention": 0.15, "rna_retention": 0.15, "style": 0.1, "cluster": 0.1}
SLIDE_HEADS, RNA_HEADS = 8, 12


@dataclass(frozen=True)
class Sizes:
    """Sizes of a golden file, in the method's letters where it has them."""

    D: int = 48
    N: int = 50
    width: int = 20
    G: int = 60
    B: int = 3
    ratio: float = 4.0
    rna_depth: int = 2
    slide_decoder: int = 1
    rna_decoder: int = 1
    style: tuple[int, int, int] = (40, 24, 16)
    K: int = 20
    mask: float = 0.75
    scale: float = 1.0
    seed: int = 0
    weights: dict[str, float] = field(default_factory=lambda: dict(WEIGHTS))


class Naive:
    """The model's parts; ``p`` holds the parameters."""

    def __init__(self, p: dict[str, Tensor], sizes: Sizes) -> None:
        self.p, self.s = p, sizes

    def linear(self, x: Tensor, name: str) -> Tensor:
        return F.linear(x, self.p[f"{name}.weight"], self.p.get(f"{name}.bias"))

    def norm(self, x: Tensor, name: str, eps: float) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], self.p[f"{name}.weight"], self.p[f"{name}.bias"], eps)

    def nystrom(self, x: Tensor, name: str) -> Tensor:
        """Attention over D/2 landmarks, padded in front, with the pseudo-inverse scaled over the batch."""
        (batch, n, _), landmarks, width = x.shape, self.s.D // 2, self.s.D // SLIDE_HEADS
        x = F.pad(x, (0, 0, -n % landmarks, 0))
        q, k, v = (
            part.reshape(batch, -1, SLIDE_HEADS, width).transpose(1, 2)
            for part in self.linear(x, f"{name}.to_qkv").chunk(3, -1)
        )
        q = q * width**-0.5
        q_l, k_l = (part.reshape(batch, SLIDE_HEADS, landmarks, -1, width).mean(3) for part in (q, k))
        left, core, right = ((a @ b.mT).softmax(-1) for a, b in ((q, k_l), (q_l, k_l), (q_l, k)))
        inverse = core.mT / (core.abs().sum(-1).max() * core.abs().sum(-2).max())
        one = torch.eye(landmarks)
        for _ in range(6):
            product = core @ inverse
            inverse = 0.25 * inverse @ (13 * one - product @ (15 * one - product @ (7 * one - product)))
        out = left @ inverse @ (right @ v)
        out = out + F.conv2d(v, self.p[f"{name}.res_conv.weight"], padding=(16, 0), groups=SLIDE_HEADS)
        out = out.transpose(1, 2).reshape(batch, -1, self.s.D)
        return self.linear(out, f"{name}.to_out.0")[:, -n:]

    def slide_layer(self, x: Tensor, name: str) -> Tensor:
        return x + self.nystrom(self.norm(x, f"{name}.norm", 1e-5), f"{name}.attn")

    def slide(self, bags: Tensor) -> Tensor:
        """CLS and the bag's tokens, (B, 1 + N, D)."""
        n, side = self.s.N, math.ceil(math.sqrt(self.s.N))
        x = F.relu(self.linear(bags, "wsi_encoder._fc1.0"))
        x = torch.cat([x, x[:, : side * side - n]], 1)
        x = torch.cat([self.p["wsi_encoder.cls_token"].expand(len(x), -1, -1), x], 1)
        x = self.slide_layer(x, "wsi_encoder.layer1")
        image = x[:, 1:].transpose(1, 2).reshape(len(x), self.s.D, side, side)
        total = image
        for name, padding in (("proj", 3), ("proj1", 2), ("proj2", 1)):
            weight, bias = (self.p[f"wsi_encoder.pos_layer.{name}.{part}"] for part in ("weight", "bias"))
            total = total + F.conv2d(image, weight, bias, padding=padding, groups=self.s.D)
        x = torch.cat([x[:, :1], total.flatten(2).transpose(1, 2)], 1)
        x = self.slide_layer(x, "wsi_encoder.layer2")
        return self.norm(x, "wsi_encoder.norm", 1e-5)[:, : n + 1]

    def block(self, x: Tensor, name: str) -> Tensor:
        """Attention over heads, the vector being one token, and an MLP; (B, D)."""
        y = self.norm(x, f"{name}.norm1", 1e-6)
        q, k, v = self.linear(y, f"{name}.attn.qkv").reshape(len(x), 3, RNA_HEADS, -1).unbind(1)
        y = ((q @ k.mT) * (self.s.D // RNA_HEADS) ** -0.5).softmax(-1) @ v
        x = x + self.linear(y.transpose(1, 2).reshape(len(x), -1), f"{name}.attn.proj")
        y = self.norm(x, f"{name}.norm2", 1e-6)
        return x + self.linear(F.gelu(self.linear(y, f"{name}.mlp.fc1")), f"{name}.mlp.fc2")

    def rna(self, values: Tensor) -> Tensor:
        x = F.gelu(self.linear(values, "rna_encoder.embedding.fc1"))
        x = self.linear(self.norm(x, "rna_encoder.embedding.norm", 1e-6), "rna_encoder.embedding.fc2")
        x = x + self.p["rna_encoder.gene_embed"].reshape(1, -1)
        for i in range(self.s.rna_depth):
            x = self.block(x, f"rna_encoder.blocks.{i}")
        return self.norm(x, "rna_encoder.norm", 1e-6)

    def aligned(self, x: Tensor, side: str) -> Tensor:
        return self.linear(F.normalize(x, dim=-1), f"{side}_encoder.alignment_head")

    def mask(self, noise: Tensor) -> Tensor:
        """1 where masked: all but the floor(n (1 - ratio)) smallest."""
        masked = torch.ones_like(noise)
        return masked.scatter(1, noise.argsort(1)[:, : int(noise.shape[1] * (1 - self.s.mask))], 0.0)

    def retain_slide(self, tokens: Tensor, masked: Tensor) -> Tensor:
        name = "wsi_encoder"
        x = self.linear(tokens, f"{name}.retention_embed")
        kept = torch.where(masked[..., None] > 0, self.p[f"{name}.mask_token"].expand_as(x[:, 1:]), x[:, 1:])
        x = torch.cat([x[:, :1], kept], 1) + self.p[f"{name}.retention_gene_embed"]
        for i in range(self.s.slide_decoder):
            x = self.slide_layer(x, f"{name}.retention_blocks.{i}")
        return self.linear(self.norm(x, f"{name}.retention_norm", 1e-5), f"{name}.retention_head")[:, 1:]

    def retain_rna(self, x: Tensor, masked: Tensor) -> Tensor:
        name = "rna_encoder"
        y = self.linear(x, f"{name}.retention_embed")
        y = torch.where(masked > 0, self.p[f"{name}.mask_token"].reshape(1, 1).expand_as(y), y)
        y = y + self.p[f"{name}.retention_gene_embed"].reshape(1, -1)
        for i in range(self.s.rna_decoder):
            y = self.block(y, f"{name}.retention_blocks.{i}")
        return self.linear(self.norm(y, f"{name}.retention_norm", 1e-6), f"{name}.retention_head")

    def style(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        hidden = F.gelu(self.linear(x, "style_encoder_mlp.fc1"))
        hidden = self.linear(hidden, "style_encoder_mlp.fc2")
        mu, logvar = self.linear(hidden, "style_mu"), self.linear(hidden, "style_logstd")
        z = mu + (0.5 * logvar).exp() * noise
        return mu, logvar, self.linear(self.linear(z, "style_decoder"), "prototypes")


def parameters(sizes: Sizes) -> dict[str, Tensor]:
    """Random parameters under the reference's names."""
    torch.manual_seed(sizes.seed)
    settings = PretrainSettings.model_validate(
        {
            "model": {
                "embed_dim": sizes.D, "tokens": sizes.N, "rna_mlp_ratio": sizes.ratio, "rna_depth": sizes.rna_depth,
                "style_hidden": sizes.style[:2], "style_dim": sizes.style[2], "prototypes": sizes.K,
            },
            "retention": {"slide_depth": sizes.slide_decoder, "rna_depth": sizes.rna_decoder},
        }
    )  # fmt: skip
    model = build_model(settings, sizes.G, sizes.width)
    mine = dict(model.named_parameters())
    scaled = {theirs: 1.0 if "norm" in theirs or not mine[ours].dim() else sizes.scale
              for theirs, ours in key_map(model).items()}  # fmt: skip
    return {t: (mine[o].detach() * scaled[t]).requires_grad_(True) for t, o in key_map(model).items()}


def symmetric_kl(a: Tensor, b: Tensor) -> Tensor:
    a, b = a.log_softmax(-1), b.log_softmax(-1)
    return 0.5 * ((b.exp() * (b - a)).sum(-1) + (a.exp() * (a - b)).sum(-1)).mean()


def write_golden(path: Path, sizes: Sizes, without: Sequence[str] = ()) -> None:
    """Write a golden file; tensors whose name starts with one of ``without`` are left out."""
    p = parameters(sizes)
    model, latent = Naive(p, sizes), sizes.style[2]
    bags, rna = torch.randn(sizes.B, sizes.N, sizes.width), torch.randn(sizes.B, sizes.G)
    noise = {
        "wsi_mask_uniform": torch.rand(sizes.B, sizes.N),
        "rna_mask_uniform": torch.rand(sizes.B, sizes.D),
        "wsi_style_normal": torch.randn(sizes.B, latent),
        "rna_style_normal": torch.randn(sizes.B, latent),
    }
    tokens, vector = model.slide(bags), model.rna(rna)
    slide = tokens[:, 0]
    out = {"logit_scale": p["logit_scale"].exp()}
    out |= {"wsi_alignment": model.aligned(slide, "wsi"), "rna_alignment": model.aligned(vector, "rna")}
    out |= {f"{side}_mask": model.mask(noise[f"{side}_mask_uniform"]) for side in ("wsi", "rna")}
    out |= {"wsi_retention": model.retain_slide(tokens, out["wsi_mask"]), "wsi_retention_target": tokens[:, 1:]}
    out |= {"rna_retention": model.retain_rna(vector, out["rna_mask"]), "rna_retention_target": vector}
    for side, embedding in (("wsi", slide), ("rna", vector)):
        parts = model.style(embedding, noise[f"{side}_style_normal"])
        out |= {f"{side}_{name}": part for name, part in zip(("mu", "logstd", "score"), parts, strict=True)}

    logits, pairs = out["logit_scale"] * out["wsi_alignment"] @ out["rna_alignment"].T, torch.arange(sizes.B)
    slide_error = (out["wsi_retention"] - tokens[:, 1:]).square().mean(-1) * out["wsi_mask"]
    rna_error = (out["rna_retention"] - vector).square() * out["rna_mask"]
    divergences = [
        (out[f"{side}_logstd"].exp() + out[f"{side}_mu"].square() - 1 - out[f"{side}_logstd"]).sum(-1).mean()
        for side in ("wsi", "rna")
    ]
    losses = {
        "alignment": 0.5 * (F.cross_entropy(logits, pairs) + F.cross_entropy(logits.T, pairs)),
        "wsi_retention": slide_error.sum() / out["wsi_mask"].sum(),
        "rna_retention": rna_error.sum() / out["rna_mask"].sum(),
        "style": 0.5 * sum(divergences),
        "cluster": symmetric_kl(out["wsi_score"], out["rna_score"]),
    }
    losses["total"] = sum(sizes.weights[name] * loss for name, loss in losses.items())
    losses["total"].backward()
    norms = {name: torch.zeros(()) if v.grad is None else v.grad.norm() for name, v in p.items()}
    groups = {"param": p, "output": out, "loss": losses, "grad_norm": norms, "noise": noise,
              "input": {"wsi": bags, "rna": rna}}  # fmt: skip
    tensors = {f"{g}.{n}": t.detach().clone().contiguous() for g, part in groups.items() for n, t in part.items()}
    kept = {name: t for name, t in tensors.items() if not name.startswith(tuple(without))}
    ratio = f"eval (dropout off), float32, mask ratio {sizes.mask} for both modalities"
    save_file(kept, path, {"config": "{}", "loss_weights": json.dumps(sizes.weights), "mode": ratio})
