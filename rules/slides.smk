# Slides: tile -> embed, in shards. The per-slide files are not declared, so that a rerun keeps
# what is whole; each shard declares the table of what became of its slides.
rule tile_slides:
    input:
        ready=slide_source,
    output:
        status=ensure(P.tiles_shard, non_empty=True),
    log:
        P.log("tile_slides", "cohort", "shard"),
    benchmark:
        P.benchmark("tile_slides", "cohort", "shard")
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
        folder=lambda w: P.slides_folder,
        code=code("tile_slides"),
    message:
        "Tiling slides of {wildcards.cohort}, shard {wildcards.shard}"
    script:
        "../workflow/scripts/tile_slides.py"


rule embed_tiles:
    input:
        status=P.tiles_shard,
    output:
        status=ensure(
            P.features_shard,
            non_empty=True,
        ),
    log:
        P.log("embed_tiles", "cohort", "encoder", "shard"),
    benchmark:
        P.benchmark("embed_tiles", "cohort", "encoder", "shard")
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
        folder=lambda w: P.slides_folder,
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
            P.features_shard,
            non_empty=True,
        ),
    log:
        P.log("import_features", "cohort", "encoder", "shard"),
    benchmark:
        P.benchmark("import_features", "cohort", "encoder", "shard")
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
        folder=lambda w: P.slides_folder,
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
        table=P.tiles_status,
        facts=P.facts.at(input="slides"),
    log:
        P.log("join_tiles", "cohort"),
    benchmark:
        P.benchmark("join_tiles", "cohort")
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
        table=P.features_status,
        facts=P.facts.at(input="features_{encoder}"),
    log:
        P.log("join_features", "cohort", "encoder"),
    benchmark:
        P.benchmark("join_features", "cohort", "encoder")
    conda:
        "../envs/rna.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        what="features",
        source=lambda w: (
            PLAN.feature_source(w.cohort, w.encoder)
            if PLAN.cohort(w.cohort)["features"]
            else None
        ),
        code=code("join_shards"),
    message:
        "Joining the tables of {wildcards.encoder} features of {wildcards.cohort}"
    script:
        "../workflow/scripts/join_shards.py"


rule fetch_weights:
    output:
        touch(P.weights_fetched),
    log:
        P.log("fetch_weights"),
    benchmark:
        P.benchmark("fetch_weights")
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


# `snakemake repair_features --cores 1`: files that a bad disk or a crash broke after their shard was done are
# made anew. No output is declared, so that it looks each time and nothing that is finished runs again.
rule repair_features:
    log:
        P.log("repair_features"),
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
        folder=P.slides_folder,
    message:
        "Looking for broken feature files"
    script:
        "../workflow/scripts/repair_features.py"


# The former name of this rule, kept for one version.
use rule repair_features as mend_features with:
    log:
        P.log("mend_features"),
