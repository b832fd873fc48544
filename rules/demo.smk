# The simulated cohort: slides, counts, a clinical table, and the truth beside them.
rule simulate_cohort:
    output:
        samples=f"{RESULTS}/simulated/{{cohort}}/samples.tsv",
        counts=f"{RESULTS}/simulated/{{cohort}}/counts.tsv",
        clinical=f"{RESULTS}/simulated/{{cohort}}/clinical.tsv",
        modules=f"{RESULTS}/simulated/{{cohort}}/modules.gmt",
        truth=f"{RESULTS}/simulated/{{cohort}}/truth/factors.tsv",
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
    params:
        settings=lambda w: PLAN.cohort(w.cohort)["simulate"],
        code=code("simulate_cohort"),
    message:
        "Drawing the simulated cohort {wildcards.cohort}"
    script:
        "../workflow/scripts/simulate_cohort.py"


# `snakemake --cores 1 doctor`: no output is declared, so that it looks anew each time.
rule doctor:
    log:
        f"{RESULTS}/logs/doctor.log",
    conda:
        "../envs/doctor.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        cohorts=lambda w: {
            c: {
                "settings": PLAN.cohort(c),
                "slides": [s.as_dict() for s in PLAN.slides.get(c, [])],
                "pixels": PLAN.has_pixels(c),
            }
            for c in PLAN.cohorts
            if not PLAN.cohort(c)["joint"]
        },
        encoders=lambda w: [
            PLAN.encoder_row(e) for e in PLAN.encoders if e in PLAN.encoder_table
        ],
        weights=CONFIG["embed"]["weights"],
        results=RESULTS,
        table=f"{RESULTS}/doctor.tsv",
    message:
        "Looking at the config, slides, tables, encoders and this machine"
    script:
        "../workflow/scripts/doctor.py"
