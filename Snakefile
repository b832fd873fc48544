# MIRROR: from raw slides and raw RNA-seq to tables, figures and one report.
from snakemake.utils import min_version

min_version("9.0")


# A file given with --configfile replaces the shipped one instead of being merged into it.
if "cohorts" not in config:

    configfile: "config/config.yaml"


include: "rules/common.smk"
include: "rules/demo.smk"
include: "rules/slides.smk"
include: "rules/transcriptomics.smk"
include: "rules/cohort.smk"
include: "rules/pretrain.smk"
include: "rules/truth.smk"
include: "rules/transfer.smk"
include: "rules/evaluate.smk"
include: "rules/report_list.smk"
include: "rules/interpret.smk"
include: "rules/report.smk"


report: "workflow/report/workflow.rst"


rule all:
    default_target: True
    input:
        f"{RESULTS}/report.html",
        FIGURES_AND_TABLES,


# The paper's tables alone: snakemake --configfile config/paper.yaml paper
rule paper:
    input:
        f"{RESULTS}/tables/index.json",
