# Join the modalities, divide patients into folds, audit leaks.
rule read_clinical:
    input:
        clinical=clinical_file,
        also=clinical_also,
        samples=wanted_patients,
    output:
        clinical=f"{RESULTS}/cohort/{{cohort}}/clinical.tsv",
        report=f"{RESULTS}/cohort/{{cohort}}/clinical.json",
        facts=f"{RESULTS}/facts/{{cohort}}_clinical.json",
    log:
        f"{RESULTS}/logs/read_clinical/{{cohort}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/read_clinical/{{cohort}}.tsv"
    wildcard_constraints:
        cohort=FROM_FILES,
    conda:
        "../envs/rna.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        source=clinical_source,
        code=code("read_clinical"),
    message:
        "Reading the clinical table of {wildcards.cohort}"
    script:
        "../workflow/scripts/read_clinical.py"


rule build_cohort:
    input:
        tiles=lambda w: PLAN.tile_tables(w.cohort),
        features=lambda w: [
            t
            for e in PLAN.encoders_of(w.cohort)
            for t in PLAN.feature_tables(w.cohort, e)
        ],
        rna=lambda w: f"{RESULTS}/rna/{w.cohort}.h5ad" if PLAN.has_rna(w.cohort) else [],
        clinical=lambda w: (
            f"{RESULTS}/cohort/{w.cohort}/clinical.tsv"
            if PLAN.has_clinical(w.cohort)
            else []
        ),
        clinical_report=lambda w: (
            f"{RESULTS}/cohort/{w.cohort}/clinical.json"
            if PLAN.has_clinical(w.cohort)
            else []
        ),
    output:
        patients=f"{RESULTS}/cohort/{{cohort}}/patients.tsv",
        slides=f"{RESULTS}/cohort/{{cohort}}/slides.tsv",
        flow=f"{RESULTS}/cohort/{{cohort}}/flow.tsv",
        failures=f"{RESULTS}/cohort/{{cohort}}/failures.tsv",
    log:
        f"{RESULTS}/logs/build_cohort/{{cohort}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/build_cohort/{{cohort}}.tsv"
    wildcard_constraints:
        cohort=FROM_FILES,
    conda:
        "../envs/rna.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        settings=lambda w: {
            k: PLAN.cohort(w.cohort)[k]
            for k in ("label_map", "exclude_labels", "min_label_count", "require")
        },
        max_failed_fraction=CONFIG["slides"]["max_failed_fraction"],
        encoders=lambda w: PLAN.encoders_of(w.cohort),
        code=code("build_cohort"),
    message:
        "Joining slides, expression and clinical data of {wildcards.cohort}"
    script:
        "../workflow/scripts/build_cohort.py"


rule pool_cohorts:
    input:
        patients=lambda w: [
            f"{RESULTS}/cohort/{m}/patients.tsv" for m in PLAN.members(w.cohort)
        ],
        slides=lambda w: [
            f"{RESULTS}/cohort/{m}/slides.tsv" for m in PLAN.members(w.cohort)
        ],
        flow=lambda w: [
            f"{RESULTS}/cohort/{m}/flow.tsv" for m in PLAN.members(w.cohort)
        ],
    output:
        patients=f"{RESULTS}/cohort/{{cohort}}/patients.tsv",
        slides=f"{RESULTS}/cohort/{{cohort}}/slides.tsv",
        flow=f"{RESULTS}/cohort/{{cohort}}/flow.tsv",
    log:
        f"{RESULTS}/logs/pool_cohorts/{{cohort}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/pool_cohorts/{{cohort}}.tsv"
    wildcard_constraints:
        cohort=POOLED,
    conda:
        "../envs/rna.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        names=lambda w: PLAN.members(w.cohort),
        code=code("pool_cohorts"),
    message:
        "Pooling the cohorts {params.names}"
    script:
        "../workflow/scripts/pool_cohorts.py"


rule make_splits:
    input:
        patients=f"{RESULTS}/cohort/{{cohort}}/patients.tsv",
    output:
        splits=f"{RESULTS}/cohort/{{cohort}}/{{scheme}}/splits.tsv",
        report=f"{RESULTS}/cohort/{{cohort}}/{{scheme}}/splits.json",
    log:
        f"{RESULTS}/logs/make_splits/{{cohort}}_{{scheme}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/make_splits/{{cohort}}_{{scheme}}.tsv"
    conda:
        "../envs/rna.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        settings=lambda w: CONFIG["splits"][w.scheme],
        seed=SEED,
        code=code("make_splits"),
    message:
        "Dividing patients of {wildcards.cohort} into folds ({wildcards.scheme})"
    script:
        "../workflow/scripts/make_splits.py"


rule audit_leaks:
    input:
        patients=f"{RESULTS}/cohort/{{cohort}}/patients.tsv",
        slides=f"{RESULTS}/cohort/{{cohort}}/slides.tsv",
        splits=f"{RESULTS}/cohort/{{cohort}}/{{scheme}}/splits.tsv",
        rna=lambda w: f"{RESULTS}/rna/{w.cohort}.h5ad" if PLAN.has_rna(w.cohort) else [],
        genes=lambda w: (
            [
                f"{RESULTS}/rna/{w.cohort}/{w.scheme}/genes_{f}.tsv"
                for f in PLAN.folds(w.scheme)
            ]
            if PLAN.has_rna(w.cohort)
            else []
        ),
        transforms=lambda w: (
            [
                f"{RESULTS}/rna/{w.cohort}/{w.scheme}/transform_{f}.npz"
                for f in PLAN.folds(w.scheme)
            ]
            if PLAN.has_rna(w.cohort)
            else []
        ),
    output:
        leaks=f"{RESULTS}/cohort/{{cohort}}/{{scheme}}/leaks.json",
    log:
        f"{RESULTS}/logs/audit_leaks/{{cohort}}_{{scheme}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/audit_leaks/{{cohort}}_{{scheme}}.tsv"
    conda:
        "../envs/rna.yaml"
    threads: 1
    resources:
        mem_mb=lambda w, attempt: 4000 * attempt,
        runtime=20,
    params:
        settings=CONFIG["audit"],
        folds=lambda w: PLAN.folds(w.scheme),
        code=code("audit_leaks"),
    message:
        "Auditing leaks of {wildcards.cohort} ({wildcards.scheme}) before training"
    script:
        "../workflow/scripts/audit_leaks.py"
