# MIRROR: from raw slides and raw RNA-seq to tables, figures and one report.
from pathlib import Path

from snakemake.sourcecache import LocalSourceFile
from snakemake.utils import min_version

min_version("9.0")

# Where this file is, however it was reached: as a module, through a link, from another folder.
if not isinstance(workflow.included_stack[-1], LocalSourceFile):
    raise WorkflowError(
        "MIRROR's rules import the library beside them, which Snakemake does not fetch: "
        "clone the repository and give the path of its Snakefile."
    )
HERE = workflow.included_stack[-1].get_path_or_uri(secret_free=True)
BASE = Path(HERE).resolve().parent
RULES = BASE / "rules"


# A file given with --configfile replaces the shipped one instead of being merged into it.
if "cohorts" not in config:

    configfile: str(BASE / "config" / "config.yaml")


include: RULES / "common.smk"
include: RULES / "demo.smk"
include: RULES / "slides.smk"
include: RULES / "transcriptomics.smk"
include: RULES / "cohort.smk"
include: RULES / "pretrain.smk"
include: RULES / "truth.smk"
include: RULES / "transfer.smk"
include: RULES / "evaluate.smk"
include: RULES / "report_list.smk"
include: RULES / "interpret.smk"
include: RULES / "figures.smk"
include: RULES / "report.smk"
include: RULES / "doctor.smk"


report: str(BASE / "workflow" / "report" / "workflow.rst")


rule all:
    default_target: True
    input:
        P.report,
        FIGURES_AND_TABLES,


# Tiles, and a page per cohort to look through: snakemake qc --cores all
rule qc:
    input:
        [
            P.qc_page.at(cohort=c)
            for c in PLAN.cohorts
            if PLAN.has_pixels(c) and not PLAN.cohort(c)["joint"]
        ],


# The paper's tables alone: snakemake paper --cores all --configfile config/paper.yaml
rule paper:
    input:
        P.tables_index,
