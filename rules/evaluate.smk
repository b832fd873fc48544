# Probe frozen embeddings, train baselines in the same folds, measure everything once.


rule evaluate_embeddings:
    input:
        embeddings=lambda w: [P.embeddings.of(w, fold=f) for f in PLAN.folds(w.scheme)],
        patients=P.patients,
        outcomes=P.outcomes,
        splits=P.splits,
        leaks=P.leaks_of_models,
    output:
        predictions=P.predictions.at(method="{variant}"),
    log:
        P.log("evaluate_embeddings", "cohort", "encoder", "scheme", "task", "variant"),
    benchmark:
        P.benchmark(
            "evaluate_embeddings", "cohort", "encoder", "scheme", "task", "variant"
        )
    conda:
        f"../envs/{PROBING}.yaml"
    threads: 1
    resources:
        mem_mb=lambda w, attempt: 4000 * attempt,
        runtime=lambda w, attempt: 120 * attempt,
    params:
        settings=PROBE_SETTINGS,
        target=lambda w: PLAN.target(w.cohort, w.task),
        names=lambda w: {**w_names(w), "method": w.variant},
        seed=SEED,
        code=code("evaluate_embeddings"),
    message:
        "Probing {wildcards.variant}: {wildcards.task} of {wildcards.cohort} ({wildcards.encoder}, {wildcards.scheme})"
    script:
        "../workflow/scripts/evaluate_embeddings.py"


rule evaluate_baseline:
    input:
        patients=P.patients,
        outcomes=P.outcomes,
        slides=P.slides,
        splits=P.splits,
        leaks=P.leaks,
        rna=lambda w: P.rna.of(w) if PLAN.has_rna(w.cohort) else [],
        transforms=lambda w: (
            [P.transform.of(w, fold=f) for f in PLAN.folds(w.scheme)]
            if PLAN.has_rna(w.cohort)
            else []
        ),
        features=lambda w: (
            [] if w.encoder == "none" else PLAN.feature_tables(w.cohort, w.encoder)
        ),
    output:
        predictions=P.predictions.at(method="{baseline}"),
    log:
        P.log("evaluate_baseline", "cohort", "encoder", "scheme", "task", "baseline"),
    benchmark:
        P.benchmark(
            "evaluate_baseline", "cohort", "encoder", "scheme", "task", "baseline"
        )
    conda:
        lambda w: f"../envs/{baseline_environment(w.baseline)}.yaml"
    threads: 1
    resources:
        mem_mb=lambda w, attempt: 8000 * attempt,
        runtime=lambda w, attempt: 240 * attempt,
        gpu=lambda w: gpus(1) if baseline_device(w.baseline) != "cpu" else 0,
        gpu_share=CONFIG["gpu_share"],
    params:
        settings=PROBE_SETTINGS,
        target=lambda w: PLAN.target(w.cohort, w.task),
        names=lambda w: {**w_names(w), "method": w.baseline},
        covariates=lambda w: PLAN.covariates(w.cohort),
        features=lambda w: (None if w.encoder == "none" else P.features_folder.of(w)),
        min_focus=CONFIG["embed"]["min_focus"],
        device=lambda w: baseline_device(w.baseline),
        seed=SEED,
        # The script finds its baseline by name, which no look at imports can follow.
        own=lambda w: code_hash(find_baselines()[w.baseline].file),
        code=code("evaluate_baseline"),
    message:
        "Baseline {wildcards.baseline}: {wildcards.task} of {wildcards.cohort} ({wildcards.scheme})"
    script:
        "../workflow/scripts/evaluate_baseline.py"


# The whole model trained on, from its checkpoint, on each fold's training patients.
rule evaluate_finetune:
    input:
        checkpoints=lambda w: [P.model.of(w, fold=f) for f in PLAN.folds(w.scheme)],
        patients=P.patients,
        outcomes=P.outcomes,
        slides=P.slides,
        splits=P.splits,
        leaks=P.leaks_of_models,
        rna=P.rna,
        transforms=lambda w: [P.transform.of(w, fold=f) for f in PLAN.folds(w.scheme)],
        features=lambda w: PLAN.feature_tables(w.cohort, w.encoder),
    output:
        predictions=P.predictions.at(method="{variant}_finetune"),
    log:
        P.log("evaluate_finetune", "cohort", "encoder", "scheme", "task", "variant"),
    benchmark:
        P.benchmark(
            "evaluate_finetune", "cohort", "encoder", "scheme", "task", "variant"
        )
    conda:
        "../envs/train.yaml"
    threads: PLAN.train_threads
    resources:
        mem_mb=lambda w, attempt: 8000 * attempt,
        runtime=lambda w, attempt: 720 * attempt,
        gpu=gpus(1),
    params:
        settings=PROBE_SETTINGS,
        target=lambda w: PLAN.target(w.cohort, w.task),
        names=lambda w: {**w_names(w), "method": f"{w.variant}_finetune"},
        features=lambda w: P.features_folder.of(w),
        min_focus=CONFIG["embed"]["min_focus"],
        seed=SEED,
        code=code("evaluate_finetune"),
    message:
        "Fine-tuning {wildcards.variant}: {wildcards.task} of {wildcards.cohort} ({wildcards.scheme})"
    script:
        "../workflow/scripts/evaluate_finetune.py"


ALL_PREDICTIONS = [
    *(p for c in PLAN.evaluated for p in PLAN.predictions(c)),
    *(
        p
        for target, name in TRANSFER_PLACES
        for p in transfer_predictions(target, name)
    ),
]


rule audit_predictions:
    input:
        patients=P.patients,
        slides=P.slides,
        splits=P.splits,
        labels=lambda w: [P.outcomes.of(w, task=t) for t in PLAN.labelled(w.cohort)],
        predictions=lambda w: [
            p for p in PLAN.predictions(w.cohort) if f"/{w.scheme}/" in p
        ],
    output:
        leaks=P.leaks_of_predictions,
    log:
        P.log("audit_predictions", "cohort", "scheme"),
    benchmark:
        P.benchmark("audit_predictions", "cohort", "scheme")
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
        "Auditing what the probes and baselines of {wildcards.cohort} saw ({wildcards.scheme})"
    script:
        "../workflow/scripts/audit_leaks.py"


# Nested models: clinical covariates alone, and with each method's out-of-fold score.
rule evaluate_added:
    input:
        predictions=lambda w: PLAN.predictions_of(w.cohort, w.scheme, w.task),
        patients=P.patients,
        outcomes=P.outcomes,
        splits=P.splits,
        audit=P.leaks_of_predictions,
    output:
        added=P.added,
    log:
        P.log("evaluate_added", "cohort", "scheme", "task"),
    benchmark:
        P.benchmark("evaluate_added", "cohort", "scheme", "task")
    conda:
        "../envs/evaluate.yaml"
    threads: 1
    resources:
        mem_mb=lambda w, attempt: 4000 * attempt,
        runtime=lambda w, attempt: 60 * attempt,
    params:
        target=lambda w: PLAN.target(w.cohort, w.task),
        settings={
            **PROBE_SETTINGS,
            "statistics": CONFIG["evaluation"]["statistics"],
        },
        covariates=lambda w: PLAN.covariates(w.cohort),
        seed=SEED,
        code=code("evaluate_added"),
    message:
        "What methods add to the clinical covariates of {wildcards.cohort}: {wildcards.task} ({wildcards.scheme})"
    script:
        "../workflow/scripts/evaluate_added.py"


rule compute_metrics:
    input:
        predictions=ALL_PREDICTIONS,
        audits=[
            P.leaks_of_predictions.at(cohort=c, scheme=s)
            for c in PLAN.evaluated
            for s in PLAN.schemes(c)
            if PLAN.predictions(c)
        ]
        + [
            P.leaks_of_predictions.at(cohort=target, scheme=name)
            for target, name in TRANSFER_PLACES
        ],
        truth=TRUTH,
        embeddings=[
            P.embeddings.at(cohort=c, encoder=e, scheme=s, variant=v, fold=f)
            for c in PLAN.evaluated
            if PLAN.trains(c)
            for e in PLAN.encoders_of(c)
            for s in PLAN.schemes(c)
            for v in PLAN.variants
            for f in PLAN.folds(s)
        ],
        outcomes=[
            P.outcomes.at(cohort=c, task=t) for c in PLAN.scored for t in PLAN.tasks(c)
        ],
        splits=[
            P.splits.at(cohort=c, scheme=s)
            for c in PLAN.evaluated
            for s in PLAN.schemes(c)
        ],
    output:
        metrics=P.metrics,
        comparisons=P.comparisons,
        notes=P.metrics_left_out,
    log:
        P.log("compute_metrics"),
    benchmark:
        P.benchmark("compute_metrics")
    conda:
        "../envs/evaluate.yaml"
    threads: 2
    resources:
        mem_mb=lambda w, attempt: 8000 * attempt,
        runtime=lambda w, attempt: 120 * attempt,
    params:
        settings=CONFIG["evaluation"],
        targets=[
            PLAN.target(c, t)
            for t in PLAN.all_tasks
            for c in [next(c for c in PLAN.evaluated if t in PLAN.tasks(c))]
        ],
        seed=SEED,
        code=code("compute_metrics"),
    message:
        "Metrics, intervals and comparisons of every method"
    script:
        "../workflow/scripts/compute_metrics.py"
