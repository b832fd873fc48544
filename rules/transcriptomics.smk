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
        raw=P.raw_rna,
        facts=P.facts.at(input="expression"),
    log:
        P.log("read_expression", "cohort"),
    benchmark:
        P.benchmark("read_expression", "cohort")
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
        raw=P.raw_rna,
    output:
        rna=P.rna,
    log:
        P.log("normalize_expression", "cohort"),
    benchmark:
        P.benchmark("normalize_expression", "cohort")
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
        members=lambda w: [P.rna.at(cohort=m) for m in PLAN.members(w.cohort)],
    output:
        rna=P.rna,
    log:
        P.log("pool_expression", "cohort"),
    benchmark:
        P.benchmark("pool_expression", "cohort")
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
        expression=P.rna,
        # Methods that look at labels look at those of one target; the others read no outcome at all.
        labels=lambda w: (
            P.outcomes.of(w, task=t) if (t := PLAN.selecting_task(w.cohort)) else []
        ),
        splits=P.splits,
    output:
        genes=P.genes,
        table=P.gene_reasons,
        transform=P.transform,
    log:
        P.log("select_genes", "cohort", "scheme", "fold"),
    benchmark:
        P.benchmark("select_genes", "cohort", "scheme", "fold")
    conda:
        "../envs/rna.yaml"
    threads: 2
    resources:
        mem_mb=lambda w, attempt: 4000 * attempt,
        runtime=lambda w, attempt: 60 * attempt,
    params:
        settings={
            **CONFIG["rna"],
            "selection": {
                k: v for k, v in CONFIG["rna"]["selection"].items() if k != "target"
            },
        },
        fold=lambda w: w.fold,
        seed=SEED,
        code=code("select_genes"),
    message:
        "Selecting genes of {wildcards.cohort}, {wildcards.scheme} {wildcards.fold}, on its training patients"
    script:
        "../workflow/scripts/select_genes.py"
