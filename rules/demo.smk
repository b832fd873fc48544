# The simulated cohort: slides, counts, a clinical table, and the truth beside them.
rule simulate_cohort:
    output:
        samples=P.simulated_samples,
        counts=P.simulated_counts,
        clinical=P.simulated_clinical,
        modules=P.simulated_modules,
        truth=P.simulated_factors,
    log:
        P.log("simulate_cohort", "cohort"),
    benchmark:
        P.benchmark("simulate_cohort", "cohort")
    conda:
        "../envs/simulate.yaml"
    threads: 2
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        settings=lambda w: PLAN.cohort(w.cohort)["simulate"],
        code=code("simulate_cohort"),
    message:
        "Drawing the simulated cohort {wildcards.cohort}"
    script:
        "../workflow/scripts/simulate_cohort.py"
