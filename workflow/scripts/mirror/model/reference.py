"""Checkpoints of the reference implementation: the key map, reading and writing.

Key map, reference name to ours (a name is mapped by the longest prefix; what follows a
block's index is mapped by the second table):

==================================  =====================================
reference                           here
==================================  =====================================
``logit_scale``                     ``logit_scale``
``wsi_encoder.cls_token``           ``slide_encoder.cls_token``
``wsi_encoder._fc1.0``              ``slide_encoder.embed``
``wsi_encoder.layer{1,2}``          ``slide_encoder.block{1,2}``
``wsi_encoder.pos_layer.proj``      ``slide_encoder.ppeg.conv7`` (``proj1``: 5, ``proj2``: 3)
``wsi_encoder.norm``                ``slide_encoder.norm``
``{wsi,rna}_encoder.alignment_head``  ``{slide,rna}_projection``
``wsi_encoder.retention_*``         ``slide_retention.*``
``rna_encoder.embedding``           ``rna_encoder.{fc1,hidden_norm,fc2}``
``rna_encoder.gene_embed``          ``rna_encoder.position``
``rna_encoder.retention_*``         ``rna_retention.*``
``style_encoder_mlp``, ``style_*``  ``style.*``
``prototypes``                      ``style.prototypes``
==================================  =====================================
"""

from __future__ import annotations

import argparse
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..config.pretrain import ModelSettings, PretrainSettings, RetentionSettings
from ..io.atomic import atomic_path
from ..io.errors import InputError
from .mirror import Mirror, build_model

PREFIXES = {
    "logit_scale": "logit_scale",
    "wsi_encoder.cls_token": "slide_encoder.cls_token",
    "wsi_encoder._fc1.0.": "slide_encoder.embed.",
    "wsi_encoder.layer1.": "slide_encoder.block1.",
    "wsi_encoder.layer2.": "slide_encoder.block2.",
    "wsi_encoder.pos_layer.proj.": "slide_encoder.ppeg.conv7.",
    "wsi_encoder.pos_layer.proj1.": "slide_encoder.ppeg.conv5.",
    "wsi_encoder.pos_layer.proj2.": "slide_encoder.ppeg.conv3.",
    "wsi_encoder.norm.": "slide_encoder.norm.",
    "wsi_encoder.alignment_head.": "slide_projection.",
    "wsi_encoder.mask_token": "slide_retention.mask_token",
    "wsi_encoder.retention_gene_embed": "slide_retention.position",
    "wsi_encoder.retention_embed.": "slide_retention.embed.",
    "wsi_encoder.retention_blocks.": "slide_retention.blocks.",
    "wsi_encoder.retention_norm.": "slide_retention.norm.",
    "wsi_encoder.retention_head.": "slide_retention.head.",
    "rna_encoder.gene_embed": "rna_encoder.position",
    "rna_encoder.embedding.fc1.": "rna_encoder.fc1.",
    "rna_encoder.embedding.norm.": "rna_encoder.hidden_norm.",
    "rna_encoder.embedding.fc2.": "rna_encoder.fc2.",
    "rna_encoder.blocks.": "rna_encoder.blocks.",
    "rna_encoder.norm.": "rna_encoder.norm.",
    "rna_encoder.alignment_head.": "rna_projection.",
    "rna_encoder.mask_token": "rna_retention.mask_token",
    "rna_encoder.retention_gene_embed": "rna_retention.position",
    "rna_encoder.retention_embed.": "rna_retention.embed.",
    "rna_encoder.retention_blocks.": "rna_retention.blocks.",
    "rna_encoder.retention_norm.": "rna_retention.norm.",
    "rna_encoder.retention_head.": "rna_retention.head.",
    "style_encoder_mlp.": "style.",
    "style_mu.": "style.mu.",
    "style_logstd.": "style.logvar.",
    "style_decoder.": "style.decoder.",
    "prototypes.": "style.prototypes.",
}
# Inside a block.
INSIDE_SLIDE = {
    ".attn.to_qkv.": ".attention.qkv.",
    ".attn.to_out.0.": ".attention.out.",
    ".attn.res_conv.": ".attention.residual.",
}
INSIDE_RNA = {
    ".attn.qkv.": ".attention.qkv.",
    ".attn.proj.": ".attention.proj.",
    ".mlp.fc1.": ".fc1.",
    ".mlp.fc2.": ".fc2.",
}


@dataclass(frozen=True)
class ReferenceCheckpoint:
    """A reference checkpoint in our terms.

    Attributes
    ----------
    state : dict
        Parameters under our names.
    settings : PretrainSettings
        Sizes read off the shapes; reference behaviour where it differs from our defaults.
    n_genes, feature_width : int
    arguments : dict
        What its training script was started with, if stored.
    """

    state: dict[str, Tensor]
    settings: PretrainSettings
    n_genes: int
    feature_width: int
    arguments: dict[str, Any]

    def build(self) -> Mirror:
        """The model with these weights."""
        model = build_model(self.settings, self.n_genes, self.feature_width)
        load_parameters(model, self.state)
        return model


def to_ours(name: str) -> str:
    """Our name of a reference parameter; KeyError where it has none."""
    prefix = max((p for p in PREFIXES if name.startswith(p)), key=len, default=None)
    if prefix is None:
        raise KeyError(name)
    inner = "." + name[len(prefix) :]
    for theirs, ours in _inside(PREFIXES[prefix]).items():
        inner = inner.replace(theirs, ours)
    return PREFIXES[prefix] + inner[1:]


def _inside(our_prefix: str) -> dict[str, str]:
    """The table for what follows this prefix; only blocks need one."""
    if ".block" not in our_prefix:
        return {}
    return INSIDE_SLIDE if our_prefix.startswith("slide") else INSIDE_RNA


def key_map(model: Mirror) -> dict[str, str]:
    """Every reference name of a published model, with ours."""
    return {_to_reference(ours): ours for ours, _ in model.named_parameters()}


def _to_reference(ours: str) -> str:
    for theirs_prefix, our_prefix in sorted(PREFIXES.items(), key=lambda item: -len(item[1])):
        if not ours.startswith(our_prefix):
            continue
        inner = "." + ours[len(our_prefix) :]
        for theirs, mine in _inside(our_prefix).items():
            inner = inner.replace(mine, theirs)
        return theirs_prefix + inner[1:]
    raise KeyError(ours)


def convert(state: dict[str, Tensor], source: str | Path | None = None) -> dict[str, Tensor]:
    """A reference state under our names; a ``module.`` prefix is dropped.

    Raises
    ------
    InputError
        A name that the reference does not have.
    """
    ours: dict[str, Tensor] = {}
    for name, value in state.items():
        try:
            ours[to_ours(name.removeprefix("module."))] = value
        except KeyError:
            raise InputError(
                "a parameter that the reference's model does not have",
                file=source,
                row=name,
                remedy="give a checkpoint of the reference's pre-training",
            ) from None
    return ours


def infer_settings(state: dict[str, Tensor], rna_heads: int = 12, batch_pinv: bool = True) -> PretrainSettings:
    """Settings whose model has the shapes of ``state`` (our names).

    Parameters
    ----------
    state : dict
    rna_heads : int
        The one size that no shape shows.
    batch_pinv : bool
        The reference's pseudo-inverse scaling, or ours.
    """
    dim, _ = state["slide_encoder.embed.weight"].shape

    def depth(prefix: str) -> int:
        return len({name.split(".")[2] for name in state if name.startswith(prefix)})

    return PretrainSettings(
        model=ModelSettings(
            embed_dim=dim,
            slide_heads=len(state["slide_encoder.block1.attention.residual.weight"]),
            pinv_scaling="batch" if batch_pinv else "matrix",
            rna_depth=depth("rna_encoder.blocks."),
            rna_heads=rna_heads,
            rna_mlp_ratio=(len(state["rna_encoder.blocks.0.fc1.weight"]) + 1e-3) / dim,
            style_dim=len(state["style.mu.weight"]),
            style_hidden=(len(state["style.fc1.weight"]), len(state["style.fc2.weight"])),
            prototypes=len(state["style.prototypes.weight"]),
            tokens=state["slide_retention.position"].shape[1] - 1,
        ),
        retention=RetentionSettings(
            slide_depth=depth("slide_retention.blocks."), rna_depth=depth("rna_retention.blocks.")
        ),
    )


def load_parameters(model: Mirror, state: dict[str, Tensor], source: str | Path | None = None) -> None:
    """Copy parameters under our names into ``model``; every parameter must be there and fit."""
    shapes = {name: p.shape for name, p in model.named_parameters()}
    for name, shape in shapes.items():
        if name not in state:
            raise InputError("a parameter is missing", file=source, row=name)
        if state[name].numel() != shape.numel() or (shape and state[name].shape != shape):
            raise InputError(f"shape {tuple(state[name].shape)} where {tuple(shape)} is needed", file=source, row=name)
    extra = sorted(set(state) - set(shapes))
    if extra:
        raise InputError("a parameter that the model does not have", file=source, row=extra[0])
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(state[name].reshape(parameter.shape))


def load_reference(path: str | Path, rna_heads: int = 12, batch_pinv: bool = False) -> ReferenceCheckpoint:
    """Read a ``.pth.tar`` of the reference's pre-training.

    Only tensors, plain containers and ``argparse.Namespace`` are unpickled.

    Parameters
    ----------
    path : path-like
    rna_heads, batch_pinv : see `infer_settings`

    Raises
    ------
    InputError
        A file that holds anything else, is no checkpoint, or has other parameters.
    """
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            "the checkpoint holds objects that are not loaded for safety, or is damaged: "
            + str(error).strip().splitlines()[0],
            file=path,
            remedy="save its state_dict alone",
        ) from None
    except (RuntimeError, EOFError, OSError) as error:
        raise InputError(f"no readable checkpoint: {str(error).splitlines()[0]}", file=path) from None
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError("no state_dict in the checkpoint", file=path)
    ours = convert(state, path)
    missing = {"slide_encoder.embed.weight", "rna_encoder.fc1.weight", "style.mu.weight"} - set(ours)
    if missing:
        raise InputError("a parameter is missing", file=path, row=min(missing))
    arguments = next((vars(v) for v in content.values() if isinstance(v, argparse.Namespace)), {})
    settings = infer_settings(ours, rna_heads, batch_pinv)
    checkpoint = ReferenceCheckpoint(
        ours, settings, ours["rna_encoder.fc1.weight"].shape[1], ours["slide_encoder.embed.weight"].shape[1], arguments
    )
    checkpoint.build()  # says now what does not fit
    return checkpoint


def export_reference(model: Mirror, path: str | Path, epoch: int = 0) -> None:
    """Write the model in the reference's form (``.pth.tar`` with ``state_dict``), atomically.

    Raises
    ------
    InputError
        A model with parts that the reference does not have.
    """
    retention = model.settings.retention
    if retention.decode_from != "tokens" or retention.target == "input":
        raise InputError(
            "the reference's form has no retention from the embedding or to the input",
            remedy="export a model whose retention decodes from tokens to the encoder's output",
        )
    parameters = dict(model.named_parameters())
    state = {theirs: parameters[ours].detach().cpu().clone() for theirs, ours in key_map(model).items()}
    with atomic_path(path) as part:
        torch.save({"epoch": epoch, "state_dict": state}, part)
