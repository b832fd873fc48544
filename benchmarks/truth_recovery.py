"""What each variant's embeddings know of the simulated truth.

    python benchmarks/truth_recovery.py --quick
    python benchmarks/truth_recovery.py --seeds 5 --variants align mirror mirror_plus
    python benchmarks/truth_recovery.py --simulation slides --run FOLDER   (a run's folder, with results/)

Pairs of slides and RNA are drawn from known factors: shared, slide-only and RNA-only. Each variant is
trained on the training pairs; everything is measured on fresh ones:
- R2 of a cross-validated ridge from each embedding to the shared and to its own factors; `input` is
  the same readout of the input itself (mean and SD of the patch features; the genes), `input_mean` of
  the mean alone;
- retrieval of a pair's partner by inner product of the projected embeddings, both directions;
- linear heads on the embeddings of training pairs, scored on fresh ones, for outcomes that follow the
  shared, the own (slide-only and RNA-only), or all factors: accuracy, AUROC, time-dependent AUC.
A seed draws the simulated world, the initial weights and the order. Means over seeds with 95 % t
intervals; differences are paired by seed. All variants have one size and exact attention (at 64 tokens
the published approximation only costs time; `mirror_nystrom` has it); weights are the presets' own.

`--simulation slides` reads the patch features, expression and truth that a finished run of the simulated
cohort wrote; a seed then draws which half of the patients is trained on.

The last line is one JSON object: an object a variant, `differences`, `downstream`, `settings`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two processes of one thread each beat one of two here

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow" / "scripts"))

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import torch  # noqa: E402
from scipy.stats import t as student  # noqa: E402

from mirror.config.evaluation import ProbeSettings  # noqa: E402
from mirror.config.pretrain import PretrainSettings  # noqa: E402
from mirror.config.variants import read_presets, variant_settings  # noqa: E402
from mirror.evaluation.simulated import recovery  # noqa: E402
from mirror.evaluation.simulated.recovery import Pairs  # noqa: E402
from mirror.simulation.features import FeatureSettings, draw_features, outcomes_of  # noqa: E402

# Sizes of the measurement in docs/method.md; the learning rate is what so few steps need.
SMALL = {
    "model": {
        "embed_dim": 96,
        "attention": "exact",
        "style_dim": 32,
        "style_hidden": (96, 64),
        "prototypes": 100,
    },
    "train": {"epochs": 20, "batch_size": 16, "lr": 5e-4},
}
NO_STYLE = {"style_weight": 0.0, "cluster_weight": 0.0}
CLIP = {"alignment": {"normalize": "clip"}}
MASK = {"slide_input_mask": 0.75, "rna_input_mask": 0.75}  # as in mirror_plus, for alignment alone
# name: (preset, changes). What starts from mirror_plus removes or replaces one of its ingredients.
VARIANTS: dict[str, tuple[str, dict]] = {
    "untrained": ("align", {}),
    "align": ("align", {}),
    "mirror": ("mirror", {}),
    "mirror_plus": ("mirror_plus", {}),
    "align_clip": ("align", CLIP),
    "align_masked": ("align", CLIP | {"retention": MASK}),
    "plus_without_mask": ("mirror_plus", {"retention": dict.fromkeys(MASK, 0.0)}),
    "plus_light": ("mirror_plus", {"retention": {"slide_weight": 0.5, "rna_weight": 0.5}}),
    "plus_mlp": ("mirror_plus", {"retention": {"decoder": "mlp"}}),
    "plus_slide_only": ("mirror_plus", {"retention": {"rna_weight": 0.0}}),
    "plus_rna_only": ("mirror_plus", {"retention": {"slide_weight": 0.0}}),
    "plus_without_style": ("mirror_plus", {"style": NO_STYLE}),
    "plus_retention_alone": ("mirror_plus", {"alignment": {"weight": 0.0}, "style": NO_STYLE}),
    "mirror_to_input": ("retention_input", {}),
    "mirror_stopgrad": ("encoder_stopgrad", {}),
    "mirror_without_retention": ("no_retention", {}),
    "mirror_nystrom": ("mirror", {"model": {"attention": "nystrom"}}),
}
DEFAULT = [name for name in VARIANTS if name != "mirror_nystrom"]
QUICK = ["untrained", "align", "mirror", "mirror_plus", "plus_without_style"]
PROBED = ("align", "align_masked", "mirror", "mirror_plus")
OUTCOMES = ("shared", "own", "all")
INPUT, INPUT_MEAN = "input", "input_mean"


def read_run(run: Path, cohort: str, encoder: str, seed: int) -> tuple[Pairs, int]:
    """Pairs of a finished run of the simulated cohort, a random half of the patients first.

    Returns
    -------
    pairs : Pairs
    train : int
        Rows that are training pairs; a patient's slides are on one side.
    """
    import anndata

    from mirror.io.features import FeatureFile

    results = run / "results"
    slides = pd.read_csv(results / "cohort" / cohort / "slides.tsv", sep="\t", dtype=str)
    truth = pd.read_csv(results / "simulated" / cohort / "truth" / "factors.tsv", sep="\t").set_index("patient_id")
    expression = anndata.read_h5ad(results / "rna" / f"{cohort}.h5ad")
    patients = np.array(sorted(set(slides["patient_id"]) & set(expression.obs_names)))
    order = np.random.default_rng([seed, 97]).permutation(len(patients))
    rank = {patients[p]: i for i, p in enumerate(order)}
    slides = slides[slides["patient_id"].isin(rank)]
    slides = slides.assign(rank=slides["patient_id"].map(rank)).sort_values(["rank", "slide_id"])
    half = len(patients) // 2
    owners = slides["patient_id"].tolist()
    frame = pd.DataFrame(np.asarray(expression.to_df()), index=expression.obs_names)
    fit = frame.loc[patients[order[:half]]]
    spread = fit.std(ddof=0)
    rna = ((frame.loc[owners] - fit.mean()) / spread.where(spread > 1e-6, 1.0)).clip(-10, 10)
    folder = results / "slides" / "features" / encoder
    bags = [FeatureFile(folder / f"{slide}.h5").all() for slide in slides["slide_id"]]
    fit_bags = np.concatenate(bags[: int((slides["rank"] < half).sum())])
    mean, std = fit_bags.mean(0), np.maximum(fit_bags.std(0), 1e-6)
    bags = [((bag - mean) / std).astype(np.float32) for bag in bags]
    pairs = Pairs(bags, rna.to_numpy(np.float32), slides["rank"].to_numpy(), truth.loc[owners].reset_index(drop=True))
    return pairs, int((slides["rank"] < half).sum())


def draw(seed: int, args: argparse.Namespace) -> tuple[Pairs, int, dict[str, pd.DataFrame]]:
    """All pairs (training pairs first), how many are for training, and the outcomes."""
    if args.simulation == "slides":
        pairs, train = read_run(args.run, args.cohort, args.encoder, seed)
        rng = np.random.default_rng([seed, 13])
        # A patient's slides share an outcome, which is drawn once from the patient's factors.
        first = np.unique(pairs.patients, return_index=True)[1]
        outcomes = {
            w: outcomes_of(pairs.factors.iloc[first], w, rng).iloc[pairs.patients].reset_index(drop=True)
            for w in OUTCOMES
        }
        return pairs, train, outcomes
    world = draw_features(FeatureSettings(train=args.pairs, fresh=args.pairs, tiles=args.tiles), seed)
    pairs = Pairs(list(world.bags), world.expression, np.arange(len(world.factors)), world.factors)
    return pairs, world.train, world.outcomes


def settings_of(name: str, args: argparse.Namespace) -> PretrainSettings:
    """A variant's settings at the benchmark's sizes."""
    preset, changes = VARIANTS[name]
    base = PretrainSettings.model_validate(SMALL | {"model": SMALL["model"] | {"tokens": args.tiles}})
    settings = variant_settings(name, {**changes, "preset": preset}, base, read_presets(args.presets))
    return settings.model_copy(update={"train": settings.train.model_copy(update={"epochs": args.epochs})})


def job(name: str, seed: int, args: argparse.Namespace) -> tuple[str, int, dict[str, float], float]:
    """Measure one variant on one seed."""
    torch.set_num_threads(1)
    started = time.process_time()
    pairs, n_train, outcomes = draw(seed, args)
    train, fresh = pairs.take(np.arange(n_train)), pairs.take(np.arange(n_train, len(pairs)))
    views: dict[str, np.ndarray] = {}
    if name in (INPUT, INPUT_MEAN):
        slide, rna = recovery.input_summaries(pairs, spread=name == INPUT)
        found = recovery.truth_recovery(slide[n_train:], rna[n_train:], fresh)
        if name == INPUT:
            views = {"fused": np.concatenate([slide, rna], 1)}
    else:
        model = recovery.train_model(train, settings_of(name, args), seed, trained=name != "untrained")
        known = recovery.embed(model, pairs)
        held = slice(n_train, None)
        found = recovery.truth_recovery(known.slide[held], known.rna[held], fresh)
        found |= recovery.retrieval(known.slide_aligned[held], known.rna_aligned[held])
        if name in PROBED:
            views = {"fused": known.fused}
        if name == "mirror_plus":
            views |= {"wsi": known.slide, "rna": known.rna}
    probe = ProbeSettings(inner_folds=3)
    for view, x in views.items():
        for which in OUTCOMES:
            scores = recovery.downstream(x, outcomes[which], n_train, seed, probe)
            found |= {f"{view}/{which}/{metric}": value for metric, value in scores.items()}
    return name, seed, found, time.process_time() - started


def interval(values: np.ndarray) -> tuple[float, list[float] | None]:
    """Mean and 95 % t interval over seeds; no interval from one seed."""
    mean = float(values.mean())
    if len(values) < 2:
        return round(mean, 4), None
    half = float(student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return round(mean, 4), [round(mean - half, 4), round(mean + half, 4)]


def summary(values: dict[str, np.ndarray]) -> dict[str, object]:
    """``{metric: mean, metric_ci: interval}``."""
    out: dict[str, object] = {}
    for metric, per_seed in values.items():
        out[metric], out[f"{metric}_ci"] = interval(per_seed)
    return out


def report(found: dict[str, dict[str, np.ndarray]], args: argparse.Namespace, seconds: float) -> dict[str, object]:
    """The JSON object; prints tables on the way.

    Parameters
    ----------
    found : dict
        Variant to metric to values (seeds,).
    """
    plain = {v: {m: x for m, x in metrics.items() if "/" not in m} for v, metrics in found.items()}
    out: dict[str, object] = {name: summary(metrics) for name, metrics in plain.items()}
    columns = [*recovery.GROUPS, "recall_at_1", "recall_at_5", "recall_at_10", "median_rank"]
    print(f"\n{'variant':24s}" + "".join(f"{c:>14s}" for c in columns))
    for name, metrics in plain.items():
        print(f"{name:24s}" + "".join(f"{metrics[c].mean():14.3f}" if c in metrics else f"{'':14s}" for c in columns))
    differences: dict[str, object] = {}

    def compare(a: str, b: str) -> None:
        if a in plain and b in plain:
            differences[f"{a} - {b}"] = summary({m: plain[a][m] - plain[b][m] for m in plain[a] if m in plain[b]})

    for other in [*VARIANTS, INPUT]:
        if other != "mirror_plus":
            compare("mirror_plus", other)
    compare("mirror", "align")
    if "mirror_plus" in plain and INPUT in plain:
        shares = {m: plain["mirror_plus"][m] / plain[INPUT][m] for m in recovery.GROUPS}
        out["mirror_plus_share_of_input"] = summary(shares)
    downstream: dict[str, object] = {}
    views = {
        f"{name}_{metric.split('/')[0]}": {m.split("/", 1)[1]: x for m, x in metrics.items() if m.startswith(view)}
        for name, metrics in found.items()
        for metric in metrics
        if "/" in metric
        for view in [metric.split("/")[0] + "/"]
    }
    downstream["values"] = {name: summary(metrics) for name, metrics in views.items()}
    plus = views.get("mirror_plus_fused", {})
    for other, theirs in views.items():
        if other != "mirror_plus_fused" and plus:
            gap = summary({m: plus[m] - theirs[m] for m in plus})
            downstream[f"mirror_plus_fused - {other}"] = gap
    for title, table in [("difference", differences), ("downstream", downstream)]:
        for name, metrics in table.items():
            if name == "values" or not isinstance(metrics, dict):
                continue
            shown = [m for m in metrics if not m.endswith("_ci") and "_to_" not in m]
            text = "  ".join(f"{m} {metrics[m]:+.3f} {metrics[f'{m}_ci'] or ''}" for m in shown)
            print(f"{title}: {name}: {text}")
    out |= {"differences": differences, "downstream": downstream}
    run = {k: str(v) if isinstance(v, Path) else v for k, v in vars(args).items() if k != "func"}
    out["settings"] = run | {"seconds": round(seconds)}
    return out


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="3 seeds, 32 tiles a slide, the main variants")
    parser.add_argument("--seeds", type=int, default=None, help="number of seeds (5; --quick: 3)")
    parser.add_argument("--first-seed", type=int, default=0, help="first seed; mirror_plus was chosen on 1001 and up")
    parser.add_argument("--variants", nargs="+", default=None, choices=list(VARIANTS), metavar="NAME",
                        help=f"some of: {', '.join(VARIANTS)}")  # fmt: skip
    parser.add_argument("--simulation", choices=["features", "slides"], default="features", help="what is simulated")
    parser.add_argument("--run", type=Path, default=Path("."), help="folder of a finished run (--simulation slides)")
    parser.add_argument("--cohort", default="SIM", help="the simulated cohort's name (--simulation slides)")
    parser.add_argument("--encoder", default="demo-random", help="patch encoder (--simulation slides)")
    parser.add_argument("--pairs", type=int, default=400, help="training pairs, and as many fresh ones")
    parser.add_argument("--tiles", type=int, default=None, help="tiles a slide (64; --quick: 32)")
    parser.add_argument("--epochs", type=int, default=SMALL["train"]["epochs"], help="epochs")
    parser.add_argument("--presets", type=Path, default=ROOT / "config" / "variants.yaml", help="table of presets")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    args = parser.parse_args(argv)
    args.seeds = args.seeds or (3 if args.quick else 5)
    args.tiles = args.tiles or (32 if args.quick else 64)
    args.variants = args.variants or (QUICK if args.quick else DEFAULT)
    if args.simulation == "slides" and not (args.run / "results" / "simulated" / args.cohort).is_dir():
        parser.error(f"{args.run} holds no results/simulated/{args.cohort}: give --run and --cohort of a finished run")
    return args


def main() -> None:
    """Measure and print."""
    args = parse()
    started = time.monotonic()
    names = [INPUT, INPUT_MEAN, *args.variants]
    seeds = range(args.first_seed, args.first_seed + args.seeds)
    per_seed: dict[tuple[str, int], dict[str, float]] = {}
    with ProcessPoolExecutor(args.workers, mp_context=get_context("spawn")) as pool:
        # Inner loop over variants, so that an interrupted run has whole seeds.
        jobs = [pool.submit(job, name, seed, args) for seed in seeds for name in names]
        for done in as_completed(jobs):
            name, seed, values, cpu = done.result()
            per_seed[name, seed] = values
            line = json.dumps({k: round(v, 3) for k, v in values.items() if "/" not in k and "_to_" not in k})
            print(f"[{len(per_seed)}/{len(jobs)}] seed {seed} {name} ({cpu:.0f} s of CPU) {line}", flush=True)
    found = {
        name: {m: np.array([per_seed[name, s][m] for s in seeds]) for m in per_seed[name, seeds[0]]} for name in names
    }
    print(json.dumps(report(found, args, time.monotonic() - started)))


if __name__ == "__main__":
    main()
