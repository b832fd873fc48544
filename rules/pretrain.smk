# Pre-train one variant on one fold; then embed every patient with it.
rule pretrain_mirror:
    input:
        patients=P.patients,
        slides=P.slides,
        splits=P.splits,
        leaks=P.leaks,
        rna=P.rna,
        transform=P.transform,
        features=lambda w: PLAN.feature_tables(w.cohort, w.encoder),
        start=lambda w: start_files(PLAN.variants[w.variant]),
        partners=lambda w: partner_files(PLAN, w.variant, w.cohort, w.encoder),
    output:
        checkpoint=P.model,
        log_tsv=P.training_log,
    log:
        P.log("pretrain_mirror", "cohort", "encoder", "scheme", "variant", "fold"),
    benchmark:
        P.benchmark("pretrain_mirror", "cohort", "encoder", "scheme", "variant", "fold")
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
        features=lambda w: P.features_folder.of(w),
        state=lambda w: (P.training_state.of(w)),
        partners=lambda w: partners(PLAN, w.variant, w.cohort, w.encoder),
        rna_tolerance=CONFIG["audit"]["rna_tolerance"],
        code=code("pretrain_mirror"),
    message:
        "Pre-training {wildcards.variant} on {wildcards.cohort} ({wildcards.encoder}), {wildcards.scheme} {wildcards.fold}"
    script:
        "../workflow/scripts/pretrain_mirror.py"


rule encode_cohort:
    input:
        checkpoint=P.model,
        patients=P.patients,
        slides=P.slides,
        splits=P.splits,
        rna=P.rna,
        transform=P.transform,
        features=lambda w: PLAN.feature_tables(w.cohort, w.encoder),
    output:
        embeddings=P.embeddings,
    log:
        P.log("encode_cohort", "cohort", "encoder", "scheme", "variant", "fold"),
    benchmark:
        P.benchmark("encode_cohort", "cohort", "encoder", "scheme", "variant", "fold")
    conda:
        "../envs/train.yaml"
    threads: PLAN.train_threads
    resources:
        mem_mb=lambda w, attempt: 4000 * PLAN.train_threads * attempt,
        runtime=lambda w, attempt: 120 * attempt,
        gpu=gpus(1),
        gpu_share=CONFIG["gpu_share"],
    params:
        features=lambda w: P.features_folder.of(w),
        min_focus=CONFIG["embed"]["min_focus"],
        seed=SEED,
        code=code("encode_cohort"),
    message:
        "Embedding {wildcards.cohort} with {wildcards.variant} ({wildcards.encoder}), {wildcards.scheme} {wildcards.fold}"
    script:
        "../workflow/scripts/encode_cohort.py"


rule audit_models:
    input:
        patients=P.patients,
        slides=P.slides,
        splits=P.splits,
        checkpoints=lambda w: [
            P.model.of(w, variant=v, fold=f)
            for v in PLAN.variants
            for f in PLAN.folds(w.scheme)
        ],
    output:
        leaks=P.leaks_of_models,
    log:
        P.log("audit_models", "cohort", "encoder", "scheme"),
    benchmark:
        P.benchmark("audit_models", "cohort", "encoder", "scheme")
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
