"""How long Snakemake takes to plan a run, by the number of slides.

Dry runs of the real Snakefile with the cohorts, folds, variants and tasks of config/paper.yaml.
Slide tables and empty input files are made in a temporary folder. A dry run of one slide per cohort
is what any run costs ("empty"). Sizes take turns, and medians are told: other work on the machine
falls on all sizes alike. `--finished` also measures a rerun with nothing to do,
over outputs that `snakemake --touch` and empty files stand for.

    python benchmarks/dag_scale.py [--sizes 100 1000 10000 30000] [--finished 10000]

The last line is JSON: wall seconds, the peak of resident memory in MB, and the number of jobs.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import yaml

ROOT = Path(__file__).resolve().parents[1]


def make_inputs(folder: Path, slides: int) -> Path:
    """Write slide tables of ``slides`` slides over the paper's cohorts, the files they name, and the config."""
    config = yaml.safe_load((ROOT / "config" / "paper.yaml").read_text())
    data = folder / "slides"
    data.mkdir(parents=True)
    read = [name for name, cohort in config["cohorts"].items() if cohort.get("samples")]
    for c, name in enumerate(read):
        cohort = config["cohorts"][name]
        mine = range(c, max(slides, len(read)), len(read))
        rows = ["slide_id\tpatient_id\tslide_path"]
        for i in mine:
            # Three slides for every two patients, named as TCGA names them.
            patient = f"TCGA-{c:02d}-{i * 2 // 3:04X}"
            path = data / f"{patient}-01Z-00-DX1.{i:08d}.svs"
            path.touch()
            rows.append(f"{path.stem}\t{patient}\t{path}")
        cohort["samples"] = str(folder / f"{name}.tsv")
        Path(cohort["samples"]).write_text("\n".join(rows) + "\n")
        for part in ("expression", "clinical"):
            file = folder / f"{name}.{part}.tsv"
            file.touch()
            cohort[part]["path"] = str(file)
    selection = config.get("rna", {}).get("selection", {})
    if selection.get("gene_list"):
        selection["gene_list"] = str(folder / "genes.csv")
        (folder / "genes.csv").touch()
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump(config))
    return file


def snakemake(folder: Path, *arguments: str) -> tuple[float, float, str]:
    """Run Snakemake; wall seconds, peak MB, what it said."""
    command = [
        sys.executable, "-m", "snakemake", "--cores", "8", "--snakefile", str(ROOT / "Snakefile"),
        "--directory", str(folder), "--workflow-profile", str(ROOT / "profiles" / "default"),
        "--configfile", str(folder / "config.yaml"), *arguments,
    ]  # fmt: skip
    with tempfile.TemporaryFile("w+") as out:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        said = out.read()
    if process.returncode != 0:
        raise SystemExit(said[-3000:])
    unit = 1 if sys.platform == "darwin" else 1024
    snakemake.cpu = usage.ru_utime + usage.ru_stime
    return seconds, usage.ru_maxrss * unit / 2**20, said


def jobs(said: str) -> int:
    """The number of jobs that a dry run names."""
    found = re.search(r"^total\s+(\d+)", said, flags=re.M)
    return int(found[1]) if found else 0


def measure(sizes: list[int], repeats: int) -> dict[int, dict[str, float]]:
    """Dry runs of every size in turn, ``repeats`` times: medians of seconds, the largest memory, and the jobs.

    The sizes alternate, so that what else the machine does falls on all of them alike.
    """
    runs: dict[int, list[tuple[float, float, float]]] = {size: [] for size in sizes}
    found = {}
    with tempfile.TemporaryDirectory(prefix="mirror-dag-") as name:
        folders = {size: Path(name) / str(size) for size in sizes}
        for size, folder in folders.items():
            make_inputs(folder, size)
        for _ in range(repeats):
            for size, folder in folders.items():
                seconds, mb, said = snakemake(folder, "--dry-run", "--quiet", "rules", "reason")
                runs[size].append((seconds, snakemake.cpu, mb))
                found[size] = jobs(said)
    out = {}
    for size, these in runs.items():
        seconds, cpu, mb = zip(*these, strict=True)
        one = {"s": median(seconds), "cpu_s": median(cpu), "mb": max(mb), "jobs": found[size]}
        print(f"{size:>6} slides: {one['jobs']:>5} jobs, {one['s']:6.2f} s ({min(seconds):.2f} to {max(seconds):.2f}; "
              f"{one['cpu_s']:.2f} s of CPU), {one['mb']:.0f} MB", flush=True)  # fmt: skip
        out[size] = one
    return out


def finished(slides: int, repeats: int) -> float:
    """Seconds of a run that finds everything done."""
    with tempfile.TemporaryDirectory(prefix="mirror-dag-") as name:
        folder = Path(name)
        make_inputs(folder, slides)
        for line in snakemake(folder, "--detailed-summary")[2].splitlines():
            path = folder / line.split("\t", 1)[0]
            if "\t" in line and line.split("\t")[0] not in ("output_file", ""):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("x")
        took, _, _ = snakemake(folder, "--touch", "--quiet", "all")
        print(f"{slides:>6} slides: --touch of all outputs {took:.1f} s", flush=True)
        times = []
        for _ in range(repeats):
            seconds, mb, said = snakemake(folder)
            if "Nothing to be done" not in said:
                raise SystemExit("a finished run found something to do:\n" + said[-3000:])
            times.append((seconds, snakemake.cpu))
    seconds, cpu = min(t[0] for t in times), min(t[1] for t in times)
    print(f"{slides:>6} slides: nothing to do, found in {seconds:.2f} s ({cpu:.2f} s of CPU), {mb:.0f} MB", flush=True)
    return seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1000, 10000, 30000])
    parser.add_argument("--repeats", type=int, default=3, help="runs of each size, in turn; medians are told (3)")
    parser.add_argument("--finished", type=int, metavar="SLIDES", help="also time a rerun with nothing to do")
    wanted = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    measured = measure([1, *wanted.sizes], wanted.repeats)
    result = {"empty_s": round(measured[1]["s"], 2)}
    for size in wanted.sizes:
        one = measured[size]
        result[f"n{size}_s"] = round(one["s"], 2)
        if size == 10000:
            result |= {"n10000_mb": round(one["mb"]), "jobs_10000": one["jobs"]}
    if wanted.finished:
        result[f"finished_{wanted.finished}_s"] = round(finished(wanted.finished, wanted.repeats), 2)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
