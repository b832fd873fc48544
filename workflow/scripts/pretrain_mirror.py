"""Pre-train one variant on one fold."""

from mirror.training.launch import Job, run_job


def main(job: Job, gpus: int = 1, gpu_share: int = 1) -> None:
    """Train; a run that was killed goes on from the state kept in the job's ``state_dir``, which no rule declares."""
    run_job(job, gpus=gpus, share=gpu_share)


if "snakemake" in globals():
    from mirror.core.step import run_step

    smk = snakemake
    run_step(
        lambda: main(
            Job(
                patients=str(smk.input.patients),
                slides=str(smk.input.slides),
                splits=str(smk.input.splits),
                expression=str(smk.input.rna),
                transform=str(smk.input.transform),
                features_dir=str(smk.params.features),
                feature_status=[str(path) for path in smk.input.get("features", [])],
                fold=smk.wildcards.fold,
                variant=smk.wildcards.variant,
                settings=dict(smk.params.settings),
                seed=int(smk.params.seed),
                checkpoint=str(smk.output.checkpoint),
                log=str(smk.output.log_tsv),
                state_dir=str(smk.params.state),
                threads=smk.threads,
                min_focus=smk.params.get("min_focus"),
                partners=[dict(partner) for partner in smk.params.get("partners", [])],
                rna_tolerance=float(smk.params.get("rna_tolerance", 1e-3)),
            ),
            gpus=smk.params.get("gpus", 1),
            gpu_share=smk.resources.get("gpu_share", 1),
        ),
        smk.log[0],
    )
