"""Pre-training of one variant on one fold."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from ..compute.device import choose_device, choose_precision, steady
from ..config.pretrain import PretrainSettings
from ..core.errors import InputError
from ..core.seeds import torch_seed
from ..core.version import __version__
from ..dataset.epochs import EpochPlan, Visit
from ..dataset.loader import BagLoader
from ..dataset.paired import PARTNER, PairedData
from ..io.checkpoints import defining_config, save_checkpoint
from ..model.input_statistics import fit_input
from ..model.mirror import Mirror, build_model
from .distributed import Group
from .monitor import Clock, CollapseAlarm, Means, TrainingLog
from .nonfinite import find_culprit, raise_not_finite
from .resume import StateStore, state_key
from .step import Average, Batch, TrainStep, learning_rate, make_optimizer
from .validation import Validation
from .warm_start import check_apart, read_start, start_from

log = logging.getLogger("mirror.training")


def pretrain(
    data: PairedData,
    settings: PretrainSettings,
    seed: int,
    out_checkpoint: str | Path,
    log_tsv: str | Path,
    state_dir: str | Path,
    *,
    variant: str = "",
    threads: int | None = None,
    group: Group | None = None,
    device: torch.device | None = None,
) -> None:
    """Train a model on the fold's training pairs and write its checkpoint.

    Interrupted at any moment and called again, it goes on from its last saved state; on a CPU the
    weights are then bit for bit those of an uninterrupted run. The validation split (a share of the
    training patients) is looked at each epoch, never trained on and never chooses anything: the
    weights written are those of the last epoch (their average with ``train.ema``).

    Parameters
    ----------
    data : PairedData
        The fold's data; test patients are not touched.
    settings : PretrainSettings
        The variant.
    seed : int
        Decides initialisation, bags, order, noise and dropout.
    out_checkpoint, log_tsv : path-like
        Written atomically, at the end.
    state_dir : path-like
        An undeclared folder for the training state and the growing log; emptied of this run at the end.
    variant : str
        Name for the header.
    threads : int, optional
        CPU threads of the job.
    group : Group, optional
        Processes that train together (`mirror.training.launch`).
    device : torch.device, optional
        Overrides ``train.device``.

    Raises
    ------
    InputError
        When there are fewer than two training pairs, or the loss is not finite (with the step and
        the slide), or the GPU's memory does not suffice, or the weights to start from do not fit or
        were trained on test patients.
    """
    group = group or Group()
    device = device or choose_device(settings.train.device)
    if data.bags is None or data.rna.size == 0:
        raise InputError("pre-training needs slides and expression; this cohort lacks one of them")
    with steady(device, settings, threads):
        run = _Run(data, settings, seed, Path(out_checkpoint), Path(state_dir), variant, group, device)
        try:
            run.train()
        except torch.cuda.OutOfMemoryError as error:
            raise InputError(
                "the GPU's memory does not suffice for this batch",
                remedy="lower train.batch_size (raising train.accumulate), model.tokens, or set model.attention: exact",
            ) from error
        if group.first:
            run.finish(Path(log_tsv))


class _Run:
    """State of one pre-training run."""

    def __init__(
        self,
        data: PairedData,
        settings: PretrainSettings,
        seed: int,
        out: Path,
        state_dir: Path,
        variant: str,
        group: Group,
        device: torch.device,
    ) -> None:
        assert data.bags is not None
        self.data, self.settings, self.seed, self.out = data, settings, seed, out
        self.bags, self.variant, self.group, self.device = data.bags, variant, group, device
        train = settings.train
        members = data.members("train")
        self.validation_patients = data.validation_patients(train.validation_fraction, seed)
        self.patients = sorted({*members, *data.members(PARTNER)} - set(self.validation_patients))
        self.pairs = data.pairs(self.patients)
        least = max(2, group.world)
        if len(self.pairs) < least:
            raise InputError(f"{len(self.pairs)} training pairs (a slide with its patient's RNA), {least} are needed")
        self.extra_slides, self.extra_rna = (
            data.unpaired(self.patients) if train.use_unpaired else ([], np.zeros(0, int))
        )
        number = {p: i for i, p in enumerate(self.patients)}
        self.owner = torch.tensor([number[p] for p in self.pairs.patients])
        self.rna = torch.from_numpy(data.rna)

        self.plan = EpochPlan(
            len(self.pairs), self.extra_slides, self.extra_rna, train.batch_size, seed, group.rank, group.world
        )
        self.steps = self.plan.steps
        self.updates_per_epoch = -(-self.steps // train.accumulate)
        self.precision = choose_precision(train.precision, device)
        self.validation = Validation(data, data.pairs(self.validation_patients), settings, seed, device, self.precision)

        self.start = read_start(train)
        if self.start is not None:
            check_apart(self.start, data.members("test"))
        key = state_key(
            {
                "config": defining_config(settings),
                "seed": seed,
                "data": data.digest(),
                "device": device.type,
                "world": group.world,
                "code": __version__,
                "variant": variant,
                **({"start": self.start.sha256} if self.start else {}),
            }
        )
        self.store = StateStore(state_dir, out.stem, key, train.save_minutes)
        saved = self.store.load()
        self.model = self._model(fresh=saved is None)
        self.average = Average(self.model, train.ema) if train.ema else None
        self.optimizer = make_optimizer(self.model, train)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.precision == torch.float16)
        self.means, self.alarm = Means(), CollapseAlarm()
        self.epoch, self.step, self.updates, self.seconds = 0, 0, 0, 0.0
        rows: list[dict[str, Any]] = []
        if saved is not None:
            rows = self._restore(saved)
        self.log = TrainingLog(self.store.folder / "log.tsv" if group.first else None, rows)
        module = TrainStep(self.model, settings, group, self.precision)
        self.module = module if group.world == 1 else DistributedDataParallel(module, find_unused_parameters=True)

    # Preparation

    def _model(self, fresh: bool) -> Mirror:
        """The initial model; statistics of the input are fitted where retention aims at it."""
        torch.manual_seed(torch_seed(self.seed, "init"))
        model = build_model(self.settings, self.rna.shape[1], self.bags.width)
        # Only the first process reads: DDP hands its weights and buffers to the others.
        if fresh and self.group.first:
            tokens = self.settings.model.tokens
            slides = self.pairs.slides + self.extra_slides
            draw = lambda: (self.bags.bag(slide, tokens, self.seed, "statistics") for slide in slides)  # noqa: E731
            fit_input(model, draw, len(slides))
        if fresh and self.start is not None:
            start_from(model, self.start, self.data.genes)
        return model.to(self.device)

    # The loop

    def train(self) -> None:
        """Run what is left of the epochs."""
        train = self.settings.train
        per_epoch = sum(len(v.pairs) for v in self.plan.visits(0))
        if self.group.first:
            log.info(
                "%d pairs of %d patients (%d for validation), %d steps an epoch, %d epochs, %s on %s",
                len(self.pairs), len(set(self.pairs.patients)), len(self.validation_patients), self.steps, train.epochs,
                str(self.precision).removeprefix("torch."), self.device,
            )  # fmt: skip
            if self.epoch or self.step:
                log.info("Going on from epoch %d, step %d", self.epoch + 1, self.step)
        largest = max(len(v.pairs) + len(v.slides) for v in self.plan.visits(0))
        loader = BagLoader(self.bags, self.settings.model.tokens, self.seed, train.workers, largest, self.device)
        done = self.epoch * per_epoch + sum(len(v.pairs) for v in self.plan.visits(self.epoch)[: self.step])
        clock = Clock(train.epochs * per_epoch * self.group.world, done * self.group.world, quiet=not self.group.first)
        self.module.train()
        try:
            while self.epoch < train.epochs:
                self._epoch(loader, clock)
        finally:
            clock.close()
        if not train.epochs and self.group.first and len(self.validation):  # weights taken as they are
            self.log.add(
                [{"epoch": 0, "split": "validation", "n": len(self.validation), **self.validation.look(self.model)}]
            )

    def _epoch(self, loader: BagLoader, clock: Clock) -> None:
        start = time.monotonic()
        train = self.settings.train
        visits = self.plan.visits(self.epoch)
        batches = self._batches(loader, visits)
        while self.step < self.steps:
            span = range(self.step, min(self.step + train.accumulate, self.steps))
            self._update(span, visits, batches)
            clock.add(sum(len(visits[i].pairs) for i in span) * self.group.world)
            self.step = span.stop
            if self.step < self.steps and self.group.from_first(self.store.due(epoch_end=False)):
                self.seconds, start = self.seconds + time.monotonic() - start, time.monotonic()
                self._save()
        self.seconds += time.monotonic() - start
        self._end_epoch()

    def _batches(self, loader: BagLoader, visits: list[Visit]) -> Iterator[Batch]:
        left = visits[self.step :]
        wanted = [[*(self.pairs.slides[i] for i in v.pairs), *v.slides] for v in left]
        for visit, bags in zip(left, loader.epoch(self.epoch, wanted), strict=True):
            rows = torch.from_numpy(np.concatenate([self.pairs.rna[visit.pairs], visit.rna]).astype(np.int64))
            yield Batch(bags, self.rna[rows], self.owner[torch.from_numpy(visit.pairs)])

    def _update(self, span: range, visits: list[Visit], batches: Iterator[Batch]) -> None:
        """One optimiser step over the batches of ``span``."""
        train = self.settings.train
        rate = learning_rate(self.updates, train.epochs * self.updates_per_epoch, self.updates_per_epoch, train)
        for options in self.optimizer.param_groups:
            options["lr"] = rate
        self.model.before_step()
        self.optimizer.zero_grad(set_to_none=True)
        for i in span:
            batch = next(batches).to(self.device)
            # Seeded by its place, so that noise and dropout need no saved generator.
            torch.manual_seed(torch_seed(self.seed, "step", self.epoch, i, self.group.rank))
            waits = self.group.world > 1 and i != span[-1]
            with self.module.no_sync() if waits else nullcontext():  # type: ignore[operator, union-attr]
                losses = self.module(batch)
                self._guard(losses["total"], batch, visits[i], i)
                self.scaler.scale(losses["total"] / len(span)).backward()
            self.means.add(losses, len(batch.patients))
        self.scaler.unscale_(self.optimizer)
        trained = [p for p in self.model.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm([p.grad for p in trained if p.grad is not None])
        if not self.scaler.is_enabled():
            self._guard(norm, batch, visits[span[-1]], span[-1])
        if train.clip_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(trained, train.clip_norm, norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.model.after_step()
        self.updates += 1
        if self.average is not None:
            self.average.update(self.model, self.updates)
        if bool(torch.isfinite(norm)):
            self.means.add({"grad_norm": norm}, 1)

    def _guard(self, value: Tensor, batch: Batch, visit: Visit, step: int) -> None:
        """Stop where a value is not finite, on every rank with the same words."""
        if self.group.all_true(torch.isfinite(value.detach())):
            return
        slides = [*(self.pairs.slides[i] for i in visit.pairs), *visit.slides]
        rows = [*self.pairs.rna[visit.pairs], *visit.rna]
        patients = [self.data.rna_patients[i] for i in rows]
        found = self.group.share(find_culprit(self.model, batch.bags, batch.rna, slides, patients))
        raise_not_finite(
            next((f for f in found if f), None), self.bags, self.epoch + 1, step + 1, slides, self.precision
        )

    def _end_epoch(self) -> None:
        """Log the epoch, watch, and save the state."""
        shared = {k: torch.tensor(v, device=self.device) for k, v in self.means.result().items()}
        row = {name: float(value) for name, value in self.group.mean(shared).items()}
        number = self.epoch + 1
        rows: list[dict[str, Any]] = [
            {
                "epoch": number,
                "split": "train",
                "n": self.means.weights["total"] * self.group.world,
                **row,
                "lr": self.optimizer.param_groups[0]["lr"],
                "seconds": round(self.seconds, 3),
            }
        ]
        if self.group.first:
            self.alarm.check(number, row)
            if len(self.validation):
                start = time.monotonic()
                seen = self.validation.look(self.average.model if self.average else self.model)  # type: ignore[arg-type]
                took = round(time.monotonic() - start, 3)
                rows.append(
                    {"epoch": number, "split": "validation", "n": len(self.validation), **seen, "seconds": took}
                )
            self.log.add(rows)
        self.epoch, self.step, self.means, self.seconds = number, 0, Means(), 0.0
        if self.epoch < self.settings.train.epochs and self.group.from_first(self.store.due(epoch_end=True)):
            self._save()

    # State

    def _save(self) -> None:
        means = self.group.share(self.means.state())
        if not self.group.first:
            return
        self.store.save(
            {
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "scaler": self.scaler.state_dict(),
                "average": self.average.model.state_dict() if self.average else None,
                "alarm": self.alarm.state(),
                "means": means,
                "epoch": self.epoch,
                "step": self.step,
                "updates": self.updates,
                "seconds": self.seconds,
                "rows": self.log.rows,
            }
        )

    def _restore(self, saved: dict[str, Any]) -> list[dict[str, Any]]:
        self.model.load_state_dict(saved["model"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.scaler.load_state_dict(saved["scaler"])
        if self.average is not None:
            self.average.model.load_state_dict(saved["average"])
        self.alarm.restore(saved["alarm"])
        self.means.restore(saved["means"][self.group.rank], self.device)
        self.epoch, self.step, self.updates = saved["epoch"], saved["step"], saved["updates"]
        self.seconds = saved["seconds"]
        return saved["rows"]

    def finish(self, log_tsv: Path) -> None:
        """Write the checkpoint and the log; the training state is then of no use."""
        model = self.average.model if self.average else self.model
        model.style.forget()  # type: ignore[operator, union-attr]
        started = (self.start and self.start.patients) or ()
        # Without an epoch nobody of this cohort has a part in the weights.
        mine = {*self.pairs.patients, *self._extra_patients()} if self.settings.train.epochs else set()
        seen = sorted(mine | set(started))
        save_checkpoint(
            self.out,
            model.state_dict(),
            self.settings,
            n_genes=self.rna.shape[1],
            feature_width=self.bags.width,
            genes=self.data.genes,
            patients=seen,
            validation_patients=self.validation_patients,
            seed=self.seed,
            variant=self.variant,
            code_version=__version__,
            started_from=self.start.record() if self.start else None,
        )
        self.log.write(log_tsv)
        self.store.clear()
        log.info("Wrote %s", self.out)

    def _extra_patients(self) -> list[str]:
        owner = dict(zip(self.data.slides["slide_id"], self.data.slides["patient_id"], strict=True))
        return [*(owner[s] for s in self.extra_slides), *(self.data.rna_patients[i] for i in self.extra_rna)]
