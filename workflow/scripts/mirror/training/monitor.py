"""What is monitored while a model trains: spread of the embeddings, retrieval, and the log."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm.auto import tqdm

from ..core.atomic import write_tsv

log = logging.getLogger("mirror.training")
RECALLS = (1, 5, 10)
FIRST_COLUMNS = ("epoch", "split", "n", "total")
LAST_COLUMNS = ("lr", "grad_norm", "seconds")


def variance(embedding: Tensor) -> Tensor:
    """Variance over the batch, mean over dimensions; (B, D) to a float32 scalar."""
    return embedding.detach().float().var(0, unbiased=False).mean()


def spread(embedding: Tensor) -> Tensor:
    """Total variance of the embeddings scaled to length one, in [0, 1]; (B, D) to a float32 scalar.

    0 where all embeddings point the same way, whatever their length: a collapsed encoder.
    """
    unit = torch.nn.functional.normalize(embedding.detach().float(), dim=-1)
    return 1 - unit.mean(0).square().sum()


def retrieval(
    slide: np.ndarray, rna: np.ndarray, slide_patients: Sequence[str], rna_patients: Sequence[str]
) -> dict[str, float]:
    """Recall and median rank of cross-modal retrieval.

    A slide looks for its patient's RNA among all RNA vectors; an RNA vector looks for any slide of
    its patient, ranked among the best slide of each patient. Ties count against the model.

    Parameters
    ----------
    slide, rna : ndarray
        Aligned embeddings, (S, D) and (P, D); compared by their scalar product.
    slide_patients, rna_patients : sequence of str
        Patients of the S slides and of the P vectors; each patient has one vector.

    Returns
    -------
    dict
        ``recall_at_{k}_slide_to_rna``, ``recall_at_{k}_rna_to_slide`` (k 1, 5, 10; at least k
        candidates are needed for a recall that can be missed), ``median_rank_*`` (1 is best).
    """
    order = {p: j for j, p in enumerate(rna_patients)}
    owner = np.array([order[p] for p in slide_patients])
    scores = slide @ rna.T
    own = scores[np.arange(len(owner)), owner]
    rank_slide = (scores >= own[:, None]).sum(1)
    best = np.full((len(rna), len(rna)), -np.inf)
    for i, patient in enumerate(owner):
        np.maximum(best[:, patient], scores[i], out=best[:, patient])
    present = np.unique(owner)
    rank_rna = (best[present] >= best[present, present][:, None]).sum(1)
    found: dict[str, float] = {}
    for name, rank in (("slide_to_rna", rank_slide), ("rna_to_slide", rank_rna)):
        for k in RECALLS:
            found[f"recall_at_{k}_{name}"] = float((rank <= k).mean())
        found[f"median_rank_{name}"] = float(np.median(rank))
    return found


class CollapseAlarm:
    """Warns once per modality when its embeddings have become almost the same for every sample.

    Parameters
    ----------
    floor : float
        Spread below which a modality counts as collapsed.
    fall : float
        Share of the first epoch's spread below which it counts as collapsed.
    """

    def __init__(self, floor: float = 1e-4, fall: float = 0.02) -> None:
        self.floor, self.fall = floor, fall
        self._first: dict[str, float] = {}
        self._told: set[str] = set()

    def check(self, epoch: int, row: Mapping[str, float]) -> list[str]:
        """Look at one epoch's ``spread_wsi`` and ``spread_rna``; returns the modalities newly found collapsed."""
        found = []
        for modality in ("wsi", "rna"):
            value = row.get(f"spread_{modality}")
            if value is None or modality in self._told:
                continue
            first = self._first.setdefault(modality, value)
            if value < self.floor or value < self.fall * first:
                self._told.add(modality)
                found.append(modality)
                log.warning(
                    "Epoch %d: the %s embeddings have COLLAPSED (spread %.2g, %.2g in the first epoch): samples can "
                    "hardly be told apart. Lower train.lr, or raise the batch size or the retention weights",
                    epoch,
                    {"wsi": "slide", "rna": "RNA"}[modality],
                    value,
                    first,
                )
        return found

    def state(self) -> dict[str, Any]:
        """What `restore` takes."""
        return {"first": dict(self._first), "told": sorted(self._told)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a saved state."""
        self._first, self._told = dict(state["first"]), set(state["told"])


class Means:
    """Sample-weighted running means, on the device; state is a plain dict so that a run can resume."""

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.weights: dict[str, float] = {}

    def add(self, values: Mapping[str, Tensor], n: float) -> None:
        """Add values that are means over ``n`` samples."""
        for name, value in values.items():
            # Float64 on the device: the log must not depend on when the sums are fetched.
            value = value.detach().to(torch.float64) * n
            self.sums[name] = self.sums[name] + value if name in self.sums else value
            self.weights[name] = self.weights.get(name, 0.0) + n

    def result(self) -> dict[str, float]:
        """The means so far."""
        return {name: float(value) / self.weights[name] for name, value in self.sums.items()}

    def state(self) -> dict[str, dict[str, float]]:
        """What `restore` takes."""
        return {"sums": {k: float(v) for k, v in self.sums.items()}, "weights": dict(self.weights)}

    def restore(self, state: Mapping[str, Mapping[str, float]], device: torch.device) -> None:
        """Continue from a saved state."""
        self.sums = {k: torch.tensor(v, dtype=torch.float64, device=device) for k, v in state["sums"].items()}
        self.weights = dict(state["weights"])


class TrainingLog:
    """Rows of the training log.

    While training goes on, each epoch is appended to ``live``, next to the training state; the
    declared log is written whole at the end. After a restart ``live`` is rewritten from the state.

    Parameters
    ----------
    live : path-like or None
        The growing file; None keeps none.
    rows : list of dict
        Rows of a run that is resumed.
    """

    def __init__(self, live: str | Path | None, rows: Sequence[Mapping[str, float | str]] = ()) -> None:
        self.live = Path(live) if live else None
        self.rows: list[dict[str, float | str]] = [dict(row) for row in rows]
        self._header: list[str] = []

    def table(self) -> pd.DataFrame:
        """All rows, one a split and epoch; columns a split lacks are empty."""
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        middle = [n for n in names if n not in FIRST_COLUMNS and n not in LAST_COLUMNS]
        columns = [*FIRST_COLUMNS, *middle, *(n for n in LAST_COLUMNS if n in names)]
        return pd.DataFrame(self.rows, columns=columns)

    def add(self, rows: Sequence[Mapping[str, float | str]]) -> None:
        """Add an epoch's rows and show them in the growing file."""
        self.rows.extend(dict(row) for row in rows)
        if self.live is None:
            return
        try:
            self._show(self.live, len(rows))
        except OSError as error:  # a full disk, or a folder that another run cleared: no reason to end the training
            log.warning("%s: the growing log could not be written (%s); training goes on", self.live, error)

    def _show(self, live: Path, new: int) -> None:
        table = self.table()
        columns = list(table.columns)
        if columns != self._header or not live.is_file():
            write_tsv(live, table)
            self._header = columns
            return
        last = table.tail(new).to_csv(sep="\t", index=False, header=False, float_format="%.8g", lineterminator="\n")
        with open(live, "a", encoding="utf-8") as handle:
            handle.write(last)

    def write(self, path: str | Path) -> None:
        """Write the declared log, atomically."""
        write_tsv(path, self.table())


class Clock:
    """A progress bar with throughput and time left, and the same in a line of the log now and then.

    Parameters
    ----------
    total, done : int
        Pairs of the whole run, and those of it already done.
    quiet : bool
        Show nothing (all processes but the first of several).
    every_s : float
        Seconds between lines of the log.
    """

    def __init__(self, total: int, done: int, quiet: bool, every_s: float = 60.0) -> None:
        self.total, self.done, self.quiet, self.every_s = total, done, quiet, every_s
        self._bar = tqdm(
            total=total,
            initial=done,
            desc="Pre-training",
            unit="pair",
            mininterval=1.0,
            disable=True if quiet else None,
        )
        self._start = self._told = time.monotonic()
        self._first = done

    def add(self, pairs: int) -> None:
        """Count pairs."""
        self.done += pairs
        self._bar.update(pairs)
        now = time.monotonic()
        if not self.quiet and now - self._told > self.every_s:
            self._told = now
            rate = (self.done - self._first) / (now - self._start)
            log.info("%.0f %%, %.1f pairs/s, %s left", 100 * self.done / self.total, rate, self.left(rate))

    def left(self, rate: float) -> str:
        """Time left at ``rate`` pairs a second, h:mm:ss."""
        seconds = int((self.total - self.done) / rate) if rate > 0 else 0
        return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"

    def close(self) -> None:
        """End the bar."""
        self._bar.close()
