# Zero-shot transfer of risk: models and survival heads of one cohort rank the patients of another.
FROM = "{scheme}_from_{source}"
HERE = f"{RESULTS}/cohort/{{target}}/{FROM}"


wildcard_constraints:
    source=PLAN.any_of(dict.fromkeys(t.source for t in PLAN.transfers)),
    target=PLAN.any_of(dict.fromkeys(t.target for t in PLAN.transfers)),


TRANSFER_AUDITS = [
    *(
        f"{RESULTS}/cohort/{t.target}/{t.name}/leaks_{t.encoder}.json"
        for t in PLAN.transfers
    ),
    *(
        f"{RESULTS}/cohort/{target}/{name}/audit_predictions.json"
        for target, name in TRANSFER_PLACES
    ),
]


rule prepare_transfer:
    input:
        source_patients=f"{RESULTS}/cohort/{{source}}/patients.tsv",
        target_patients=f"{RESULTS}/cohort/{{target}}/patients.tsv",
        source_slides=f"{RESULTS}/cohort/{{source}}/slides.tsv",
        target_slides=f"{RESULTS}/cohort/{{target}}/slides.tsv",
        source_splits=f"{RESULTS}/cohort/{{source}}/{{scheme}}/splits.tsv",
        source_rna=f"{RESULTS}/rna/{{source}}.h5ad",
        target_rna=lambda w: (
            f"{RESULTS}/rna/{w.target}.h5ad" if PLAN.has_rna(w.target) else []
        ),
    output:
        splits=f"{HERE}/splits.tsv",
        report=f"{HERE}/splits.json",
        slides=f"{HERE}/slides.tsv",
    log:
        f"{RESULTS}/logs/prepare_transfer/{{target}}_{FROM}.log",
    benchmark:
        f"{RESULTS}/benchmarks/prepare_transfer/{{target}}_{FROM}.tsv"
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
        source_rna=f"{RESULTS}/rna/{{source}}.h5ad",
        target_rna=f"{RESULTS}/rna/{{target}}.h5ad",
        transforms=lambda w: [
            f"{RESULTS}/rna/{w.source}/{w.scheme}/transform_{f}.npz"
            for f in PLAN.folds(w.scheme)
        ],
    output:
        rna=f"{RESULTS}/rna/{{target}}/{FROM}/matched.h5ad",
    log:
        f"{RESULTS}/logs/match_genes/{{target}}_{FROM}.log",
    benchmark:
        f"{RESULTS}/benchmarks/match_genes/{{target}}_{FROM}.tsv"
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
            f"{RESULTS}/rna/{w.source}/{w.scheme}/transform_{f}.npz"
            for f in PLAN.folds(w.scheme)
        ],
        checkpoints=lambda w: [
            f"{RESULTS}/models/{w.source}/{w.encoder}/{w.scheme}/{v}/{f}.safetensors"
            for v in PLAN.variants
            for f in PLAN.folds(w.scheme)
        ],
    output:
        leaks=f"{HERE}/leaks_{{encoder}}.json",
    log:
        f"{RESULTS}/logs/audit_transfer/{{target}}_{{encoder}}_{FROM}.log",
    benchmark:
        f"{RESULTS}/benchmarks/audit_transfer/{{target}}_{{encoder}}_{FROM}.tsv"
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
        checkpoint=f"{RESULTS}/models/{{source}}/{{encoder}}/{{scheme}}/{{variant}}/{{fold}}.safetensors",
        transform=f"{RESULTS}/rna/{{source}}/{{scheme}}/transform_{{fold}}.npz",
        patients=f"{RESULTS}/cohort/{{target}}/patients.tsv",
        slides=f"{RESULTS}/cohort/{{target}}/slides.tsv",
        splits=f"{HERE}/splits.tsv",
        leaks=f"{HERE}/leaks_{{encoder}}.json",
        rna=transfer_expression,
        features=lambda w: PLAN.feature_tables(w.target, w.encoder),
    output:
        embeddings=f"{RESULTS}/embeddings/{{target}}/{{encoder}}/{FROM}/{{variant}}/{{fold}}.h5ad",
    log:
        f"{RESULTS}/logs/encode_transfer/{{target}}_{{encoder}}_{FROM}_{{variant}}_{{fold}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/encode_transfer/{{target}}_{{encoder}}_{FROM}_{{variant}}_{{fold}}.tsv"
    conda:
        "../envs/train.yaml"
    threads: PLAN.train_threads
    resources:
        mem_mb=lambda w, attempt: 4000 * PLAN.train_threads * attempt,
        runtime=lambda w, attempt: 120 * attempt,
        gpu=gpus(1),
    params:
        features=lambda w: (
            f"{RESULTS}/slides/features/{w.encoder}"
            if PLAN.has_slides(w.target)
            else None
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
            f"{RESULTS}/embeddings/{w.source}/{w.encoder}/{w.scheme}/{w.variant}/{f}.h5ad"
            for f in PLAN.folds(w.scheme)
        ],
        source_patients=f"{RESULTS}/cohort/{{source}}/patients.tsv",
        source_splits=f"{RESULTS}/cohort/{{source}}/{{scheme}}/splits.tsv",
        source_leaks=f"{RESULTS}/cohort/{{source}}/{{scheme}}/leaks_{{encoder}}.json",
        target_embeddings=lambda w: [
            f"{RESULTS}/embeddings/{w.target}/{w.encoder}/{w.scheme}_from_{w.source}/{w.variant}/{f}.h5ad"
            for f in PLAN.folds(w.scheme)
        ],
        target_patients=f"{RESULTS}/cohort/{{target}}/patients.tsv",
        splits=f"{HERE}/splits.tsv",
        leaks=f"{HERE}/leaks_{{encoder}}.json",
    output:
        predictions=f"{RESULTS}/predictions/{{target}}/{{encoder}}/{FROM}/survival/{{variant}}.parquet",
    log:
        f"{RESULTS}/logs/evaluate_transfer/{{target}}_{{encoder}}_{FROM}_{{variant}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/evaluate_transfer/{{target}}_{{encoder}}_{FROM}_{{variant}}.tsv"
    conda:
        f"../envs/{PROBING}.yaml"
    threads: 1
    resources:
        mem_mb=lambda w, attempt: 4000 * attempt,
        runtime=lambda w, attempt: 60 * attempt,
    params:
        settings=PROBE_SETTINGS,
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
        f"{RESULTS}/logs/audit_transfer_predictions/{{target}}_{FROM}.log",
    benchmark:
        f"{RESULTS}/benchmarks/audit_transfer_predictions/{{target}}_{FROM}.tsv"
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
            f"{RESULTS}/predictions/{w.target}/{w.encoder}/{w.scheme}_from_{w.source}/survival/{v}.parquet"
            for v in PLAN.variants
        ],
        leaks=f"{HERE}/audit_predictions.json",
    output:
        png=report(
            f"{RESULTS}/figures/{{target}}/{{encoder}}/{FROM}/transfer_km.png",
            caption=caption("transfer_km"),
            category="Survival",
            labels={
                "cohort": "{target}",
                "encoder": "{encoder}",
                "figure": "transfer from {source}",
            },
        ),
        svg=f"{RESULTS}/figures/{{target}}/{{encoder}}/{FROM}/transfer_km.svg",
    log:
        f"{RESULTS}/logs/plot_transfer/{{target}}_{{encoder}}_{FROM}.log",
    benchmark:
        f"{RESULTS}/benchmarks/plot_transfer/{{target}}_{{encoder}}_{FROM}.tsv"
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
