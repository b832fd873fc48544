# What Snakemake must know to build the DAG: settings, slides, shards, wildcards.
import os
import sys

from snakemake.settings.types import DeploymentMethod

SCRIPTS = BASE / "workflow" / "scripts"
sys.path.insert(0, str(SCRIPTS))

USE_CONDA = DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method
# An environment's python would prefer packages of the user's home (~/.local) to its own.
if USE_CONDA:
    os.environ.update(PYTHONNOUSERSITE="1")

from mirror.plan import environments
from mirror.plan.registry import find_baselines
from mirror.config.checks import start_files
from mirror.plan.partners import partner_files, partners
from mirror.config.files import check_demo, merge_files
from mirror.config.resolve import load_yaml
from mirror.config.shorthand import files_of
from mirror.core import surroundings
from mirror.core.code_hash import code_hash
from mirror.core.protocols import is_curve, shots, table_shots
from mirror.plan.kinds import find_kinds
from mirror.plan.plan import Plan
from mirror.plan.targets import SHORT
from mirror.plan.work import count_work
from mirror.core.errors import InputError

CELL = str(
    config.pop("cell", "")
)  # `snakemake trace --config cell=...`; no setting of the workflow

try:
    surroundings.check_interpreter(sys.executable, USE_CONDA)
    surroundings.check_command_line(
        sys.argv, workflow.resource_settings.default_resources or {}
    )
    surroundings.use_own_caches(os.environ)
    # As a module, the command line's files and settings are those of the workflow around this one.
    # (`is_module` of the modifier is true for the outermost workflow, too.)
    AS_MODULE = workflow.modifier.parent_modifier is not None
    FILES = [] if AS_MODULE else list(workflow.overwrite_configfiles)
    TYPED = {} if AS_MODULE else workflow.config_settings.config
    SHIPPED = BASE / "config" / "config.yaml"
    SETTINGS = merge_files(config, FILES, TYPED, None if AS_MODULE else SHIPPED)
    SETTINGS.pop("cell", None)
    given = [key for path in FILES for key in load_yaml(path) or {}]
    NOTES = check_demo(
        SETTINGS,
        FILES,
        [*config, *TYPED] if AS_MODULE else [*given, *TYPED],
        SHIPPED,
    )
    if AS_MODULE and (
        workflow.modifier.path_modifier.prefix
        or workflow.modifier.path_modifier.modifies_prefixes
    ):
        raise InputError(
            "`prefix` and `replace_prefix` do not reach the files that MIRROR's steps write without declaring them",
            file="module",
            remedy="give the module a configuration whose `results` is another folder",
        )
    PLAN = Plan.read(SETTINGS, BASE)
    # Slide tables are read here, once, so that a mistake in one is reported like any other of the
    # configuration. Each job plans anew, and most need no table: there it is read when asked for.
    if workflow.is_main_process:
        for note in NOTES:
            logger.warning(f"Note: {note}")
        PLAN.slides
except InputError as error:
    raise WorkflowError(str(error))

CONFIG = PLAN.config
RESULTS = CONFIG["results"]
P = PLAN.paths  # every file of a run
SEED = CONFIG["seed"]

# What a probe or baseline depends on: a change of the rest reruns no prediction.
PROBE_SETTINGS = {
    k: v
    for k, v in CONFIG["evaluation"].items()
    if k not in ("statistics", "baselines", "tasks", "reported", "transfer")
}
# Which shots a table shows changes no prediction.
PROBE_SETTINGS["fewshot"] = {**PROBE_SETTINGS["fewshot"], "table_k": None}

# Environments of steps that need PyTorch with some settings only.
TILING = environments.tiling(CONFIG["slides"])
PROBING = environments.probing(CONFIG["evaluation"])


def baseline_environment(name):
    """Environment of a baseline: with PyTorch for networks."""
    return environments.probing(CONFIG["evaluation"], find_baselines()[name].network)


def baseline_device(name):
    """Where a baseline computes: those that ask for a GPU as pre-training does, the others on the CPU."""
    return (
        CONFIG["pretrain"]["train"]["device"] if find_baselines()[name].gpu else "cpu"
    )


def import_environment(w):
    """Environment that reads a cohort's imported features."""
    return environments.importing(PLAN.feature_source(w.cohort, w.encoder))


wildcard_constraints:
    cohort=PLAN.any_of(PLAN.cohorts),
    encoder=PLAN.any_of([*PLAN.encoders, "none"]),
    scheme=PLAN.any_of(CONFIG["splits"]),
    variant=PLAN.any_of(PLAN.variants),
    baseline=PLAN.any_of(PLAN.baselines),
    task=PLAN.any_of(PLAN.all_targets),
    shard=r"\d+",
    fold=r"r\d+f\d+",


localrules:
    all,
    paper,
    qc,


def code(name):
    """Hash of the code that a script runs; as a parameter it reruns exactly what it changes."""
    return code_hash(SCRIPTS / f"{name}.py")


def module_file(name):
    """The file of a module of the library."""
    return SCRIPTS.joinpath(*name.split(".")).with_suffix(".py")


def slides_used(cohort):
    """Rows of the slide table without the slides that a person left out."""
    out = PLAN.excluded.get(cohort, {})
    return [s.as_dict() for s in PLAN.slides.get(cohort, []) if s.slide_id not in out]


def encoder_rows():
    """Rows of the encoders that run here; imported features need none."""
    used = (e for c in PLAN.cohorts if PLAN.has_pixels(c) for e in PLAN.encoders_of(c))
    return [PLAN.encoder_row(e) for e in dict.fromkeys(used)]


def feature_width():
    """Width of the features that are trained on: of the first encoder, or of the first imported features."""
    given = [
        s["width"]
        for c in PLAN.cohorts
        for s in PLAN.cohort(c)["features"]
        if s["width"]
    ]
    return ([row["width"] for row in encoder_rows()] + given + [1024])[0]


def caption(name):
    """Path of a report caption."""
    return str(BASE / "workflow" / "report" / f"{name}.rst")


def gpus(n):
    """GPUs a job asks for: none on a machine where the configuration says cpu."""
    return (
        n
        if CONFIG["pretrain"]["train"]["device"] != "cpu"
        and CONFIG["embed"]["device"] != "cpu"
        else 0
    )


def w_names(w):
    """A job's place in the tables."""
    return {"cohort": w.cohort, "encoder": w.encoder, "scheme": w.scheme}


def slide_source(wildcards):
    """What must exist before a cohort's slides can be read."""
    if PLAN.cohort(wildcards.cohort)["simulate"]:
        return P.simulated_samples.of(wildcards)
    return []


def expression_file(wildcards):
    """The files of a cohort's expression."""
    cohort = PLAN.cohort(wildcards.cohort)
    if cohort["simulate"]:
        return f"{PLAN.simulated_folder(wildcards.cohort)}/counts.tsv"
    return [cohort["expression"]["path"], *cohort["expression"]["further"]]


def expression_source(wildcards):
    cohort = PLAN.cohort(wildcards.cohort)
    if cohort["simulate"]:
        return {
            "path": expression_file(wildcards),
            "format": "matrix",
            "values": "counts",
        }
    return cohort["expression"]


def wanted_patients(wildcards):
    """The slide tables, where only their patients' columns of a large matrix are needed."""
    cohort = PLAN.cohort(wildcards.cohort)
    return files_of(cohort["samples"]) if cohort["require"] == "both" else []


def clinical_file(wildcards):
    """The clinical tables of a cohort, without those that are joined to them."""
    cohort = PLAN.cohort(wildcards.cohort)
    if cohort["simulate"]:
        return f"{PLAN.simulated_folder(wildcards.cohort)}/clinical.tsv"
    return [cohort["clinical"]["path"], *cohort["clinical"]["further"]]


def clinical_also(wildcards):
    """Further clinical tables that are joined to the first."""
    clinical = PLAN.cohort(wildcards.cohort)["clinical"]
    return clinical["also"] if clinical else []


def fact_files():
    """What every reader found in its input, for the report."""
    own = [c for c in PLAN.cohorts if not PLAN.cohort(c)["joint"]]
    read = [(c, "clinical") for c in own if PLAN.has_clinical(c)]
    read += [(c, f"target_{t}") for c in own for t in PLAN.targets(c)]
    read += [(c, "slides") for c in own if PLAN.has_pixels(c)]
    read += [(c, "expression") for c in own if PLAN.has_rna(c)]
    read += [
        (c, f"features_{s['encoder']}") for c in own for s in PLAN.cohort(c)["features"]
    ]
    return [P.facts.at(cohort=cohort, input=name) for cohort, name in read]


def report_key():
    """Pseudonyms of the report; none are needed where it shows identifiers as given."""
    return [] if CONFIG["report"]["identifiers"] == "as_given" else P.report_key


def slide_tables(cohort):
    """Tables that name every slide of a cohort, also those that are left out later."""
    return PLAN.tile_tables(cohort) or [
        t for e in PLAN.encoders_of(cohort) for t in PLAN.feature_tables(cohort, e)
    ]


def predictions_here(w):
    """Predictions of one place and target: its encoder's methods and those that read no patch features."""
    here = (w.encoder, "none")
    return [
        P.predictions.of(w, encoder=e, method=m)
        for m, e in PLAN.methods(w.cohort, w.task)
        if e in here
    ]


def outcomes(kind):
    """Outcomes of the first target of a kind, where the cohort has one."""

    def file(w):
        task = PLAN.first_task(w.cohort, kind)
        return P.outcomes.of(w, task=task) if task else []

    return file


# (target, name) of every transfer between cohorts, whatever the encoder.
TRANSFER_PLACES = list(dict.fromkeys((t.target, t.name) for t in PLAN.transfers))


def transfer_expression(w):
    """The target's expression with the source's genes, where it has any."""
    return (
        P.matched_rna.at(cohort=w.target, scheme=f"{w.scheme}_from_{w.source}")
        if PLAN.has_rna(w.target)
        else []
    )


def transfer_predictions(target, name):
    """Predictions of one transfer: every encoder and variant."""
    return [
        P.predictions.at(
            cohort=target, encoder=t.encoder, scheme=name, task=t.task, method=v
        )
        for t in PLAN.transfers
        if (t.target, t.name) == (target, name)
        for v in PLAN.variants
    ]
