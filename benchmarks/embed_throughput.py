"""Tiles per second from a slide to its feature file, beside the encoder's own rate on resident data.

    python benchmarks/embed_throughput.py SLIDE --encoder NAME

Tiles the slide, then measures three rates with the same tiles: the encoder on tiles already on its
device (what the encoder alone can do), reading and scoring without an encoder (what the decoder
alone can do), and the whole step. On a GPU the whole step should reach the lower of the first
two; on a CPU both work on the same cores. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import logging
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow" / "scripts"))

import numpy as np  # noqa: E402
import torch  # noqa: E402

from mirror.config.slides import EmbedSettings, SlideSettings  # noqa: E402
from mirror.encoders.run import TileEncoder  # noqa: E402
from mirror.encoders.table import find_encoder  # noqa: E402
from mirror.features.embed import SlideJob, embed_slide  # noqa: E402
from mirror.features.focus import focus_score  # noqa: E402
from mirror.io.tiles import read_tiles, write_tiles  # noqa: E402
from mirror.slides.reading.iterate import iterate_tiles  # noqa: E402
from mirror.slides.tiling.tile import tile_slide  # noqa: E402


def model_rate(encoder: TileEncoder, tiles: np.ndarray, seconds: float) -> float:
    """Tiles a second of the encoder on tiles that lie on its device, normalisation included."""
    resident = torch.from_numpy(tiles).to(encoder.device)
    done, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        encoder.forward(resident)
        done += len(resident)
        if encoder.pinned:
            torch.cuda.synchronize()
    return done / (time.perf_counter() - start)


def timed(work: Callable[[], object]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def measure(args: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Run all three measurements."""
    tile_slide(args.slide, "slide", folder, SlideSettings(), args.mpp)
    path = folder / "tiles" / "slide.h5"
    table = read_tiles(path)
    if args.tiles and len(table) > args.tiles:
        keep = slice(args.tiles)
        table = replace(
            table,
            coords=table.coords[keep],
            tissue_fraction=table.tissue_fraction[keep],
            pen_fraction=table.pen_fraction[keep],
        )
        write_tiles(path, table)
    row = find_encoder(args.encoder, args.table)
    weights = {row.name: args.weights} if args.weights else {}
    settings = EmbedSettings(
        device=args.device, batch_size=args.batch, precision=args.precision, readers=args.workers, weights=weights
    )
    torch.set_num_threads(args.workers)
    encoder = TileEncoder.load(row, settings)
    side, side0 = int(table.grid["patch_size"]), float(table.grid["patch_size_level0"])

    def tiles() -> object:
        return iterate_tiles(args.slide, table.coords, side0, side, args.workers, encoder.batch_size)

    sample = np.concatenate([next(iter(tiles()))[1]] * (1 if encoder.device.type == "cpu" else 4))
    encoder.forward(torch.from_numpy(sample))  # warm up, and find a batch that fits
    model = model_rate(encoder, sample, args.seconds)
    read = len(table) / timed(lambda: [focus_score(batch) for _, batch in tiles()])
    job = SlideJob("slide", Path(args.slide), path, folder / "features.h5", encoder, settings, args.workers)
    whole = len(table) / timed(lambda: embed_slide(job))
    return {
        "encoder": row.name,
        "device": torch.cuda.get_device_name() if encoder.device.type == "cuda" else "cpu",
        "precision": encoder.precision,
        "batch": encoder.batch_size,
        "workers": args.workers,
        "tiles": len(table),
        "tiles_per_s": round(whole, 1),
        "model_tiles_per_s": round(model, 1),
        "read_tiles_per_s": round(read, 1),
        "share_of_limit": round(whole / min(model, read), 3),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("slide")
    parser.add_argument("--encoder", default="demo-random", help="row of the encoder table (demo-random)")
    parser.add_argument("--table", default=ROOT / "config" / "encoders.yaml", help="the encoder table")
    parser.add_argument("--weights", help="a local checkpoint in place of the hub")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--precision", default="auto", choices=("auto", "float32", "bfloat16", "float16"))
    parser.add_argument("--batch", type=int, default=0, help="tiles a pass; 0 finds one that fits")
    parser.add_argument("--workers", type=int, default=2, help="reading threads, and the encoder's on a CPU")
    parser.add_argument("--tiles", type=int, default=0, help="use the first so many tiles; 0 uses all")
    parser.add_argument("--mpp", type=float, help="micrometres per pixel, where the slide does not say")
    parser.add_argument("--seconds", type=float, default=5.0, help="duration of the encoder's own measurement")
    args = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        result = measure(args, Path(folder))
    for key, value in result.items():
        print(f"{key:>20}  {value}")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
