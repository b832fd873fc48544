"""One update: the optimiser, clipping, accumulation, precision, seeds, and the clock that tells of them."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch

from mirror.compute.device import choose_precision
from mirror.config.pretrain import PretrainSettings, TrainSettings
from mirror.core.seeds import torch_seed
from mirror.model.mirror import Mirror, build_model
from mirror.training import loop, monitor
from mirror.training.distributed import Group
from mirror.training.loop import pretrain
from mirror.training.step import Batch, TrainStep, make_optimizer
from training_world import in_memory, settings

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


def tiny() -> Mirror:
    torch.manual_seed(1)
    return build_model(settings(), 30, 12)


def test_the_optimiser_is_adam_as_published() -> None:
    """Adam with torch's betas and epsilon; decay, where it is asked for, is decoupled and spares vectors."""
    published = make_optimizer(tiny(), TrainSettings())
    for group in published.param_groups:
        assert (group["lr"], group["betas"], group["eps"]) == (2e-5, (0.9, 0.999), 1e-8)
        assert group["weight_decay"] == 0.0 and not group["amsgrad"]
    decayed = make_optimizer(tiny(), TrainSettings(weight_decay=0.3, lr=0.1))
    for group in decayed.param_groups:
        assert {p.dim() >= 2 for p in group["params"]} == {group["weight_decay"] == 0.3}
    assert sum(len(g["params"]) for g in decayed.param_groups) == len(list(tiny().parameters()))
    # Without decay its update is Adam's own.
    one, other = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    other.load_state_dict(one.state_dict())
    pair = make_optimizer(one, TrainSettings(lr=0.01)), torch.optim.Adam(other.parameters(), lr=0.01)
    for step in range(3):
        for layer, optimizer in zip((one, other), pair, strict=True):
            optimizer.zero_grad()
            layer(torch.full((1, 3), step + 1.0)).square().sum().backward()
            optimizer.step()
    torch.testing.assert_close(one.weight, other.weight)


class Plain(torch.optim.SGD):
    """Weights minus gradients, so that an update shows the gradient itself."""


def first_update(monkeypatch: pytest.MonkeyPatch, folder: Path, chosen: PretrainSettings) -> dict[str, torch.Tensor]:
    """Change of each weight in the first update of a run, with lr 1 and no momentum: minus its gradient."""
    seen: dict[str, torch.Tensor] = {}
    update = loop._Run._update

    def look(self: loop._Run, *args: object) -> None:
        self.model.before_step()
        before = {n: p.detach().clone() for n, p in self.model.named_parameters()}
        update(self, *args)
        seen.update({n: p.detach() - before[n] for n, p in self.model.named_parameters()})
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop, "make_optimizer", lambda model, train: Plain(model.parameters(), lr=1.0))
        patch.setattr(loop, "learning_rate", lambda *args: 1.0)
        patch.setattr(loop._Run, "_update", look)
        with pytest.raises(KeyboardInterrupt):
            pretrain(in_memory(), chosen, 42, folder / "m.safetensors", folder / "m.tsv", folder / "s")
    return seen


def norm(update: dict[str, torch.Tensor]) -> float:
    return torch.stack([u.double().square().sum() for u in update.values()]).sum().sqrt().item()


def test_gradients_are_clipped_to_the_norm_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    free = first_update(monkeypatch, tmp_path / "a", settings())
    assert norm(free) > 0.1
    cut = first_update(monkeypatch, tmp_path / "b", settings(train={"clip_norm": 0.01}))
    assert norm(cut) == pytest.approx(0.01, rel=1e-3)
    for name, change in free.items():  # the direction stays
        torch.testing.assert_close(cut[name] * norm(free) / 0.01, change, rtol=1e-2, atol=1e-3 * norm(free))
    wide = first_update(monkeypatch, tmp_path / "c", settings(train={"clip_norm": 1e4}))
    assert norm(wide) == pytest.approx(norm(free), rel=1e-6)


def test_accumulated_gradients_are_the_mean_of_their_steps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each step keeps its own negatives: two steps of four pairs are not one of eight."""
    steps: list[dict[str, torch.Tensor]] = []
    forward = TrainStep.forward

    def look(self: TrainStep, batch: Batch, draws: object = None) -> dict:
        losses = forward(self, batch, draws)  # type: ignore[arg-type]
        parameters = dict(self.model.named_parameters())
        grads = torch.autograd.grad(losses["total"], list(parameters.values()), retain_graph=True, allow_unused=True)
        steps.append({n: torch.zeros_like(p) if g is None else g
                      for (n, p), g in zip(parameters.items(), grads, strict=True)})  # fmt: skip
        return losses

    monkeypatch.setattr(TrainStep, "forward", look)
    done = first_update(monkeypatch, tmp_path, settings(train={"accumulate": 2}))
    assert len(steps) == 2
    for name, change in done.items():
        if name != "logit_scale":  # clamped after the step
            torch.testing.assert_close(-change, (steps[0][name] + steps[1][name]) / 2, rtol=1e-3, atol=1e-5)


def test_each_device_gets_the_precision_it_can_do(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_precision("auto", CPU) == choose_precision("float16", CPU) == torch.float32
    assert choose_precision("bfloat16", CPU) == torch.bfloat16
    for able, wanted in ((True, torch.bfloat16), (False, torch.float16)):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda able=able: able)
        assert choose_precision("auto", CUDA) == wanted
        assert choose_precision("float32", CUDA) == torch.float32
        assert choose_precision("float16", CUDA) == torch.float16


@pytest.mark.parametrize("name", ["bfloat16", "float32"])
def test_the_forward_pass_runs_in_the_precision_chosen_and_losses_in_float32(name: str) -> None:
    model, seen = tiny(), []
    model.slide_encoder.block1.register_forward_hook(lambda module, given, out: seen.append(out.dtype))
    model.rna_encoder.fc1.register_forward_hook(lambda module, given, out: seen.append(out.dtype))
    step = TrainStep(model, settings(), Group(), getattr(torch, name))
    losses = step(Batch(torch.randn(4, 16, 12), torch.randn(4, 30), torch.arange(4)))
    assert torch.bfloat16 in seen if name == "bfloat16" else set(seen) == {torch.float32}
    assert {v.dtype for v in losses.values()} == {torch.float32}


def test_every_step_and_rank_draws_its_own_noise() -> None:
    """Ranks with one seed would mask alike, and a batch over two GPUs be no batch of independent draws."""
    places = [(epoch, step, rank) for epoch in range(3) for step in range(4) for rank in range(4)]
    seeds = [torch_seed(42, "step", *place) for place in places]
    assert len(set(seeds)) == len(places) and seeds == [torch_seed(42, "step", *place) for place in places]
    assert torch_seed(43, "step", 0, 0, 0) not in seeds and min(seeds) >= 0


def test_the_rank_is_part_of_a_step_s_seed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[tuple] = []
    monkeypatch.setattr(loop, "torch_seed", lambda seed, *keys: asked.append(keys) or torch_seed(seed, *keys))

    third = Group(rank=2)
    monkeypatch.setattr(Group, "first", True)
    plain = loop.EpochPlan
    monkeypatch.setattr(loop, "EpochPlan", lambda *args: plain(*args[:5], 0, 1))
    chosen = settings(train={"epochs": 1})
    pretrain(in_memory(), chosen, 42, tmp_path / "m.safetensors", tmp_path / "m.tsv", tmp_path / "s", group=third)
    steps = [keys for keys in asked if keys[0] == "step"]
    assert [keys[:3] for keys in steps] == [("step", 0, i) for i in range(len(steps))] and steps
    assert {keys[3] for keys in steps} == {2}


class Bar:
    """A progress bar that remembers."""

    def __init__(self, **given: object) -> None:
        self.given, self.done = given, []

    def update(self, n: int) -> None:
        self.done.append(n)

    def close(self) -> None:
        self.done.append("closed")


def test_the_clock_tells_throughput_and_time_left(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Of what this process did: pairs done before a restart are no throughput."""
    caplog.set_level(logging.INFO)
    now = [100.0]
    monkeypatch.setattr(monitor.time, "monotonic", lambda: now[0])
    bars = []
    monkeypatch.setattr(monitor, "tqdm", lambda **given: bars.append(Bar(**given)) or bars[-1])
    clock = monitor.Clock(total=10_000, done=2_000, quiet=False, every_s=60.0)
    now[0] += 30
    clock.add(300)
    assert not caplog.records, "one line a minute"
    now[0] += 31
    clock.add(310)
    assert caplog.messages == ["26 %, 10.0 pairs/s, 0:12:19 left"]
    assert (bars[0].given["initial"], bars[0].given["total"], bars[0].done) == (2_000, 10_000, [300, 310])
    assert not bars[0].given["disable"]
    assert clock.left(0.0) == "0:00:00" and clock.left(0.5) == "4:06:20"
    quiet = monitor.Clock(total=10, done=0, quiet=True, every_s=0.0)
    now[0] += 5
    quiet.add(5)
    assert len(caplog.messages) == 1 and bars[1].given["disable"], "one process of several speaks"
    clock.close()
    assert bars[0].done[-1] == "closed"
