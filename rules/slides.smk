# Slides: tile -> embed, in shards. The per-slide files are not declared, so that a rerun keeps
# what is whole; each shard declares the table of what became of its slides.
rule tile_slides:
    input:
        ready=slide_source,
    output:
        status=ensure(
            f"{RESULTS}/slides/{{cohort}}/tiles/shard_{{shard}}.tsv", non_empty=True
        ),
    log:
        f"{RESULTS}/logs/tile_slides/{{cohort}}_{{shard}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/tile_slides/{{cohort}}_{{shard}}.tsv"
    conda:
        f"../envs/{TILING}.yaml"
    threads: 2
    resources:
        mem_mb=lambda w, attempt: 4000 * attempt,
        runtime=lambda w, attempt: attempt
        * (10 + 2 * CONFIG["slides"]["slides_per_job"]),
    params:
        slides=lambda w: PLAN.shard(w.cohort, w.shard),
        settings=CONFIG["slides"],
        folder=lambda w: f"{RESULTS}/slides",
        code=code("tile_slides"),
    message:
        "Tiling slides of {wildcards.cohort}, shard {wildcards.shard}"
    script:
        "../workflow/scripts/tile_slides.py"


rule embed_tiles:
    input:
        status=f"{RESULTS}/slides/{{cohort}}/tiles/shard_{{shard}}.tsv",
    output:
        status=ensure(
            f"{RESULTS}/slides/{{cohort}}/features/{{encoder}}/shard_{{shard}}.tsv",
            non_empty=True,
        ),
    log:
        f"{RESULTS}/logs/embed_tiles/{{cohort}}_{{encoder}}_{{shard}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/embed_tiles/{{cohort}}_{{encoder}}_{{shard}}.tsv"
    wildcard_constraints:
        cohort=PLAN.any_of(c for c in PLAN.cohorts if PLAN.has_pixels(c)),
    conda:
        "../envs/embed.yaml"
    threads: 2
    resources:
        mem_mb=lambda w, attempt: 8000 * attempt,
        runtime=lambda w, attempt: attempt
        * (20 + 10 * CONFIG["slides"]["slides_per_job"]),
        gpu=gpus(1),
    params:
        slides=lambda w: PLAN.shard(w.cohort, w.shard),
        encoder_row=lambda w: PLAN.encoder_row(w.encoder),
        settings=CONFIG["embed"],
        folder=lambda w: f"{RESULTS}/slides",
        seed=SEED,
        code=code("embed_tiles"),
    message:
        "Patch features of {wildcards.cohort} by {wildcards.encoder}, shard {wildcards.shard}"
    script:
        "../workflow/scripts/embed_tiles.py"


# Features that others made take the place of our encoder.
rule import_features:
    output:
        status=ensure(
            f"{RESULTS}/slides/{{cohort}}/features/{{encoder}}/shard_{{shard}}.tsv",
            non_empty=True,
        ),
    log:
        f"{RESULTS}/logs/import_features/{{cohort}}_{{encoder}}_{{shard}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/import_features/{{cohort}}_{{encoder}}_{{shard}}.tsv"
    wildcard_constraints:
        cohort=PLAN.any_of(c for c in PLAN.cohorts if PLAN.cohort(c)["features"]),
    conda:
        lambda w: f"../envs/{import_environment(w)}.yaml"
    threads: 1
    resources:
        mem_mb=lambda w, attempt: 4000 * attempt,
        runtime=lambda w, attempt: attempt * (10 + CONFIG["slides"]["slides_per_job"]),
    params:
        slides=lambda w: PLAN.shard(w.cohort, w.shard),
        source=lambda w: PLAN.feature_source(w.cohort, w.encoder),
        folder=lambda w: f"{RESULTS}/slides",
        code=code("import_features"),
    message:
        "Importing features of {wildcards.cohort} ({wildcards.encoder}), shard {wildcards.shard}"
    script:
        "../workflow/scripts/import_features.py"


# What later steps name: edges of the DAG stay folds x variants, not times shards.
rule join_tiles:
    input:
        shards=lambda w: PLAN.tile_shards(w.cohort),
    output:
        table=f"{RESULTS}/slides/{{cohort}}/tiles.tsv",
    log:
        f"{RESULTS}/logs/join_tiles/{{cohort}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/join_tiles/{{cohort}}.tsv"
    wildcard_constraints:
        cohort=PLAN.any_of(c for c in PLAN.cohorts if PLAN.has_pixels(c)),
    conda:
        "../envs/rna.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        code=code("join_shards"),
    message:
        "Joining the tables of tiles of {wildcards.cohort}"
    script:
        "../workflow/scripts/join_shards.py"


rule join_features:
    input:
        shards=lambda w: PLAN.feature_shards(w.cohort, w.encoder),
    output:
        table=f"{RESULTS}/slides/{{cohort}}/features/{{encoder}}.tsv",
    log:
        f"{RESULTS}/logs/join_features/{{cohort}}_{{encoder}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/join_features/{{cohort}}_{{encoder}}.tsv"
    conda:
        "../envs/rna.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        code=code("join_shards"),
    message:
        "Joining the tables of {wildcards.encoder} features of {wildcards.cohort}"
    script:
        "../workflow/scripts/join_shards.py"


rule fetch_weights:
    output:
        touch(f"{RESULTS}/slides/weights_fetched"),
    log:
        f"{RESULTS}/logs/fetch_weights.log",
    benchmark:
        f"{RESULTS}/benchmarks/fetch_weights.tsv"
    conda:
        "../envs/embed.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=120,
    params:
        rows=[PLAN.encoder_row(e) for e in CONFIG["encoders"]],
        settings=CONFIG["embed"],
        code=code("fetch_weights"),
    message:
        "Fetching encoder weights, for compute nodes that reach no hub"
    script:
        "../workflow/scripts/fetch_weights.py"


# `snakemake --cores 1 mend_features`: files that a bad disk or a crash broke after their shard was done are
# made anew. No output is declared, so that it looks each time and nothing that is finished runs again.
rule mend_features:
    log:
        f"{RESULTS}/logs/mend_features.log",
    conda:
        "../envs/embed.yaml"
    threads: 2
    resources:
        mem_mb=8000,
        runtime=720,
        gpu=gpus(1),
    params:
        cohorts=lambda w: PLAN.features_made(),
        settings=CONFIG["embed"],
        folder=f"{RESULTS}/slides",
    message:
        "Looking for broken feature files"
    script:
        "../workflow/scripts/mend_features.py"
