#!/usr/bin/env python3
"""The README's commands on a study of real files, from a clean clone, with nothing edited in between.

DATA is a folder with rna/xena_log2tpm_coadread.csv (TCGA COADREAD, log2 TPM), clinical/TCGA-CDR.csv and
pairs/her2st/*.jpg (H&E of tissue sections, 0.69 um per pixel). Slides are crops of the sections, written as SVS in
nested folders and called after patients of COADREAD, so that the join is a real one. Pixels and genes are of different
people: the results mean nothing. Two files are what people have by accident: one is cut in half, one is a text.

The commands are read from README.md: `./mirror init`, `snakemake doctor`, `snakemake qc` and the run, in this order,
in a clone of the repository at its last commit. To each, what a user would fill in is added: the folders, and --small
for a machine without a GPU. `make venv` is not repeated: the running environment is used.

A command fails the check when it ends with an error, prints a traceback, or when the clone has changed files.

Ends with one line of JSON: {"seconds": {"init", "doctor", "qc", "run"}, "slides", "patients", "failed_slides",
"tracebacks", "warnings_of_doctor", "report_mb"}.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow" / "scripts"))

from mirror.simulation.render import write_slide  # noqa: E402

MPP = 0.690
STEPS = ("init", "doctor", "qc", "run")


def draw_slides(data: Path, out: Path, patients: list[str], side: int, rng: np.random.Generator) -> None:
    """Write one slide per patient: a random square of a random section, in a folder of its own."""
    sections = [cv2.imread(str(p))[..., ::-1] for p in sorted((data / "pairs/her2st").glob("*.jpg"))]
    for number, patient in enumerate(patients):
        image = sections[number % len(sections)]
        while True:
            top, left = (int(rng.integers(0, max(image.shape[k] - side, 1))) for k in (0, 1))
            crop = np.ascontiguousarray(image[top : top + side, left : left + side])
            if (crop.mean(2) < 200).mean() > 0.3:  # not only glass
                break
        folder = out / f"{rng.bytes(4).hex()}-{number:04d}"
        folder.mkdir(parents=True)
        write_slide(folder / f"{patient}-01Z-00-DX1.{rng.bytes(8).hex().upper()}.svs", crop, MPP)


def make_study(data: Path, folder: Path, n: int, side: int, seed: int) -> list[str]:
    """Write the slides, two files that are none, and links to the real tables; return the patients."""
    rng = np.random.default_rng(seed)
    rna = pd.read_csv(data / "rna/xena_log2tpm_coadread.csv", usecols=[0]).iloc[:, 0].astype(str).str[:12]
    clinical = pd.read_csv(data / "clinical/TCGA-CDR.csv", dtype=str)
    known = clinical.set_index("bcr_patient_barcode").loc[lambda d: d["type"].isin(["COAD", "READ"])]
    both = sorted(set(rna) & set(known.index))
    chosen: list[str] = []
    for kind in ("COAD", "READ"):  # half of each label, so that every fold has both
        of_kind = [p for p in both if known.loc[p, "type"] == kind]
        chosen += [str(p) for p in rng.choice(of_kind, n // 2, replace=False)]
    draw_slides(data, folder / "slides", chosen, side, rng)
    files = sorted((folder / "slides").rglob("*.svs"))
    whole = files[0].read_bytes()
    files[0].write_bytes(whole[: len(whole) // 2])
    files[1].write_text("the download failed\n")
    (folder / "expression.csv").symlink_to(data / "rna/xena_log2tpm_coadread.csv")
    (folder / "clinical.csv").symlink_to(data / "clinical/TCGA-CDR.csv")
    return chosen


def commands(readme: str, study: Path, cores: int) -> dict[str, list[str]]:
    """The commands of the section "First study", with the user's folders put in."""
    block = re.search(r"## First study\n+```bash\n(.*?)```", readme, re.DOTALL)
    if block is None:
        raise SystemExit("README.md has no section `First study` with commands")
    lines = [shlex.split(line) for line in block[1].strip().splitlines()]
    if len(lines) != len(STEPS) or "init" not in lines[0] or "doctor" not in lines[1] or "qc" not in lines[2]:
        raise SystemExit(f"the README's commands are not {', '.join(STEPS)}: {lines}")
    put = {
        "DATA/slides": str(study / "slides"),
        "DATA/counts": str(study / "expression.csv"),
        "DATA/clinical.tsv": str(study / "clinical.csv"),
        "all": str(cores),
    }
    filled = [[put.get(word, word) for word in line] for line in lines]
    filled[0].append("--small")
    return dict(zip(STEPS, filled, strict=True))


def main() -> None:
    """Make the study, run the commands, print what they took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the real files")
    parser.add_argument("--out", type=Path, help="where to work (default: a temporary folder, deleted)")
    parser.add_argument("--patients", type=int, default=40, help="slides to write (default: 40)")
    parser.add_argument("--side", type=int, default=2048, help="side of a slide in pixels (default: 2048)")
    parser.add_argument("--cores", type=int, default=os.cpu_count(), help="cores of Snakemake (default: all)")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        out = (arguments.out or Path(temporary)).resolve()
        out.mkdir(parents=True, exist_ok=True)
        print(json.dumps(measure(arguments, out)))


def measure(arguments: argparse.Namespace, out: Path) -> dict:
    """Run the commands in a clone below ``out``."""
    clone, study = out / "clone", out / "files"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
    patients = make_study(arguments.data.resolve(), study, arguments.patients, arguments.side, arguments.seed)
    prefix = Path(sys.prefix)
    if (prefix / ".installed").is_file():  # made by `make venv`; without it, `./mirror` installs one in the clone
        (clone / ".venv").symlink_to(prefix)
    env = dict(os.environ, PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    seconds, tracebacks, said = {}, 0, {}
    steps = commands((clone / "README.md").read_text(encoding="utf-8"), study, arguments.cores)
    for step, command in steps.items():
        print(f"\n$ {shlex.join(command)}", flush=True)
        started = time.perf_counter()
        done = subprocess.run(command, cwd=clone, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        seconds[step] = round(time.perf_counter() - started, 1)
        said[step] = done.stdout
        print("\n".join(done.stdout.splitlines()[-(200 if step in ("init", "doctor") else 15) :]), flush=True)
        tracebacks += done.stdout.count("Traceback (most recent call last)")
        if done.returncode:
            raise SystemExit(f"`{step}` ended with code {done.returncode} after {seconds[step]} s")
    changed = subprocess.run(["git", "status", "--porcelain"], cwd=clone, capture_output=True, text=True, check=True)
    edited = [line for line in changed.stdout.splitlines() if not line.startswith("??")]
    if edited:
        raise SystemExit(f"the clone has changed files: {edited}")
    results = clone / "my_study" / "results"
    tiles = pd.concat(pd.read_csv(p, sep="\t") for p in sorted(results.glob("slides/*/tiles.tsv")))
    return {
        "seconds": seconds,
        "slides": arguments.patients,
        "patients": len(patients),
        "failed_slides": int((tiles["status"] == "failed").sum()),
        "tracebacks": tracebacks,
        "warnings_of_doctor": len(re.findall(r"\bwarning\b", said["doctor"])),
        "report_mb": round((results / "report.html").stat().st_size / 1e6, 1),
    }


if __name__ == "__main__":
    main()
