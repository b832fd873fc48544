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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..config.pretrain import ModelSettings, PretrainSettings, RetentionSettings
from ..core.atomic import atomic_path
from ..core.errors import InputError
from ..core.regular_file import refuse_irregular
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


# Sizes that no shape shows, under the names that training scripts and golden files give them.
STATED = {
    "rna_heads": ("rna_num_heads", "rna_heads", "rna_encoder_num_heads", "num_heads"),
    "landmarks": ("num_landmarks", "landmarks", "wsi_num_landmarks"),
    "slide_heads": ("wsi_num_heads", "wsi_heads", "slide_heads"),
}
# What the reference computes with its parameters, whatever their sizes.
COMPUTES = (
    ("model", "attention", "nystrom"),
    ("model", "slide_heads", 8),
    ("model", "rna_heads", 12),
    ("alignment", "normalize", "before"),
    ("retention", "decode_from", "tokens"),
    ("model", "input_scaling", "none"),
    ("model", "linear_skip", False),
    ("style", "cluster", "kl"),
    ("style", "read_from", "embedding"),
)


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
    genes : tuple of str or None
        Genes in the order of its input, if stored (`export_reference` can).
    """

    state: dict[str, Tensor]
    settings: PretrainSettings
    n_genes: int
    feature_width: int
    arguments: dict[str, Any]
    genes: tuple[str, ...] | None = None

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


def stated_sizes(arguments: Mapping[str, Any]) -> dict[str, int]:
    """Sizes among stored arguments that no shape shows (`STATED`), under our names."""
    found = {}
    for ours, names in STATED.items():
        value = next((arguments[name] for name in names if arguments.get(name) is not None), None)
        if isinstance(value, int) and value > 0:
            found[ours] = value
    return found


def infer_settings(
    state: dict[str, Tensor], pinv_scaling: str = "batch", stated: Mapping[str, int] | None = None
) -> PretrainSettings:
    """Settings whose model has the shapes of ``state`` (our names).

    Parameters
    ----------
    state : dict
    pinv_scaling : {"batch", "matrix"}
        Of the pseudo-inverse; the reference scales over the batch.
    stated : mapping, optional
        Sizes that no shape shows, see `stated_sizes`.

    Raises
    ------
    KeyError, ValueError
        A parameter that sizes are read from is missing or of another rank.
    """
    dim, _ = state["slide_encoder.embed.weight"].shape

    def depth(prefix: str) -> int:
        return len({name.split(".")[2] for name in state if name.startswith(prefix)})

    sizes: dict[str, Any] = {
        "embed_dim": dim,
        "slide_heads": len(state["slide_encoder.block1.attention.residual.weight"]),
        "pinv_scaling": pinv_scaling,
        "rna_depth": depth("rna_encoder.blocks."),
        "rna_mlp_ratio": (len(state["rna_encoder.blocks.0.fc1.weight"]) + 1e-3) / dim,
        "style_dim": len(state["style.mu.weight"]),
        "style_hidden": (len(state["style.fc1.weight"]), len(state["style.fc2.weight"])),
        "prototypes": len(state["style.prototypes.weight"]),
        "tokens": state["slide_retention.position"].shape[1] - 1,
    }
    return PretrainSettings(
        model=ModelSettings(**{**sizes, **(stated or {})}),
        retention=RetentionSettings(
            slide_depth=depth("slide_retention.blocks."), rna_depth=depth("rna_retention.blocks.")
        ),
    )


def check_parameters(model: Mirror, state: dict[str, Tensor], source: str | Path | None = None) -> None:
    """Raise InputError unless ``state`` has every parameter of ``model``, of its shape, finite, and no other."""
    shapes = {name: p.shape for name, p in model.named_parameters()}
    for name, shape in shapes.items():
        if name not in state:
            raise InputError("a parameter is missing", file=source, row=name)
        if state[name].numel() != shape.numel() or (shape and state[name].shape != shape):
            raise InputError(f"shape {tuple(state[name].shape)} where {tuple(shape)} is needed", file=source, row=name)
        if not bool(torch.isfinite(state[name]).all()):
            raise InputError("a parameter is not finite", file=source, row=name)
    extra = sorted(set(state) - set(shapes))
    if extra:
        raise InputError("a parameter that the model does not have", file=source, row=extra[0])


def load_parameters(model: Mirror, state: dict[str, Tensor], source: str | Path | None = None) -> None:
    """Copy parameters under our names into ``model``; every parameter must be there and fit."""
    check_parameters(model, state, source)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(state[name].reshape(parameter.shape))


def load_reference(path: str | Path) -> ReferenceCheckpoint:
    """Read a ``.pth.tar`` of the reference's pre-training.

    Only tensors, plain containers and ``argparse.Namespace`` are unpickled. The pseudo-inverse is
    scaled a matrix at a time, as the reference does where one slide is encoded at a time.

    Parameters
    ----------
    path : path-like

    Raises
    ------
    InputError
        A file that holds anything else, is no checkpoint, or has other parameters.
    """
    content = _unpickle(path)
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    tensors = isinstance(state, dict) and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items())
    if not state or not tensors:
        raise InputError("no state_dict in the checkpoint", file=path)
    ours = convert(state, path)
    arguments = next((vars(v) for v in content.values() if isinstance(v, argparse.Namespace)), {})
    genes = content.get("genes")
    try:
        settings = infer_settings(ours, "matrix", stated_sizes(arguments))
        n_genes, width = ours["rna_encoder.fc1.weight"].shape[1], ours["slide_encoder.embed.weight"].shape[1]
    except KeyError as error:
        raise InputError("a parameter is missing", file=path, row=str(error.args[0])) from None
    except (ValueError, IndexError, TypeError) as error:
        raise InputError(
            f"its parameters have shapes that no model has ({_first_line(error)})",
            file=path,
            remedy="give a checkpoint of the reference's pre-training",
        ) from None
    named = tuple(genes) if isinstance(genes, list) and all(isinstance(gene, str) for gene in genes) else None
    checkpoint = ReferenceCheckpoint(ours, settings, n_genes, width, arguments, named)
    with torch.device("meta"):
        needed = build_model(settings, n_genes, width)
    check_parameters(needed, ours, path)  # says now what does not fit
    return checkpoint


def _unpickle(path: str | Path) -> Any:
    refuse_irregular(path, "checkpoint")
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"the checkpoint holds objects that are not loaded for safety, or is damaged: {_first_line(error)}",
            file=path,
            remedy="save its state_dict alone",
        ) from None
    # Damage may also show as an error of the unpickler's own bookkeeping.
    except (RuntimeError, EOFError, OSError, LookupError, AttributeError, TypeError, ValueError) as error:
        raise InputError(
            f"no readable checkpoint: {_first_line(error)}", file=path, remedy="fetch or copy it again"
        ) from None


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def export_reference(model: Mirror, path: str | Path, epoch: int = 0, genes: Sequence[str] | None = None) -> None:
    """Write the model in the reference's form (``.pth.tar`` with ``state_dict``), atomically.

    Parameters
    ----------
    model : Mirror
    path : path-like
    epoch : int
        Stored beside the parameters, as the reference does.
    genes : sequence of str, optional
        Names of its genes in order, stored too; the reference does not read them, we do.

    Raises
    ------
    InputError
        A model with which the reference would compute something else, or for which it has no parameters.
    """
    settings = model.settings
    differs = [
        f"{g}.{k}: {getattr(getattr(settings, g), k)}" for g, k, v in COMPUTES if getattr(getattr(settings, g), k) != v
    ]
    if settings.retention.target == "input":
        differs.append("retention.target: input")
    if settings.model.landmarks not in (0, settings.model.embed_dim // 2):
        differs.append(f"model.landmarks: {settings.model.landmarks}")
    if settings.method != "mirror":
        differs.append(f"method: {settings.method}")
    if differs:
        raise InputError(
            f"the reference's form cannot hold this model ({', '.join(differs)}): its code would compute otherwise",
            remedy="export a variant that keeps the published attention, heads, normalisation and retention",
        )
    parameters = dict(model.named_parameters())
    state = {theirs: parameters[ours].detach().cpu().clone() for theirs, ours in key_map(model).items()}
    content = {"epoch": epoch, "state_dict": state, **({"genes": list(genes)} if genes else {})}
    with atomic_path(path) as part:
        torch.save(content, part)
