"""Let timm be imported where torchvision was built for another PyTorch.

A CUDA build of torchvision beside a CPU build of PyTorch cannot load its compiled operators, and
then fails at import because it describes two of them that were never declared. Nothing here uses
those operators, so declaring their signatures is enough.
"""

from __future__ import annotations

import importlib
import sys

import torch

_SCHEMA = "{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
# The declarations live as long as this object.
_library: torch.library.Library | None = None


def ensure_torchvision() -> bool:
    """Make ``import torchvision`` (and with it ``import timm``) work.

    Returns
    -------
    bool
        Whether anything had to be declared; False where torchvision loads by itself.
    """
    global _library
    try:
        importlib.import_module("torchvision")
        return False
    except RuntimeError as error:
        if "torchvision::nms does not exist" not in str(error):
            raise
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    _library = torch.library.Library("torchvision", "DEF")
    for operator in ("nms", "qnms"):
        _library.define(_SCHEMA.format(name=operator))
    importlib.import_module("torchvision")
    return True


ensure_torchvision()
