"""Pre-training as a job: on the device at hand, or on several GPUs of this machine through torchrun."""

from __future__ import annotations

import ctypes
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ..compute.gpus import lock_gpu
from ..config.pretrain import PretrainSettings
from ..core.errors import InputError
from ..core.step import configure_logging

log = logging.getLogger("mirror.training")


@dataclass(frozen=True)
class Job:
    """One pre-training, as plain values that fit into a JSON file.

    Attributes
    ----------
    patients, slides, splits, expression, transform, features_dir, feature_status, min_focus
        See `mirror.dataset.paired.load_paired`.
    fold, variant : str
        Which fold and which variant.
    settings : dict
        Of `PretrainSettings`.
    seed : int
        Of the run.
    checkpoint, log, state_dir : str
        Outputs, see `mirror.training.loop.pretrain`.
    threads : int
        CPU threads of the job.
    partners : list of dict
        Other cohorts to learn from, see `mirror.dataset.partners.Partner`.
    rna_tolerance : float
        Largest difference of expression vectors that count as the same.
    """

    patients: str
    slides: str
    splits: str
    expression: str
    transform: str
    features_dir: str
    fold: str
    variant: str
    settings: dict
    seed: int
    checkpoint: str
    log: str
    state_dir: str
    feature_status: list[str] = field(default_factory=list)
    threads: int = 1
    min_focus: float | None = None
    partners: list[dict] = field(default_factory=list)
    rna_tolerance: float = 1e-3


def run_job(job: Job, gpus: int = 1, share: int = 1, processes: int | None = None) -> None:
    """Lock GPUs where the machine has some, and pre-train.

    Parameters
    ----------
    job : Job
        What to train.
    gpus : int
        GPUs to train on together; more than one starts torchrun.
    share : int
        Jobs that may use a GPU together.
    processes : int, optional
        Processes to train in without regard to GPUs (gloo on a CPU).

    Raises
    ------
    InputError
        What `pretrain` raises, also from a torchrun process.
    """
    on_gpu = PretrainSettings.model_validate(job.settings).train.device != "cpu"
    with lock_gpu(share=share, count=gpus, wanted=on_gpu) as held:
        together = processes or max(1, len(held))
        if together == 1:
            train_here(job)
        else:
            _torchrun(job, together)


def train_here(job: Job) -> None:
    """Pre-train in this process, as the rank that torchrun gave it, if any."""
    import torch

    from ..compute.device import choose_device
    from ..dataset.paired import load_paired
    from ..dataset.partners import Partner, add_partners
    from .distributed import process_group
    from .loop import pretrain

    settings = PretrainSettings.model_validate(job.settings)
    device = choose_device(settings.train.device, int(os.environ.get("LOCAL_RANK", "0")))
    if device.type == "cuda":
        torch.cuda.set_device(device)
    with process_group(device) as group:
        data = load_paired(
            job.patients,
            job.slides,
            job.splits,
            job.fold,
            job.expression,
            job.transform,
            job.features_dir,
            feature_status=job.feature_status,
            cache_gb=settings.train.cache_gb / group.world,
            order=settings.train.token_order,
            min_focus=job.min_focus,
        )
        if job.partners:
            data = add_partners(
                data,
                [Partner(**partner) for partner in job.partners],
                scale=settings.train.scale,
                expression=job.expression,
                transform=job.transform,
                features_dir=job.features_dir,
                tolerance=job.rna_tolerance,
                cache_gb=settings.train.cache_gb / group.world,
                seed=job.seed,
            )
        pretrain(
            data,
            settings,
            job.seed,
            job.checkpoint,
            job.log,
            job.state_dir,
            variant=job.variant,
            threads=max(1, job.threads // group.world),
            group=group,
            device=device,
        )


def _end_with_parent() -> None:
    """Ask the kernel to end torchrun when the job dies, so that a kill leaves no process on a GPU."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)


def _torchrun(job: Job, processes: int) -> None:
    library = str(Path(__file__).resolve().parents[2])
    with tempfile.TemporaryDirectory(prefix="mirror-") as folder:
        error_file = Path(folder) / "error.txt"
        description = Path(folder) / "job.json"
        description.write_text(json.dumps({"job": asdict(job), "error": str(error_file)}), encoding="utf-8")
        paths = [library, *filter(None, [os.environ.get("PYTHONPATH")])]
        threads = str(max(1, job.threads // processes))
        log.info("Training in %d processes", processes)
        ended = subprocess.run(
            [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}",
             "--max-restarts=0", "-m", "mirror.training.launch", str(description)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": threads},
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,
            check=False,
        )  # fmt: skip
        if error_file.is_file():
            raise InputError(error_file.read_text(encoding="utf-8"))
        if ended.returncode != 0:
            raise RuntimeError(f"training in {processes} processes ended with code {ended.returncode}")


def main(description: str) -> None:
    """Entry point of a torchrun process: ``python -m mirror.training.launch job.json``."""
    handed = json.loads(Path(description).read_text(encoding="utf-8"))
    first = os.environ.get("RANK", "0") == "0"
    configure_logging(None)
    if not first:
        logging.getLogger().setLevel(logging.WARNING)
    try:
        train_here(Job(**handed["job"]))
    except InputError as error:
        if first:
            Path(handed["error"]).write_text(str(error), encoding="utf-8")
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1])
