"""What stands in each section of the report."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from ..core.facts import Facts
from ..core.version import __version__
from ..plan.paths import names_in
from .identifiers import Identifiers
from .methods_text import methods_text
from .page import Section, audit_table, fact_frames

ORDER = [
    "Result", "Methods", "Leak audit", "Inputs", "Cohort", "Slides", "Expression", "Subtyping", "Survival",
    "What it adds", "Few-shot", "Retrieval", "Transfer", "Ablation", "Truth recovery", "Style: does it cluster?",
    "Prototypes", "Attention", "Embeddings", "Pre-training", "Reproducing this",
]  # fmt: skip
STYLE_COLUMNS = {
    "variant": "variant", "prototypes": "prototypes", "perplexity": "in effective use", "agreement": "agreement",
    "agreement_chance": "by chance", "agreement_p": "p", "stability_ari": "stability (ARI)",
    "label_nmi": "NMI with label", "labels_fdr05": "with label", "survival_fdr05": "with survival",
    "sets_fdr05": "with gene set",
}  # fmt: skip
STYLE = (
    "Test patients of every fold. In effective use: perplexity of the shares of patients on each prototype, mean of "
    "slide and RNA. Agreement: slide and RNA of a patient on the same prototype; by chance: permuted pairs. Stability: "
    "adjusted Rand index between the models of two folds. The last three columns are the shares of the used prototypes "
    "that are associated with the label, with survival and with a gene set at a false discovery rate of 0.05."
)
COLLAPSED = 0.95  # share of slides that one prototype wins
PROTOTYPE_COLUMNS = [
    "prototype", "use", "spread", "match", "tiles_agree", "reason", "label_test", "label_value", "label_fdr",
    "hazard_ratio", "hr_low", "hr_high", "survival_fdr",
]  # fmt: skip
PACKAGES = ("torch", "timm", "openslide-python", "scanpy", "anndata", "scikit-survival", "scikit-learn", "snakemake")

CEILING = (
    "The row True factors (ceiling) is no method: a linear model fitted on the factors from which the simulated "
    "patients were drawn, in the same folds. Outcomes are drawn with noise and training patients are few, so it errs "
    "as well; it is left out of every comparison."
)
PROTOTYPES = (
    "use: share of out-of-fold slides that score the prototype highest; spread: SD of its raw score; match: lowest "
    "correlation with its partners in other folds' models; tiles_agree: Spearman correlation of its tiles' mean score "
    "with its slides' score; reason: below which of the configured floors it is, and then without association or map; "
    "hazard ratios are per standard deviation of the score; fdr over all prototypes of the model, not only those shown."
)


def versions() -> pd.DataFrame:
    """Versions of what the numbers depend on, as far as this environment knows them."""
    rows = [("MIRROR workflow", __version__), ("Python", platform.python_version())]
    for name in PACKAGES:
        try:
            rows.append((name, version(name)))
        except PackageNotFoundError:
            continue
    where = Path(__file__).parent
    found = subprocess.run(["git", "rev-parse", "HEAD"], cwd=where, capture_output=True, text=True, check=False)
    if found.returncode == 0:
        rows.append(("code (git)", found.stdout.strip()))
    return pd.DataFrame(rows, columns=["what", "version"])


def fits_text(numbers: pd.DataFrame, left_out: Path) -> str:
    """Chosen penalties per row, and every note of the fits and of the metrics, as lines of text."""
    keys = ["cohort", "encoder", "scheme", "task", "method", "protocol", "modality", "head"]
    lines = []
    chosen = numbers[numbers["metric"] == "penalty"].fillna({"head": ""})
    for key, rows in chosen.groupby(keys, sort=False):
        count = rows["value"].value_counts().sort_index()
        grid = ", ".join(f"{C:g} ({n} fits)" for C, n in count.items())
        lines.append(f"{' '.join(filter(None, map(str, key)))}: penalty C = {grid}")
    notes = pd.read_csv(left_out, sep="\t", dtype=str).fillna("")
    for row in notes.drop_duplicates().itertuples():
        place = " ".join(
            filter(None, [row.cohort, row.encoder, row.scheme, row.task, row.method, row.modality, row.fold])
        )
        lines.append(f"{place}: {row.metric}: {row.reason}")
    return "\n".join(lines) or "nothing to report"


def empty_sections(figures: Sequence[tuple[str, str, str, str]]) -> dict[str, Section]:
    """The sections in order; kinds of target with a section of their own come after "Survival"."""
    drawn = [section for section, *_ in figures if section not in ORDER]
    at = ORDER.index("Survival") + 1
    return {name: Section(name) for name in [*ORDER[:at], *dict.fromkeys(drawn), *ORDER[at:]]}


def add_tables(sections: Mapping[str, Section], index: Path) -> None:
    """Add the tables that an index lists, each to its section."""
    for entry in json.loads(index.read_text()):
        markup = (index.parent / f"{entry['name']}.html").read_text(encoding="utf-8")
        words = (index.parent / f"{entry['name']}.md").read_text(encoding="utf-8").strip().splitlines()[-1]
        sections[entry["section"]].table(markup, f"{entry['title']} ({entry['scheme']})", words)


def add_style(section: Section, clusters: Sequence[Path], titles: Mapping[str, str]) -> None:
    """Add the table of style clusters of each cohort, and say where the style of a variant has collapsed."""
    for path in clusters:
        cohort, encoder, scheme = names_in("style_clusters", path).values()
        frame = pd.read_csv(path, sep="\t")
        place = f"{titles[cohort]} ({encoder}, {scheme})"
        for row in frame[frame["collapsed"].astype(bool)].itertuples():
            section.paragraphs.append(
                f"{place}: the style of {row.variant} has collapsed. {row.perplexity:.2g} of {row.prototypes} "
                "prototypes are in effective use, so its prototypes say nothing about the slides."
            )
        if len(frame):
            section.frame(frame[list(STYLE_COLUMNS)].rename(columns=STYLE_COLUMNS), f"Style clusters: {place}", STYLE)


def add_prototypes(section: Section, prototypes: Sequence[Path], titles: Mapping[str, str]) -> None:
    """Add the table of prototypes of each interpreted variant."""
    for path in prototypes:
        cohort, encoder, scheme, variant = names_in("prototypes", path).values()
        columns = [c for c in PROTOTYPE_COLUMNS if c in (frame := pd.read_csv(path, sep="\t"))]
        if frame["use"].max() > COLLAPSED:
            section.paragraphs.append(
                f"{titles[cohort]}, {variant}: one prototype is the highest of {frame['use'].max():.0%} of the slides. "
                "The style has all but collapsed, and prototypes distinguish slides by small differences only."
            )
        section.frame(frame[columns], f"Prototypes of {variant} on {titles[cohort]} ({encoder}, {scheme})", PROTOTYPES)


def add_methods(
    section: Section,
    config: dict[str, Any],
    variants: dict[str, Any],
    fits: str,
    identifiers: Identifiers,
) -> None:
    """Add the methods in words, what the fits noted, and all settings."""
    section.paragraphs += methods_text(config)
    section.text("Fits: penalties, fallbacks, folds and metrics that were left out", identifiers.text(fits))
    section.text("All settings", yaml.safe_dump(identifiers.settings(config), sort_keys=False))
    section.text("Complete settings of every variant", yaml.safe_dump(identifiers.settings(variants), sort_keys=False))


def add_audit(section: Section, audits: dict[str, Any], splits: Sequence[Path], identifiers: Identifiers) -> None:
    """Add the checks of the leak audit and what the split schemes noted."""
    section.paragraphs.append(
        "Each check compares what a fitted object says it saw with the test patients of its fold. A failed check stops "
        "the run unless the configuration allows it and says why."
    )
    section.table(audit_table(audits), "Checks", "")
    for path in splits:
        place = ", ".join(names_in("splits_report", path).values())
        for message in json.loads(path.read_text()).get("messages", []):
            section.paragraphs.append(identifiers.text(f"{place}: {message}"))


def add_inputs(section: Section, facts: Sequence[Path], identifiers: Identifiers) -> None:
    """Add what was read as what, contradictions first."""
    for path in facts:
        read_as, contradictions = fact_frames(Facts.read(path), identifiers)
        section.paragraphs += [f"{path.stem}: {line}" for line in contradictions]
        section.frame(read_as, f"What was read as what: {path.stem.replace('_', ', ')}", "")


def add_reproduction(section: Section) -> None:
    """Add where the files behind the figures are, and versions."""
    section.paragraphs.append(
        "results/metrics.tsv holds every figure in long form; results/predictions/ the prediction of every test "
        "patient behind it; results/embeddings/ the embeddings behind those (they open in scanpy); results/models/ the "
        "checkpoints with their full configuration."
    )
    section.frame(versions(), "Versions", "As installed where this report was written.")
