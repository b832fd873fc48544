# Probe frozen embeddings, train baselines in the same folds, measure everything once.
rule evaluate_variant:
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
    params:
        settings={k: v for k, v in CONFIG["evaluation"].items() if k not in ("statistics", "baselines", "tasks", "reported")},
        seed=SEED,
        code=lambda w: code(f"evaluate_{w.task}"),
    log:
        f"{RESULTS}/logs/evaluate_variant/{{cohort}}_{{encoder}}_{{scheme}}_{{task}}_{{variant}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/evaluate_variant/{{cohort}}_{{encoder}}_{{scheme}}_{{task}}_{{variant}}.tsv"
    conda:
        env("evaluate")
    resources:
        mem_mb=lambda w, attempt: 4000 * attempt,
        runtime=lambda w, attempt: 120 * attempt,
    message:
        "Evaluating {wildcards.variant} on {wildcards.task} of {wildcards.cohort} ({wildcards.encoder}, {wildcards.scheme})"
    script:
        script("evaluate_{task}")
