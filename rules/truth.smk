# What is known of the truth, for simulated cohorts only, since no other has one.
SIMULATED = [c for c in PLAN.cohorts if PLAN.cohort(c)["simulate"]]
# One table of every place whose embeddings can be compared with the planted factors.
TRUTH = [
    f"{RESULTS}/truth/{c}/{e}/{s}.tsv"
    for c in SIMULATED
    if PLAN.trains(c)
    for e in PLAN.encoders_of(c)
    for s in CONFIG["splits"]
]


# What the truth itself reaches.
rule evaluate_ceiling:
    input:
        factors=lambda w: f"{PLAN.simulated_folder(w.cohort)}/truth/factors.tsv",
        patients=f"{RESULTS}/cohort/{{cohort}}/patients.tsv",
        splits=f"{RESULTS}/cohort/{{cohort}}/{{scheme}}/splits.tsv",
        leaks=f"{RESULTS}/cohort/{{cohort}}/{{scheme}}/leaks.json",
    output:
        predictions=f"{RESULTS}/predictions/{{cohort}}/none/{{scheme}}/{{task}}/ceiling.parquet",
    log:
        f"{RESULTS}/logs/evaluate_ceiling/{{cohort}}_{{scheme}}_{{task}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/evaluate_ceiling/{{cohort}}_{{scheme}}_{{task}}.tsv"
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
        splits=f"{RESULTS}/cohort/{{cohort}}/{{scheme}}/splits.tsv",
        leaks=f"{RESULTS}/cohort/{{cohort}}/{{scheme}}/leaks_{{encoder}}.json",
        embeddings=lambda w: [
            f"{RESULTS}/embeddings/{w.cohort}/{w.encoder}/{w.scheme}/{v}/{f}.h5ad"
            for v in PLAN.variants
            for f in PLAN.folds(w.scheme)
        ],
        slides=f"{RESULTS}/cohort/{{cohort}}/slides.tsv",
        features=lambda w: PLAN.feature_tables(w.cohort, w.encoder),
        rna=f"{RESULTS}/rna/{{cohort}}.h5ad",
        transforms=lambda w: [
            f"{RESULTS}/rna/{w.cohort}/{w.scheme}/transform_{f}.npz"
            for f in PLAN.folds(w.scheme)
        ],
    output:
        truth=f"{RESULTS}/truth/{{cohort}}/{{encoder}}/{{scheme}}.tsv",
    log:
        f"{RESULTS}/logs/recover_truth/{{cohort}}_{{encoder}}_{{scheme}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/recover_truth/{{cohort}}_{{encoder}}_{{scheme}}.tsv"
    wildcard_constraints:
        cohort=PLAN.any_of(SIMULATED),
    conda:
        "../envs/evaluate.yaml"
    threads: 1
    resources:
        mem_mb=lambda w, attempt: 4000 * attempt,
        runtime=30,
    params:
        features=lambda w: f"{RESULTS}/slides/features/{w.encoder}",
        names=w_names,
        min_focus=CONFIG["embed"]["min_focus"],
        seed=SEED,
        code=code("recover_truth"),
    message:
        "What embeddings know of the planted factors of {wildcards.cohort} ({wildcards.encoder}, {wildcards.scheme})"
    script:
        "../workflow/scripts/recover_truth.py"
