# Zero-shot transfer of risk: models and survival heads of one cohort rank the patients of another.
FROM = "{scheme}_from_{source}"
HERE = P.splits_folder.at(cohort="{target}", scheme=FROM)


wildcard_constraints:
    source=PLAN.any_of(dict.fromkeys(t.source for t in PLAN.transfers)),
    target=PLAN.any_of(dict.fromkeys(t.target for t in PLAN.transfers)),


TRANSFER_AUDITS = [
    *(
        P.leaks_of_models.at(cohort=t.target, scheme=t.name, encoder=t.encoder)
        for t in PLAN.transfers
    ),
    *(
        P.leaks_of_predictions.at(cohort=target, scheme=name)
        for target, name in TRANSFER_PLACES
    ),
]


rule prepare_transfer:
    input:
        source_patients=P.patients.at(cohort="{source}"),
        target_patients=P.patients.at(cohort="{target}"),
        source_slides=P.slides.at(cohort="{source}"),
        target_slides=P.slides.at(cohort="{target}"),
        source_splits=P.splits.at(cohort="{source}"),
        source_rna=P.rna.at(cohort="{source}"),
        target_rna=lambda w: (
            P.rna.at(cohort=w.target) if PLAN.has_rna(w.target) else []
        ),
    output:
        splits=f"{HERE}/splits.tsv",
        report=f"{HERE}/splits.json",
        slides=f"{HERE}/slides.tsv",
    log:
        P.log("prepare_transfer", "target", FROM),
    benchmark:
        P.benchmark("prepare_transfer", "target", FROM)
    conda:
        "../envs/evaluate.yaml"
    threads: 1
    resources:
        mem_mb=lambda w, attempt: 8000 * attempt,
        runtime=30,
    params:
        tolerance=CONFIG["audit"]["rna_tolerance"],
        code=code("prepare_transfer"),
    message:
        "Who of {wildcards.target} may be ranked by models of {wildcards.source} ({wildcards.scheme})"
    script:
        "../workflow/scripts/prepare_transfer.py"


rule match_genes:
    input:
        source_rna=P.rna.at(cohort="{source}"),
        target_rna=P.rna.at(cohort="{target}"),
        transforms=lambda w: [
            P.transform.of(w, cohort=w.source, fold=f) for f in PLAN.folds(w.scheme)
        ],
    output:
        rna=P.matched_rna.at(cohort="{target}", scheme=FROM),
    log:
        P.log("match_genes", "target", FROM),
    benchmark:
        P.benchmark("match_genes", "target", FROM)
    conda:
        "../envs/evaluate.yaml"
    threads: 1
    resources:
        mem_mb=lambda w, attempt: 8000 * attempt,
        runtime=30,
    params:
        allowed=lambda w: next(
            t.max_missing_genes
            for t in PLAN.transfers
            if (t.source, t.target) == (w.source, w.target)
        ),
        code=code("match_genes"),
    message:
        "Genes of {wildcards.source} in the expression of {wildcards.target} ({wildcards.scheme})"
    script:
        "../workflow/scripts/match_genes.py"


rule audit_transfer:
    input:
        slides=f"{HERE}/slides.tsv",
        splits=f"{HERE}/splits.tsv",
        transforms=lambda w: [
            P.transform.of(w, cohort=w.source, fold=f) for f in PLAN.folds(w.scheme)
        ],
        checkpoints=lambda w: [
            P.model.of(w, cohort=w.source, variant=v, fold=f)
            for v in PLAN.variants
            for f in PLAN.folds(w.scheme)
        ],
    output:
        leaks=f"{HERE}/leaks_{{encoder}}.json",
    log:
        P.log("audit_transfer", "target", "encoder", FROM),
    benchmark:
        P.benchmark("audit_transfer", "target", "encoder", FROM)
    conda:
        "../envs/rna.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        settings=CONFIG["audit"],
        code=code("audit_leaks"),
    message:
        "Auditing what models of {wildcards.source} saw of {wildcards.target} ({wildcards.encoder}, {wildcards.scheme})"
    script:
        "../workflow/scripts/audit_leaks.py"


rule encode_transfer:
    input:
        checkpoint=P.model.at(cohort="{source}"),
        transform=P.transform.at(cohort="{source}"),
        patients=P.patients.at(cohort="{target}"),
        slides=P.slides.at(cohort="{target}"),
        splits=f"{HERE}/splits.tsv",
        leaks=f"{HERE}/leaks_{{encoder}}.json",
        rna=transfer_expression,
        features=lambda w: PLAN.feature_tables(w.target, w.encoder),
    output:
        embeddings=P.embeddings.at(cohort="{target}", scheme=FROM),
    log:
        P.log("encode_transfer", "target", "encoder", FROM, "variant", "fold"),
    benchmark:
        P.benchmark("encode_transfer", "target", "encoder", FROM, "variant", "fold")
    conda:
        "../envs/train.yaml"
    threads: PLAN.train_threads
    resources:
        mem_mb=lambda w, attempt: 4000 * PLAN.train_threads * attempt,
        runtime=lambda w, attempt: 120 * attempt,
        gpu=gpus(1),
    params:
        features=lambda w: (
            P.features_folder.of(w) if PLAN.has_slides(w.target) else None
        ),
        min_focus=CONFIG["embed"]["min_focus"],
        code=code("encode_transfer"),
    message:
        "Embedding {wildcards.target} with {wildcards.variant} of {wildcards.source} ({wildcards.encoder}), {wildcards.scheme} {wildcards.fold}"
    script:
        "../workflow/scripts/encode_transfer.py"


rule evaluate_transfer:
    input:
        source_embeddings=lambda w: [
            P.embeddings.of(w, cohort=w.source, fold=f) for f in PLAN.folds(w.scheme)
        ],
        source_patients=P.patients.at(cohort="{source}"),
        source_outcomes=P.outcomes.at(cohort="{source}"),
        target_outcomes=P.outcomes.at(cohort="{target}"),
        source_splits=P.splits.at(cohort="{source}"),
        source_leaks=P.leaks_of_models.at(cohort="{source}"),
        target_embeddings=lambda w: [
            P.embeddings.of(
                w, cohort=w.target, scheme=f"{w.scheme}_from_{w.source}", fold=f
            )
            for f in PLAN.folds(w.scheme)
        ],
        target_patients=P.patients.at(cohort="{target}"),
        splits=f"{HERE}/splits.tsv",
        leaks=f"{HERE}/leaks_{{encoder}}.json",
    output:
        predictions=P.predictions.at(cohort="{target}", scheme=FROM, method="{variant}"),
    log:
        P.log("evaluate_transfer", "target", "encoder", FROM, "task", "variant"),
    benchmark:
        P.benchmark("evaluate_transfer", "target", "encoder", FROM, "task", "variant")
    conda:
        f"../envs/{PROBING}.yaml"
    threads: 1
    resources:
        mem_mb=lambda w, attempt: 4000 * attempt,
        runtime=lambda w, attempt: 60 * attempt,
    params:
        settings=PROBE_SETTINGS,
        task=lambda w: PLAN.target(w.source, w.task),
        names=lambda w: {
            "cohort": w.target,
            "encoder": w.encoder,
            "scheme": f"{w.scheme}_from_{w.source}",
            "method": w.variant,
        },
        seed=SEED,
        code=code("evaluate_transfer"),
    message:
        "Risk in {wildcards.target} by {wildcards.variant} of {wildcards.source} ({wildcards.encoder}, {wildcards.scheme})"
    script:
        "../workflow/scripts/evaluate_transfer.py"


rule audit_transfer_predictions:
    input:
        slides=f"{HERE}/slides.tsv",
        splits=f"{HERE}/splits.tsv",
        predictions=lambda w: transfer_predictions(
            w.target, f"{w.scheme}_from_{w.source}"
        ),
    output:
        leaks=f"{HERE}/audit_predictions.json",
    log:
        P.log("audit_transfer_predictions", "target", FROM),
    benchmark:
        P.benchmark("audit_transfer_predictions", "target", FROM)
    conda:
        "../envs/rna.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=20,
    params:
        settings=CONFIG["audit"],
        code=code("audit_leaks"),
    message:
        "Auditing what the survival heads of {wildcards.source} saw of {wildcards.target} ({wildcards.scheme})"
    script:
        "../workflow/scripts/audit_leaks.py"


rule plot_transfer:
    input:
        predictions=lambda w: [
            P.predictions.of(
                w,
                cohort=w.target,
                scheme=f"{w.scheme}_from_{w.source}",
                task=next(
                    t.task
                    for t in PLAN.transfers
                    if (t.source, t.target) == (w.source, w.target)
                ),
                method=v,
            )
            for v in PLAN.variants
        ],
        leaks=f"{HERE}/audit_predictions.json",
    output:
        png=report(
            P.figure.at(cohort="{target}", scheme=FROM, figure="transfer_km.png"),
            caption=caption("transfer_km"),
            category="Survival",
            labels={
                "cohort": "{target}",
                "encoder": "{encoder}",
                "figure": "transfer from {source}",
            },
        ),
        svg=P.figure.at(cohort="{target}", scheme=FROM, figure="transfer_km.svg"),
    log:
        P.log("plot_transfer", "target", "encoder", FROM),
    benchmark:
        P.benchmark("plot_transfer", "target", "encoder", FROM)
    conda:
        "../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        title=lambda w: f"{TITLES[w.source]} to {TITLES[w.target]}",
        code=code("plot_transfer"),
    message:
        "Drawing survival in {wildcards.target} by models of {wildcards.source} ({wildcards.encoder}, {wildcards.scheme})"
    script:
        "../workflow/scripts/plot_transfer.py"
