# What the report shows, in order; the rules are in figures.smk and report.smk.
VARIANTS = list(PLAN.variants)
# What figures and tables must know of every target that is evaluated.
TARGET_TABLE = [
    {
        **next(PLAN.target(c, t) for c in PLAN.evaluated if t in PLAN.tasks(c)),
        "title": PLAN.target_title(t),
        "primary": PLAN.kind(t).primary,
    }
    for t in PLAN.all_tasks
]
TITLES = {c: PLAN.cohort(c)["title"] or c for c in PLAN.cohorts}
FIG = P.figures_folder
TRAINED = [c for c in PLAN.evaluated if PLAN.trains(c)]
# (cohort, encoder, scheme) of everything that is probed.
PLACES = [
    (c, e, s)
    for c in PLAN.evaluated
    for e in PLAN.encoders_of(c) or ["none"]
    for s in PLAN.schemes(c)
]

INTERPRETED = [v for v in CONFIG["interpretation"]["variants"] if v in PLAN.variants]
INTERPRETATION = P.interpretation


def first_folds(scheme):
    """The folds of the first repeat: each patient is tested in one of them."""
    return [f for f in PLAN.folds(scheme) if f.startswith("r0f")]


def gene_sets(w):
    """The gene sets: the user's, else the planted modules of a simulated cohort, else none."""
    if CONFIG["interpretation"]["gene_sets"]:
        return CONFIG["interpretation"]["gene_sets"]
    if PLAN.cohort(w.cohort)["simulate"]:
        return f"{PLAN.simulated_folder(w.cohort)}/modules.gmt"
    return []


def own_predictions(kind):
    """Predictions of a variant itself, for the cohort's first target of a kind."""

    def file(w):
        task = PLAN.first_task(w.cohort, kind)
        if task not in PLAN.tasks(w.cohort):
            return []
        return P.predictions.of(w, task=task, method=w.variant)

    return file


def interpretation_figure(kind):
    """A figure of the interpretation, listed in Snakemake's report."""
    return report(
        f"{FIG}/{{cohort}}/{{encoder}}/{{scheme}}/{{variant}}/{kind}.png",
        caption=caption(kind),
        category="Interpretation",
        labels={"cohort": "{cohort}", "variant": "{variant}", "figure": kind},
    )


def reported_figures():
    """The table of figures reported elsewhere: the user's, else the one beside the Snakefile, else none."""
    name = CONFIG["evaluation"]["reported"]
    found = [p for p in (Path(name), BASE / name) if p.is_file()] if name else []
    return str(found[0]) if found else []


def figure_list():
    """Every figure of the report in order: (section, path, title, caption)."""
    out = []
    schemes = list(CONFIG["splits"])
    for s in schemes:
        out.append(("Result", f"{FIG}/{s}/forest.png", f"All methods ({s})", "forest"))
        if PLAN.added(s):
            out.append(
                (
                    "What it adds",
                    f"{FIG}/{s}/what_it_adds.png",
                    f"Gain over clinical covariates ({s})",
                    "what_it_adds",
                )
            )
    for c in PLAN.evaluated:
        out.append(
            ("Cohort", f"{FIG}/{c}/flow.png", f"{TITLES[c]}: cohort flow", "flow")
        )
        if PLAN.tile_tables(c):
            out.append(
                ("Slides", f"{FIG}/{c}/slides.png", f"{TITLES[c]}: slides", "slides")
            )
        if PLAN.has_rna(c):
            out += [
                (
                    "Expression",
                    f"{FIG}/{c}/{s}/genes.png",
                    f"{TITLES[c]}: gene selection ({s})",
                    "genes",
                )
                for s in PLAN.schemes(c)
            ]
    for c, e, s in PLACES:
        here, name = f"{FIG}/{c}/{e}/{s}", f"{TITLES[c]} ({e}, {s})"
        for task in PLAN.tasks(c):
            kind = PLAN.kind(task)
            whose = name if task in SHORT else f"{name}, {PLAN.target_title(task)}"
            out += [
                (kind.section, f"{here}/{task}_{k}.png", f"{whose}: {text}", k)
                for k, text in kind.figures.items()
            ]
            if is_curve(CONFIG["evaluation"]):
                curve = f"{whose}: metric against the number of shots"
                out.append(("Few-shot", f"{here}/{task}_shots.png", curve, "shots"))
        if c in TRAINED:
            for v in VARIANTS:
                out += [
                    (
                        "Embeddings",
                        f"{here}/umap_{v}.png",
                        f"{name}: UMAP, {v}",
                        "umap",
                    ),
                    (
                        "Embeddings",
                        f"{here}/retrieval_{v}.png",
                        f"{name}: retrieval, {v}",
                        "retrieval",
                    ),
                    (
                        "Pre-training",
                        f"{here}/training_{v}.png",
                        f"{name}: training, {v}",
                        "training",
                    ),
                ]
        if c in TRAINED:
            out.append(("Style: does it cluster?", f"{here}/style.png", name, "style"))
    for c, e, s in PLACES:
        for v in INTERPRETED if c in TRAINED else []:
            here, name = f"{FIG}/{c}/{e}/{s}/{v}", f"{TITLES[c]}, {v} ({e}, {s})"
            out += [
                ("Attention", f"{here}/heatmaps.png", f"{name}: heatmaps", "heatmaps"),
                ("Prototypes", f"{here}/gallery.png", f"{name}: galleries", "gallery"),
                (
                    "Prototypes",
                    f"{here}/associations.png",
                    f"{name}: associations",
                    "associations",
                ),
            ]
            out += [
                (
                    "Attention",
                    f"{here}/card_{i + 1}.png",
                    f"{name}: card {i + 1}",
                    "card",
                )
                for i in range(CONFIG["interpretation"]["cards"])
            ]
    out += [
        (
            "Transfer",
            f"{FIG}/{t.target}/{t.encoder}/{t.name}/transfer_km.png",
            f"{TITLES[t.source]} to {TITLES[t.target]} ({t.encoder}, {t.scheme})",
            "transfer_km",
        )
        for t in PLAN.transfers
    ]
    if TRAINED:
        out += [
            ("Ablation", f"{FIG}/{s}/ablation.png", f"Variants ({s})", "ablation")
            for s in schemes
            if any(s in PLAN.schemes(c) for c in TRAINED)
        ]
    return out


FIGURES = figure_list()
FIGURES_AND_TABLES = [path for _, path, _, _ in FIGURES] + [P.tables_index]
