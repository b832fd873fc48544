"""Two gloo processes on a CPU do what one process does with the whole batch."""

from __future__ import annotations

import os
import socket
from dataclasses import fields, replace
from pathlib import Path

import h5py
import pandas as pd
import pytest
import torch
import torch.multiprocessing as mp
from torch.nn.parallel import DistributedDataParallel

from mirror.config.pretrain import PretrainSettings
from mirror.core.errors import InputError
from mirror.io.checkpoints import load_checkpoint
from mirror.model.mirror import build_model
from mirror.model.noise import Draws
from mirror.training.distributed import Group, process_group
from mirror.training.launch import run_job
from mirror.training.step import Batch, TrainStep
from training_world import GENES, WIDTH, on_disk, settings

B, EXTRA, WORLD = 8, 4, 2
NO_DROPOUT = {"slide_dropout": 0.0, "rna_dropout": 0.0}
VARIANTS = {
    "mirror": {},
    "same patient": {"alignment": {"mask_same_patient": True, "normalize": "clip"}},
    "align": {"retention": {"slide_weight": 0.0, "rna_weight": 0.0}, "style": {"style_weight": 0, "cluster_weight": 0}},
    "plus": {"retention": {"target": "input", "decode_from": "embedding", "orthogonality_weight": 0.1}},
}


def whole(name: str) -> tuple[PretrainSettings, TrainStep, Batch, Draws]:
    """Model, batch of pairs with unpaired samples, and noise: the same in every process."""
    chosen = settings(model=NO_DROPOUT, **VARIANTS[name])
    torch.manual_seed(3)
    model = build_model(chosen, GENES, WIDTH)
    batch = Batch(torch.randn(B + EXTRA, 16, WIDTH), torch.randn(B + EXTRA, GENES), torch.arange(B) // 2)
    draws = Draws(
        slide_mask=torch.rand(B, 16),
        rna_mask=torch.rand(B, 16),
        slide_style=torch.randn(B, 4),
        rna_style=torch.randn(B, 4),
    )
    return chosen, TrainStep(model, chosen, Group(), torch.float32), batch, draws


def unpaired(x: torch.Tensor, part: slice, rank: int) -> torch.Tensor:
    """This rank's pairs, then its share of the unpaired samples behind them."""
    extra = EXTRA // WORLD
    return torch.cat([x[part], x[B + rank * extra : B + (rank + 1) * extra]])


def one_rank(rank: int, out: str, port: int) -> None:
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(WORLD), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    found, kept = {}, []
    with process_group(torch.device("cpu"), timeout_min=4) as group:
        for name in VARIANTS:
            _, step, batch, draws = whole(name)
            step.group = group
            part = group.slice(B)
            # Over masked tokens unpaired retention draws masks of its own, which one process cannot repeat.
            bags, rna = (unpaired(x, part, rank) if name == "plus" else x[part] for x in (batch.bags, batch.rna))
            cut = {f.name: v[part] for f in fields(draws) if (v := getattr(draws, f.name)) is not None}
            module = DistributedDataParallel(step, find_unused_parameters=True)
            kept.append(module)  # freed with a collective of its own under way, it could keep the other rank waiting
            losses = module(Batch(bags, rna, batch.patients[part]), replace(draws, **cut))
            losses["total"].backward()
            shared = group.mean({k: v for k, v in losses.items() if not k.startswith(("var_", "spread_"))})
            grads = {n: p.grad for n, p in step.named_parameters() if p.grad is not None}
            found[name] = {"losses": shared, "alignment": losses["alignment"].detach(), "grads": grads}
        if group.first:
            torch.save(found, out)


@pytest.fixture(scope="module")
def of_two(tmp_path_factory: pytest.TempPathFactory) -> dict:
    out = tmp_path_factory.mktemp("ddp") / "out.pt"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mp.spawn(one_rank, (str(out), port), nprocs=WORLD)
    return torch.load(out, weights_only=True)


@pytest.mark.parametrize("name", VARIANTS)
def test_two_processes_give_the_loss_and_gradients_of_one(of_two: dict, name: str) -> None:
    two = of_two[name]
    _, step, batch, draws = whole(name)
    if name != "plus":
        batch = Batch(batch.bags[:B], batch.rna[:B], batch.patients)
    losses = step(batch, draws)
    losses["total"].backward()
    assert {"total", "alignment"} <= two["losses"].keys()
    for key, value in two["losses"].items():
        assert torch.allclose(value, losses[key], rtol=1e-5, atol=1e-6), key
    assert torch.allclose(two["alignment"], losses["alignment"], rtol=1e-5), "each rank has the whole batch's"
    single = {n: p.grad for n, p in step.named_parameters() if p.grad is not None}
    assert two["grads"].keys() == single.keys() and len(single) > 20
    for key, grad in single.items():
        assert torch.allclose(two["grads"][key], grad, rtol=1e-4, atol=1e-6), key


def test_torchrun_trains_and_names_a_culprit(tmp_path: Path) -> None:
    job = on_disk(tmp_path, train={"epochs": 2})
    run_job(job, processes=2)
    found = load_checkpoint(job.checkpoint)
    assert len(found.patients) == 11 and len(found.validation_patients) == 1
    log = pd.read_csv(job.log, sep="\t")
    assert log["split"].tolist() == ["train", "validation"] * 2
    assert (log.loc[log["split"] == "train", "n"] == 10).all(), "11 pairs, cut evenly between two processes"
    assert not Path(job.state_dir).exists()
    slide = "S04a"
    with h5py.File(Path(job.features_dir) / f"{slide}.h5", "r+") as file:
        file["features"][:] = float("nan")
    Path(job.checkpoint).unlink()
    with pytest.raises(InputError, match=rf"slide {slide}.*the loss of epoch 1, step [123] is not finite"):
        run_job(job, processes=2)
    assert not Path(job.checkpoint).exists()
