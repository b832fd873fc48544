"""What the DAG is made of: cohorts, slides, shards, variants, folds, baselines.

Standard library only (and jsonschema, through `resolve`): built in well under a second for
10,000 slides.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

from ..config.checks import check_partners, check_shots, check_starts
from ..config.resolve import NAME, check_names, load_schema, load_yaml, resolve, resolve_variants
from ..core.errors import InputError
from ..core.reserved import CEILING, INPUT
from .evaluated import check_evaluated, schemes_of
from .paths import Paths
from .planned_targets import PlannedTargets
from .registry import check_baselines, find_baselines
from .simulated import slide_names
from .slide_table import SlideRow, attach_masks, read_exclusions, read_slide_table
from .targets import check_targets
from .transfers import Transfer, check_external


class Plan(PlannedTargets):
    """A resolved configuration and what follows from it for the DAG.

    Attributes
    ----------
    config : dict
        The configuration with every default filled in.
    variants : dict
        Complete pre-training settings by variant.
    """

    def __init__(self, config: dict, presets: dict, schema: dict, base: Path) -> None:
        self.base = base
        self.config = resolve(config, schema, "config")
        check_names(self.config)
        check_shots(self.config["evaluation"])
        check_targets(self.config, NAME)
        self.presets = presets
        self.variants = resolve_variants(self.config, presets, schema)
        check_starts(self.variants, self.config["audit"]["allow"])
        check_partners(self.variants, self.config["cohorts"])
        check_evaluated(self.config, [name for v in self.variants.values() for name in v["train"]["with"]])
        self.cohorts = list(self.config["cohorts"])
        self.evaluated = [name for name in self.cohorts if self.schemes(name)]
        self.results = self.config["results"]
        self.paths = Paths(self.results)
        self.baselines = list(dict.fromkeys(self.config["evaluation"]["baselines"]))
        check_baselines(self.baselines)
        clash = set(self.variants) & {*find_baselines(), CEILING, INPUT}
        if clash:
            raise InputError(f"variant `{clash.pop()}` has a baseline's name", remedy="rename the variant")
        for name in self.evaluated:
            self.selecting_task(name)
        self.transfers = find_transfers(self)
        check_external(self.transfers, self.variants, self.members)

    @classmethod
    def read(cls, config: dict, base: Path) -> Plan:
        """Build a plan from what Snakemake read, with the schema and presets beside the Snakefile."""
        schema = load_schema(base / "config" / "schemas" / "config.schema.json")
        return cls(dict(config), load_yaml(base / "config" / "variants.yaml"), schema, base)

    @staticmethod
    def any_of(names: Iterable[str]) -> str:
        """A regular expression that matches exactly these names."""
        return "|".join(re.escape(name) for name in names) or "(?!)"

    # -- cohorts -------------------------------------------------------------------------------

    def cohort(self, name: str) -> dict:
        """A cohort's settings."""
        return self.config["cohorts"][name]

    def members(self, name: str) -> list[str]:
        """The cohorts read from files that make up this one."""
        return self.cohort(name)["joint"] or [name]

    def schemes(self, name: str) -> list[str]:
        """Split schemes of a cohort: none where it is not evaluated on its own."""
        return schemes_of(self.config, name)

    @property
    def scored(self) -> list[str]:
        """Cohorts with predictions: those that are evaluated, and the targets of transfers."""
        ranked = {transfer.target for transfer in self.transfers}
        return [name for name in self.cohorts if name in ranked or name in self.evaluated]

    def simulated_folder(self, name: str) -> str:
        """Where a simulated cohort is written."""
        return str(Path(self.paths.simulated_samples.at(cohort=name)).parent)

    def has_slides(self, name: str) -> bool:
        """Whether the cohort brings slides or patch features."""
        return all(bool(c["simulate"] or c["samples"]) for c in map(self.cohort, self.members(name)))

    def has_rna(self, name: str) -> bool:
        """Whether the cohort brings expression."""
        return all(bool(c["simulate"] or c["expression"]) for c in map(self.cohort, self.members(name)))

    def has_clinical(self, name: str) -> bool:
        """Whether the cohort brings a clinical table."""
        return all(bool(c["simulate"] or c["clinical"]) for c in map(self.cohort, self.members(name)))

    def covariates(self, name: str) -> list[str]:
        """Columns that the configuration names as clinical covariates, of any member of a pooled cohort."""
        sources = [self.cohort(member)["clinical"] or {} for member in self.members(name)]
        return list(dict.fromkeys(column for source in sources for column in source.get("covariates") or []))

    def has_pixels(self, name: str) -> bool:
        """Whether slides are read (features that others made need none)."""
        return self.has_slides(name) and not self.cohort(name)["features"]

    # -- slides and shards ---------------------------------------------------------------------

    @cached_property
    def slides(self) -> dict[str, list[SlideRow]]:
        """Slides by cohort (cohorts read from files only), sorted by name."""
        out: dict[str, list[SlideRow]] = {}
        paths: dict[str, str] = {}
        unused: dict[str, set[Path]] = {}  # annotations of no slide, by folder
        for name in self.cohorts:
            cohort = self.cohort(name)
            if cohort["joint"] or not self.has_slides(name):
                continue
            if cohort["simulate"]:
                folder = self.simulated_folder(name)
                slides = [
                    SlideRow(s, p, f"{folder}/slides/{s}.svs", None, None)
                    for s, p in slide_names(cohort["simulate"]["patients"], name)
                ]
            else:
                slides = read_slide_table(cohort["samples"])
            if cohort["masks"]:
                slides, others = attach_masks(slides, cohort["masks"])
                unused[cohort["masks"]] = unused.get(cohort["masks"], set(others)) & set(others)
            for slide in slides:
                if paths.setdefault(slide.slide_id, slide.slide_path) != slide.slide_path:
                    raise InputError(
                        f"slide_id `{slide.slide_id}` names two files: {paths[slide.slide_id]} and {slide.slide_path}",
                        remedy="slide names must be unique over all cohorts",
                    )
            out[name] = sorted(slides, key=lambda s: s.slide_id)
        for folder, left in unused.items():
            if left:
                first = sorted(left)[0]
                raise InputError(
                    f"{len(left)} annotations belong to no slide (first: {first.name})",
                    file=folder,
                    remedy="name each as its slide_id in the slide table, with .geojson, or remove it",
                )
        return out

    def n_shards(self, cohort: str) -> int:
        """Shards of one cohort read from files."""
        return -(-len(self.slides[cohort]) // self.config["slides"]["slides_per_job"])

    @cached_property
    def excluded(self) -> dict[str, dict[str, str]]:
        """Slides that a person left out, with the reason, by cohort."""
        return {
            name: read_exclusions(file, slides) if (file := self.cohort(name)["exclude_slides"]) else {}
            for name, slides in self.slides.items()
        }

    def shard(self, cohort: str, shard: str | int) -> list[dict[str, Any]]:
        """The slides of one shard, as dictionaries.

        Slides are left out after the division into shards, so that leaving one out reruns its shard alone.
        """
        n, out = self.config["slides"]["slides_per_job"], self.excluded[cohort]
        part = self.slides[cohort][int(shard) * n : (int(shard) + 1) * n]
        return [s.as_dict() for s in part if s.slide_id not in out]

    def tile_shards(self, name: str) -> list[str]:
        """Status tables of tiling of a cohort and its members."""
        return [
            self.paths.tiles_shard.at(cohort=m, shard=i)
            for m in self.members(name)
            if self.has_pixels(m)
            for i in range(self.n_shards(m))
        ]

    def feature_shards(self, name: str, encoder: str) -> list[str]:
        """Status tables of patch features of one encoder."""
        return [
            self.paths.features_shard.at(cohort=m, encoder=encoder, shard=i)
            for m in self.members(name)
            if self.has_slides(m)
            for i in range(self.n_shards(m))
        ]

    def tile_tables(self, name: str) -> list[str]:
        """One joined status table of tiling a member; why joined, see `feature_tables`."""
        return [self.paths.tiles_status.at(cohort=m) for m in self.members(name) if self.has_pixels(m)]

    def feature_tables(self, name: str, encoder: str) -> list[str]:
        """One joined status table of patch features a member: what steps for each fold and variant name.

        Naming every shard there instead would make edges of shards times folds times variants.
        """
        return [
            self.paths.features_status.at(cohort=m, encoder=encoder) for m in self.members(name) if self.has_slides(m)
        ]

    def feature_source(self, cohort: str, encoder: str) -> dict:
        """The imported feature source of a cohort by the name of its encoder."""
        for source in self.cohort(cohort)["features"]:
            if source["encoder"] == encoder:
                return source
        raise InputError(f"cohort `{cohort}` has no features of encoder `{encoder}`")

    def features_made(self) -> dict[str, dict[str, Any]]:
        """What the patch features of each cohort read from files are made of, for `repair_features`."""
        out = {}
        for name, slides in self.slides.items():
            sources = {s["encoder"]: s for s in self.cohort(name)["features"]}
            rows = {} if sources else {e: self.encoder_row(e) for e in self.encoders_of(name)}
            out[name] = {"slides": [s.as_dict() for s in slides], "rows": rows, "sources": sources}
        return out

    def encoders_of(self, name: str) -> list[str]:
        """Patch encoders whose features this cohort has."""
        if not self.has_slides(name):
            return []
        per_member = []
        for member in self.members(name):
            sources = self.cohort(member)["features"]
            per_member.append([s["encoder"] for s in sources] if sources else list(self.config["encoders"]))
        return [e for e in per_member[0] if all(e in other for other in per_member)]

    @cached_property
    def encoders(self) -> list[str]:
        """Every encoder of any cohort."""
        return list(dict.fromkeys(e for c in self.cohorts for e in self.encoders_of(c)))

    def encoder_row(self, name: str) -> dict[str, Any]:
        """A row of the encoder table, with its name."""
        if name not in self.encoder_table:
            near = difflib.get_close_matches(name, self.encoder_table, n=1, cutoff=0.0)
            raise InputError(
                f"no encoder `{name}`",
                file=self.config["encoder_table"],
                remedy=f"did you mean `{near[0]}`? docs/encoders.md shows how to add one" if near else None,
            )
        return {"name": name, **self.encoder_table[name]}

    @cached_property
    def encoder_table(self) -> dict[str, dict]:
        """The encoder table: the user's where the path exists, else the one beside the Snakefile."""
        path = Path(self.config["encoder_table"])
        return load_yaml(path if path.exists() else self.base / path)

    # -- folds and methods ---------------------------------------------------------------------

    def folds(self, scheme: str) -> list[str]:
        """Fold identifiers ``r{repeat}f{fold}`` of a split scheme."""
        s = self.config["splits"][scheme]
        repeats = 1 if s["kind"] == "published" else s["repeats"]
        return [f"r{r}f{f}" for r in range(repeats) for f in range(s["folds"])]

    @property
    def train_threads(self) -> int:
        """Threads of a training job: small models gain nothing from more than one."""
        return 1 if self.config["pretrain"]["model"]["embed_dim"] <= 128 else 4

    def trains(self, name: str) -> bool:
        """Whether variants can be pre-trained: the cohort has slides and expression."""
        return self.has_slides(name) and self.has_rna(name)

    def predictions(self, name: str, encoder: str | None = None) -> list[str]:
        """Prediction files of a cohort: variants and baselines, every encoder, scheme and task."""
        out = []
        for scheme in self.schemes(name):
            for task in self.tasks(name):
                for method, where in self.methods(name, task):
                    if encoder in (None, where):
                        place = {"cohort": name, "encoder": where, "scheme": scheme, "task": task, "method": method}
                        out.append(self.paths.predictions.at(**place))
        return out

    def predictions_of(self, name: str, scheme: str, task: str) -> list[str]:
        """Prediction files of one target in one cohort and split scheme."""
        return [
            self.paths.predictions.at(cohort=name, encoder=e, scheme=scheme, task=task, method=m)
            for m, e in self.methods(name, task)
        ]

    def added(self, scheme: str) -> list[str]:
        """What methods add to clinical covariates: one table for each cohort and target of a split scheme."""
        return [
            self.paths.added.at(cohort=name, scheme=scheme, task=task)
            for name in self.evaluated
            if scheme in self.schemes(name)
            for task in self.tasks(name)
            if self.methods(name, task)
        ]

    def methods(self, name: str, task: str) -> list[tuple[str, str]]:
        """(method, encoder) of every method that this cohort's data allows for a task.

        Methods that read no patch features stand under the encoder ``none``.
        """
        out = []
        encoders = self.encoders_of(name)
        if self.trains(name):
            out += [(variant, e) for e in encoders for variant in self.variants]
            if "finetune" in self.config["evaluation"]["protocols"]:
                out += [(f"{variant}_finetune", e) for e in encoders for variant in self.variants]
        for baseline in self.baselines:
            known = find_baselines()[baseline]
            modality = known.modality
            if self._targets[name][task]["kind"] not in known.kinds:
                continue
            if (modality == "rna" and self.has_rna(name)) or modality == "clinical":
                out.append((baseline, "none"))
            elif modality == "wsi" or (modality == "fused" and self.has_rna(name)):
                out += [(baseline, e) for e in encoders]
        if self.cohort(name)["simulate"]:
            out.append((CEILING, "none"))
        return out


def find_transfers(plan: Plan) -> list[Transfer]:
    """The transfers of a configuration, one for each encoder and split scheme.

    Raises
    ------
    InputError
        A cohort that does not exist or lacks what is needed; a transfer onto itself or named twice.
    """
    out: list[Transfer] = []
    seen: set[tuple[str, str]] = set()
    for number, entry in enumerate(plan.config["evaluation"]["transfer"]):
        at = f"`evaluation.transfer[{number}]`"
        source, target = entry["source"], entry["target"]
        for name in (source, target):
            if name not in plan.cohorts:
                near = difflib.get_close_matches(name, plan.cohorts, n=1, cutoff=0.0)
                raise InputError(f"{at}: no cohort is called `{name}`", remedy=f"did you mean `{near[0]}`?")
            if not any(plan.target(name, task)["kind"] == "survival" for task in plan.tasks(name)):
                raise InputError(
                    f"{at}: cohort `{name}` is not evaluated for survival",
                    remedy="give it a clinical table, and survival among evaluation.tasks",
                )
        tasks = [
            t for t in plan.tasks(source) if t in plan.tasks(target) and plan.target(source, t)["kind"] == "survival"
        ]
        if not tasks:
            raise InputError(
                f"{at}: {source} and {target} share no survival target", remedy="give both one of the same name"
            )
        related = set(plan.members(source)) & set(plan.members(target))
        if related or (source, target) in seen:
            what = f"{', '.join(sorted(related))} would be on both sides" if related else "named twice"
            raise InputError(f"{at}: {source} to {target}: {what}", remedy="name two different cohorts, once")
        seen.add((source, target))
        if source not in plan.evaluated:
            raise InputError(
                f"{at}: no model is trained on `{source}`, which has `evaluate: false`",
                remedy=f"set `cohorts.{source}.evaluate: true`",
            )
        if not plan.trains(source):
            raise InputError(f"{at}: no model is trained on `{source}`, which lacks slides or expression")
        if not (plan.has_slides(target) or plan.has_rna(target)):
            raise InputError(f"{at}: cohort `{target}` has neither slides nor expression")
        encoders = plan.encoders_of(source)
        if plan.has_slides(target):
            encoders = [e for e in encoders if e in plan.encoders_of(target)]
        if not encoders:
            raise InputError(
                f"{at}: {source} and {target} share no patch encoder", remedy="give both the same features"
            )
        for encoder in encoders:
            for scheme in plan.schemes(source):
                out.append(Transfer(source, target, encoder, scheme, entry["max_missing_genes"], tasks[0]))
    clash = {t.name for t in out} & set(plan.config["splits"])
    if clash:
        raise InputError(f"the split scheme `{clash.pop()}` has the name of a transfer", remedy="rename the scheme")
    return out
