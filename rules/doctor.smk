# `doctor`: what is missing and how long a run would take, before hours are spent.
REAL = [
    c
    for c in PLAN.cohorts
    if not (PLAN.cohort(c)["joint"] or PLAN.cohort(c)["simulate"])
]


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


# A few tiles of three of the user's slides, with every encoder whose weights are here.
rule try_slides:
    output:
        trial=temp(P.slides_tried),
    log:
        P.log("try_slides"),
    benchmark:
        P.benchmark("try_slides")
    conda:
        "../envs/embed.yaml"
    threads: 2
    resources:
        mem_mb=8000,
        runtime=60,
        gpu=gpus(1),
    params:
        cohorts=lambda w: {c: slides_used(c) for c in REAL if PLAN.has_pixels(c)},
        rows=lambda w: encoder_rows(),
        slides=CONFIG["slides"],
        embed=CONFIG["embed"],
    message:
        "Tiling and embedding a few tiles of three slides"
    script:
        "../workflow/scripts/try_slides.py"


rule try_training:
    output:
        trial=temp(P.training_tried),
    log:
        P.log("try_training"),
    benchmark:
        P.benchmark("try_training")
    conda:
        "../envs/train.yaml"
    threads: PLAN.train_threads
    resources:
        mem_mb=8000,
        runtime=60,
        gpu=gpus(1),
    params:
        variants=lambda w: dict(PLAN.variants),
        width=lambda w: feature_width(),
        genes=2000,
        device=CONFIG["pretrain"]["train"]["device"],
    message:
        "Timing training steps of every variant"
    script:
        "../workflow/scripts/try_training.py"


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
        slide_trial=P.slides_tried if any(PLAN.has_pixels(c) for c in REAL) else [],
        training_trial=P.training_tried if any(PLAN.trains(c) for c in REAL) else [],
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
                "slides": slides_used(c),
                "left_out": len(PLAN.excluded.get(c, {})),
                "pixels": PLAN.has_pixels(c),
                "encoders": PLAN.encoders_of(c),
            }
            for c in PLAN.cohorts
            if not PLAN.cohort(c)["joint"]
        },
        encoders=lambda w: encoder_rows(),
        work=lambda w: count_work(PLAN).as_dict(),
        variants=lambda w: dict(PLAN.variants),
        weights=CONFIG["embed"]["weights"],
        slides=CONFIG["slides"],
        results=lambda w: RESULTS,
        table=P.doctor,
    message:
        "Looking at the config, slides, tables, encoders and this machine"
    script:
        "../workflow/scripts/doctor.py"
