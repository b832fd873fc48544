"""Plain ``.pt`` files: a tensor (N, D), or a dictionary that holds one. Never code."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from ...core.imposters import imposter
from ...core.memory import fits
from ...core.regular_file import require_regular
from .base import ForeignError, ForeignSlide, as_coords, as_features, list_files

_FEATURES = ("features", "feats", "embeddings")


def load_tensors(path: Path) -> Any:
    """Load a ``.pt`` file that may hold tensors and nothing that could run code.

    Raises
    ------
    ForeignError
        Not a PyTorch file, or a pickle of anything else: refused unopened.
    """
    import torch  # only these files need it: the other formats are read without it

    require_regular(path, "feature file")
    fits(_unpacked(path), path, "the file", 0.4)
    other = imposter(path)  # as text each would look like a pickle that is refused
    if other:
        raise ForeignError("unreadable files", other[0], file=path, remedy=other[1])
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ForeignError(
            "refused pickles",
            "this pickle holds more than tensors and could run code; it was not loaded",
            file=path,
            remedy="save the bare tensor again with torch.save",
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        detail = (str(error).splitlines() or ["no bytes"])[0]
        raise ForeignError("unreadable files", f"not a PyTorch file: {detail}", file=path) from error


def _unpacked(path: Path) -> int:
    """Bytes of a file, or of the members of a zip archive (torch's own form) once they are unpacked."""
    size = path.stat().st_size
    try:
        with zipfile.ZipFile(path) as archive:
            return max(size, sum(member.file_size for member in archive.infolist()))
    except (zipfile.BadZipFile, OSError):
        return size


def to_numpy(value: Any, path: Path) -> np.ndarray:
    """Return a tensor as an array; bfloat16 becomes float32."""
    import torch

    if not isinstance(value, torch.Tensor):
        raise ForeignError("wrong form", f"a {type(value).__name__}, expected a tensor (N, D)", file=path)
    if value.layout != torch.strided or value.is_complex() or value.is_quantized:
        kind = f"a {str(value.layout).removeprefix('torch.')} tensor of {str(value.dtype).removeprefix('torch.')}"
        raise ForeignError("wrong form", f"{kind}, expected a plain one (N, D) of floats", file=path)
    fits(value.numel() * value.element_size(), path, "a tensor", 0.4)  # a view can claim more than its file holds
    value = value.detach()
    return (value.float() if value.dtype == torch.bfloat16 else value).numpy()


def find_files(root: Path, encoder: str) -> dict[str, Path]:
    """Find the ``.pt`` files of a folder, or of a folder in it named as the encoder."""
    inner = root / encoder
    return list_files(inner if inner.is_dir() else root, ".pt")


def read_slide(path: Path) -> ForeignSlide:
    """Read one slide. Without coordinates, which training does not need."""
    value = load_tensors(path)
    coords = None
    if isinstance(value, dict):
        key = next((key for key in _FEATURES if key in value), None)
        if key is None:
            there = ", ".join(str(key) for key in list(value)[:6]) or "nothing"
            lower = {str(key).lower() for key in value}
            kind = "names that differ by case" if lower & set(_FEATURES) else "wrong form"
            raise ForeignError(kind, f"none of the keys {', '.join(_FEATURES)}; it has {there}", file=path)
        value, coords = value[key], value.get("coords")
    features = as_features(to_numpy(value, path), path)
    if coords is None:
        return ForeignSlide(features, None)
    return ForeignSlide(features, as_coords(to_numpy(coords, path), len(features), path))
