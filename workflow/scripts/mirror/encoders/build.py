"""Build a patch encoder from its row: a module from pixels (B, 3, H, W) to features (B, D)."""

from __future__ import annotations

import hashlib
import logging
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..compute import torchvision_shim as compat  # noqa: F401  (makes timm importable; must come first)
from ..core.errors import InputError

import timm  # isort: skip
from timm.models.efficientnet import EfficientNet  # isort: skip
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn  # isort: skip

from .efficientnet_names import from_efficientnet_pytorch
from .table import EncoderRow
from .weights import Weights, find_weights, load_state

log = logging.getLogger(__name__)
# Names that stand for classes in a row's arguments.
_CLASSES: dict[str, Any] = {
    "SwiGLUPacked": timm.layers.SwiGLUPacked,
    "SwiGLU": timm.layers.SwiGLU,
    "GluMlp": timm.layers.GluMlp,
    "SiLU": nn.SiLU,
    "GELU": nn.GELU,
}
_HEADS = ("head.", "fc.", "head_drop.", "norm_pre.", "classifier.", "fc_norm.", "mask_token")


class PooledEncoder(nn.Module):
    """A timm model with the row's pooling.

    Parameters
    ----------
    model : nn.Module
        Gives (B, D), tokens (B, T, D), or feature maps (B, D, H, W), one or a list.
    row : EncoderRow
        Says how to pool.
    """

    def __init__(self, model: nn.Module, row: EncoderRow) -> None:
        super().__init__()
        self.model, self.pooling, self.prefix = model, row.pooling, row.prefix_tokens

    def forward(self, pixels: Tensor) -> Tensor:
        """Encode normalised pixels (B, 3, H, W) as float32 features (B, D)."""
        out = self.model(pixels)
        maps = out if isinstance(out, list | tuple) else [out]
        return torch.cat([self._pool(one) for one in maps], dim=1).float()

    def _pool(self, out: Tensor) -> Tensor:
        # Means are taken in float32: half precision loses digits over hundreds of positions.
        if out.ndim == 2:
            if self.pooling == "cls_mean":
                raise ValueError("the model pools by itself; cls_mean needs tokens (global_pool: '')")
            return out
        if out.ndim == 4:
            if self.pooling != "avg":
                raise ValueError(f"pooling {self.pooling} of a feature map; use avg")
            return out.float().mean(dim=(2, 3))
        patches = out[:, self.prefix :]
        if self.pooling == "cls":
            return out[:, 0]
        if self.pooling == "avg":
            return patches.float().mean(dim=1)
        return torch.cat([out[:, 0].float(), patches.float().mean(dim=1)], dim=1)


def _create(row: EncoderRow, config: dict[str, Any]) -> nn.Module:
    """Create the timm model without weights; a config.json beside the weights goes before the row's guess."""
    architecture, beside = row.timm_architecture, row.hub_arguments
    if config:
        named = config.get("architecture", architecture)
        architecture = named if timm.is_model(named) else architecture
        beside = config.get("model_args") or row.hub_arguments
    arguments = {**beside, **row.arguments}
    for key in ("mlp_layer", "act_layer", "norm_layer"):
        if isinstance(arguments.get(key), str):
            arguments[key] = _CLASSES.get(arguments[key], arguments[key])
    try:
        return timm.create_model(architecture, pretrained=False, **arguments)
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        raise InputError(
            f"timm cannot build {architecture}: {error}", row=row.name, remedy="correct its row"
        ) from error


def build_encoder(row: EncoderRow, config: dict[str, Any] | None = None) -> PooledEncoder:
    """Build an encoder on torch's current default device, without loading weights.

    Under ``torch.device("meta")`` this takes no memory, whatever the size.

    Raises
    ------
    InputError
        timm refuses the arguments.
    """
    return PooledEncoder(_create(row, config or {}), row).eval().requires_grad_(False)


def check_width(encoder: PooledEncoder, row: EncoderRow) -> None:
    """Raise an `InputError` unless one input comes out as ``row.width`` features."""
    device = next(encoder.parameters()).device
    try:
        with torch.inference_mode():
            out = encoder(torch.zeros(1, 3, row.input_px, row.input_px, device=device))
    except (ValueError, RuntimeError, AssertionError) as error:
        raise InputError(f"the encoder fails on a {row.input_px} px input: {error}", row=row.name) from error
    if out.shape != (1, row.width):
        raise InputError(
            f"the encoder gives {out.shape[-1]} features, its row says {row.width}",
            row=row.name,
            remedy="correct width, pooling or the weights",
        )


def _load_into(encoder: PooledEncoder, weights: Weights, row: EncoderRow) -> None:
    state = load_state(weights.file)
    if isinstance(encoder.model, VisionTransformer):
        state = checkpoint_filter_fn(state, encoder.model)
    elif isinstance(encoder.model, EfficientNet):
        state = from_efficientnet_pytorch(state, [len(stage) for stage in encoder.model.blocks])  # type: ignore[arg-type]
    wanted = set(encoder.model.state_dict())
    missing = sorted(wanted - set(state))
    # What a feature extractor leaves off may be in the file; anything else says it is another model.
    partial = bool(row.arguments.get("features_only"))
    strange = [key for key in sorted(set(state) - wanted) if not partial and not key.startswith(_HEADS)]
    if missing or strange:
        parts = [
            f"{len(keys)} {kind} ({keys[0]} ...)" for kind, keys in (("missing", missing), ("unknown", strange)) if keys
        ]
        raise InputError(
            f"the weights do not fit encoder {row.name}: {', '.join(parts)} tensors",
            file=weights.file,
            remedy="use the weights its row was written for",
        )
    try:
        encoder.model.load_state_dict({key: state[key].float() for key in wanted}, assign=True)
    except RuntimeError as error:
        lines = str(error).splitlines()
        raise InputError(
            f"the weights do not fit encoder {row.name}: {lines[-1].strip()}", file=weights.file
        ) from error


def _warn_of_other_statistics(row: EncoderRow, weights: Weights) -> None:
    """Say so where the config.json beside the weights normalises otherwise than the row."""
    beside = weights.config.get("pretrained_cfg", {})
    for key in ("mean", "std"):
        theirs, ours = beside.get(key), getattr(row, key)
        if theirs is not None and any(abs(a - b) > 1e-3 for a, b in zip(theirs, ours, strict=False)):
            log.warning("encoder %s: %s is %s in its row and %s beside the weights", row.name, key, ours, theirs)


def load_encoder(row: EncoderRow, local: str | Path | None = None) -> PooledEncoder:
    """Build an encoder on the CPU with its weights, float32, in evaluation mode.

    Parameters
    ----------
    row : EncoderRow
        The encoder.
    local : path-like, optional
        A local checkpoint or folder in place of the hub.

    Raises
    ------
    InputError
        Weights cannot be had or do not fit, or the width is not the row's.
    """
    if row.weights == "random" and not local:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(row.seed)
            encoder = build_encoder(row)
    else:
        weights = find_weights(row, local)
        # Building on the meta device spares the random initialisation of up to 1.1 billion weights.
        with torch.device("meta"):
            encoder = build_encoder(row, weights.config)
        kept = set(encoder.state_dict())
        if any(name not in kept for name, _ in encoder.named_buffers()):  # computed at construction
            encoder = build_encoder(row, weights.config)
        _load_into(encoder, weights, row)
        _warn_of_other_statistics(row, weights)
    encoder = encoder.eval().requires_grad_(False)
    check_width(encoder, row)
    return encoder


def parameter_hash(encoder: nn.Module) -> str:
    """Hash of all weights: what an encoder is, wherever its weights came from."""
    digest = hashlib.sha256()
    for name, value in sorted(chain(encoder.named_parameters(), encoder.named_buffers())):
        digest.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]
