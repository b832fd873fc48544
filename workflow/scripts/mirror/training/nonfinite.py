"""The finite-loss guard: which slide or patient broke a step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..core.errors import InputError
from ..dataset.bags import BagSource
from ..model.mirror import Mirror


@torch.no_grad()
def find_culprit(
    model: Mirror, bags: Tensor, rna: Tensor, slides: Sequence[str], patients: Sequence[str]
) -> dict | None:
    """Find what in a batch is not finite: a slide's features, a patient's genes, or an embedding of either.

    Parameters
    ----------
    model : Mirror
        With the weights of the step that broke.
    bags, rna : Tensor
        (B, N, D_p) and (P, G).
    slides, patients : sequence of str
        Names of the rows of ``bags`` and of ``rna``.

    Returns
    -------
    dict or None
        ``slide`` or ``patient``, and ``problem``; None where inputs and embeddings are finite.
    """
    for i, slide in enumerate(slides):
        bad = ~torch.isfinite(bags[i]).all(-1)
        if bad.any():
            return {"slide": slide, "problem": f"{int(bad.sum())} of {len(bad)} patches drawn hold NaN or infinity"}
    for i, patient in enumerate(patients):
        bad = ~torch.isfinite(rna[i])
        if bad.any():
            return {"patient": patient, "problem": f"{int(bad.sum())} genes are NaN or infinite"}
    for i, slide in enumerate(slides):
        if not torch.isfinite(model.encode_slide(bags[i : i + 1])).all():
            size = float(bags[i].abs().max())
            return {"slide": slide, "problem": f"its embedding is not finite (largest feature {size:.3g})"}
    for i, patient in enumerate(patients):
        if not torch.isfinite(model.encode_rna(rna[i : i + 1])).all():
            size = float(rna[i].abs().max())
            return {"patient": patient, "problem": f"its embedding is not finite (largest value {size:.3g})"}
    return None


def raise_not_finite(
    found: dict | None,
    source: BagSource,
    epoch: int,
    step: int,
    slides: Sequence[str],
    precision: torch.dtype = torch.float32,
) -> None:
    """Stop the run with one line that names the step and the culprit.

    ``precision`` is that of the step; the culprit is looked for in float32.

    Raises
    ------
    InputError
        Always.
    """
    place = f"the loss of epoch {epoch}, step {step} is not finite"
    if found is None and precision in (torch.float16, torch.bfloat16):
        name = str(precision).removeprefix("torch.")
        raise InputError(
            f"{place}, while inputs and embeddings are finite in float32: a value overflowed in half precision ({name}"
            f", largest {torch.finfo(precision).max:.4g})",
            remedy="set train.precision: float32 (or bfloat16 for float16), or lower train.lr",
        )
    if found is None:
        raise InputError(
            f"{place} though every input is (slides {', '.join(slides[:4])}{' ...' if len(slides) > 4 else ''})",
            remedy="lower train.lr, set train.clip_norm: 1.0, or train in float32",
        )
    if "slide" in found:
        raise InputError(
            f"{place}: {found['problem']}",
            file=source.path(found["slide"]),
            row=f"slide {found['slide']}",
            remedy="delete the feature file and embed the slide again, or leave the slide out of the slide table",
        )
    raise InputError(
        f"{place}: {found['problem']}",
        row=f"patient {found['patient']}",
        remedy="check the expression of this patient (rna.missing says how missing values are treated)",
    )
