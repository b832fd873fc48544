# Figures of cohorts, training, embeddings and results.
rule report_key:
    input:
        patients=expand(P.patients, cohort=PLAN.cohorts),
        slides=[t for c in PLAN.cohorts if PLAN.has_slides(c) for t in slide_tables(c)],
    output:
        key=update(P.report_key),
    log:
        P.log("report_key"),
    benchmark:
        P.benchmark("report_key")
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        mode=CONFIG["report"]["identifiers"],
        code=code("report_key"),
    message:
        "Drawing pseudonyms for the report"
    script:
        "../workflow/scripts/report_key.py"


rule plot_cohort:
    input:
        flow=P.flow,
        targets=lambda w: [
            P.outcomes_flow.of(w, task=t) for t in PLAN.targets(w.cohort)
        ],
        key=report_key(),
    output:
        png=report(
            f"{FIG}/{{cohort}}/flow.png",
            caption=caption("flow"),
            category="Cohort",
            labels={"cohort": "{cohort}", "figure": "cohort flow"},
        ),
        svg=f"{FIG}/{{cohort}}/flow.svg",
    log:
        P.log("plot_cohort", "cohort"),
    benchmark:
        P.benchmark("plot_cohort", "cohort")
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        title=lambda w: TITLES[w.cohort],
        identifiers=CONFIG["report"]["identifiers"],
        code=code("plot_cohort"),
    message:
        "Drawing the cohort flow of {wildcards.cohort}"
    script:
        "../workflow/scripts/plot_cohort.py"


rule plot_slides:
    input:
        tables=lambda w: PLAN.tile_tables(w.cohort),
        key=report_key(),
    output:
        png=report(
            f"{FIG}/{{cohort}}/slides.png",
            caption=caption("slides"),
            category="Slides",
            labels={"cohort": "{cohort}", "figure": "contact sheet"},
        ),
    log:
        P.log("plot_slides", "cohort"),
    benchmark:
        P.benchmark("plot_slides", "cohort")
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=20,
    params:
        thumbnails=P.slides_qc,
        identifiers=CONFIG["report"]["identifiers"],
        code=code("plot_slides"),
    message:
        "Drawing the contact sheet of {wildcards.cohort}"
    script:
        "../workflow/scripts/plot_slides.py"


# A page to look through before GPU days are spent: `snakemake qc --cores all` tiles and stops here.
rule qc_page:
    input:
        tables=lambda w: PLAN.tile_tables(w.cohort),
    output:
        page=P.qc_page,
    log:
        P.log("qc_page", "cohort"),
    benchmark:
        P.benchmark("qc_page", "cohort")
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        excluded=lambda w: PLAN.excluded.get(w.cohort, {}),
        thumbnails=P.slides_qc,
        template=str(BASE / "workflow" / "report" / "qc.html.j2"),
        code=code("qc_page"),
    message:
        "Writing the quality-control page of {wildcards.cohort}"
    script:
        "../workflow/scripts/qc_page.py"


rule plot_genes:
    input:
        tables=lambda w: [P.gene_reasons.of(w, fold=f) for f in PLAN.folds(w.scheme)],
    output:
        table=P.stability,
        png=report(
            f"{FIG}/{{cohort}}/{{scheme}}/genes.png",
            caption=caption("genes"),
            category="Expression",
            labels={"cohort": "{cohort}", "figure": "gene selection"},
        ),
        svg=f"{FIG}/{{cohort}}/{{scheme}}/genes.svg",
    log:
        P.log("plot_genes", "cohort", "scheme"),
    benchmark:
        P.benchmark("plot_genes", "cohort", "scheme")
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        folds=lambda w: PLAN.folds(w.scheme),
        code=code("plot_genes"),
    message:
        "Drawing the stability of gene selection in {wildcards.cohort}"
    script:
        "../workflow/scripts/plot_genes.py"


rule plot_training:
    input:
        logs=lambda w: [P.training_log.of(w, fold=f) for f in PLAN.folds(w.scheme)],
    output:
        png=report(
            f"{FIG}/{{cohort}}/{{encoder}}/{{scheme}}/training_{{variant}}.png",
            caption=caption("training"),
            category="Pre-training",
            labels={
                "cohort": "{cohort}",
                "encoder": "{encoder}",
                "figure": "{variant}",
            },
        ),
        svg=f"{FIG}/{{cohort}}/{{encoder}}/{{scheme}}/training_{{variant}}.svg",
    log:
        P.log("plot_training", "cohort", "encoder", "scheme", "variant"),
    benchmark:
        P.benchmark("plot_training", "cohort", "encoder", "scheme", "variant")
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        folds=lambda w: PLAN.folds(w.scheme),
        code=code("plot_training"),
    message:
        "Drawing the training curves of {wildcards.variant} on {wildcards.cohort}"
    script:
        "../workflow/scripts/plot_training.py"


rule plot_embeddings:
    input:
        embeddings=lambda w: [P.embeddings.of(w, fold=f) for f in PLAN.folds(w.scheme)],
        labels=outcomes("class"),
    output:
        umap_png=report(
            f"{FIG}/{{cohort}}/{{encoder}}/{{scheme}}/umap_{{variant}}.png",
            caption=caption("umap"),
            category="Embeddings",
            labels={
                "cohort": "{cohort}",
                "encoder": "{encoder}",
                "figure": "UMAP, {variant}",
            },
        ),
        umap_svg=f"{FIG}/{{cohort}}/{{encoder}}/{{scheme}}/umap_{{variant}}.svg",
        retrieval_png=report(
            f"{FIG}/{{cohort}}/{{encoder}}/{{scheme}}/retrieval_{{variant}}.png",
            caption=caption("retrieval"),
            category="Embeddings",
            labels={
                "cohort": "{cohort}",
                "encoder": "{encoder}",
                "figure": "retrieval, {variant}",
            },
        ),
        retrieval_svg=f"{FIG}/{{cohort}}/{{encoder}}/{{scheme}}/retrieval_{{variant}}.svg",
    log:
        P.log("plot_embeddings", "cohort", "encoder", "scheme", "variant"),
    benchmark:
        P.benchmark("plot_embeddings", "cohort", "encoder", "scheme", "variant")
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        seed=SEED,
        code=code("plot_embeddings"),
    message:
        "Drawing the embeddings of {wildcards.variant} on {wildcards.cohort}"
    script:
        "../workflow/scripts/plot_embeddings.py"


# The figures of a target; its kind says which there are.
for KIND, ENTRY in find_kinds().items():

    rule:
        name:
            f"plot_{KIND}"
        input:
            predictions=predictions_here,
            metrics=P.metrics,
            patients=P.patients,
        output:
            **{
                f"{figure}_{form}": (
                    report(
                        f"{FIG}/{{cohort}}/{{encoder}}/{{scheme}}/{{task}}_{figure}.png",
                        caption=caption(figure),
                        category=ENTRY.section,
                        labels={
                            "cohort": "{cohort}",
                            "encoder": "{encoder}",
                            "figure": f"{{task}}: {text}",
                        },
                    )
                    if form == "png"
                    else f"{FIG}/{{cohort}}/{{encoder}}/{{scheme}}/{{task}}_{figure}.svg"
                )
                for figure, text in ENTRY.figures.items()
                for form in ("png", "svg")
            },
        log:
            P.log(f"plot_{KIND}", "cohort", "encoder", "scheme", "task"),
        benchmark:
            P.benchmark(f"plot_{KIND}", "cohort", "encoder", "scheme", "task")
        wildcard_constraints:
            task=PLAN.any_of(t for t in PLAN.all_targets if PLAN.kind(t) == ENTRY),
        conda:
            "../envs/report.yaml"
        threads: 1
        resources:
            mem_mb=4000,
            runtime=30,
        params:
            names=lambda w: {**w_names(w), "task": w.task},
            target=lambda w: PLAN.target(w.cohort, w.task),
            horizons=CONFIG["evaluation"]["survival"]["horizons_days"],
            draw=ENTRY.draw,
            seed=SEED,
            # The script finds what it draws by name, which no look at imports can follow.
            own=code_hash(module_file(ENTRY.draw.partition(":")[0])),
            code=code("plot_target"),
        message:
            "Drawing {wildcards.task} of {wildcards.cohort} ({wildcards.encoder}, {wildcards.scheme})"
        script:
            "../workflow/scripts/plot_target.py"


rule plot_summary:
    input:
        metrics=P.metrics,
    output:
        forest_png=report(
            f"{FIG}/{{scheme}}/forest.png",
            caption=caption("forest"),
            category="Summary",
            labels={"scheme": "{scheme}", "figure": "all methods"},
        ),
        forest_svg=f"{FIG}/{{scheme}}/forest.svg",
        ablation_png=report(
            f"{FIG}/{{scheme}}/ablation.png",
            caption=caption("ablation"),
            category="Summary",
            labels={"scheme": "{scheme}", "figure": "ablation"},
        ),
        ablation_svg=f"{FIG}/{{scheme}}/ablation.svg",
    log:
        P.log("plot_summary", "scheme"),
    benchmark:
        P.benchmark("plot_summary", "scheme")
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        variants=VARIANTS,
        titles=TITLES,
        shown={t["name"]: t["primary"] for t in TARGET_TABLE},
        code=code("plot_summary"),
    message:
        "Drawing the summary of {wildcards.scheme}"
    script:
        "../workflow/scripts/plot_summary.py"


rule plot_added:
    input:
        added=lambda w: PLAN.added(w.scheme),
    output:
        png=report(
            f"{FIG}/{{scheme}}/what_it_adds.png",
            caption=caption("what_it_adds"),
            category="Summary",
            labels={"scheme": "{scheme}", "figure": "what it adds"},
        ),
        svg=f"{FIG}/{{scheme}}/what_it_adds.svg",
    log:
        P.log("plot_added", "scheme"),
    benchmark:
        P.benchmark("plot_added", "scheme")
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        titles=TITLES,
        targets={t["name"]: t["title"] for t in TARGET_TABLE},
        code=code("plot_added"),
    message:
        "Drawing what methods add to clinical covariates ({wildcards.scheme})"
    script:
        "../workflow/scripts/plot_added.py"


# Metric against the number of training patients; only where several numbers of shots are configured.
rule plot_shots:
    input:
        metrics=P.metrics,
    output:
        png=report(
            f"{FIG}/{{cohort}}/{{encoder}}/{{scheme}}/{{task}}_shots.png",
            caption=caption("shots"),
            category="Few-shot",
            labels={
                "cohort": "{cohort}",
                "encoder": "{encoder}",
                "figure": "{task}: learning curve",
            },
        ),
        svg=f"{FIG}/{{cohort}}/{{encoder}}/{{scheme}}/{{task}}_shots.svg",
    log:
        P.log("plot_shots", "cohort", "encoder", "scheme", "task"),
    benchmark:
        P.benchmark("plot_shots", "cohort", "encoder", "scheme", "task")
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        names=lambda w: {**w_names(w), "task": w.task},
        title=lambda w: f"{TITLES[w.cohort]}, {PLAN.target_title(w.task)}",
        metric=lambda w: PLAN.kind(w.task).primary,
        chance=lambda w: PLAN.kind(w.task).chance,
        code=code("plot_shots"),
    message:
        "Drawing the learning curve of {wildcards.task} in {wildcards.cohort} ({wildcards.encoder}, {wildcards.scheme})"
    script:
        "../workflow/scripts/plot_shots.py"
