"""Compare the model with a golden file of the reference: ``check_golden.py FILE.safetensors``.

The file holds parameters under the reference's names (``param.*``), inputs, random draws,
outputs, losses, the gradient norm of the total loss for each parameter, and cases of the
survival loss. Sizes and loss weights are in its metadata. Exit code 0 only where every
compared number is within 1e-4, relative to the largest of its tensor, and outputs, losses and
gradient norms are all there to be compared.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "workflow" / "scripts"))

from mirror.config.pretrain import PretrainSettings
from mirror.heads.hazard_loss import nll_survival
from mirror.model.losses import compute_losses
from mirror.model.mirror import Mirror, build_model
from mirror.model.noise import Draws
from mirror.model.reference import convert, infer_settings, key_map, load_parameters, stated_sizes

TOLERANCE = 1e-4
LOSSES = {"wsi_retention": "slide_retention"}
WEIGHTS = {
    "alignment": ("alignment", "weight"),
    "wsi_retention": ("retention", "slide_weight"),
    "rna_retention": ("retention", "rna_weight"),
    "style": ("style", "style_weight"),
    "cluster": ("style", "cluster_weight"),
}


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors and metadata of the file."""
    with safe_open(path, "pt") as handle:
        return {name: handle.get_tensor(name) for name in handle.keys()}, handle.metadata() or {}  # noqa: SIM118


def group(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Tensors whose name starts with ``prefix.``, without it."""
    return {name.removeprefix(f"{prefix}."): t for name, t in tensors.items() if name.startswith(f"{prefix}.")}


def first(config: dict[str, Any], *names: str) -> Any:
    """The first of these keys that the metadata's config has, or None."""
    return next((config[name] for name in names if config.get(name) is not None), None)


def settings_of(state: dict[str, Tensor], metadata: dict[str, str]) -> PretrainSettings:
    """Settings from the parameters' shapes, and from the metadata what no shape shows."""
    config = json.loads(metadata.get("config", "{}"))
    settings = infer_settings(state, stated=stated_sizes(config)).model_dump()
    stated = re.search(r"mask ratio ([0-9.]+)", metadata.get("mode", ""))
    ratio = float(stated[1]) if stated else None
    slide = first(config, "wsi_mask_ratio", "wsi_retention_mask_ratio", "mask_ratio")
    rna = first(config, "rna_mask_ratio", "rna_retention_mask_ratio", "mask_ratio")
    for name, value in (("mask_ratio", slide), ("rna_mask_ratio", rna)):
        value = value if value is not None else ratio
        if value is not None:
            settings["retention"][name] = value
    for name, weight in json.loads(metadata.get("loss_weights", "{}")).items():
        part, key = WEIGHTS[name]
        settings[part][key] = weight
    return PretrainSettings.model_validate(settings)


def difference(ours: Tensor | None, golden: Tensor) -> float:
    """Largest absolute difference over the largest golden value; infinite for NaN, another shape, or nothing."""
    if ours is None:
        return float("inf")
    ours, golden = ours.detach().double(), golden.double()
    if ours.numel() != golden.numel():
        return float("inf")
    scale = max(golden.abs().max().item(), 1e-12)
    value = (ours.reshape(golden.shape) - golden).abs().max().item() / scale
    return value if value == value else float("inf")


def outputs_of(model: Mirror, tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Our outputs and losses under the golden file's names."""
    noise = group(tensors, "noise")
    draws = Draws(
        slide_mask=noise.get("wsi_mask_uniform"),
        rna_mask=noise.get("rna_mask_uniform"),
        slide_style=noise.get("wsi_style_normal"),
        rna_style=noise.get("rna_style_normal"),
    )
    result = model(tensors["input.wsi"], tensors["input.rna"], draws, everything=True)
    losses = compute_losses(result, model.settings, everything=True)
    outputs = {"logit_scale": result.logit_scale}
    for name, side in (("wsi", "slide"), ("rna", "rna")):
        kept, style = getattr(result, f"{side}_retention"), getattr(result, f"{side}_style")
        outputs |= {
            f"{name}_embedding": getattr(result, f"{side}_embedding"),
            f"{name}_alignment": getattr(result, f"{side}_alignment"),
            f"{name}_retention": kept.rebuilt,
            f"{name}_retention_target": kept.target,
            f"{name}_mask": kept.mask.float(),
            f"{name}_mu": style.mu,
            f"{name}_logstd": style.logvar,
            f"{name}_z": style.z,
            f"{name}_decoded": style.decoded,
            f"{name}_score": style.scores,
        }
    return outputs, losses


def compare(path: Path) -> dict[str, dict[str, float]]:
    """Relative differences, by group (outputs, losses, gradient norms, survival loss) and name."""
    tensors, metadata = read(path)
    state = convert(group(tensors, "param"), path)
    settings = settings_of(state, metadata)
    model = build_model(
        settings, state["rna_encoder.fc1.weight"].shape[1], state["slide_encoder.embed.weight"].shape[1]
    )
    load_parameters(model, state, path)
    model.requires_grad_(True).eval()
    outputs, losses = outputs_of(model, tensors)
    losses["total"].backward()
    parameters = dict(model.named_parameters())
    names = key_map(model)
    norms = {
        theirs: torch.zeros(()) if parameters[ours].grad is None else parameters[ours].grad.norm()
        for theirs, ours in names.items()
    }
    losses = {theirs: losses[LOSSES.get(theirs, theirs)] for theirs in group(tensors, "loss")}
    differences = {"outputs": {}, "losses": {}, "gradient norms": {}, "survival loss": {}}
    for title, ours, golden in (
        ("outputs", outputs, group(tensors, "output")),
        ("losses", losses, group(tensors, "loss")),
        ("gradient norms", norms, group(tensors, "grad_norm")),
    ):
        differences[title] = {name: difference(ours.get(name), value) for name, value in golden.items()}
    nll = group(tensors, "nll")
    for name, golden in nll.items():
        if name.startswith("loss_alpha"):
            alpha = float(name.removeprefix("loss_alpha"))
            ours = nll_survival(nll["logits"], nll["bin"], nll["event"], alpha)
            differences["survival loss"][name] = difference(ours, golden)
    return differences


def main(path: Path) -> int:
    """Print the largest difference of each group; 0 where all are within the tolerance."""
    torch.set_default_dtype(torch.float32)
    differences = compare(path)
    passed = True
    for title, values in differences.items():
        if not values:
            needed = title != "survival loss"
            passed &= not needed
            print(f"{title:15s} none in the file" + (": nothing shows that they agree" if needed else ""))
            continue
        worst = max(values, key=values.__getitem__)
        passed &= values[worst] <= TOLERANCE
        print(f"{title:15s} {len(values):4d} compared, largest relative difference {values[worst]:.2e} ({worst})")
    print("PASS" if passed else f"FAIL: above {TOLERANCE:g}")
    return 0 if passed else 1


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: check_golden.py FILE.safetensors")
    sys.exit(main(Path(sys.argv[1])))
