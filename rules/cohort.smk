# Join the modalities, divide patients into folds, audit leaks.
rule read_clinical:
    input:
        clinical=clinical_file,
        also=clinical_also,
        samples=wanted_patients,
    output:
        clinical=P.clinical,
        report=P.clinical_report,
        facts=P.facts.at(input="clinical"),
    log:
        P.log("read_clinical", "cohort"),
    benchmark:
        P.benchmark("read_clinical", "cohort")
    wildcard_constraints:
        cohort=FROM_FILES,
    conda:
        "../envs/rna.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        source=lambda w: PLAN.patients_source(w.cohort),
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
        rna=lambda w: P.rna.of(w) if PLAN.has_rna(w.cohort) else [],
        clinical=lambda w: (P.clinical.of(w) if PLAN.has_clinical(w.cohort) else []),
        clinical_report=lambda w: (
            P.clinical_report.of(w) if PLAN.has_clinical(w.cohort) else []
        ),
        # Whole patients are left out by their label: only then has it a say here.
        labels=lambda w: (
            clinical_file(w) if PLAN.cohort(w.cohort)["exclude_labels"] else []
        ),
    output:
        patients=P.patients,
        study=P.study,
        slides=P.slides,
        flow=P.flow,
        failures=P.failures,
    log:
        P.log("build_cohort", "cohort"),
    benchmark:
        P.benchmark("build_cohort", "cohort")
    wildcard_constraints:
        cohort=FROM_FILES,
    conda:
        "../envs/rna.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        require=lambda w: PLAN.cohort(w.cohort)["require"],
        exclude=lambda w: PLAN.excluded_labels(w.cohort),
        max_failed_fraction=CONFIG["slides"]["max_failed_fraction"],
        excluded=lambda w: PLAN.excluded.get(w.cohort, {}),
        encoders=lambda w: PLAN.encoders_of(w.cohort),
        code=code("build_cohort"),
    message:
        "Joining slides, expression and clinical data of {wildcards.cohort}"
    script:
        "../workflow/scripts/build_cohort.py"


rule read_target:
    input:
        clinical=clinical_file,
        also=clinical_also,
        samples=wanted_patients,
        patients=P.patients,
        study=P.study,
    output:
        outcomes=P.outcomes,
        flow=P.outcomes_flow,
        facts=P.facts.at(input="target_{task}"),
    log:
        P.log("read_target", "cohort", "task"),
    benchmark:
        P.benchmark("read_target", "cohort", "task")
    wildcard_constraints:
        cohort=FROM_FILES,
    conda:
        "../envs/evaluate.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        source=lambda w: PLAN.target_source(w.cohort, w.task),
        target=lambda w: PLAN.target_settings(w.cohort, w.task),
        # The script finds the kind by name, which no look at imports can follow.
        own=lambda w: code_hash(PLAN.kind(w.task).file),
        code=code("read_target"),
    message:
        "Reading the target {wildcards.task} of {wildcards.cohort}"
    script:
        "../workflow/scripts/read_target.py"


rule pool_target:
    input:
        outcomes=lambda w: [P.outcomes.of(w, cohort=m) for m in PLAN.members(w.cohort)],
        flows=lambda w: [
            P.outcomes_flow.of(w, cohort=m) for m in PLAN.members(w.cohort)
        ],
        patients=P.patients,
    output:
        outcomes=P.outcomes,
        flow=P.outcomes_flow,
    log:
        P.log("pool_target", "cohort", "task"),
    benchmark:
        P.benchmark("pool_target", "cohort", "task")
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
        code=code("pool_target"),
    message:
        "Pooling the target {wildcards.task} of {params.names}"
    script:
        "../workflow/scripts/pool_target.py"


rule pool_cohorts:
    input:
        patients=lambda w: [P.patients.at(cohort=m) for m in PLAN.members(w.cohort)],
        slides=lambda w: [P.slides.at(cohort=m) for m in PLAN.members(w.cohort)],
        flow=lambda w: [P.flow.at(cohort=m) for m in PLAN.members(w.cohort)],
    output:
        patients=P.patients,
        slides=P.slides,
        flow=P.flow,
    log:
        P.log("pool_cohorts", "cohort"),
    benchmark:
        P.benchmark("pool_cohorts", "cohort")
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


# What folds are balanced in. They are drawn once: a target that is added, changed or removed later leaves them as they
# are (`ancient`), and so all that was trained in them. `--forcerun make_splits` draws anew.
rule gather_strata:
    input:
        patients=P.patients,
        outcomes=lambda w: [
            P.outcomes.of(w, task=t) for t in PLAN.stratifying(w.cohort)
        ],
    output:
        strata=P.strata,
    log:
        P.log("gather_strata", "cohort"),
    benchmark:
        P.benchmark("gather_strata", "cohort")
    conda:
        "../envs/evaluate.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        targets=lambda w: [PLAN.target(w.cohort, t) for t in PLAN.stratifying(w.cohort)],
        code=code("gather_strata"),
    message:
        "Gathering what the folds of {wildcards.cohort} are balanced in"
    script:
        "../workflow/scripts/gather_strata.py"


rule make_splits:
    input:
        patients=P.patients,
        strata=ancient(P.strata),
    output:
        splits=P.splits,
        report=P.splits_report,
    log:
        P.log("make_splits", "cohort", "scheme"),
    benchmark:
        P.benchmark("make_splits", "cohort", "scheme")
    conda:
        "../envs/rna.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        settings=lambda w: {
            k: v for k, v in CONFIG["splits"][w.scheme].items() if k != "cohorts"
        },
        seed=SEED,
        code=code("make_splits"),
    message:
        "Dividing patients of {wildcards.cohort} into folds ({wildcards.scheme})"
    script:
        "../workflow/scripts/make_splits.py"


rule audit_leaks:
    input:
        patients=P.patients,
        slides=P.slides,
        splits=P.splits,
        rna=lambda w: P.rna.of(w) if PLAN.has_rna(w.cohort) else [],
        genes=lambda w: (
            [P.gene_reasons.of(w, fold=f) for f in PLAN.folds(w.scheme)]
            if PLAN.has_rna(w.cohort)
            else []
        ),
        transforms=lambda w: (
            [P.transform.of(w, fold=f) for f in PLAN.folds(w.scheme)]
            if PLAN.has_rna(w.cohort)
            else []
        ),
    output:
        leaks=P.leaks,
    log:
        P.log("audit_leaks", "cohort", "scheme"),
    benchmark:
        P.benchmark("audit_leaks", "cohort", "scheme")
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
