"""Names of EfficientNet weights: from the layout of efficientnet-pytorch to timm's."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")
_BLOCK = re.compile(r"_blocks\.(\d+)\.(.+)")
_OUTER = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
# A block without expansion has one convolution and one normalisation less, and timm numbers those it has.
_EXPANDED = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_se_reduce": "se.conv_reduce",
    "_se_expand": "se.conv_expand",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_PLAIN = {
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn1",
    "_se_reduce": "se.conv_reduce",
    "_se_expand": "se.conv_expand",
    "_project_conv": "conv_pw",
    "_bn2": "bn2",
}


def from_efficientnet_pytorch(state: dict[str, T], depths: Sequence[int]) -> dict[str, T]:
    """Rename the tensors of an efficientnet-pytorch or efficientnet-lite-pytorch checkpoint to timm's names.

    Parameters
    ----------
    state : dict of str to tensor
        A checkpoint. One that is not in this layout is returned as it is.
    depths : sequence of int
        Blocks in each stage of the timm model: efficientnet-pytorch numbers blocks throughout, timm in each stage.

    Returns
    -------
    dict of str to tensor
        The same tensors. A name without a counterpart is kept, so that loading reports it.

    Notes
    -----
    Both libraries define the same network: asymmetric "SAME" padding and a batch normalisation epsilon of 1e-3.
    """
    if "_conv_stem.weight" not in state:
        return dict(state)
    places = [f"blocks.{stage}.{block}" for stage, depth in enumerate(depths) for block in range(depth)]
    expanded = {match[1] for name in state if (match := _BLOCK.match(name)) and match[2].startswith("_expand_conv.")}

    def rename(name: str) -> str:
        match = _BLOCK.match(name)
        inner = match[2] if match else name
        names = _OUTER if not match else _EXPANDED if match[1] in expanded else _PLAIN
        layer, _, kind = inner.partition(".")
        if layer not in names or (match and int(match[1]) >= len(places)):
            return name
        where = f"{places[int(match[1])]}." if match else ""
        return f"{where}{names[layer]}.{kind}"

    return {rename(name): value for name, value in state.items()}
