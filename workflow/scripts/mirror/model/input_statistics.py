"""Statistics of the input that a model is fitted with before it is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import Tensor

from .input_scaling import Sample
from .mirror import Mirror
from .reconstruction import bag_statistics


def fit_input(model: Mirror, draw: Callable[[], Iterable[Tensor]], slides: int) -> None:
    """Fit whatever a model keeps of its input: its scaling, then what standardises retention's targets.

    Parameters
    ----------
    model : Mirror
        Freshly initialised.
    draw : callable
        Yields one bag (N, W) a training slide, the same ones at each call.
    slides : int
        How many it yields.
    """
    if model.settings.model.input_scaling != "none":
        sample = Sample(slides)
        for bag in draw():
            sample.add(bag)
        model.input_scaling.fit(sample.result())
    if model.settings.retention.target == "input":
        scaled = (model.input_scaling(bag) for bag in draw())
        patch, summary = bag_statistics(scaled, model.settings.retention.slide_summary)
        model.set_input_statistics(*patch, *(summary or (None, None)))
