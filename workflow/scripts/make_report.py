"""One self-contained HTML report."""

import json
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

import mirror
from mirror.core.facts import Facts
from mirror.plan.paths import names_in
from mirror.report.headline import answers
from mirror.report.identifiers import Identifiers
from mirror.report.methods_text import methods_text, warnings_of
from mirror.report.page import Section, audit_table, fact_frames, plain_caption, render_report

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
    rows = [("MIRROR workflow", mirror.__version__), ("Python", platform.python_version())]
    for name in PACKAGES:
        try:
            rows.append((name, version(name)))
        except PackageNotFoundError:
            continue
    where = Path(mirror.__file__).parent
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


def main(
    *,
    figures: list[tuple[str, str, str, str]],
    titles: dict[str, str],
    metrics: Path,
    comparisons: Path,
    left_out: Path,
    prototypes: list[Path],
    clusters: list[Path],
    tables: Path,
    leaks: list[Path],
    splits: list[Path],
    facts: list[Path],
    captions: Path,
    template: Path,
    config: dict[str, Any],
    variants: dict[str, Any],
    encoders: dict[str, Any],
    simulated: list[str],
    notes: list[str],
    shown: dict[str, str],
    identifiers: Identifiers,
    out: Path,
) -> None:
    """Collect everything and render it."""
    drawn = [section for section, *_ in figures if section not in ORDER]  # kinds of target with a section of their own
    at = ORDER.index("Survival") + 1
    sections = {name: Section(name) for name in [*ORDER[:at], *dict.fromkeys(drawn), *ORDER[at:]]}
    audits = {", ".join(names_in("audit", p).values()): json.loads(p.read_text()) for p in leaks}
    for check in (check for audit in audits.values() for check in audit["checks"]):
        check["message"] = identifiers.text(str(check.get("message", "")))
    numbers = pd.read_csv(metrics, sep="\t", dtype={"fold": str, "head": str})
    compared = pd.read_csv(comparisons, sep="\t", dtype={"head_a": str, "head_b": str})
    for scheme in config["splits"]:
        sections["Result"].answer += answers(numbers, compared, scheme, shown, titles)
    if any(simulated):
        sections["Result"].paragraphs.append(CEILING)
    for entry in json.loads(tables.read_text()):
        markup = (tables.parent / f"{entry['name']}.html").read_text(encoding="utf-8")
        words = (tables.parent / f"{entry['name']}.md").read_text(encoding="utf-8").strip().splitlines()[-1]
        sections[entry["section"]].table(markup, f"{entry['title']} ({entry['scheme']})", words)
    for section, path, title, caption in figures:
        text = plain_caption((captions / f"{caption}.rst").read_text(encoding="utf-8"))
        sections[section].figure(Path(path), title, text)
    style = sections["Style: does it cluster?"]
    for path in clusters:
        cohort, encoder, scheme = names_in("style_clusters", path).values()
        frame = pd.read_csv(path, sep="\t")
        place = f"{titles[cohort]} ({encoder}, {scheme})"
        for row in frame[frame["collapsed"].astype(bool)].itertuples():
            style.paragraphs.append(
                f"{place}: the style of {row.variant} has collapsed. {row.perplexity:.2g} of {row.prototypes} "
                "prototypes are in effective use, so its prototypes say nothing about the slides."
            )
        if len(frame):
            style.frame(frame[list(STYLE_COLUMNS)].rename(columns=STYLE_COLUMNS), f"Style clusters: {place}", STYLE)
    for path in prototypes:
        cohort, encoder, scheme, variant = names_in("prototypes", path).values()
        columns = [c for c in PROTOTYPE_COLUMNS if c in (frame := pd.read_csv(path, sep="\t"))]
        if frame["use"].max() > COLLAPSED:
            sections["Prototypes"].paragraphs.append(
                f"{titles[cohort]}, {variant}: one prototype is the highest of {frame['use'].max():.0%} of the slides. "
                "The style has all but collapsed, and prototypes tell slides apart by small differences only."
            )
        sections["Prototypes"].frame(
            frame[columns], f"Prototypes of {variant} on {titles[cohort]} ({encoder}, {scheme})", PROTOTYPES
        )
    sections["Methods"].paragraphs += methods_text(config)
    sections["Methods"].text(
        "Fits: penalties, fallbacks, folds and metrics that were left out",
        identifiers.text(fits_text(numbers, left_out)),
    )
    sections["Methods"].text("All settings", yaml.safe_dump(identifiers.settings(config), sort_keys=False))
    sections["Methods"].text(
        "Complete settings of every variant", yaml.safe_dump(identifiers.settings(variants), sort_keys=False)
    )
    sections["Leak audit"].paragraphs.append(
        "Each check compares what a fitted object says it saw with the test patients of its fold. A failed check stops "
        "the run unless the configuration allows it and says why."
    )
    sections["Leak audit"].table(audit_table(audits), "Checks", "")
    for path in splits:
        place = ", ".join(names_in("splits_report", path).values())
        for message in json.loads(path.read_text()).get("messages", []):
            sections["Leak audit"].paragraphs.append(identifiers.text(f"{place}: {message}"))
    for path in facts:
        read_as, contradictions = fact_frames(Facts.read(path), identifiers)
        sections["Inputs"].paragraphs += [f"{path.stem}: {line}" for line in contradictions]
        sections["Inputs"].frame(read_as, f"What was read as what: {path.stem.replace('_', ', ')}", "")
    again = sections["Reproducing this"]
    again.paragraphs.append(
        "results/metrics.tsv holds every figure in long form; results/predictions/ the prediction of every test "
        "patient behind it; results/embeddings/ the embeddings behind those (they open in scanpy); results/models/ the "
        "checkpoints with their full configuration."
    )
    again.frame(versions(), "Versions", "As installed where this report was written.")
    stamp = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    subtitle = f"{', '.join(config['cohorts'])} · written {stamp} · MIRROR workflow {mirror.__version__}"
    warnings = [*(f"Note: {note}." for note in notes), *warnings_of(config, encoders, simulated, audits)]
    render_report(template, config["title"], subtitle, warnings, list(sections.values()), out)


if "snakemake" in globals():
    from mirror.core.step import run_step

    smk = snakemake
    run_step(
        lambda: main(
            figures=[tuple(f) for f in smk.params.figures],
            titles=dict(smk.params.titles),
            metrics=Path(smk.input.metrics),
            comparisons=Path(smk.input.comparisons),
            left_out=Path(smk.input.left_out),
            prototypes=[Path(p) for p in smk.input.prototypes],
            clusters=[Path(p) for p in smk.input.clusters],
            tables=Path(smk.input.tables),
            leaks=[Path(p) for p in smk.input.leaks],
            splits=[Path(p) for p in smk.input.splits],
            facts=[Path(p) for p in smk.input.facts],
            captions=Path(smk.params.captions),
            template=Path(smk.input.template),
            config=smk.params.config,
            variants=smk.params.variants,
            encoders=smk.params.encoders,
            simulated=list(smk.params.simulated),
            notes=list(smk.params.notes),
            shown=dict(smk.params.shown),
            identifiers=Identifiers.read(smk.params.identifiers, smk.input.key),
            out=Path(smk.output.report),
        ),
        smk.log[0],
    )
