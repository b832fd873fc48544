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

from mirror.config.evaluation import EvaluationSettings
from mirror.core.protocols import is_fewshot
from mirror.evaluation import score
from mirror.evaluation.added import added_value
from mirror.evaluation.score import score_predictions
from mirror.evaluation.uncertainty import UNREFITTED_SPREAD, widen
from mirror.interpretation.associations import gene_set_association
from mirror.io.predictions import Names, stamp
from mirror.io.splits import iterate_folds
from mirror.metrics.statistics import percentile_interval
from mirror.metrics.survival import logrank
from mirror.plan.targets import SHORT
from mirror.targets.base import usable
from mirror.targets.fewshot import fewshot_settings, training_sets
from mirror.targets.fit import fit_task
from mirror.targets.registry import Target

WIDTH = 12
"""Principal components of either modality: enough to overfit with, few enough for hundreds of repeats."""
PRIMARY = {"subtyping": "auroc", "survival": "c_index"}
HEAD = {"subtyping": "logistic", "survival": "cox"}
SHOWN = {
    "subtyping": ["accuracy", "balanced_accuracy", "macro_f1", "auroc", "auprc", "kappa", "brier"],
    "survival": ["c_index", "c_index_uno", "auc_1096d", "auc_mean", "ibs"],
}
Features = dict[str, np.ndarray]


def settings_of(quick: bool, few: bool) -> EvaluationSettings:
    """The workflow's, with fewer resamples: a coverage is judged over repeats, not within one."""
    return EvaluationSettings(
        protocols=["linear", "fewshot"] if few else ["linear"],
        statistics={"bootstrap": 200 if quick else 400, "refits": 50 if quick else 100},
        survival={"models": ["cox"]},
    )


def components(x: np.ndarray, width: int = WIDTH) -> np.ndarray:
    """Principal components of standardised columns, (n, width)."""
    spread = x.std(0)
    z = (x - x.mean(0)) / np.where(spread > 0, spread, np.inf)
    left, values, _ = np.linalg.svd(z, full_matrices=False)
    return left[:, :width] * values[:width]


def real_cohort(data: Path) -> tuple[pd.DataFrame, Features, pd.DataFrame, np.ndarray]:
    """Patients, their two embeddings, the published folds, and the genes."""
    from rna_arm import read_cohort

    patients, genes, splits = read_cohort(data, "brca")
    slides = pd.read_parquet(data / "pairs" / "brca_hif.parquet")
    ids = [p for p in genes if p in slides.index]
    values = slides.loc[ids].to_numpy(float)
    values = np.where(np.isfinite(values), values, np.nanmedian(values, axis=0))
    values = norm.ppf((rankdata(values, axis=0) - 0.5) / len(values))
    expression = np.stack([genes[p] for p in ids]).astype(float)
    kept = splits[splits["patient_id"].isin(ids)].reset_index(drop=True)
    return patients.loc[ids], {"slides": components(values), "genes": components(expression)}, kept, expression


def simulated(
    seed: int,
    n: int = 300,
    noise: tuple[float, float] = (1.0, 1.0),
    effect: float = 1.0,
    repeats: int = 1,
    population: int | None = None,
) -> tuple[pd.DataFrame, Features, pd.DataFrame]:
    """A cohort whose two embeddings measure the same two factors, each with noise of its own.

    ``population`` seeds how embeddings measure the factors; without it every cohort has a way of its own.
    """
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=(n, 2))
    logit = effect * factor[:, 0] - 1.0
    hazard = np.exp(0.6 * effect * factor[:, 1] - 8.0)
    death, censored = rng.exponential(1 / hazard), rng.exponential(3000.0, n)
    ids = [f"P{i:04d}" for i in range(n)]
    patients = pd.DataFrame(
        {
            "patient_id": ids,
            "label": np.where(rng.random(n) < 1 / (1 + np.exp(-logit)), "b", "a"),
            "time_days": np.minimum(death, censored) + 1.0,
            "event": (death <= censored).astype(int),
        }
    ).set_index("patient_id", drop=False)
    fixed = rng if population is None else np.random.default_rng(population)
    loadings = fixed.normal(size=(2, WIDTH)) / np.sqrt(WIDTH)
    features = {
        name: 3 * factor @ loadings @ np.linalg.qr(fixed.normal(size=(WIDTH, WIDTH)))[0]
        + size * rng.normal(size=(n, WIDTH))
        for name, size in zip(("one", "two"), noise, strict=True)
    }
    return patients, features, folds_of(ids, rng, repeats)


def folds_of(ids: list[str], rng: np.random.Generator, repeats: int, folds: int = 5) -> pd.DataFrame:
    """Random folds."""
    parts = []
    for repeat in range(repeats):
        fold = rng.permutation(np.arange(len(ids)) % folds)
        for k in range(folds):
            names = np.where(fold == k, "test", "train")
            parts.append(pd.DataFrame({"patient_id": ids, "repeat": repeat, "fold": k, "set": names}))
    return pd.concat(parts, ignore_index=True)


def predict(
    task: str, patients: pd.DataFrame, features: Features, splits: pd.DataFrame, settings: EvaluationSettings, seed: int
) -> pd.DataFrame:
    """What `evaluate_embeddings` writes, from embeddings in memory that are the same in every fold."""
    known, place = usable(patients, task), {p: i for i, p in enumerate(patients.index)}
    parts = []
    for fold in iterate_folds(splits):
        train, test = ([p for p in part if p in known.index] for part in (fold.train, fold.test))
        for protocol, draw, chosen in training_sets(task, known.loc[train], fold.repeat, fold.fold, settings, seed):
            how = fewshot_settings(settings) if is_fewshot(protocol) else settings
            for name, x in features.items():
                a, b = (x[[place[p] for p in part]] for part in (chosen, test))
                rows, _ = fit_task(task, HEAD[task], a, known.loc[chosen], b, known.loc[test], how, seed)
                told = {"task": task, "protocol": protocol, "modality": "fused", "head": HEAD[task]}
                told |= {"repeat": fold.repeat, "fold": fold.fold, "draw": draw, "seed": seed}
                parts.append(stamp(rows, Names("C", "e", "s", name), **told))
    return pd.concat(parts, ignore_index=True)


def without_refits(
    task: str, rows: pd.DataFrame, patients: pd.DataFrame, splits: pd.DataFrame, settings: EvaluationSettings
) -> list[dict]:
    """The primary metric's interval over test patients alone, and widened as for models that are not refitted."""
    rows = rows.assign(**{score.COLUMN: pd.factorize(rows["patient_id"], sort=True)[0]})
    context = score._prepare(rows, patients, splits, settings, Target.of(task).rules)
    out = []
    for name, some in rows.groupby("method"):
        pooled, _ = score._replicates("", some, context)
        values = np.mean(pooled[PRIMARY[task]], axis=0)
        for label, drawn in (("patients only", values), ("widened", widen(values))):
            found = percentile_interval(drawn, settings.statistics.level)
            key = {"task": task, "protocol": label, "metric": PRIMARY[task], "method": name}
            out.append({"kind": "interval", **key, "value": found.value, "low": found.low, "high": found.high})
    return out


def one_repeat(
    patients: pd.DataFrame,
    features: Features,
    splits: pd.DataFrame,
    settings: EvaluationSettings,
    seed: int,
    tasks: tuple[str, ...] = ("subtyping", "survival"),
) -> list[dict]:
    """Pooled values, intervals and p values of one repeat as the workflow prints them, and those without refits."""
    out: list[dict] = []
    for task in tasks:
        rows = predict(task, patients, features, splits, settings, seed)
        found = score_predictions({task: rows}, {"C": patients}, {("C", "s"): splits}, settings)
        pooled = found.metrics[found.metrics["fold"].astype(str) == "pooled"].dropna(subset=["ci_low"])
        for row in pooled.itertuples():
            key = {"task": task, "protocol": row.protocol, "metric": row.metric, "method": row.method}
            out.append({"kind": "interval", **key, "value": row.value, "low": row.ci_low, "high": row.ci_high})
        compared = found.comparisons
        for row in compared[compared["metric"] == PRIMARY[task]].itertuples():
            key = {"task": task, "protocol": row.protocol_a, "method": row.method_a, "metric": row.metric}
            out.append({"kind": row.test, **key, "value": row.p})
        linear = rows[rows["protocol"] == "linear"]
        out += without_refits(task, linear, patients, splits, settings) if len(linear) else []
        if task == "survival":
            for name, some in linear.groupby("method"):
                some = some[some["repeat"] == 0]
                test = logrank(
                    some["time_days"].to_numpy(float), some["event"].to_numpy(), some["risk_group"].to_numpy()
                )
                if test:
                    out.append({"kind": "logrank", "method": name, "value": test[0], "low": test[1]})
    return out


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
