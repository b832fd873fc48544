# Pre-train one variant on one fold; then embed every patient with it.
rule pretrain_mirror:
    input:
        patients=f"{RESULTS}/cohort/{{cohort}}/patients.tsv",
        slides=f"{RESULTS}/cohort/{{cohort}}/slides.tsv",
        splits=f"{RESULTS}/cohort/{{cohort}}/{{scheme}}/splits.tsv",
        leaks=f"{RESULTS}/cohort/{{cohort}}/{{scheme}}/leaks.json",
        rna=f"{RESULTS}/rna/{{cohort}}.h5ad",
        transform=f"{RESULTS}/rna/{{cohort}}/{{scheme}}/transform_{{fold}}.npz",
        features=lambda w: PLAN.feature_tables(w.cohort, w.encoder),
        start=lambda w: start_files(PLAN.variants[w.variant]),
    output:
        checkpoint=f"{RESULTS}/models/{{cohort}}/{{encoder}}/{{scheme}}/{{variant}}/{{fold}}.safetensors",
        log_tsv=f"{RESULTS}/models/{{cohort}}/{{encoder}}/{{scheme}}/{{variant}}/{{fold}}.log.tsv",
    log:
        f"{RESULTS}/logs/pretrain_mirror/{{cohort}}_{{encoder}}_{{scheme}}_{{variant}}_{{fold}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/pretrain_mirror/{{cohort}}_{{encoder}}_{{scheme}}_{{variant}}_{{fold}}.tsv"
    conda:
        "../envs/train.yaml"
    threads: PLAN.train_threads
    resources:
        mem_mb=lambda w, attempt: 4000 * PLAN.train_threads * attempt,
        runtime=lambda w, attempt: 720 * attempt,
        gpu=gpus(1),
        gpu_share=CONFIG["gpu_share"],
    params:
        settings=lambda w: PLAN.variants[w.variant],
        seed=SEED,
        min_focus=CONFIG["embed"]["min_focus"],
        features=lambda w: f"{RESULTS}/slides/features/{w.encoder}",
        state=lambda w: (
            f"{RESULTS}/models/state/{w.cohort}_{w.encoder}_{w.scheme}_{w.variant}_{w.fold}"
        ),
        code=code("pretrain_mirror"),
    message:
        "Pre-training {wildcards.variant} on {wildcards.cohort} ({wildcards.encoder}), {wildcards.scheme} {wildcards.fold}"
    script:
        "../workflow/scripts/pretrain_mirror.py"


rule encode_cohort:
    input:
        checkpoint=f"{RESULTS}/models/{{cohort}}/{{encoder}}/{{scheme}}/{{variant}}/{{fold}}.safetensors",
        patients=f"{RESULTS}/cohort/{{cohort}}/patients.tsv",
        slides=f"{RESULTS}/cohort/{{cohort}}/slides.tsv",
        splits=f"{RESULTS}/cohort/{{cohort}}/{{scheme}}/splits.tsv",
        rna=f"{RESULTS}/rna/{{cohort}}.h5ad",
        transform=f"{RESULTS}/rna/{{cohort}}/{{scheme}}/transform_{{fold}}.npz",
        features=lambda w: PLAN.feature_tables(w.cohort, w.encoder),
    output:
        embeddings=f"{RESULTS}/embeddings/{{cohort}}/{{encoder}}/{{scheme}}/{{variant}}/{{fold}}.h5ad",
    log:
        f"{RESULTS}/logs/encode_cohort/{{cohort}}_{{encoder}}_{{scheme}}_{{variant}}_{{fold}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/encode_cohort/{{cohort}}_{{encoder}}_{{scheme}}_{{variant}}_{{fold}}.tsv"
    conda:
        "../envs/train.yaml"
    threads: PLAN.train_threads
    resources:
        mem_mb=lambda w, attempt: 4000 * PLAN.train_threads * attempt,
        runtime=lambda w, attempt: 120 * attempt,
        gpu=gpus(1),
        gpu_share=CONFIG["gpu_share"],
    params:
        features=lambda w: f"{RESULTS}/slides/features/{w.encoder}",
        min_focus=CONFIG["embed"]["min_focus"],
        seed=SEED,
        code=code("encode_cohort"),
    message:
        "Embedding {wildcards.cohort} with {wildcards.variant} ({wildcards.encoder}), {wildcards.scheme} {wildcards.fold}"
    script:
        "../workflow/scripts/encode_cohort.py"


rule audit_models:
    input:
        patients=f"{RESULTS}/cohort/{{cohort}}/patients.tsv",
        slides=f"{RESULTS}/cohort/{{cohort}}/slides.tsv",
        splits=f"{RESULTS}/cohort/{{cohort}}/{{scheme}}/splits.tsv",
        checkpoints=lambda w: [
            f"{RESULTS}/models/{w.cohort}/{w.encoder}/{w.scheme}/{v}/{f}.safetensors"
            for v in PLAN.variants
            for f in PLAN.folds(w.scheme)
        ],
    output:
        leaks=f"{RESULTS}/cohort/{{cohort}}/{{scheme}}/leaks_{{encoder}}.json",
    log:
        f"{RESULTS}/logs/audit_models/{{cohort}}_{{encoder}}_{{scheme}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/audit_models/{{cohort}}_{{encoder}}_{{scheme}}.tsv"
    conda:
        "../envs/rna.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        settings=CONFIG["audit"],
        folds=lambda w: PLAN.folds(w.scheme),
        code=code("audit_leaks"),
    message:
        "Auditing leaks of {wildcards.cohort} ({wildcards.encoder}, {wildcards.scheme}) after training"
    script:
        "../workflow/scripts/audit_leaks.py"
