"""Initialisation as published."""

from __future__ import annotations

import math

import torch
from torch import nn

from .retention import EmbeddingTokenRetention, RnaTokenRetention, SlideTokenRetention
from .rna_encoder import RnaEncoder
from .slide_encoder import SlideEncoder
from .style import StyleClustering

STD = 0.02


def init_slide_side(*modules: nn.Module) -> None:
    """Linears Xavier uniform with zero bias, LayerNorms one and zero; convolutions as torch does."""
    for module in (m for root in modules for m in root.modules()):
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)


def init_tokens(*modules: nn.Module) -> None:
    """CLS and mask tokens N(0, 0.02); position vectors truncated normal 0.02."""
    for module in modules:
        if isinstance(module, SlideEncoder):
            nn.init.normal_(module.cls_token, std=STD)
        if isinstance(module, SlideTokenRetention | RnaTokenRetention):
            nn.init.normal_(module.mask_token, std=STD)
        if isinstance(module, SlideTokenRetention | RnaTokenRetention | RnaEncoder | EmbeddingTokenRetention):
            nn.init.trunc_normal_(module.position, std=STD)


@torch.no_grad()
def scale_rna_retention(module: nn.Module) -> None:
    """Block i (from 1): weights of the attention projection and second MLP layer over sqrt(2 i)."""
    if isinstance(module, RnaTokenRetention):
        for depth, block in enumerate(module.blocks, start=1):
            block.attention.proj.weight.div_(math.sqrt(2 * depth))  # type: ignore[operator, union-attr]
            block.fc2.weight.div_(math.sqrt(2 * depth))  # type: ignore[operator, union-attr]


def init_prototypes(style: StyleClustering) -> None:
    """Prototypes start orthogonal."""
    nn.init.orthogonal_(style.prototypes.weight)
