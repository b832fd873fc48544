"""Seconds of a training step on random numbers of the right sizes, to say how long pre-training would take."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ..compute.device import SMALL_BATCH, choose_device, choose_precision, steady
from ..config.pretrain import PretrainSettings
from ..core.errors import InputError
from ..core.progress import progress
from ..model.input_statistics import fit_input
from ..model.mirror import build_model
from .distributed import Group
from .step import Batch, TrainStep, make_optimizer

CPU_PAIRS = 2  # pairs of a batch on a CPU, where a step of published sizes takes minutes and gigabytes
STEPS, SECONDS = 10, 10.0  # at most, for each variant; the first step is always taken


@dataclass(frozen=True)
class TriedVariant:
    """One variant that took some steps.

    Attributes
    ----------
    seconds : float
        Wall time of a step; of the whole batch, where fewer pairs were measured.
    pairs : int
        Pairs that were measured at a time.
    megabytes : float
        Size of a checkpoint.
    device : str
        Name of the GPU, or ``CPU``.
    problem : str
        Why it was not tried; empty otherwise.
    """

    variant: str
    seconds: float = 0.0
    pairs: int = 0
    megabytes: float = 0.0
    device: str = ""
    problem: str = ""


def time_steps(
    variants: Mapping[str, Mapping[str, Any]],
    width: int,
    genes: int,
    threads: int | None = None,
    seconds: float = SECONDS,
) -> list[TriedVariant]:
    """Time training steps of every variant.

    Parameters
    ----------
    variants : mapping
        Name to complete settings of pre-training.
    width : int
        Features of a patch.
    genes : int
        Genes of a fold.
    threads : int, optional
        CPU threads of a job.
    seconds : float
        Time for each variant.
    """
    return [_time(name, given, width, genes, threads, seconds) for name, given in progress(
        list(variants.items()), "timing training steps", unit="variant")]  # fmt: skip


def _time(
    name: str, given: Mapping[str, Any], width: int, genes: int, threads: int | None, limit: float
) -> TriedVariant:
    settings = PretrainSettings.model_validate(given)
    try:
        device = choose_device(settings.train.device)
        with steady(device, settings, threads), torch.random.fork_rng():
            torch.manual_seed(0)
            pairs = settings.train.batch_size
            if device.type == "cpu" and pairs * settings.model.tokens * settings.model.embed_dim >= SMALL_BATCH:
                pairs = min(pairs, CPU_PAIRS)
            model = build_model(settings, genes, width)
            bags = torch.rand(pairs, settings.model.tokens, width)
            fit_input(model, lambda: iter(bags[:2]), min(2, pairs))
            megabytes = sum(p.numel() * p.element_size() for p in model.parameters()) / 1e6
            model.to(device).train()
            optimizer = make_optimizer(model, settings.train)
            step = TrainStep(model, settings, Group(), choose_precision(settings.train.precision, device))
            batch = Batch(bags, torch.rand(pairs, genes), torch.arange(pairs)).to(device)
            times: list[float] = []
            started = time.perf_counter()
            while not times or (len(times) <= STEPS and time.perf_counter() - started < limit):
                begun = time.perf_counter()
                optimizer.zero_grad(set_to_none=True)
                model.before_step()
                step(batch)["total"].backward()
                optimizer.step()
                model.after_step()
                if device.type == "cuda":
                    torch.cuda.synchronize()
                times.append(time.perf_counter() - begun)
            later = sorted(times[1:] or times)  # the first one also sets everything up
            each = later[len(later) // 2]
            shown = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
            return TriedVariant(name, each * settings.train.batch_size / pairs, pairs, megabytes, shown)
    except (InputError, RuntimeError, MemoryError) as error:
        return TriedVariant(name, problem=" ".join(f"{error}".split())[:300])
