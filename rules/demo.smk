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


# The environments that will compute are asked, since nvidia-smi does not know what PyTorch can use.
rule check_gpu:
    output:
        answer=temp(P.gpu_seen),
    log:
        P.log("check_gpu", "environment"),
    benchmark:
        P.benchmark("check_gpu", "environment")
    wildcard_constraints:
        environment="embed|train",
    conda:
        "../envs/{environment}.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=10,
        gpu=gpus(1),
    params:
        setting=lambda w: (
            "embed.device" if w.environment == "embed" else "pretrain.train.device"
        ),
    message:
        "Asking PyTorch of envs/{wildcards.environment}.yaml for a GPU"
    script:
        "../workflow/scripts/check_gpu.py"


# `snakemake doctor --cores 1`: no output is declared, so that it looks anew each time.
rule doctor:
    input:
        answers=[
            P.gpu_seen.at(environment=name)
            for name, device in {
                "embed": CONFIG["embed"]["device"],
                "train": CONFIG["pretrain"]["train"]["device"],
            }.items()
            if device != "cpu"
        ],
    log:
        P.log("doctor"),
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
        slides=CONFIG["slides"],
        results=lambda w: RESULTS,
        table=P.doctor,
    message:
        "Looking at the config, slides, tables, encoders and this machine"
    script:
        "../workflow/scripts/doctor.py"
