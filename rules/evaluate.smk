# Probe frozen embeddings, train baselines in the same folds, measure everything once.


rule evaluate_embeddings:
    input:
        embeddings=lambda w: [
            f"{RESULTS}/embeddings/{w.cohort}/{w.encoder}/{w.scheme}/{w.variant}/{f}.h5ad"
            for f in PLAN.folds(w.scheme)
        ],
        patients=f"{RESULTS}/cohort/{{cohort}}/patients.tsv",
        splits=f"{RESULTS}/cohort/{{cohort}}/{{scheme}}/splits.tsv",
        leaks=f"{RESULTS}/cohort/{{cohort}}/{{scheme}}/leaks_{{encoder}}.json",
    output:
        predictions=f"{RESULTS}/predictions/{{cohort}}/{{encoder}}/{{scheme}}/{{task}}/{{variant}}.parquet",
    log:
        f"{RESULTS}/logs/evaluate_embeddings/{{cohort}}_{{encoder}}_{{scheme}}_{{task}}_{{variant}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/evaluate_embeddings/{{cohort}}_{{encoder}}_{{scheme}}_{{task}}_{{variant}}.tsv"
    conda:
        f"../envs/{PROBING}.yaml"
    threads: 1
    resources:
        mem_mb=lambda w, attempt: 4000 * attempt,
        runtime=lambda w, attempt: 120 * attempt,
    params:
        settings=PROBE_SETTINGS,
        names=lambda w: {**w_names(w), "method": w.variant},
        seed=SEED,
        code=code("evaluate_embeddings"),
    message:
        "Probing {wildcards.variant}: {wildcards.task} of {wildcards.cohort} ({wildcards.encoder}, {wildcards.scheme})"
    script:
        "../workflow/scripts/evaluate_embeddings.py"


rule evaluate_baseline:
    input:
        patients=f"{RESULTS}/cohort/{{cohort}}/patients.tsv",
        slides=f"{RESULTS}/cohort/{{cohort}}/slides.tsv",
        splits=f"{RESULTS}/cohort/{{cohort}}/{{scheme}}/splits.tsv",
        leaks=f"{RESULTS}/cohort/{{cohort}}/{{scheme}}/leaks.json",
        rna=lambda w: f"{RESULTS}/rna/{w.cohort}.h5ad" if PLAN.has_rna(w.cohort) else [],
        transforms=lambda w: (
            [
                f"{RESULTS}/rna/{w.cohort}/{w.scheme}/transform_{f}.npz"
                for f in PLAN.folds(w.scheme)
            ]
            if PLAN.has_rna(w.cohort)
            else []
        ),
        features=lambda w: (
            [] if w.encoder == "none" else PLAN.feature_tables(w.cohort, w.encoder)
        ),
    output:
        predictions=f"{RESULTS}/predictions/{{cohort}}/{{encoder}}/{{scheme}}/{{task}}/{{baseline}}.parquet",
    log:
        f"{RESULTS}/logs/evaluate_baseline/{{cohort}}_{{encoder}}_{{scheme}}_{{task}}_{{baseline}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/evaluate_baseline/{{cohort}}_{{encoder}}_{{scheme}}_{{task}}_{{baseline}}.tsv"
    conda:
        lambda w: f"../envs/{baseline_environment(w.baseline)}.yaml"
    threads: 1
    resources:
        mem_mb=lambda w, attempt: 8000 * attempt,
        runtime=lambda w, attempt: 240 * attempt,
        gpu=lambda w: gpus(1) if w.baseline in ("abmil", "transmil") else 0,
        gpu_share=CONFIG["gpu_share"],
    params:
        settings=PROBE_SETTINGS,
        names=lambda w: {**w_names(w), "method": w.baseline},
        features=lambda w: (
            None if w.encoder == "none" else f"{RESULTS}/slides/features/{w.encoder}"
        ),
        min_focus=CONFIG["embed"]["min_focus"],
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
        checkpoints=lambda w: [
            f"{RESULTS}/models/{w.cohort}/{w.encoder}/{w.scheme}/{w.variant}/{f}.safetensors"
            for f in PLAN.folds(w.scheme)
        ],
        patients=f"{RESULTS}/cohort/{{cohort}}/patients.tsv",
        slides=f"{RESULTS}/cohort/{{cohort}}/slides.tsv",
        splits=f"{RESULTS}/cohort/{{cohort}}/{{scheme}}/splits.tsv",
        leaks=f"{RESULTS}/cohort/{{cohort}}/{{scheme}}/leaks_{{encoder}}.json",
        rna=f"{RESULTS}/rna/{{cohort}}.h5ad",
        transforms=lambda w: [
            f"{RESULTS}/rna/{w.cohort}/{w.scheme}/transform_{f}.npz"
            for f in PLAN.folds(w.scheme)
        ],
        features=lambda w: PLAN.feature_tables(w.cohort, w.encoder),
    output:
        predictions=f"{RESULTS}/predictions/{{cohort}}/{{encoder}}/{{scheme}}/{{task}}/{{variant}}_finetune.parquet",
    log:
        f"{RESULTS}/logs/evaluate_finetune/{{cohort}}_{{encoder}}_{{scheme}}_{{task}}_{{variant}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/evaluate_finetune/{{cohort}}_{{encoder}}_{{scheme}}_{{task}}_{{variant}}.tsv"
    conda:
        "../envs/train.yaml"
    threads: PLAN.train_threads
    resources:
        mem_mb=lambda w, attempt: 8000 * attempt,
        runtime=lambda w, attempt: 720 * attempt,
        gpu=gpus(1),
    params:
        settings=PROBE_SETTINGS,
        names=lambda w: {**w_names(w), "method": f"{w.variant}_finetune"},
        features=lambda w: f"{RESULTS}/slides/features/{w.encoder}",
        min_focus=CONFIG["embed"]["min_focus"],
        seed=SEED,
        code=code("evaluate_finetune"),
    message:
        "Fine-tuning {wildcards.variant}: {wildcards.task} of {wildcards.cohort} ({wildcards.scheme})"
    script:
        "../workflow/scripts/evaluate_finetune.py"


ALL_PREDICTIONS = [
    *(p for c in PLAN.cohorts for p in PLAN.predictions(c)),
    *(
        p
        for target, name in TRANSFER_PLACES
        for p in transfer_predictions(target, name)
    ),
]


rule audit_predictions:
    input:
        patients=f"{RESULTS}/cohort/{{cohort}}/patients.tsv",
        slides=f"{RESULTS}/cohort/{{cohort}}/slides.tsv",
        splits=f"{RESULTS}/cohort/{{cohort}}/{{scheme}}/splits.tsv",
        predictions=lambda w: [
            p for p in PLAN.predictions(w.cohort) if f"/{w.scheme}/" in p
        ],
    output:
        leaks=f"{RESULTS}/cohort/{{cohort}}/{{scheme}}/audit_predictions.json",
    log:
        f"{RESULTS}/logs/audit_predictions/{{cohort}}_{{scheme}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/audit_predictions/{{cohort}}_{{scheme}}.tsv"
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


rule compute_metrics:
    input:
        predictions=ALL_PREDICTIONS,
        audits=[
            f"{RESULTS}/cohort/{c}/{s}/audit_predictions.json"
            for c in PLAN.cohorts
            for s in CONFIG["splits"]
            if PLAN.predictions(c)
        ]
        + [
            f"{RESULTS}/cohort/{target}/{name}/audit_predictions.json"
            for target, name in TRANSFER_PLACES
        ],
        truth=TRUTH,
        embeddings=[
            f"{RESULTS}/embeddings/{c}/{e}/{s}/{v}/{f}.h5ad"
            for c in PLAN.cohorts
            if PLAN.trains(c)
            for e in PLAN.encoders_of(c)
            for s in CONFIG["splits"]
            for v in PLAN.variants
            for f in PLAN.folds(s)
        ],
        patients=[f"{RESULTS}/cohort/{c}/patients.tsv" for c in PLAN.cohorts],
        splits=[
            f"{RESULTS}/cohort/{c}/{s}/splits.tsv"
            for c in PLAN.cohorts
            for s in CONFIG["splits"]
        ],
    output:
        metrics=f"{RESULTS}/metrics.tsv",
        comparisons=f"{RESULTS}/comparisons.tsv",
        notes=f"{RESULTS}/metrics_left_out.tsv",
    log:
        f"{RESULTS}/logs/compute_metrics.log",
    benchmark:
        f"{RESULTS}/benchmarks/compute_metrics.tsv"
    conda:
        "../envs/evaluate.yaml"
    threads: 2
    resources:
        mem_mb=lambda w, attempt: 8000 * attempt,
        runtime=lambda w, attempt: 120 * attempt,
    params:
        settings=CONFIG["evaluation"],
        seed=SEED,
        code=code("compute_metrics"),
    message:
        "Metrics, intervals and comparisons of every method"
    script:
        "../workflow/scripts/compute_metrics.py"
