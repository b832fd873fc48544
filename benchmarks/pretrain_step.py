"""Seconds and peak memory of one pre-training step (forward, backward, Adam).

Three models with the same weights, sizes and inputs, each in its own process: with the
``nystrom-attention`` package's module as the attention (the reference point), with ours at
equal numerics, and with exact attention. Rounds over the three take turns, so that other load
on the machine touches all alike. The last line is one JSON object: median seconds per step, and
peak resident MB (on a GPU, peak allocated MB).

    python benchmarks/pretrain_step.py                 # CPU, float32, batch 4
    python benchmarks/pretrain_step.py --device cuda   # GPU, bfloat16, batch 16
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow" / "scripts"))

KINDS = ("reference", "nystrom", "exact")


def use_package_attention(model) -> None:
    """Put the package's attention, with the same weights, in place of ours."""
    from nystrom_attention import NystromAttention
    from torch import nn

    class Block(nn.Module):
        """Norm, the package's attention of all tokens with its own dropout, and the residual."""

        def __init__(self, block) -> None:
            super().__init__()
            ours = block.attention
            dim = ours.out.in_features
            self.norm = block.norm
            self.attention = NystromAttention(
                dim=dim,
                dim_head=dim // ours.heads,
                heads=ours.heads,
                num_landmarks=ours.landmarks,
                pinv_iterations=6,
                residual=True,
                dropout=block.dropout,
            )
            self.attention.to_qkv.load_state_dict(ours.qkv.state_dict())
            self.attention.to_out[0].load_state_dict(ours.out.state_dict())
            self.attention.res_conv.load_state_dict(ours.residual.state_dict())

        def forward(self, x, rows=None):
            mixed = x + self.attention(self.norm(x))
            return mixed if rows is None else mixed[:, :rows]

    encoder, retention = model.slide_encoder, model.slide_retention
    encoder.block1, encoder.block2 = Block(encoder.block1), Block(encoder.block2)
    retention.blocks = nn.ModuleList(Block(block) for block in retention.blocks)


def measure(kind: str, options: argparse.Namespace) -> dict[str, Any]:
    """Seconds and processor seconds of each step, peak MB and loss of one kind, in this process."""
    import torch

    from mirror.config.pretrain import PretrainSettings
    from mirror.model.losses import compute_losses
    from mirror.model.mirror import build_model
    from mirror.model.noise import Draws

    cuda = options.device == "cuda"
    settings = PretrainSettings.model_validate(
        {
            "model": {
                "embed_dim": options.dim,
                "tokens": options.tokens,
                "attention": "exact" if kind == "exact" else "nystrom",
                "pinv_scaling": "batch",
            }
        }
    )
    torch.manual_seed(0)
    torch.set_float32_matmul_precision("highest")
    model = build_model(settings, options.genes, options.width)
    # The reference rebuilds all tokens, as published; ours those alone that the loss reads.
    plain = kind == "reference"
    if plain:
        use_package_attention(model)
    model.train().to(options.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-5, fused=True)
    b, n = options.batch, options.tokens
    torch.manual_seed(1)
    bags = torch.randn(b, n, options.width).to(options.device)
    rna = torch.randn(b, options.genes).to(options.device)
    draws = Draws(torch.rand(b, n), torch.rand(b, options.dim), torch.randn(b, 128), torch.randn(b, 128)).to(
        options.device
    )
    model.eval()
    with torch.no_grad(), torch.autocast(options.device, torch.bfloat16, enabled=cuda):
        # Without dropout, so that equal numerics show: reference and nystrom print the same loss.
        fixed = compute_losses(model(bags, rna, draws, everything=plain), settings)["total"].item()
    model.train()
    seconds, processor = [], []
    for step in range(options.warmup + options.steps):
        start, start_processor = time.perf_counter(), time.process_time()
        optimizer.zero_grad(set_to_none=True)
        model.before_step()
        with torch.autocast(options.device, torch.bfloat16, enabled=cuda):
            output = model(bags, rna, draws, everything=plain)
        loss = compute_losses(output, settings)["total"]
        del output
        loss.backward()
        optimizer.step()
        model.after_step()
        if cuda:
            torch.cuda.synchronize()
        if step >= options.warmup:
            seconds.append(time.perf_counter() - start)
            processor.append(time.process_time() - start_processor)
    if cuda:
        peak = torch.cuda.max_memory_allocated() / 2**20
    else:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "processor": processor, "mb": peak, "loss": fixed}


def main() -> None:
    """Measure each kind in its own process and print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--batch", type=int, help="default: 4 on a CPU, 16 on a GPU")
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument("--width", type=int, default=768, help="patch-feature width")
    parser.add_argument("--genes", type=int, default=10234)
    parser.add_argument("--steps", type=int, help="timed steps; a round; default: 2 on a CPU, 20 on a GPU")
    parser.add_argument("--warmup", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--in-process", choices=KINDS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.batch = options.batch or (16 if options.device == "cuda" else 4)
    options.steps = options.steps or (20 if options.device == "cuda" else 2)
    if options.in_process:
        print(json.dumps(measure(options.in_process, options)))
        return
    runs: dict[str, list[dict[str, Any]]] = {kind: [] for kind in options.kinds}
    for kind in options.kinds * options.rounds:
        command = [sys.executable, __file__, *sys.argv[1:], "--in-process", kind]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        runs[kind].append(json.loads(done.stdout.splitlines()[-1]))
    results = {}
    for kind, rounds in runs.items():
        seconds, processor = (statistics.median(x for r in rounds for x in r[k]) for k in ("seconds", "processor"))
        results[kind] = {"s": seconds, "mb": max(r["mb"] for r in rounds), "processor": processor}
        print(
            f"{kind:10s} {seconds:8.3f} s/step, {processor:8.3f} processor s, "
            f"{options.batch / seconds:9.2f} samples/s, {results[kind]['mb']:6.0f} MB, loss {rounds[0]['loss']:.6f}"
        )
    if "reference" in results:
        for kind in (k for k in results if k != "reference"):
            s, mb, cpu = (results[kind][key] / results["reference"][key] for key in ("s", "mb", "processor"))
            print(f"{kind} / reference: {s:.3f} of the time, {cpu:.3f} of the processor time, {mb:.3f} of the memory")
    print(json.dumps({f"{kind}_{key}": round(r[key], 3) for key in ("s", "mb") for kind, r in results.items()}))


if __name__ == "__main__":
    main()
