# Expression: read -> normalise -> select genes (per fold, on its training patients).
FROM_FILES = PLAN.any_of(c for c in PLAN.cohorts if not PLAN.cohort(c)["joint"])
POOLED = PLAN.any_of(c for c in PLAN.cohorts if PLAN.cohort(c)["joint"])


rule read_expression:
    input:
        expression=expression_file,
        patients=wanted_patients,
        beside=lambda w: [
            path
            for key in ("sample_sheet", "probe_map")
            if (path := expression_source(w).get(key))
        ],
    output:
        raw=f"{RESULTS}/rna/{{cohort}}.raw.h5ad",
    log:
        f"{RESULTS}/logs/read_expression/{{cohort}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/read_expression/{{cohort}}.tsv"
    wildcard_constraints:
        cohort=FROM_FILES,
    conda:
        "../envs/rna.yaml"
    threads: 1
    resources:
        mem_mb=lambda w, attempt: 8000 * attempt,
        runtime=60,
    params:
        source=expression_source,
        code=code("read_expression"),
    message:
        "Reading expression of {wildcards.cohort}"
    script:
        "../workflow/scripts/read_expression.py"


rule normalize_expression:
    input:
        raw=f"{RESULTS}/rna/{{cohort}}.raw.h5ad",
    output:
        rna=f"{RESULTS}/rna/{{cohort}}.h5ad",
    log:
        f"{RESULTS}/logs/normalize_expression/{{cohort}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/normalize_expression/{{cohort}}.tsv"
    wildcard_constraints:
        cohort=FROM_FILES,
    conda:
        "../envs/rna.yaml"
    threads: 1
    resources:
        mem_mb=lambda w, attempt: 8000 * attempt,
        runtime=60,
    params:
        settings={k: v for k, v in CONFIG["rna"].items() if k != "selection"},
        code=code("normalize_expression"),
    message:
        "Normalising expression of {wildcards.cohort}"
    script:
        "../workflow/scripts/normalize_expression.py"


rule pool_expression:
    input:
        members=lambda w: [f"{RESULTS}/rna/{m}.h5ad" for m in PLAN.members(w.cohort)],
    output:
        rna=f"{RESULTS}/rna/{{cohort}}.h5ad",
    log:
        f"{RESULTS}/logs/pool_expression/{{cohort}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/pool_expression/{{cohort}}.tsv"
    wildcard_constraints:
        cohort=POOLED,
    conda:
        "../envs/rna.yaml"
    threads: 1
    resources:
        mem_mb=lambda w, attempt: 16000 * attempt,
        runtime=60,
    params:
        names=lambda w: PLAN.members(w.cohort),
        genes=lambda w: PLAN.cohort(w.cohort)["joint_genes"],
        code=code("pool_expression"),
    message:
        "Pooling the expression of {params.names}"
    script:
        "../workflow/scripts/pool_expression.py"


rule select_genes:
    input:
        expression=f"{RESULTS}/rna/{{cohort}}.h5ad",
        patients=f"{RESULTS}/cohort/{{cohort}}/patients.tsv",
        splits=f"{RESULTS}/cohort/{{cohort}}/{{scheme}}/splits.tsv",
    output:
        genes=f"{RESULTS}/rna/{{cohort}}/{{scheme}}/genes_{{fold}}.txt",
        table=f"{RESULTS}/rna/{{cohort}}/{{scheme}}/genes_{{fold}}.tsv",
        transform=f"{RESULTS}/rna/{{cohort}}/{{scheme}}/transform_{{fold}}.npz",
    log:
        f"{RESULTS}/logs/select_genes/{{cohort}}_{{scheme}}_{{fold}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/select_genes/{{cohort}}_{{scheme}}_{{fold}}.tsv"
    conda:
        "../envs/rna.yaml"
    threads: 2
    resources:
        mem_mb=lambda w, attempt: 4000 * attempt,
        runtime=lambda w, attempt: 60 * attempt,
    params:
        settings=CONFIG["rna"],
        fold=lambda w: w.fold,
        seed=SEED,
        code=code("select_genes"),
    message:
        "Selecting genes of {wildcards.cohort}, {wildcards.scheme} {wildcards.fold}, on its training patients"
    script:
        "../workflow/scripts/select_genes.py"
