#!/usr/bin/env python3
"""From real pixels to results: spatial transcriptomics sections of two breast cancers.

DATA holds pairs/her2st/{section}.jpg (H&E), {section}.tsv.gz (counts per spot), {section}_selection.tsv (spots under
tissue with pixel coordinates) and {section}-cluster-annotation.tsv.gz (published expression clusters) of four
sections: B4 of one patient, C2, C3 and C4 of another.

The script calls the functions behind the workflow's rules, without Snakemake:

1. The sections are written as pyramidal TIFFs. Micrometres per pixel follow from the 200 um pitch of the spots.
2. Tiling and embedding of the workflow, with `efficientnet-lite0` as trained on ImageNet, and with random weights of
   the same network as a yardstick. Tiles have 160 px, so that the row with an input of 128 px loses little and takes a
   third of the time (`--encoder`).
3. A sample is a block of neighbouring spots: the sum of their counts, and the bag of the tiles around them.
4. Folds: each section of the larger patient is held out in turn (trained on all others), and each patient is held
   out in turn (trained on the other). Genes (most variable), their scaling and the model are fitted on training
   sections.
5. Measured on held-out sections: retrieval of the partner within the section, in both directions; Pearson's r of
   genes predicted by a ridge regression from the slide embedding, median of the 50 genes that are predicted best
   inside the training sections; style clusters against the published expression clusters (NMI).

Yardsticks for r: the same with the training pairs shuffled before pre-training and readout (`median_r_shuffled`; with
the trained encoder only); ridge on the mean patch feature of the bag (`median_r_ridge`); that ridge with the pairs
shuffled within each section, so that it knows what tells the sections apart and nothing else (`median_r_section`).
For NMI: permuted spots (`nmi_chance`), and the cluster map moved over the section, which keeps what neighbours
share (`nmi_moved`).

The 50 genes are chosen with ridge on the mean patch feature, one list for all methods, so that the choice favours
that yardstick. OUT gets a figure per held-out section. The last line is one JSON object: the trained encoder, mean
over all held-out sections, both directions of retrieval together. --quick leaves out the random encoder and two folds,
and trains for fewer epochs: a check that everything works, not a measurement.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "2")

import numpy as np
import pandas as pd
from anndata import AnnData
from sklearn.metrics import normalized_mutual_info_score

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow" / "scripts"))

from tissue.drawing import draw  # noqa: E402
from tissue.readout import Readout, correlations, inner_parts, moved_nmi, shuffled  # noqa: E402
from tissue.sections import SECTIONS, Samples, embed_sections, folds_of, make_samples, read_section  # noqa: E402

from mirror.config.pretrain import PretrainSettings  # noqa: E402
from mirror.config.rna import RnaSettings  # noqa: E402
from mirror.config.variants import read_presets, variant_settings  # noqa: E402
from mirror.core.atomic import atomic_path  # noqa: E402
from mirror.core.seeds import stream  # noqa: E402
from mirror.dataset.paired import PairedData  # noqa: E402
from mirror.inference.encode import encode  # noqa: E402
from mirror.metrics.retrieval import partner_ranks  # noqa: E402
from mirror.metrics.style import agreement, perplexity, usage  # noqa: E402
from mirror.rna.selection import select_genes  # noqa: E402
from mirror.rna.transform import fit_transform  # noqa: E402
from mirror.training.loop import pretrain  # noqa: E402

GENES, BEST = 1000, 50
WANTED = (
    "recall_at_5",
    "recall_chance",
    "median_r",
    "median_r_shuffled",
    "median_r_ridge",
    "nmi_clusters",
    "nmi_chance",
)


def settings_of(args: argparse.Namespace) -> PretrainSettings:
    """The variant at the benchmark's sizes."""
    sizes = {"embed_dim": args.width, "slide_heads": 4, "rna_heads": 4, "attention": "exact", "tokens": 8}
    train = {"epochs": args.epochs, "batch_size": args.batch, "lr": args.lr, "workers": 0, "validation_fraction": 0}
    base = PretrainSettings.model_validate({"model": sizes, "train": train})
    return variant_settings(args.variant, {}, base, read_presets(ROOT / "config/variants.yaml"))


def run_fold(
    samples: Samples, train: list[str], args: argparse.Namespace, out: Path, shuffle: bool
) -> tuple[AnnData, np.ndarray, list[str]]:
    """Train on some sections and embed all samples.

    Returns
    -------
    embeddings : AnnData
        Of all samples, in the order of the table.
    rna : ndarray (n, G)
        Genes as the model saw them: with ``shuffle``, those of the training samples are permuted.
    genes : list of str
    """
    table = samples.table
    inside = table["section"].isin(train).to_numpy()
    names = list(table.index[inside])
    rules = RnaSettings.model_validate({"selection": {"method": "hvg", "n_genes": GENES}})
    genes = select_genes(samples.counts, pd.Series(dtype=str), names, rules, args.seed).genes
    rna = fit_transform(samples.counts, names, genes, rules).apply(samples.counts, list(table.index))
    paired = rna.copy()
    if shuffle:
        paired[inside] = rna[inside][shuffled(table["section"][inside].to_numpy(), args.seed, within=False)]
    sets = {name: "train" if fit else "test" for name, fit in zip(table.index, inside, strict=True)}
    data = PairedData.from_arrays(
        samples.bags, {name: name for name in table.index}, dict(zip(table.index, paired, strict=True)), sets, genes
    )
    checkpoint = out / "model.safetensors"
    checkpoint.unlink(missing_ok=True)
    pretrain(data, settings_of(args), args.seed, checkpoint, out / "log.tsv", out / "state", variant=args.variant)
    return encode(checkpoint, data)[list(table.index)], paired, genes


def measure(
    samples: Samples, fold: tuple[str, list[str], list[str]], args: argparse.Namespace, out: Path, yardsticks: bool
) -> list[dict[str, Any]]:
    """One row per held-out section; what the figure needs is under the key ``drawn``."""
    kind, train, test = fold
    table = samples.table
    inside = table["section"].isin(train).to_numpy()
    parts = inner_parts(table[inside])
    found, rna, genes = run_fold(samples, train, args, out, shuffle=False)
    mean = np.stack([samples.bags[name].mean(0) for name in table.index])
    slide = np.asarray(found.obsm["X_wsi"])
    plain = Readout(mean[inside], rna[inside], parts)
    best = np.argsort(-plain.inner_r, kind="stable")[:BEST]
    within = shuffled(table["section"][inside].to_numpy(), args.seed, within=True)
    readouts = {
        "median_r": Readout(slide[inside], rna[inside], parts).predict(slide),
        "median_r_ridge": plain.predict(mean),
        "median_r_section": Readout(mean[inside], rna[inside][within], parts).predict(mean),
    }
    if yardsticks:
        other, mixed, _ = run_fold(samples, train, args, out, shuffle=True)
        slide = np.asarray(other.obsm["X_wsi"])
        readouts["median_r_shuffled"] = Readout(slide[inside], mixed[inside], parts).predict(slide)
    won = {side: np.asarray(found.obsm[f"X_prototypes_{side}"]).argmax(1) for side in ("wsi", "rna")}
    k = found.obsm["X_prototypes_wsi"].shape[1]
    rows = []
    for section in test:
        mine = (table["section"] == section).to_numpy()
        row: dict[str, Any] = {"fold": kind, "section": section, "trained on": "+".join(train), "samples": mine.sum()}
        slide_side, rna_side = (np.asarray(found.obsm[f"X_align_{side}"])[mine] for side in ("wsi", "rna"))
        ranks = [partner_ranks(slide_side, rna_side), partner_ranks(rna_side, slide_side)]
        for name, rank in zip(("wsi_to_rna", "rna_to_wsi"), ranks, strict=True):
            row[f"recall_at_5_{name}"] = float((rank <= 5).mean())
        row["recall_at_5"] = float(np.mean([(rank <= 5).mean() for rank in ranks]))
        row["recall_chance"] = min(1.0, 5 / mine.sum())
        r = {name: correlations(guess[mine][:, best], rna[mine][:, best]) for name, guess in readouts.items()}
        row |= {name: float(np.median(values)) for name, values in r.items()}
        gene = best[int(r["median_r"].argmax())]
        labelled = mine & (table["cluster"] != "").to_numpy()
        truth = table["cluster"][labelled].to_numpy()
        rng = stream(args.seed, "nmi", section)
        for side, suffix in (("wsi", ""), ("rna", "_rna")):
            row[f"nmi_clusters{suffix}"] = normalized_mutual_info_score(truth, won[side][labelled])
            drawn = [normalized_mutual_info_score(rng.permutation(truth), won[side][labelled]) for _ in range(200)]
            row[f"nmi_chance{suffix}"] = float(np.mean(drawn))
        row["nmi_moved"] = moved_nmi(table[labelled], won["wsi"][labelled])
        row["used"] = perplexity(usage(won["wsi"][mine], k))
        same = agreement(won["wsi"][mine], won["rna"][mine], seed=args.seed)
        row |= {"agreement": same.value, "agreement_chance": same.chance}
        row["drawn"] = {
            "table": table[mine], "slide": won["wsi"][mine], "rna": won["rna"][mine], "prototypes": k,
            "gene": genes[gene], "measured": rna[mine, gene], "predicted": readouts["median_r"][mine, gene],
            "r": r["median_r"].max(),
        }  # fmt: skip
        rows.append(row)
    return rows


def parse() -> argparse.Namespace:
    """Command line, with what --quick changes filled in."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds pairs/her2st")
    parser.add_argument("--out", type=Path, default=Path("results/real_tissue"), help="where everything is written")
    parser.add_argument("--variant", default="mirror_plus", help="preset of config/variants.yaml")
    parser.add_argument("--block", type=int, default=1, help="spots along the side of a sample's block")
    parser.add_argument("--reach", type=float, default=110.0, help="um from a spot's centre to the tiles' centres")
    parser.add_argument("--encoder", default="efficientnet-lite0-128px", help="row of config/encoders.yaml")
    parser.add_argument("--overlap", type=int, default=0, help="px that neighbouring tiles (160 px) overlap")
    parser.add_argument("--width", type=int, default=128, help="embedding width")
    parser.add_argument("--epochs", type=int, help="epochs of pre-training (40)")
    parser.add_argument("--batch", type=int, default=32, help="pairs per step")
    parser.add_argument("--lr", type=float, default=3e-4)
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--quick", action="store_true", help="trained encoder alone, three of five folds, 8 epochs")
    args = parser.parse_args()
    args.epochs = args.epochs or (8 if args.quick else 40)
    if not (args.data / "pairs" / "her2st").is_dir():
        parser.error(f"{args.data} holds no pairs/her2st")
    return args


def main() -> None:
    """Run it."""
    args = parse()
    started = time.time()
    args.out.mkdir(parents=True, exist_ok=True)
    sections = [read_section(args.data / "pairs" / "her2st", name) for name in SECTIONS]
    for section in sections:
        print(
            f"{section.name}: {len(section.counts)} spots, {section.mpp:.4f} um per px, "
            f"median {section.counts.sum(axis=1).median():.0f} counts per spot, "
            f"{(section.clusters != '').sum()} spots with a published cluster"
        )
    answer: dict[str, float] = {}
    for encoder, features in embed_sections(sections, args.out, args.encoder, not args.quick, args.overlap).items():
        samples = make_samples(sections, features, args.block, args.reach)
        folds = folds_of(samples.table)[-3 if args.quick else 0 :]
        rows = []
        for number, fold in enumerate(folds):
            rows += measure(samples, fold, args, args.out, not answer and not (args.quick and number))
            print(f"{time.time() - started:.0f} s: {encoder}, {fold[0]} held out: {', '.join(fold[2])}", flush=True)
        if not answer:
            for row in rows:
                draw(row, next(s for s in sections if s.name == row["section"]), args.out)
        shown = pd.DataFrame(rows).drop(columns="drawn").assign(encoder=encoder)
        with atomic_path(args.out / f"{encoder}.tsv") as part:
            shown.to_csv(part, sep="\t", index=False)
        print(f"\n{encoder}, {args.variant}, samples of {args.block} x {args.block} spots")
        print(shown.drop(columns="encoder").round(3).to_string(index=False))
        means = shown[[c for c in shown if shown[c].dtype == float]].mean()
        print(means.round(3).to_string())
        answer = answer or {name: round(float(means[name]), 4) for name in WANTED}
    print(f"{time.time() - started:.0f} s")
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
