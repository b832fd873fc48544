#!/usr/bin/env python3
"""How fast a slide's tiles become tensors that an encoder takes, and in how much memory.

usage: slide_reading.py SLIDE [--rounds N] [--out-px N] [--mpp UM]

From the coordinates that tiling gives to normalised float32 tensors of 224 px, against
libjpeg-turbo decoding exactly the JPEG tiles needed (compressed bytes already in memory, same
DCT scale) and against OpenSlide's plain loop. Each figure is the median of the rounds; every
round measures all sides one after another, each in a process of its own. Peak memory is that of
the process that tiles the slide and reads it with two workers, plus the measuring process.
Prints a table, then one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow" / "scripts"))

OPENSLIDE_TILES = 200
BATCH = 32  # what an encoder on a CPU takes by default


def peak_mb() -> float:
    """Peak resident memory of this process, MiB (its threads share it; it starts no processes)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def tile(args: argparse.Namespace) -> dict[str, float]:
    """Segment and tile the slide into the folder."""
    from mirror.config.slides import SlideSettings
    from mirror.slides.tiling.tile import tile_slide

    start = time.perf_counter()
    result = tile_slide(args.slide, "slide", args.folder, SlideSettings(), args.mpp)
    return {"tiling_s": time.perf_counter() - start, "tiles": result.n_tiles}


def load(args: argparse.Namespace):
    """The slide's tiles, as tiling left them."""
    from mirror.io.tiles import read_tiles

    table = read_tiles(Path(args.folder) / "tiles" / "slide.h5")
    return table.coords, table.grid["patch_size_level0"]


def ours(args: argparse.Namespace) -> dict[str, float]:
    """Read every tile into a normalised tensor; the encoder only adds up pixels."""
    tiling = tile(args) if args.tile else {}
    import torch

    from mirror.encoders.run import Normaliser
    from mirror.slides.reading.iterate import iterate_tiles

    torch.set_num_threads(1)
    coords, size = load(args)
    normalise = Normaliser((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    ready = torch.ones(BATCH, args.out_px, args.out_px, 3)  # one input buffer for every batch, as an encoder has
    start = time.perf_counter()
    count, total = 0, 0.0
    for indices, pixels in iterate_tiles(args.slide, coords, size, args.out_px, workers=args.workers, batch=BATCH):
        tensor = normalise(torch.from_numpy(pixels), out=ready[: len(indices)])
        total += float(tensor[:, :, ::16, ::16].mean())
        count += len(indices)
    seconds = time.perf_counter() - start
    if count != len(coords):
        raise SystemExit(f"{count} tiles of {len(coords)} came")
    return {**tiling, "rate": count / seconds, "peak_mb": peak_mb()}


def turbo(args: argparse.Namespace) -> dict[str, float]:
    """Decode the JPEG tiles needed, and nothing else."""
    import numpy as np
    import simplejpeg

    from mirror.slides.reading.jpeg import JpegSlide
    from mirror.slides.reading.open import open_slide

    coords, size = load(args)
    with open_slide(args.slide) as slide:
        if not isinstance(slide, JpegSlide):
            return {"rate": float("nan")}
        level = slide.best_level(size / args.out_px)
        width, height, columns, rows = slide.layout(level)
        scale = slide.downsamples[level]
        first = np.floor(coords / scale / (width, height)).astype(int)
        last = np.ceil((coords + size) / scale / (width, height)).astype(int)
        needed = {
            (row, column)
            for a, b in zip(first, last, strict=True)
            for row in range(max(0, a[1]), min(rows, b[1]))
            for column in range(max(0, a[0]), min(columns, b[0]))
        }
        raw = [slide.compressed(level, column, row) for row, column in sorted(needed)]

    def decode(part: list[bytes]) -> None:
        for data in part:
            simplejpeg.decode_jpeg(data, "RGB", False, False, height, width)

    parts = [raw[i : i + 16] for i in range(0, len(raw), 16)]
    start = time.perf_counter()
    with ThreadPoolExecutor(args.workers) as pool:
        list(pool.map(decode, parts))
    return {"rate": len(coords) / (time.perf_counter() - start), "jpegs": len(raw)}


def plain(args: argparse.Namespace) -> dict[str, float]:
    """OpenSlide's read_region, one thread, no resizing."""
    import numpy as np
    import openslide

    coords, size = load(args)
    some = coords[np.linspace(0, len(coords) - 1, min(OPENSLIDE_TILES, len(coords))).astype(int)]
    with openslide.OpenSlide(args.slide) as slide:
        start = time.perf_counter()
        for x, y in some.tolist():
            slide.read_region((x, y), 0, (int(size), int(size))).convert("RGB")
        return {"rate": len(some) / (time.perf_counter() - start)}


PARTS = {"ours": ours, "turbo": turbo, "plain": plain}


def run(args: argparse.Namespace, part: str, workers: int = 1, tile_first: bool = False) -> dict[str, float]:
    """Run one measurement in a process of its own."""
    command = [sys.executable, __file__, args.slide, "--part", part, "--workers", str(workers)]
    command += ["--folder", args.folder, "--out-px", str(args.out_px)]
    command += ["--tile"] * tile_first + (["--mpp", str(args.mpp)] if args.mpp else [])
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"measuring {part} failed:\n{done.stderr.strip()}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measure all sides in turn and print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "slide", metavar="SLIDE", help="any slide; one of tiled JPEG for the comparison with libjpeg-turbo"
    )
    parser.add_argument("--rounds", type=int, default=3, help="rounds of which the median is taken (default 3)")
    parser.add_argument("--out-px", type=int, default=224, help="side of the tensors (default 224)")
    parser.add_argument("--mpp", type=float, help="micrometres per pixel, where the slide does not say")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--workers", type=int, default=2, help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    parser.add_argument("--tile", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.part:
        print(json.dumps(PARTS[args.part](args)))
        return
    seen: dict[str, list[dict[str, float]]] = {}
    for _ in range(max(1, args.rounds)):
        with tempfile.TemporaryDirectory() as folder:
            args.folder = folder
            seen.setdefault("ours2", []).append(run(args, "ours", 2, tile_first=True))
            seen.setdefault("turbo2", []).append(run(args, "turbo", 2))
            seen.setdefault("ours1", []).append(run(args, "ours", 1))
            seen.setdefault("turbo1", []).append(run(args, "turbo", 1))
            seen.setdefault("plain", []).append(run(args, "plain"))
    rate = {name: median(row["rate"] for row in rows) for name, rows in seen.items()}
    tiling = median(row["tiling_s"] for row in seen["ours2"])
    peak = max(row["peak_mb"] for row in seen["ours2"]) + peak_mb()
    print(f"{'who':<58}{'tiles/s':>9}")
    for name, what in (
        ("ours2", "MIRROR, coordinates to normalised tensors, 2 workers"),
        ("ours1", "MIRROR, 1 worker"),
        ("turbo2", "libjpeg-turbo, the JPEG tiles needed, 2 threads"),
        ("turbo1", "libjpeg-turbo, 1 thread"),
        ("plain", "OpenSlide read_region, 1 thread, no resize"),
    ):
        print(f"{what:<58}{rate[name]:>9.0f}")
    share2, share1 = rate["ours2"] / rate["turbo2"], rate["ours1"] / rate["turbo1"]
    print(f"share of libjpeg-turbo's rate: {share2:.2f} (2 workers), {share1:.2f} (1)")
    print(f"segmenting and tiling: {tiling:.2f} s; peak memory: {peak:.0f} MB")
    out = {
        "tiles": int(seen["ours2"][0]["tiles"]),
        "tiles_per_s": round(rate["ours2"], 1),
        "tiles_per_s_1": round(rate["ours1"], 1),
        "turbo_tiles_per_s": round(rate["turbo2"], 1),
        "openslide_tiles_per_s": round(rate["plain"], 1),
        "peak_mb": round(peak, 1),
        "tiling_s": round(tiling, 3),
    }
    print(json.dumps(out))


if __name__ == "__main__":
    main()
