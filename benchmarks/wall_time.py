"""Expected wall time of config/paper.yaml at 10,000 slides on 1, 8 and 64 GPUs: jobs as sleeps of given length.

The jobs and their dependencies are those of the workflow; each is replaced by its length, and a
greedy scheduler places them on GPUs and cores. The defaults say of each length whether it was
measured, on what, or assumed (every length on a GPU is); the table is printed first. Lengths are
flags: take them from `results/benchmarks` of a run of your own.

    python benchmarks/wall_time.py --slides 10000 --gpus 1 8 64

The last line is JSON: hours by the number of GPUs, and the number of jobs.
"""

from __future__ import annotations

import argparse
import heapq
import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
ON_GPU = {"abmil", "transmil"}
SURVIVAL_ONLY, SUBTYPING_ONLY = {"rna_cox", "rna_rsf", "clinical_cox"}, {"rna_logistic"}
# (flag, seconds, what, where the number is from). Measured ones are CPU seconds of the two-core machine on which
# this was written, divided by the job's cores, and scaled as said; nothing here was measured on a cluster.
LENGTHS = (
    ("overhead", 20.0, "queue, start and imports of a job", "assumed; start and imports alone measured 4 to 6 s"),
    ("tile", 62.0, "tiling a slide", "measured, 15 s of CPU on a slide of 24,000 x 24,000 px, published preset; "
     "scaled by area to an assumed 4.8 gigapixels, on 2 cores"),
    ("embed", 25.0, "features of a slide by one encoder, on a GPU", "assumed (bound by reading 4,000 tiles)"),
    ("expression", 70.0, "reading, or normalising, a cohort's expression", "measured, 1.5 s of CPU for 5,000 x 1,000 "
     "values of gzipped text; scaled to 200,000 transcripts"),
    ("genes", 82.0, "gene selection of one fold", "measured, 716 patients x 200,000 transcripts "
     "(benchmarks/gene_selection.py)"),
    ("step", 0.2, "one training step, on a GPU", "assumed"),
    ("encode", 0.05, "embedding per slide with a trained model, on a GPU", "assumed"),
    ("probe", 900.0, "a probe or a light baseline over all folds", "assumed; a whole job took 5 s in the demo"),
    ("mil", 3600.0, "a MIL baseline over all folds, on a GPU", "assumed"),
    ("metrics", 1200.0, "metrics and intervals", "assumed; a whole job took 4 s in the demo"),
)  # fmt: skip
WITHOUT_SLIDES = SURVIVAL_ONLY | SUBTYPING_ONLY | {"rna_mlp"}


@dataclass
class Job:
    """A job: seconds, what it holds, and what it waits for."""

    rule: str
    seconds: float
    cores: int = 1
    gpus: int = 0
    after: list[int] = field(default_factory=list)


def build(config: dict, slides: int, t: argparse.Namespace) -> list[Job]:
    """The workflow's jobs at ``slides`` slides, divided evenly over the cohorts."""
    jobs: list[Job] = []

    def add(rule: str, seconds: float, cores: int = 1, gpus: int = 0, after: list[int] | None = None) -> int:
        jobs.append(Job(rule, seconds + t.overhead, cores, gpus, after or []))
        return len(jobs) - 1

    cohorts = list(config["cohorts"])
    per_job = config["slides"]["slides_per_job"]
    folds = [f for s in config["splits"].values() for f in range(s["folds"] * s.get("repeats", 1))]
    mine = slides / len(cohorts)
    steps = 100 * mine * 2 / 3 * 0.8 / 16  # epochs x training patients / batch
    last: list[int] = []
    for _cohort in cohorts:
        shards = -(-int(mine) // per_job)
        sizes = [min(per_job, mine - i * per_job) for i in range(shards)]
        tiled = [add("tile_slides", n * t.tile, cores=2) for n in sizes]
        read = add("read_expression", t.expression)
        normal = add("normalize_expression", t.expression, after=[read])
        clinical = add("read_clinical", 5)
        features = {
            e: add(
                "join_features", 2,
                after=[add("embed_tiles", n * t.embed, 2, 1, [tile]) for n, tile in zip(sizes, tiled, strict=True)],
            )
            for e in config["encoders"]
        }  # fmt: skip
        tiles = add("join_tiles", 2, after=tiled)
        cohort = add("build_cohort", 30, after=[tiles, *features.values(), normal, clinical])
        splits = add("make_splits", 10, after=[cohort])
        genes = [add("select_genes", t.genes, 2, after=[splits]) for _ in folds]
        audit = add("audit_leaks", 60, after=genes)
        for feature in features.values():
            trained = {}
            for variant in config["variants"]:
                models = [add("pretrain_mirror", steps * t.step, 4, 1, [audit, feature]) for _ in folds]
                trained[variant] = models
            audited = add("audit_models", 30, after=[m for models in trained.values() for m in models])
            for models in trained.values():
                embedded = [add("encode_cohort", mine * t.encode, 4, 1, [m]) for m in models]
                last += [add(f"evaluate_{k}", t.probe, after=[*embedded, audited]) for k in ("subtyping", "survival")]
            for baseline in set(config["evaluation"]["baselines"]) - WITHOUT_SLIDES:
                gpu = int(baseline in ON_GPU)
                last += [add("evaluate_baseline", t.mil if gpu else t.probe, 1, gpu, [audit, feature]) for _ in "ab"]
        for baseline in set(config["evaluation"]["baselines"]) & WITHOUT_SLIDES:
            tasks = 1 if baseline in SURVIVAL_ONLY | SUBTYPING_ONLY else 2
            last += [add("evaluate_baseline", t.probe, after=[audit]) for _ in range(tasks)]
    metrics = add("compute_metrics", t.metrics, 2, after=last)
    add("make_report", 60, after=[add("make_tables", 30, after=[metrics])])
    return jobs


def simulate(jobs: list[Job], gpus: int, cores: int) -> tuple[float, dict[str, float]]:
    """Hours until the last job ends, and busy GPU hours and core hours."""
    waiting = [len(job.after) for job in jobs]
    then = defaultdict(list)
    for i, job in enumerate(jobs):
        for before in job.after:
            then[before].append(i)
    # Longest first among the jobs that can start: what a fair queue comes close to.
    ready = {k: [] for k in (0, 1)}
    for i, n in enumerate(waiting):
        if n == 0:
            heapq.heappush(ready[jobs[i].gpus], (-jobs[i].seconds, i))
    now, running, free, free_cores = 0.0, [], gpus, cores
    while running or ready[0] or ready[1]:
        for kind in (1, 0):
            while ready[kind] and free >= kind and free_cores >= jobs[ready[kind][0][1]].cores:
                _, i = heapq.heappop(ready[kind])
                free, free_cores = free - jobs[i].gpus, free_cores - jobs[i].cores
                heapq.heappush(running, (now + jobs[i].seconds, i))
        now, i = heapq.heappop(running)
        free, free_cores = free + jobs[i].gpus, free_cores + jobs[i].cores
        for j in then[i]:
            waiting[j] -= 1
            if waiting[j] == 0:
                heapq.heappush(ready[jobs[j].gpus], (-jobs[j].seconds, j))
    busy = {
        "gpu_h": sum(j.seconds * j.gpus for j in jobs) / 3600,
        "core_h": sum(j.seconds * j.cores for j in jobs) / 3600,
    }
    return now / 3600, busy


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slides", type=int, default=10_000)
    parser.add_argument("--gpus", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--cores-per-gpu", type=int, default=16)
    for name, seconds, what, source in LENGTHS:
        parser.add_argument(f"--{name}", type=float, default=seconds, metavar="SECONDS",
                            help=f"{what} ({seconds:g}; {source})")  # fmt: skip
    t = parser.parse_args()
    config = yaml.safe_load((ROOT / "config" / "paper.yaml").read_text())
    for name, default, what, source in LENGTHS:
        given = getattr(t, name)
        print(f"{given:>8g} s  {what}: {source if given == default else 'given'}")
    jobs = build(config, t.slides, t)
    counts = Counter(job.rule for job in jobs)
    print(f"{len(jobs)} jobs: " + ", ".join(f"{n} {rule}" for rule, n in counts.most_common()))
    result: dict[str, object] = {"jobs": len(jobs)}
    for gpus in t.gpus:
        hours, busy = simulate(jobs, gpus, gpus * t.cores_per_gpu)
        result[f"gpus_{gpus}_h"] = round(hours, 1)
        share = busy["gpu_h"] / gpus / hours
        print(f"{gpus:>3} GPUs, {gpus * t.cores_per_gpu:>4} cores: {hours:6.1f} h, GPUs busy {share:.0%}")
    print(json.dumps({**result, "gpu_hours": round(busy["gpu_h"]), "core_hours": round(busy["core_h"])}))


if __name__ == "__main__":
    main()
