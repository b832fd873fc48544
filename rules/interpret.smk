# What the model looked at; and the way back from a figure to what is behind it.
rule interpret_model:
    input:
        embeddings=lambda w: [P.embeddings.of(w, fold=f) for f in first_folds(w.scheme)],
        checkpoints=lambda w: [P.model.of(w, fold=f) for f in first_folds(w.scheme)],
        features=lambda w: PLAN.feature_tables(w.cohort, w.encoder),
        patients=P.patients,
        labels=outcomes("class"),
        follow_up=outcomes("survival"),
        leaks=P.leaks_of_models,
        rna=lambda w: P.rna.of(w) if PLAN.has_rna(w.cohort) else [],
        gene_sets=gene_sets,
        predictions=own_predictions("survival"),
    output:
        **{
            name.split(".")[0]: f"{INTERPRETATION}/{name}"
            for name in (
                "prototypes.tsv",
                "scores.tsv",
                "gallery.tsv",
                "genes.tsv",
                "gene_sets.tsv",
                "maps.npz",
                "interpretation.json",
            )
        },
    log:
        P.log("interpret_model", "cohort", "encoder", "scheme", "variant"),
    benchmark:
        P.benchmark("interpret_model", "cohort", "encoder", "scheme", "variant")
    conda:
        "../envs/train.yaml"
    threads: PLAN.train_threads
    resources:
        mem_mb=lambda w, attempt: 8000 * attempt,
        runtime=lambda w, attempt: 240 * attempt,
        gpu=gpus(1),
    params:
        folds=lambda w: first_folds(w.scheme),
        features=lambda w: P.features_folder.of(w),
        settings=CONFIG["interpretation"],
        min_focus=CONFIG["embed"]["min_focus"],
        device=lambda w: PLAN.variants[w.variant]["train"]["device"],
        seed=SEED,
        code=code("interpret_model"),
    message:
        "Interpreting {wildcards.variant} on {wildcards.cohort} ({wildcards.encoder}, {wildcards.scheme})"
    script:
        "../workflow/scripts/interpret_model.py"


rule plot_interpretation:
    input:
        prototypes=f"{INTERPRETATION}/prototypes.tsv",
        maps=f"{INTERPRETATION}/maps.npz",
        record=f"{INTERPRETATION}/interpretation.json",
        slides=lambda w: PLAN.tile_tables(w.cohort),
        patients=P.patients,
        labels=outcomes("class"),
        follow_up=outcomes("survival"),
        subtyping=own_predictions("class"),
        survival=own_predictions("survival"),
        key=report_key(),
    output:
        heatmaps_png=interpretation_figure("heatmaps"),
        gallery_png=interpretation_figure("gallery"),
        associations_png=interpretation_figure("associations"),
        associations_svg=f"{FIG}/{{cohort}}/{{encoder}}/{{scheme}}/{{variant}}/associations.svg",
        cards=[
            f"{FIG}/{{cohort}}/{{encoder}}/{{scheme}}/{{variant}}/card_{i + 1}.png"
            for i in range(CONFIG["interpretation"]["cards"])
        ],
    log:
        P.log("plot_interpretation", "cohort", "encoder", "scheme", "variant"),
    benchmark:
        P.benchmark("plot_interpretation", "cohort", "encoder", "scheme", "variant")
    conda:
        "../envs/interpret.yaml"
    threads: 1
    resources:
        mem_mb=lambda w, attempt: 4000 * attempt,
        runtime=60,
    params:
        title=lambda w: f"{TITLES[w.cohort]}, {w.variant} ({w.encoder}, {w.scheme})",
        genes=CONFIG["interpretation"]["genes"],
        identifiers=CONFIG["report"]["identifiers"],
        code=code("plot_interpretation"),
    message:
        "Drawing attention and prototypes of {wildcards.variant} on {wildcards.cohort}"
    script:
        "../workflow/scripts/plot_interpretation.py"


# `snakemake trace --cores 1 --config cell=...`: no output is declared, so that it looks anew each time.
rule trace:
    log:
        P.log("trace"),
    conda:
        "../envs/evaluate.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        results=RESULTS,
        cell=CELL,
        out=P.trace,
    message:
        "Tracing {params.cell}"
    script:
        "../workflow/scripts/trace.py"


# How well the style of every variant clusters: use, agreement of both modalities, stability, associations.
rule measure_style:
    input:
        embeddings=lambda w: [
            P.embeddings.of(w, variant=v, fold=f)
            for v in VARIANTS
            for f in first_folds(w.scheme)
        ],
        patients=P.patients,
        labels=outcomes("class"),
        follow_up=outcomes("survival"),
        rna=lambda w: P.rna.of(w) if PLAN.has_rna(w.cohort) else [],
        gene_sets=gene_sets,
    output:
        clusters=P.style_clusters,
        prototypes=P.style_prototypes,
    log:
        P.log("measure_style", "cohort", "encoder", "scheme"),
    benchmark:
        P.benchmark("measure_style", "cohort", "encoder", "scheme")
    conda:
        "../envs/evaluate.yaml"
    threads: 1
    resources:
        mem_mb=lambda w, attempt: 4000 * attempt,
        runtime=lambda w, attempt: 60 * attempt,
    params:
        files=lambda w: {
            v: {
                f: P.embeddings.of(w, variant=v, fold=f) for f in first_folds(w.scheme)
            }
            for v in VARIANTS
        },
        settings=CONFIG["interpretation"],
        seed=SEED,
        code=code("measure_style"),
    message:
        "Measuring the style clusters of {wildcards.cohort} ({wildcards.encoder}, {wildcards.scheme})"
    script:
        "../workflow/scripts/measure_style.py"


rule plot_style:
    input:
        clusters=P.style_clusters,
        prototypes=P.style_prototypes,
    output:
        png=report(
            f"{FIG}/{{cohort}}/{{encoder}}/{{scheme}}/style.png",
            caption=caption("style"),
            category="Style",
            labels={"cohort": "{cohort}", "encoder": "{encoder}", "figure": "style"},
        ),
        svg=f"{FIG}/{{cohort}}/{{encoder}}/{{scheme}}/style.svg",
    log:
        P.log("plot_style", "cohort", "encoder", "scheme"),
    benchmark:
        P.benchmark("plot_style", "cohort", "encoder", "scheme")
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        title=lambda w: f"{TITLES[w.cohort]} ({w.encoder}, {w.scheme})",
        code=code("plot_style"),
    message:
        "Drawing the style clusters of {wildcards.cohort}"
    script:
        "../workflow/scripts/plot_style.py"
