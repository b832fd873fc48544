# What is known of the truth, for simulated cohorts only, since no other has one.
SIMULATED = [c for c in PLAN.cohorts if PLAN.cohort(c)["simulate"]]
# One table of every place whose embeddings can be compared with the planted factors.
TRUTH = [
    P.truth.at(cohort=c, encoder=e, scheme=s)
    for c in SIMULATED
    if PLAN.trains(c)
    for e in PLAN.encoders_of(c)
    for s in PLAN.schemes(c)
]


# What the truth itself reaches.
rule evaluate_ceiling:
    input:
        factors=lambda w: f"{PLAN.simulated_folder(w.cohort)}/truth/factors.tsv",
        patients=P.patients,
        outcomes=P.outcomes,
        splits=P.splits,
        leaks=P.leaks,
    output:
        predictions=P.predictions.at(encoder="none", method="ceiling"),
    log:
        P.log("evaluate_ceiling", "cohort", "scheme", "task"),
    benchmark:
        P.benchmark("evaluate_ceiling", "cohort", "scheme", "task")
    wildcard_constraints:
        cohort=PLAN.any_of(SIMULATED),
    conda:
        f"../envs/{PROBING}.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        settings=PROBE_SETTINGS,
        target=lambda w: PLAN.target(w.cohort, w.task),
        names=lambda w: {"cohort": w.cohort, "encoder": "none", "scheme": w.scheme},
        seed=SEED,
        code=code("evaluate_ceiling"),
    message:
        "What the true factors reach: {wildcards.task} of {wildcards.cohort} ({wildcards.scheme})"
    script:
        "../workflow/scripts/evaluate_ceiling.py"


# What embeddings, and the input itself, know of the planted factors.
rule recover_truth:
    input:
        factors=lambda w: f"{PLAN.simulated_folder(w.cohort)}/truth/factors.tsv",
        splits=P.splits,
        leaks=P.leaks_of_models,
        embeddings=lambda w: [
            P.embeddings.of(w, variant=v, fold=f)
            for v in PLAN.variants
            for f in PLAN.folds(w.scheme)
        ],
        slides=P.slides,
        features=lambda w: PLAN.feature_tables(w.cohort, w.encoder),
        rna=P.rna,
        transforms=lambda w: [P.transform.of(w, fold=f) for f in PLAN.folds(w.scheme)],
    output:
        truth=P.truth,
    log:
        P.log("recover_truth", "cohort", "encoder", "scheme"),
    benchmark:
        P.benchmark("recover_truth", "cohort", "encoder", "scheme")
    wildcard_constraints:
        cohort=PLAN.any_of(SIMULATED),
    conda:
        "../envs/evaluate.yaml"
    threads: 1
    resources:
        mem_mb=lambda w, attempt: 4000 * attempt,
        runtime=30,
    params:
        features=lambda w: P.features_folder.of(w),
        names=w_names,
        min_focus=CONFIG["embed"]["min_focus"],
        seed=SEED,
        code=code("recover_truth"),
    message:
        "What embeddings know of the planted factors of {wildcards.cohort} ({wildcards.encoder}, {wildcards.scheme})"
    script:
        "../workflow/scripts/recover_truth.py"
