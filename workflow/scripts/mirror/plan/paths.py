"""Where every file of a run is: one template per file, and its inverse. Standard library only.

Rules, scripts, trace and report take paths from here and read names back through `names_in`, so that no place of
the code counts folders.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePath
from typing import Any

from ..core.errors import InputError

FIELD = re.compile(r"\{(\w+)\}")


class Template(str):
    """A path with named places, as ``results/cohort/{cohort}/patients.tsv``.

    It is a string, and stands in a rule as it is: the places are Snakemake's wildcards.
    """

    @property
    def fields(self) -> list[str]:
        """Names of the places, in order."""
        return list(dict.fromkeys(FIELD.findall(self)))

    def at(self, **values: Any) -> str:
        """The path with these places filled in; the others stay wildcards.

        Raises
        ------
        TypeError
            The template has no place of that name.
        """
        unknown = set(values) - set(self.fields)
        if unknown:
            raise TypeError(f"{self} has no place called {', '.join(sorted(unknown))}")
        return FIELD.sub(lambda m: str(values.get(m[1], m[0])), self)

    def of(self, wildcards: Any, **values: Any) -> str:
        """The path of a job: places from its wildcards, unless given here."""
        return self.at(**{name: getattr(wildcards, name) for name in self.fields if name not in values}, **values)


# Below the results folder. The names of the places are those of the wildcards.
FILES = {
    # slides and patch features
    "slides_folder": "slides",
    "slides_qc": "slides/qc",
    "qc_page": "qc/{cohort}.html",
    "weights_fetched": "slides/weights_fetched",
    "tiles_shard": "slides/{cohort}/tiles/shard_{shard}.tsv",
    "tiles_status": "slides/{cohort}/tiles.tsv",
    "features_folder": "slides/features/{encoder}",
    "features_shard": "slides/{cohort}/features/{encoder}/shard_{shard}.tsv",
    "features_status": "slides/{cohort}/features/{encoder}.tsv",
    # expression
    "raw_rna": "rna/{cohort}.raw.h5ad",
    "rna": "rna/{cohort}.h5ad",
    "genes": "rna/{cohort}/{scheme}/genes_{fold}.txt",
    "gene_reasons": "rna/{cohort}/{scheme}/genes_{fold}.tsv",
    "transform": "rna/{cohort}/{scheme}/transform_{fold}.npz",
    "stability": "rna/{cohort}/{scheme}/stability.tsv",
    "matched_rna": "rna/{cohort}/{scheme}/matched.h5ad",
    # what was read as what
    "facts": "facts/{cohort}_{input}.json",
    # cohort
    "clinical": "cohort/{cohort}/clinical.tsv",
    "clinical_report": "cohort/{cohort}/clinical.json",
    "patients": "cohort/{cohort}/patients.tsv",
    "study": "cohort/{cohort}/study.tsv",
    "outcomes": "cohort/{cohort}/targets/{task}.tsv",
    "outcomes_flow": "cohort/{cohort}/targets/flow/{task}.tsv",
    "strata": "cohort/{cohort}/strata.tsv",
    "slides": "cohort/{cohort}/slides.tsv",
    "flow": "cohort/{cohort}/flow.tsv",
    "failures": "cohort/{cohort}/failures.tsv",
    "splits_folder": "cohort/{cohort}/{scheme}",
    "splits": "cohort/{cohort}/{scheme}/splits.tsv",
    "splits_report": "cohort/{cohort}/{scheme}/splits.json",
    "leaks": "cohort/{cohort}/{scheme}/leaks.json",
    "leaks_of_models": "cohort/{cohort}/{scheme}/leaks_{encoder}.json",
    "leaks_of_predictions": "cohort/{cohort}/{scheme}/audit_predictions.json",
    "audit": "cohort/{cohort}/{scheme}/{audit}.json",
    # models
    "model": "models/{cohort}/{encoder}/{scheme}/{variant}/{fold}.safetensors",
    "training_log": "models/{cohort}/{encoder}/{scheme}/{variant}/{fold}.log.tsv",
    "training_state": "models/state/{cohort}_{encoder}_{scheme}_{variant}_{fold}",
    "embeddings": "embeddings/{cohort}/{encoder}/{scheme}/{variant}/{fold}.h5ad",
    # evaluation
    "predictions": "predictions/{cohort}/{encoder}/{scheme}/{task}/{method}.parquet",
    "added": "added/{cohort}/{scheme}/{task}.tsv",
    "metrics": "metrics.tsv",
    "comparisons": "comparisons.tsv",
    "metrics_left_out": "metrics_left_out.tsv",
    "trace": "trace.json",
    "truth": "truth/{cohort}/{encoder}/{scheme}.tsv",
    "interpretation": "interpretation/{cohort}/{encoder}/{scheme}/{variant}",
    "prototypes": "interpretation/{cohort}/{encoder}/{scheme}/{variant}/prototypes.tsv",
    "style_clusters": "style/{cohort}/{encoder}/{scheme}/clusters.tsv",
    "style_prototypes": "style/{cohort}/{encoder}/{scheme}/prototypes.tsv",
    # simulated cohorts
    "simulated_samples": "simulated/{cohort}/samples.tsv",
    "simulated_counts": "simulated/{cohort}/counts.tsv",
    "simulated_clinical": "simulated/{cohort}/clinical.tsv",
    "simulated_modules": "simulated/{cohort}/modules.gmt",
    "simulated_factors": "simulated/{cohort}/truth/factors.tsv",
    # what a person opens
    "tables_index": "tables/index.json",
    "figures_folder": "figures",
    "figure": "figures/{cohort}/{encoder}/{scheme}/{figure}",
    "report": "report.html",
    "report_key": "report_key.tsv",
    "doctor": "doctor.tsv",
    "slides_tried": "doctor/slides_tried.json",
    "training_tried": "doctor/training_tried.json",
    "gpu_seen": "doctor/gpu_{environment}.json",
}


class Paths:
    """The files of one results folder: ``paths.patients`` is a `Template`.

    Parameters
    ----------
    results : path-like
        The results folder.
    """

    def __init__(self, results: str | Path) -> None:
        self.results = str(results)

    def __getattr__(self, name: str) -> Template:
        if name not in FILES:
            raise AttributeError(f"no file of a run is called {name!r}")
        return Template(f"{self.results}/{FILES[name]}")

    def log(self, rule: str, *names: str) -> str:
        """The log of a rule; ``names`` are its wildcards, or text that holds them."""
        return self._per_job("logs", rule, names, "log")

    def benchmark(self, rule: str, *names: str) -> str:
        """The benchmark file of a rule (seconds, memory); as `log`."""
        return self._per_job("benchmarks", rule, names, "tsv")

    def _per_job(self, folder: str, rule: str, names: tuple[str, ...], ending: str) -> str:
        job = "_".join(name if "{" in name else f"{{{name}}}" for name in names)
        return f"{self.results}/{folder}/{rule}{'/' + job if job else ''}.{ending}"


def names_in(file: str, path: str | PurePath) -> dict[str, str]:
    """The names in a path: the inverse of `Template.at`.

    Parameters
    ----------
    file : str
        Which file it is, a key of `FILES`.
    path : path-like
        Its path; what comes before the results folder, and that folder's name, do not matter.

    Returns
    -------
    dict
        The template's places and what stands there.

    Raises
    ------
    InputError
        The path is not of this form.
    """
    parts: list[str] = []
    seen: set[str] = set()
    for text in re.split(r"(\{\w+\})", FILES[file]):
        field = FIELD.fullmatch(text)
        if field is None:
            parts.append(re.escape(text))
        elif field[1] in seen:
            parts.append(f"(?P={field[1]})")
        else:
            seen.add(field[1])
            parts.append(f"(?P<{field[1]}>[^/]+?)")
    found = re.search(f"(?:^|/){''.join(parts)}$", PurePath(path).as_posix())
    if found is None:
        raise InputError(
            f"is not of the form {FILES[file]}", file=str(path), remedy="name a file of the results folder"
        )
    return found.groupdict()
