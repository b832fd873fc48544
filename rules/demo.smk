# The simulated cohort: slides, counts, a clinical table, and the truth beside them.
rule simulate_cohort:
    output:
        samples=f"{RESULTS}/simulated/{{cohort}}/samples.tsv",
        counts=f"{RESULTS}/simulated/{{cohort}}/counts.tsv",
        clinical=f"{RESULTS}/simulated/{{cohort}}/clinical.tsv",
        modules=f"{RESULTS}/simulated/{{cohort}}/modules.gmt",
        truth=f"{RESULTS}/simulated/{{cohort}}/truth/factors.tsv",
    params:
        settings=lambda w: PLAN.cohort(w.cohort)["simulate"],
        code=code("simulate_cohort"),
    log:
        f"{RESULTS}/logs/simulate_cohort/{{cohort}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/simulate_cohort/{{cohort}}.tsv"
    conda:
        "../envs/simulate.yaml"
    threads: 2
    resources:
        mem_mb=2000,
        runtime=30,
    message:
        "Drawing the simulated cohort {wildcards.cohort}"
    script:
        "../workflow/scripts/simulate_cohort.py"
