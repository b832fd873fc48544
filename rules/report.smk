# Tables and the report.
rule make_tables:
    input:
        metrics=P.metrics,
        comparisons=P.comparisons,
        notes=P.metrics_left_out,
        added=[path for s in CONFIG["splits"] for path in PLAN.added(s)],
        reported=reported_figures(),
        leaks=[
            P.leaks.at(cohort=c, scheme=s)
            for c in PLAN.evaluated
            for s in PLAN.schemes(c)
        ]
        + TRANSFER_AUDITS,
    output:
        index=P.tables_index,
    log:
        P.log("make_tables"),
    benchmark:
        P.benchmark("make_tables")
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        schemes=list(CONFIG["splits"]),
        variants=VARIANTS,
        titles=TITLES,
        shots=(
            table_shots(CONFIG["evaluation"]["fewshot"]),
            shots(CONFIG["evaluation"]["fewshot"]["k"]),
        ),
        sources=list(
            dict.fromkeys((t.source, t.scheme, t.task) for t in PLAN.transfers)
        ),
        horizons=CONFIG["evaluation"]["survival"]["horizons_days"],
        targets=TARGET_TABLE,
        code=code("make_tables"),
    message:
        "Writing the tables"
    script:
        "../workflow/scripts/make_tables.py"


rule make_report:
    input:
        figures=[path for _, path, _, _ in FIGURES],
        tables=P.tables_index,
        metrics=P.metrics,
        comparisons=P.comparisons,
        left_out=P.metrics_left_out,
        prototypes=[
            P.prototypes.at(cohort=c, encoder=e, scheme=s, variant=v)
            for c, e, s in PLACES
            if c in TRAINED
            for v in INTERPRETED
        ],
        clusters=[
            P.style_clusters.at(cohort=c, encoder=e, scheme=s)
            for c, e, s in PLACES
            if c in TRAINED
        ],
        leaks=[
            P.audit.at(cohort=c, scheme=s, audit=name)
            for c in PLAN.evaluated
            for s in PLAN.schemes(c)
            for name in [
                "leaks",
                *(f"leaks_{e}" for e in PLAN.encoders_of(c) if PLAN.trains(c)),
                *(["audit_predictions"] if PLAN.predictions(c) else []),
            ]
        ]
        + TRANSFER_AUDITS,
        splits=[
            P.splits_report.at(cohort=c, scheme=s)
            for c in PLAN.evaluated
            for s in PLAN.schemes(c)
        ]
        + [
            P.splits_report.at(cohort=target, scheme=name)
            for target, name in TRANSFER_PLACES
        ],
        facts=fact_files(),
        key=report_key(),
        template=str(BASE / "workflow" / "report" / "report.html.j2"),
    output:
        report=P.report,
    log:
        P.log("make_report"),
    benchmark:
        P.benchmark("make_report")
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=20,
    params:
        figures=FIGURES,
        titles=TITLES,
        captions=lambda w: str(BASE / "workflow" / "report"),
        config=CONFIG,
        variants=PLAN.variants,
        encoders={
            e: PLAN.encoder_row(e) for e in PLAN.encoders if e in PLAN.encoder_table
        },
        simulated=[c for c in PLAN.cohorts if PLAN.cohort(c)["simulate"]],
        notes=NOTES,
        shown={t["name"]: t["primary"] for t in TARGET_TABLE},
        identifiers=CONFIG["report"]["identifiers"],
        code=code("make_report"),
    message:
        "Writing the report"
    script:
        "../workflow/scripts/make_report.py"
