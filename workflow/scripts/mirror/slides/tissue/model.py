"""Tissue by a segmentation model of the user's own: safetensors of a known network, or TorchScript.

A safetensors file holds numbers alone. A TorchScript file is a program: its graph is read before anything of it
runs, and one that opens, saves or prints is refused; what remains is still code of whoever wrote the file.
"""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import Any

import numpy as np

from ...config.slides import TissueSettings
from ...core.errors import InputError
from ...core.memory import in_words, job_memory
from ...core.regular_file import require_regular
from ..reading.formats import GIT_LFS
from .default import find_pen, glass_colour, optical_density
from .mask import DARK, TissueMask
from .torchscript import audit

log = logging.getLogger("mirror")
MODEL_MULTIPLE = 32
PROBE_PX = 256  # side of the picture on which a model is tried before any slide
SETTING = "slides.tissue.model_path"
MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet, as torchvision's networks take


def segment_by_model(rgb: np.ndarray, mpp: float, settings: TissueSettings) -> TissueMask:
    """Find tissue with a local model; pens are still found by colour.

    Parameters
    ----------
    rgb : ndarray of uint8, shape (h, w, 3)
        The overview.
    mpp : float
        Its micrometres per pixel.
    settings : TissueSettings
        ``method`` torchscript: ``model_path`` takes float32 (1, 3, H, W), RGB from 0 to 1, H and W multiples of
        32, and returns the probability of tissue, (1, 1, H, W). ``method`` safetensors: weights of ``architecture``
        with one output channel (a logit) or two (background, tissue); pixels are normalised by ImageNet's statistics.

    Raises
    ------
    InputError
        When there is no such file, it does not load, is refused, or returns something else.
    """
    model = _load_model(settings)
    height, width = rgb.shape[:2]
    pad = ((0, -height % MODEL_MULTIPLE), (0, -width % MODEL_MULTIPLE), (0, 0))
    pixels = np.pad(rgb, pad, constant_values=255).astype(np.float32) / 255
    tissue = _run_model(model, pixels, settings.model_path)[:height, :width] > 0.5
    dark = rgb.max(axis=2) < DARK
    pen = find_pen(optical_density(rgb, glass_colour(rgb)), dark, mpp)
    return TissueMask(tissue & ~pen, pen, mpp)


def check_model(settings: TissueSettings) -> None:
    """Load a segmentation model and try it on a small picture, so that its faults are not blamed on slides.

    Raises
    ------
    InputError
        As for `segment_by_model`.
    """
    # neither flat nor white, so that a model that normalises by the picture's spread can be tried too
    pixels = np.random.default_rng(0).random((PROBE_PX, PROBE_PX, 3), dtype=np.float32)
    if settings.method == "torchscript":
        log.warning("%s runs as code; take TorchScript files only from a source you trust", settings.model_path)
    _run_model(_load_model(settings), pixels, settings.model_path)


def _load_model(settings: TissueSettings) -> Any:
    """Load a model in evaluation mode; its errors name the setting."""
    named = settings.method
    kind = "TorchScript" if named == "torchscript" else "safetensors"
    remedy = f"name a {kind} file in {SETTING}"
    if not settings.model_path:
        raise InputError("is empty, so there is no segmentation model", file=SETTING, remedy=remedy)
    path = Path(settings.model_path)
    if not path.exists():
        raise InputError("no such segmentation model", file=path, row=SETTING, remedy=remedy)
    require_regular(path, "segmentation model", remedy)
    if path.stat().st_size > job_memory() // 2:
        problem = f"is {in_words(path.stat().st_size)}, more than half of the memory of this job"
        raise InputError(problem, file=path, row=SETTING, remedy="raise mem_mb of tile_slides")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", file=path, row=SETTING, remedy=remedy) from error
    if data.startswith(GIT_LFS):
        raise InputError("is a git-LFS pointer, not the model", file=path, row=SETTING, remedy="run `git lfs pull`")
    return _torchscript(data, path) if named == "torchscript" else _known(data, path, settings.architecture)


def _torchscript(data: bytes, path: Path) -> Any:
    import torch  # only these methods need it

    archive = audit(data, path, SETTING)
    try:
        return torch.jit.load(io.BytesIO(archive), map_location="cpu").eval()
    except (RuntimeError, ValueError) as error:  # its text is about torch's archive format, no help to anyone
        remedy = "save the model by torch.jit.script(model).save(path), or fetch the file again"
        raise InputError("is not a whole TorchScript file", file=path, row=SETTING, remedy=remedy) from error


def _known(data: bytes, path: Path, architecture: str) -> Any:
    """Build torchvision's network and load the weights into it."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load

    from ...compute import torchvision_shim  # noqa: F401  (makes torchvision importable; must come first)

    from torchvision.models import segmentation  # isort: skip

    place: dict[str, Any] = {"file": path, "row": SETTING}
    try:
        weights = {k.removeprefix("model."): v for k, v in load(data).items() if "aux_classifier" not in k}
    except (SafetensorError, ValueError) as error:
        raise InputError(f"is no whole safetensors file ({error})", **place, remedy="fetch the file again") from error
    last = "classifier.low_classifier.weight" if architecture.startswith("lraspp") else "classifier.4.weight"
    classes = int(weights[last].shape[0]) if last in weights and weights[last].ndim == 4 else 1
    if classes not in (1, 2):
        raise InputError(f"has {classes} output channels, not 1 (tissue) or 2 (background, tissue)", **place)
    aux = {} if architecture.startswith("lraspp") else {"aux_loss": False}
    network = getattr(segmentation, architecture)(weights=None, weights_backbone=None, num_classes=classes, **aux)
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        first = str(error).strip().splitlines()
        problem = f"does not fit {architecture} ({first[1].strip() if len(first) > 1 else first[0]:.200})"
        raise InputError(problem, **place, remedy="name its network in slides.tissue.architecture") from error

    class Tissue(torch.nn.Module):
        """Logits to the probability of tissue."""

        mean: torch.Tensor
        spread: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.network = network
            self.register_buffer("mean", torch.tensor(MEAN)[:, None, None])
            self.register_buffer("spread", torch.tensor(SPREAD)[:, None, None])

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            logits = self.network((pixels - self.mean) / self.spread)["out"]
            return logits.sigmoid() if classes == 1 else logits.softmax(1)[:, 1:]

    return Tissue().eval()


def _run_model(model: Any, pixels: np.ndarray, model_path: str | None) -> np.ndarray:
    """Tissue probability of float32 (H, W, 3) pixels from 0 to 1; shape (H, W)."""
    import torch

    place: dict[str, Any] = {"file": model_path, "row": "slides.tissue.model_path"}
    try:
        with torch.inference_mode():
            answer = model(torch.from_numpy(pixels).permute(2, 0, 1)[None])
    except RuntimeError as error:
        last = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise InputError(f"does not run as a segmentation model ({last})", **place) from error
    if not isinstance(answer, torch.Tensor):
        raise InputError(f"returns a {type(answer).__name__}, not the tissue probability (1, 1, H, W)", **place)
    if tuple(answer.shape) != (1, 1, *pixels.shape[:2]):
        problem = f"returns {tuple(answer.shape)} for {(1, 3, *pixels.shape[:2])}"
        raise InputError(f"{problem}, not the tissue probability (1, 1, H, W)", **place)
    probability = answer[0, 0].float().numpy()
    if not np.isfinite(probability).all():
        raise InputError("returns NaN or infinity, not the tissue probability", **place)
    return probability
