"""Do the intervals cover, and do the tests hold their level? Nulls and alternatives, whole cross-validations repeated.

    python benchmarks/calibration.py [--data FOLDER] [--quick] [--jobs 2]

Every repeat runs what the workflow runs on frozen embeddings: `fit_task` in each fold (penalty chosen
inside the training patients), then `score_predictions`. Scenarios:

null        real folds and real features of TCGA BRCA with FOLDER (``pairs/brca_hif.parquet``,
            ``rna/tcga_brca_all_clean.csv.zip``, ``splits/tcga_brca``), simulated ones without; outcomes
            are permuted over patients, so that AUROC and C-index are 0.5 for every method. Two methods:
            principal components of the slide features and of the genes.
signal      simulated cohorts with a real signal and two equally good methods; the true value of a metric
            is its mean over the repeats.
shots       the same at 10 shots alone, all cohorts of one population: with few patients the value depends on the
            population's features, so that the mean over populations is the true value of none.
planted     the same, one method better: power.
repeated    as null and simulated, three repeats of the folds.
adds        "What it adds": outcomes follow two covariates alone; one score measures the covariates, one is noise.
            Neither adds anything: false positives of the gain's p and of the likelihood-ratio test.
gene sets   random sets of 20 genes against scores that follow something real.

Rates are printed with their 95 % Monte-Carlo interval (Wilson). ``fpr_logrank`` is that of the p value by
permuting outcomes through the whole cross-validation; that of the nominal p is printed beside it.
``fpr_fewshot`` is of two equal methods at 10 shots. ``--share`` runs a part of the repeats of every
scenario, and ``--minutes`` stops after a time: repeats are spread evenly over the scenarios, so that what
was run is reported. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import norm, rankdata
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow" / "scripts"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from calibrating.repeat import PRIMARY, SHOWN, WIDTH, one_repeat, predict, real_cohort, settings_of, simulated

from mirror.evaluation.added import added_value
from mirror.evaluation.uncertainty import UNREFITTED_SPREAD
from mirror.interpretation.associations import gene_set_association
from mirror.plan.targets import SHORT
from mirror.targets.fewshot import fewshot_settings
from mirror.targets.registry import Target

_COHORT: tuple = ()


def _load(data: str | None) -> None:
    global _COHORT
    threadpool_limits(1)  # one thread a worker: the matrices are small
    warnings.simplefilter("ignore")
    if data and not _COHORT:
        _COHORT = real_cohort(Path(data))


def null(seed: int, quick: bool) -> list[dict]:
    """Outcomes permuted over patients; 10-shot heads beside the linear ones."""
    if _COHORT:
        patients, features, splits = _COHORT[0], _COHORT[1], _COHORT[2]
    else:
        patients, features, splits = simulated(10_000 + seed)
    rng = np.random.default_rng([seed, 1])
    outcome = ["time_days", "event"]
    table = patients.copy()
    table[outcome] = patients[outcome].to_numpy()[rng.permutation(len(patients))]
    named = patients["label"].notna().to_numpy()
    table.loc[named, "label"] = rng.permutation(patients.loc[named, "label"].to_numpy())
    return one_repeat(table, features, splits, settings_of(quick, True), seed)


def signal(seed: int, quick: bool) -> list[dict]:
    """Two equally good methods."""
    return one_repeat(*simulated(20_000 + seed), settings_of(quick, False), seed)


def shots(seed: int, quick: bool) -> list[dict]:
    """Two equally good methods at 10 shots, cohorts of one population."""
    settings = settings_of(quick, True).model_copy(update={"protocols": ["fewshot"]})
    return one_repeat(*simulated(60_000 + seed, population=1), settings, seed)


def planted(seed: int, quick: bool) -> list[dict]:
    """One method measures the factors with a fifth of the other's noise."""
    return one_repeat(*simulated(30_000 + seed, noise=(0.6, 3.0)), settings_of(quick, False), seed)


def repeated(seed: int, quick: bool) -> list[dict]:
    """Three repeats of the folds, no signal."""
    return one_repeat(*simulated(40_000 + seed, effect=0.0, repeats=3, n=200), settings_of(quick, False), seed)


def adds(seed: int, quick: bool) -> list[dict]:
    """What scores add to the covariates that outcomes follow: nothing."""
    patients, _, splits = simulated(50_000 + seed)
    rng = np.random.default_rng([seed, 6])
    covariates = rng.normal(size=(len(patients), 2))
    risk = covariates @ [0.7, -0.5]
    death, censored = rng.exponential(np.exp(8.0 - risk)), rng.exponential(3000.0, len(patients))
    patients = patients.assign(
        age=60 + 10 * covariates[:, 0],
        grade=covariates[:, 1],
        label=np.where(rng.random(len(patients)) < 1 / (1 + np.exp(1.0 - risk)), "b", "a"),
        time_days=np.minimum(death, censored) + 1.0,
        event=(death <= censored).astype(int),
    )
    echo = covariates @ rng.normal(size=(2, WIDTH)) + rng.normal(size=(len(patients), WIDTH))
    features = {"echo": echo, "noise": rng.normal(size=echo.shape)}
    few, out = fewshot_settings(settings_of(quick, False)), []
    settings = few.model_copy(update={"protocols": ["linear"]})  # a fixed penalty: what is tested is the nested models
    for task, kind in SHORT.items():
        rows = predict(task, patients, features, splits, settings, seed)
        found = added_value(rows, patients, splits, Target(task, kind), settings, ("age", "grade"), seed)
        for row in found.itertuples():
            key = {"task": task, "method": row.method, "low": row.difference}
            out.append({"kind": "added", **key, "test": "gain", "value": row.p})
            if task == "survival":
                sign = {**key, "low": row.hazard_ratio - 1}
                out.append({"kind": "added", **sign, "test": "likelihood ratio", "value": row.lr_p})
    return out


def gene_sets(seed: int, quick: bool) -> list[dict]:
    """Random sets against one score that follows a gene, a component or a slide feature, and noise."""
    rng = np.random.default_rng([seed, 5])
    if _COHORT:
        features, genes = _COHORT[1], _COHORT[3]
        followed = [genes[:, rng.integers(genes.shape[1])], features["genes"][:, rng.integers(6)],
                    features["slides"][:, rng.integers(6)]][seed % 3]  # fmt: skip
    else:
        factor = rng.normal(size=(300, 5))
        genes = factor @ rng.normal(size=(5, 1000)) * 0.6 + rng.normal(size=(300, 1000))
        followed = factor[:, 0]
    score = (followed - followed.mean()) / followed.std() + rng.normal(size=len(followed))
    ids = [f"P{i}" for i in range(len(score))]
    names = [f"G{i}" for i in range(genes.shape[1])]
    sets = {}
    for number in range(40):
        mask = np.zeros(genes.shape[1], dtype=bool)
        mask[rng.choice(len(mask), 20, replace=False)] = True
        sets[f"S{number}"] = mask
    table = gene_set_association(
        pd.DataFrame({"P01": score}, index=ids), pd.DataFrame(genes, index=ids, columns=names), sets
    )
    return [
        {"kind": "gene_set", "value": float(p), "low": float(q)} for p, q in zip(table["p"], table["fdr"], strict=True)
    ]


SCENARIOS: dict[str, Callable[[int, bool], list[dict]]] = {
    "null": null, "signal": signal, "shots": shots, "planted": planted, "repeated": repeated, "adds": adds,
    "gene sets": gene_sets,
}  # fmt: skip
REPEATS = {
    "null": (40, 400), "signal": (30, 300), "shots": (20, 300), "planted": (10, 100), "repeated": (10, 150),
    "adds": (20, 400),
    "gene sets": (20, 120),
}  # fmt: skip


def _task(job: tuple[str, int, bool]) -> tuple[str, int, list[dict]]:
    name, seed, quick = job
    return name, seed, SCENARIOS[name](seed, quick)


def run(jobs: list[tuple[str, int, bool]], data: Path | None, workers: int) -> Iterator[tuple[str, int, list[dict]]]:
    """All repeats, over worker processes."""
    if workers < 2:
        _load(str(data) if data else None)
        yield from map(_task, jobs)
        return
    with get_context("spawn").Pool(workers, _load, (str(data) if data else None,)) as pool:
        yield from pool.imap_unordered(_task, jobs, chunksize=2)


def rate(hits: np.ndarray, units: int | None = None) -> tuple[float, str]:
    """A share and its text with Wilson's 95 % interval; ``units`` are independent repeats where fewer than hits."""
    share, n = float(np.mean(hits)), units or len(hits)
    z = 1.96
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return share, f"{100 * share:5.1f} % [{100 * (middle - half):.1f}, {100 * (middle + half):.1f}]"


def permutation_p(statistic: np.ndarray) -> np.ndarray:
    """p of each repeat's statistic among the others: under permuted outcomes all are draws of one distribution."""
    below = rankdata(-statistic, method="max")
    return below / len(statistic)


COLUMNS = ["scenario", "seed", "kind", "task", "protocol", "metric", "method", "test", "value", "low", "high"]


def report(table: pd.DataFrame) -> dict[str, float]:
    """Print every rate; the figures of the last line."""
    found: dict[str, float] = {}
    table = table.reindex(columns=COLUMNS)
    for scenario in [name for name in SCENARIOS if name in set(table["scenario"])]:
        some = table[table["scenario"] == scenario]
        units = some["seed"].nunique()
        print(f"\n{scenario}: {units} repeats")
        intervals = some[some["kind"] == "interval"]
        for (task, protocol, metric), rows in intervals.groupby(["task", "protocol", "metric"], sort=False):
            if metric not in SHOWN[task] or (scenario not in ("signal", "shots") and metric != PRIMARY[task]):
                continue  # composition is fixed under permutation: other metrics' truth is known with a signal only
            centre = 0.5 if scenario in ("null", "repeated") else rows.groupby("method")["value"].transform("mean")
            inside = (rows["low"] <= centre) & (centre <= rows["high"])
            share, text = rate(inside.to_numpy(float), units)
            spread = rows.groupby("method")["value"].std().mean()
            told = f"mean {rows['value'].mean():.3f}, SD {spread:.3f}"
            print(f"  coverage  {task:9s} {protocol:13s} {metric:17s} {text}   {told}")
            found[f"{scenario}|{protocol}|{metric}"] = share
        for test in ("bootstrap", "corrected_t"):
            for (task, protocol), rows in some[some["kind"] == test].groupby(["task", "protocol"], sort=False):
                share, text = rate((rows["value"] < 0.05).to_numpy(float), units)
                word = "power" if scenario == "planted" else "false positives"
                print(f"  {word}  {task:9s} {protocol:8s} {test:12s} {text}")
                found[f"{scenario}|{protocol}|{task}|{test}"] = share
        tests = some[some["kind"] == "logrank"]
        if len(tests):
            p = tests.groupby("method")["value"].transform(lambda v: permutation_p(v.to_numpy()))
            word = "false positives" if scenario in ("null", "repeated") else "positives"
            if scenario in ("null", "repeated"):
                share, text = rate((p <= 0.05).to_numpy(float), units)
                found[f"{scenario}|logrank"] = share
                print(f"  {word}  log-rank by permutation      {text}")
            for level in (0.05, 0.01):
                _, text = rate((tests["low"] < level).to_numpy(float), units)
                print(f"  {word}  log-rank, nominal p < {level}  {text}  (not printed by the workflow)")
        for (test, task, method), rows in some[some["kind"] == "added"].groupby(["test", "task", "method"], sort=False):
            p = rows["value"].fillna(1.0).to_numpy(float)
            variants = [(test, p)]
            if test != "gain":
                variants.append((f"{test}, nominal", 2 * norm.sf(UNREFITTED_SPREAD * norm.isf(p / 2))))
            for word, values in variants:
                for side, hits in (("", values < 0.05), (" upwards", (values < 0.05) & (rows["low"] > 0).to_numpy())):
                    share, text = rate(hits.astype(float), units)
                    print(f"  false positives  {task:9s} {method:6s} {word + side:34s} {text}")
                    found[f"{scenario}|{task}|{method}|{word}{side}"] = share
        sets = some[some["kind"] == "gene_set"]
        if len(sets):
            found["gene_sets"], text = rate((sets["value"] < 0.05).to_numpy(float), len(sets))
            print(f"  random sets of 20 genes, p < 0.05    {text} of {len(sets)} sets")
            print(f"  random sets at FDR 0.05              {rate((sets['low'] < 0.05).to_numpy(float), len(sets))[1]}")
    return found


def main() -> None:
    """Parse the command line, run the scenarios, print the rates."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with pairs/, rna/ and splits/ (simulated cohorts without)")
    parser.add_argument("--quick", action="store_true", help="fewer repeats: within six minutes on two cores")
    parser.add_argument("--jobs", type=int, default=2, help="worker processes")
    parser.add_argument("--scenarios", nargs="+", choices=list(SCENARIOS), default=list(SCENARIOS))
    parser.add_argument("--repeats", type=int, help="repeats of every scenario, instead of its own number")
    parser.add_argument("--keep", type=Path, help="JSON lines of every repeat; repeats in the file are not run again")
    parser.add_argument("--share", type=float, default=1.0, help="share of the repeats of every scenario")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after this time and report")
    a = parser.parse_args()
    start = time.perf_counter()
    count = {name: a.repeats or max(2, round(a.share * REPEATS[name][0 if a.quick else 1])) for name in a.scenarios}
    jobs = [(name, seed, a.quick) for name in a.scenarios for seed in range(count[name])]
    jobs.sort(key=lambda job: (job[1] + 0.5) / count[job[0]])
    records: list[dict] = []
    if a.keep and a.keep.exists():
        records = [json.loads(line) for line in a.keep.read_text(encoding="utf-8").splitlines()]
    done = {(row["scenario"], row["seed"]) for row in records}
    for name, seed, rows in run([job for job in jobs if job[:2] not in done], a.data, a.jobs):
        found_now = [{"scenario": name, "seed": seed, **row} for row in rows]
        records += found_now
        if a.keep:
            with a.keep.open("a", encoding="utf-8") as handle:
                handle.writelines(json.dumps(row) + "\n" for row in found_now)
        if time.perf_counter() - start > 60 * a.minutes:
            print(f"stopped after {a.minutes:g} minutes; planned were {count}")
            break
    found = report(pd.DataFrame(records))
    print(f"\n{time.perf_counter() - start:.0f} s; outcomes {'of TCGA BRCA' if a.data else 'simulated'}")
    last = {
        "coverage_auroc": found.get("null|linear|auroc"),
        "coverage_c": found.get("null|linear|c_index"),
        "fpr_paired": found.get("null|linear|subtyping|bootstrap"),
        "fpr_logrank": found.get("null|logrank"),
        "fpr_gene_sets": found.get("gene_sets"),
        "fpr_fewshot": found.get("null|fewshot|subtyping|bootstrap"),
    }
    last = {name: None if value is None else round(value, 4) for name, value in last.items()}
    table = pd.DataFrame(records)
    repeats = int(table.loc[table["scenario"] == ("null" if "null" in count else a.scenarios[0]), "seed"].nunique())
    print(json.dumps({**last, "repeats": repeats}))


if __name__ == "__main__":
    main()
