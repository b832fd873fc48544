"""What each leak of the published protocol is worth, on data with a signal and on noise.

    python benchmarks/leak_price.py            # 20 seeds
    python benchmarks/leak_price.py --quick    # 10 seeds, fewer patients
    python benchmarks/leak_price.py --expression rna.csv --clinical clinical.csv

One pipeline (gene selection by ANOVA, standardising, a small network on slide features and genes,
five folds, one prediction per patient) runs on the same data first honestly, then with one leak of
the reference turned on at a time, then with all:

slide_folds     folds are drawn over slides, so that a patient may be trained on and tested
genes_all       genes are chosen once, with the labels of a random 80 % of the whole cohort
epoch_on_test   the epoch is chosen on the test fold; honestly, on an inner fifth of the
                training patients (both ways the same fits are chosen from)
cohort_bins     the four time bins are quantiles of all uncensored times, not the training ones

``noise`` repeats it with the outcomes permuted over patients: there nothing can be predicted, and
whatever exceeds chance is the leak. An inflation is the leaking figure minus the honest one of the
same seed; the CI is Student's over seeds. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy import stats
from sklearn.feature_selection import f_classif
from sklearn.metrics import accuracy_score, roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sksurv.metrics import concordance_index_censored

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "workflow" / "scripts"))

from mirror.heads.hazard_loss import nll_survival, risk

FOLDS, BINS, GENES, HIDDEN = 5, 4, 50, 32
METRICS = ("accuracy", "auroc", "c_index")


@dataclass(frozen=True)
class Data:
    """Patients and their slides.

    ``patient`` (N,) int: the patient of each slide; ``slides`` (N, D); ``rna`` (P, G); ``label``
    (P,) int, 0 or 1; ``time`` (P,) days; ``event`` (P,) bool.
    """

    patient: np.ndarray
    slides: np.ndarray
    rna: np.ndarray
    label: np.ndarray
    time: np.ndarray
    event: np.ndarray


@dataclass(frozen=True)
class Leaks:
    """Which leaks are turned on."""

    slide_folds: bool = False
    genes_all: bool = False
    epoch_on_test: bool = False
    cohort_bins: bool = False


HONEST = Leaks()
VARIANTS = {name: replace(HONEST, **{name: True}) for name in vars(HONEST)} | {"all": Leaks(True, True, True, True)}


def simulate(patients: int, genes: int, extra_slides: float, seed: int) -> Data:
    """A cohort with one to four slides per patient.

    Slides of one patient resemble each other (variance of patient and slide 1 : 0.5); the label
    moves 4 of 64 slide features and 30 genes by half a standard deviation and doubles the hazard;
    a factor that has nothing to do with the label multiplies it by e, and moves 8 further features and
    30 further genes. Chosen so that honest figures are like those of real cohorts (AUROC near
    0.8, C-index near 0.6).
    """
    rng = np.random.default_rng([seed, 1])
    label = (rng.random(patients) < 0.35).astype(int)
    factor = rng.normal(size=patients)
    patient = np.repeat(np.arange(patients), 1 + np.minimum(rng.poisson(extra_slides, patients), 3))
    person = rng.normal(size=(patients, 64))
    person[:, :4] += 0.5 * label[:, None]
    person[:, 4:12] += 0.5 * factor[:, None]
    slides = person[patient] + np.sqrt(0.5) * rng.normal(size=(len(patient), 64))
    rna = rng.normal(size=(patients, genes))
    rna[:, :30] += 0.5 * label[:, None]
    rna[:, 30:60] += 0.5 * factor[:, None]
    death = rng.exponential(1500 * np.exp(-0.7 * label - factor))
    censoring = rng.exponential(2500, patients)
    return Data(patient, slides, rna, label, np.minimum(death, censoring) + 1, death <= censoring)


def read_real(expression: Path, clinical: Path) -> Data:
    """Real files: expression with ``patient_id`` and numeric genes, a row per slide or patient; clinical with
    ``patient_id, label, time_days, event``, whose two commonest labels are used."""
    table = pd.read_csv(expression, sep=None, engine="python").dropna(subset=["patient_id"])
    about = pd.read_csv(clinical, sep=None, engine="python").set_index("patient_id")
    about = about[about["label"].isin(about["label"].value_counts().index[:2])]
    about = about.dropna(subset=["label", "time_days", "event"])
    table = table[table["patient_id"].isin(about.index)]
    names, patient = np.unique(table["patient_id"], return_inverse=True)
    genes = table.drop(columns="patient_id").select_dtypes("number")
    rna = np.clip(np.nan_to_num(genes.groupby(patient).first().to_numpy(float)), -1e4, 1e4)
    about = about.loc[names]
    label = (about["label"] == about["label"].value_counts().index[1]).to_numpy(int)
    times = about["time_days"].to_numpy(float)
    return Data(patient, np.zeros((len(patient), 0)), rna, label, times, about["event"].to_numpy(float) > 0)


def permute(data: Data, seed: int) -> Data:
    """The same data, outcomes dealt to other patients."""
    order = np.random.default_rng([seed, 2]).permutation(len(data.label))
    return replace(data, label=data.label[order], time=data.time[order], event=data.event[order])


def fold_rows(data: Data, by_slide: bool, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """(training slides, test slides) of each fold, stratified by label."""
    cv = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    if by_slide:
        return list(cv.split(data.patient, data.label[data.patient]))
    every = np.arange(len(data.patient))
    return [
        (every[np.isin(data.patient, train)], every[np.isin(data.patient, test)])
        for train, test in cv.split(data.label, data.label)
    ]


def best_genes(data: Data, patients: np.ndarray) -> np.ndarray:
    """The genes with the largest ANOVA F between the labels of these patients."""
    f = np.nan_to_num(f_classif(data.rna[patients], data.label[patients])[0])
    return np.argsort(-f, kind="stable")[:GENES]


def by_patient(values: np.ndarray, patient: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Patients (n,), and the mean of their slides' values (..., N) -> (..., n)."""
    patients, index = np.unique(patient, return_inverse=True)
    share = np.eye(len(patients))[index]
    return patients, values @ (share / share.sum(0))


def pairs_to_order(data: Data, task: str, patients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (i, j) in which i should score higher: the AUROC and Harrell's C are shares of such pairs."""
    if task == "subtyping":
        return np.nonzero(data.label[patients][:, None] > data.label[patients])
    time, event = data.time[patients], data.event[patients]
    return np.nonzero(event[:, None] & (time[:, None] < time))


def best_epoch(data: Data, task: str, values: np.ndarray, rows: np.ndarray) -> int:
    """The epoch (row of ``values``, (E, N)) that orders the patients of these slides best."""
    patients, value = by_patient(values, data.patient[rows])
    first, second = pairs_to_order(data, task, patients)
    difference = value[:, first] - value[:, second]
    return int(np.argmax((difference > 0).sum(1) + 0.5 * (difference == 0).sum(1)))


def scores(data: Data, task: str, values: np.ndarray, rows: np.ndarray) -> dict[str, float]:
    """Metrics of one set of slides, a patient counting once; ``values`` (N,), higher is label 1 or worse."""
    patients, value = by_patient(values, data.patient[rows])
    if task == "survival":
        return {"c_index": float(concordance_index_censored(data.event[patients], data.time[patients], value)[0])}
    truth = data.label[patients]
    return {"auroc": float(roc_auc_score(truth, value)), "accuracy": float(accuracy_score(truth, value > 0))}


def fit_fold(
    data: Data, task: str, leaks: Leaks, train: np.ndarray, test: np.ndarray, epochs: int, seed: int
) -> dict[bool, dict[str, float]]:
    """Test metrics of one fold, the epoch chosen honestly (False) and on the test fold (True)."""
    people, everyone = np.unique(data.patient[train]), np.arange(len(data.label))
    if leaks.genes_all:
        chosen = best_genes(data, np.random.default_rng([seed, 4]).permutation(everyone)[: int(0.8 * len(everyone))])
    else:
        chosen = best_genes(data, people)
    inner = np.isin(data.patient[train], np.random.default_rng([seed, 3]).permutation(people)[: len(people) // 5])
    fit, watch = train[~inner], train[inner]
    x = np.concatenate([data.slides, data.rna[data.patient][:, chosen]], axis=1)
    x = torch.tensor(np.clip((x - x[fit].mean(0)) / (x[fit].std(0) + 1e-6), -5, 5), dtype=torch.float32)
    whose = everyone if leaks.cohort_bins else people
    cuts = np.quantile(data.time[whose][data.event[whose]], np.linspace(0, 1, BINS + 1)[1:-1])
    bins = torch.tensor(np.searchsorted(cuts, data.time, side="right")[data.patient[fit]])
    events = torch.tensor(data.event[data.patient[fit]])
    label = torch.tensor(data.label[data.patient[fit]])
    x_fit, x_watch, x_test = x[fit], x[watch], x[test]
    torch.manual_seed(seed)
    outputs = BINS if task == "survival" else 2
    net = torch.nn.Sequential(torch.nn.Linear(x.shape[1], HIDDEN), torch.nn.ReLU(), torch.nn.Linear(HIDDEN, outputs))
    optimiser = torch.optim.Adam(net.parameters(), lr=5e-3)
    watched, tested = [], []
    for _ in range(epochs):
        optimiser.zero_grad()
        if task == "survival":
            loss = nll_survival(net(x_fit), bins, events)
        else:
            loss = torch.nn.functional.cross_entropy(net(x_fit), label, label_smoothing=0.1)
        loss.backward()
        optimiser.step()
        with torch.no_grad():
            for kept, rows in ((watched, x_watch), (tested, x_test)):
                output = net(rows)
                kept.append((risk(output) if task == "survival" else output[:, 1] - output[:, 0]).numpy())
    on_watched, on_test = np.array(watched, dtype=float), np.array(tested, dtype=float)
    return {
        False: scores(data, task, on_test[best_epoch(data, task, on_watched, watch)], test),
        True: scores(data, task, on_test[best_epoch(data, task, on_test, test)], test),
    }


def run_seed(data: Data, epochs: int, seed: int) -> dict[str, dict[str, float]]:
    """Metrics of every variant, each the mean of the folds.

    Variants that differ in nothing that touches a fit share it: the epoch is chosen twice from
    one fit, and time bins take no part in subtyping.
    """
    found: dict[str, dict[str, float]] = {}
    fits: dict[tuple, list[dict[bool, dict[str, float]]]] = {}
    for name, leaks in {"honest": HONEST, **VARIANTS}.items():
        found[name] = {}
        for task in ("subtyping", "survival"):
            key = (task, leaks.slide_folds, leaks.genes_all, leaks.cohort_bins and task == "survival")
            if key not in fits:
                fits[key] = [
                    fit_fold(data, task, leaks, train, test, epochs, seed * FOLDS + k)
                    for k, (train, test) in enumerate(fold_rows(data, leaks.slide_folds, seed))
                ]
            folds = [fold[leaks.epoch_on_test] for fold in fits[key]]
            found[name] |= {metric: float(np.mean([fold[metric] for fold in folds])) for metric in folds[0]}
    return found


def interval(values: np.ndarray) -> list[float]:
    """Student's 95 % CI of a mean; a point where all values are equal."""
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return [round(float(values.mean() - half), 4), round(float(values.mean() + half), 4)]


def summarise(results: list[dict[str, dict[str, float]]], leak: str) -> dict[str, object]:
    """Mean inflation of each metric, its CI over seeds, and the honest mean it is added to."""
    out: dict[str, object] = {}
    for name in METRICS:
        gain = np.array([seed[leak][name] - seed["honest"][name] for seed in results])
        out |= {name: round(float(gain.mean()), 4), f"{name}_ci": interval(gain)}
    out["honest"] = {name: round(float(np.mean([seed["honest"][name] for seed in results])), 4) for name in METRICS}
    return out


def main() -> None:
    """Run all variants over all seeds and print a table and one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer seeds and patients")
    parser.add_argument("--seeds", type=int, help="seeds (20; 10 with --quick)")
    parser.add_argument("--patients", type=int, help="simulated patients (300; 200 with --quick)")
    parser.add_argument("--genes", type=int, default=2000, help="simulated genes")
    parser.add_argument("--extra-slides", type=float, default=0.6, help="mean slides per patient beyond the first")
    parser.add_argument("--epochs", type=int, default=60, help="training epochs")
    parser.add_argument("--expression", type=Path, help="real expression in place of simulated")
    parser.add_argument("--clinical", type=Path, help="its outcomes")
    args = parser.parse_args()
    if (args.expression is None) != (args.clinical is None):
        parser.error("--expression and --clinical go together")
    seeds = args.seeds or (10 if args.quick else 20)
    if seeds < 2:
        parser.error("a confidence interval needs two seeds")
    patients = args.patients or (200 if args.quick else 300)
    torch.set_num_threads(1)
    started = time.perf_counter()
    real = read_real(args.expression, args.clinical) if args.expression else None
    results: dict[str, list[dict[str, dict[str, float]]]] = {"signal": [], "noise": []}
    leaked = []
    for seed in range(seeds):
        data = real or simulate(patients, args.genes, args.extra_slides, seed)
        shared = [
            np.isin(np.unique(data.patient[test]), data.patient[train]).mean()
            for train, test in fold_rows(data, True, seed)
        ]
        leaked.append(np.mean(shared))
        for kind, world in (("signal", data), ("noise", permute(data, seed))):
            results[kind].append(run_seed(world, args.epochs, seed))
        print(f"seed {seed + 1} of {seeds}: {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    table = {leak: {kind: summarise(results[kind], leak) for kind in results} for leak in VARIANTS}
    print(
        f"{len(data.label)} patients, {len(data.patient)} slides, {seeds} seeds, {time.perf_counter() - started:.0f} s"
    )
    print(f"slide-level folds: {np.mean(leaked):.0%} of test patients are also trained on")
    print(f"{'':15}{'':8}" + "".join(f"{name:>28}" for name in METRICS))
    for kind in results:
        honest = table["all"][kind]["honest"]
        print(f"{'honest':15}{kind:8}" + "".join(f"{honest[name]:>28.3f}" for name in METRICS))
    for leak, kinds in table.items():
        for kind, row in kinds.items():
            cells = [f"{row[n]:+.3f} [{row[f'{n}_ci'][0]:+.3f}, {row[f'{n}_ci'][1]:+.3f}]" for n in METRICS]
            print(f"{leak:15}{kind:8}" + "".join(f"{cell:>28}" for cell in cells))
    print(json.dumps({leak: {**kinds["signal"], **kinds} for leak, kinds in table.items()}))


if __name__ == "__main__":
    main()
