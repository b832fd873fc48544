"""`read_expression`: any supported file to one row per patient, with a record of all that was done."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import anndata as ad
import pandas as pd

from ...config.sources import ExpressionSource
from ...core.atomic import atomic_path
from ...core.barcodes import SAMPLE_TYPES
from ...core.cut_short import tail_absent
from ...core.errors import InputError
from ...core.facts import Facts
from . import cbioportal, gdc_star, h5ad, matrix, porpoise, reference, xena
from .base import RawMatrix
from .detect import detect_format
from .doubts import doubts, refuse_log10, refuse_totals
from .genes import canonical_genes, cut_after, merge_duplicate_genes, plain_name
from .joining import Part, join_files
from .rules import apply_value_rules
from .samples import SampleSelector, one_row_a_patient
from .values import settle_kind

log = logging.getLogger("mirror")
READERS = {
    "gdc_star": gdc_star.read,
    "cbioportal": cbioportal.read,
    "h5ad": h5ad.read,
    "matrix": matrix.read,
    "porpoise": porpoise.read,
    "reference": reference.read,
    "xena": xena.read,
}


def read_expression(
    source: ExpressionSource, patients: Iterable[str] | None = None, cohort: str = "", found: Facts | None = None
) -> tuple[ad.AnnData, dict[str, Any]]:
    """Read a cohort's expression, of one file or several.

    Parameters
    ----------
    source : ExpressionSource
        Path, format and policies. Several files are joined over the genes that all have (`join_files`).
    patients : iterable of str or None
        The cohort's patients (any TCGA barcode, or identifiers as the file has them); only their samples are
        read. None reads everyone.
    cohort : str
        Name put into the record.
    found : Facts, optional
        Gets what was read as what, and what contradicts it.

    Returns
    -------
    adata : anndata.AnnData
        X float32 (patients, genes) as read, NaN where missing under ``missing: median``; obs_names patient_id,
        obs: sample_id, sample_type, n_samples, n_different; var_names gene id (Ensembl without version, or
        symbol as written), var: symbol, ensembl and where known entrez, gene_type; ``uns["mirror"]``: the report
        as JSON.
    report : dict
        Format, kind of values, and the counts of everything left out, merged, clipped or flagged.

    Raises
    ------
    InputError
        When the file cannot be used; says which, where and what to do.
    """
    found = Facts(source.about) if found is None else found
    if not source.further:
        return _read_file(source, patients, cohort, found)
    wanted = list(patients) if patients is not None else None
    parts = []
    for file in source.files:
        own = Facts(file)
        alone = source.model_copy(update={"path": file, "further": [], "constant_genes": "keep"})
        adata, report = _read_file(alone, wanted, cohort, own, whole=False)
        parts.append(Part(file, adata, report))
        found.extend(own, prefix=f"{Path(file).name}: ")
    both = Facts(source.about)
    adata, report = join_files(parts, source, SampleSelector(source, wanted).patients, cohort, both)
    both.log(log)
    found.extend(both)
    return adata, report


def _read_file(
    source: ExpressionSource, patients: Iterable[str] | None, cohort: str, found: Facts, whole: bool = True
) -> tuple[ad.AnnData, dict[str, Any]]:
    """Read one file; of a cohort of several (not ``whole``) no file has all patients."""
    form = source.format if source.format != "auto" else detect_format(source.path)
    selector = SampleSelector(source, patients)
    raw: RawMatrix = READERS[form](source, selector)
    file = str(source.path)
    if raw.values.shape[1] == 0:
        raise InputError("has no genes", file=file)
    described = [selector.describe(sample) for sample in raw.samples]
    owners = [patient for patient, _ in described]

    refuse_totals(raw.values, raw.samples, raw.genes["id"].astype(str).tolist(), file)
    kind, values_report = settle_kind(raw.values, source.values, raw.kind, file, raw.named, source.negative)
    below = values_report.get("negative", {})
    refuse_log10(raw.values, kind, source.values != "auto", file)
    genes, genes_report = canonical_genes(raw.genes)
    doubtful = doubts(raw.values, raw.samples, genes, kind)
    values, genes, repeats = merge_duplicate_genes(raw.values, genes, source.gene_duplicates, kind, file)
    raw.values = values  # the matrix before merging is not needed again
    empty = pd.isna(values).all(axis=1)
    lost = [sample for sample, gone in zip(raw.samples, empty, strict=True) if gone]
    if lost:
        keep = [row for row, gone in enumerate(empty) if not gone]
        values, owners = values[keep], [owners[row] for row in keep]
        described = [described[row] for row in keep]
        raw.samples = [raw.samples[row] for row in keep]
    values, obs, samples_report = one_row_a_patient(values, raw.samples, owners, source.duplicates, file)
    obs["sample_id"] = [plain_name(str(sample)) for sample in obs["sample_id"]]
    code = dict(described)
    obs["sample_type"] = [SAMPLE_TYPES.get(code[patient], code[patient]) for patient in obs.index]
    values, genes, rules = apply_value_rules(
        values, genes, kind, source.missing, source.constant_genes, source.extreme, source.extreme_z, file
    )

    absent = sorted(selector.patients - set(obs.index)) if selector.patients is not None and whole else []
    report: dict[str, Any] = {
        "cohort": cohort,
        "source": Path(source.path).name,
        "format": form,
        "settings": source.model_dump(mode="json"),
        "values": values_report,
        "samples": selector.report() | {"all_missing": lost[:20], "n_all_missing": len(lost)},
        "duplicates": samples_report,
        "genes": genes_report,
        "gene_duplicates": repeats,
        "rules": rules,
        "reader": raw.notes,
        "doubts": doubtful,
        "patients": len(obs),
        "n_genes": len(genes),
        "patients_without_expression": len(absent),
        "patients_without_expression_examples": absent[:20],
    }
    report["rules"]["negative"] = {"policy": source.negative, "cells": below.get("cells", 0)}
    rows = raw.notes.get("orientation") == "genes_by_samples" and not str(source.path).lower().endswith(".parquet")
    report["genes"]["cut_after"] = cut_after(raw.genes["id"].astype(str).tolist()) if rows or form == "gdc_star" else ""
    order = [owner for owner in owners if owner]
    lines = raw.notes.get("orientation") == "samples_by_genes" or form == "porpoise"
    report["samples"]["tail_absent"] = order[-1] if lines and tail_absent(order, absent) else ""
    report["warnings"] = _warnings(report)
    for line in report["warnings"]:
        log.warning("%s: %s", report["source"], line)
    _note_facts(report, raw, found)
    log.info("%s: %d patients, %d genes, %s (%s)", report["source"], len(obs), len(genes), kind, form)

    var = genes.set_index("id", drop=True).rename_axis("gene")
    adata = ad.AnnData(X=values, obs=obs, var=var)
    adata.uns["mirror"] = json.dumps(report, default=str, allow_nan=True)
    return adata, report


def _note_facts(report: dict[str, Any], raw: RawMatrix, found: Facts) -> None:
    """Record how the file was read; plain facts go to the log, the warnings are there already."""
    notes, genes, samples = report["reader"], report["genes"], report["samples"]
    plain = Facts(found.about)
    stated = report["settings"]["format"] != "auto"
    plain.note("format", report["format"], "expression.format" if stated else "content of the file")
    if "orientation" in notes:
        plain.note("orientation", notes["orientation"].replace("_", " "), "names along the header and down the side")
    for key, subject in (("column", "column"), ("column_type_used", "column type"), ("layer", "layer"),
                         ("identifiers", "identifiers"), ("sample_sheet", "sample sheet"),
                         ("samples_named_by", "samples named by"), ("gene_models", "gene model")):  # fmt: skip
        if notes.get(key):
            plain.note(subject, notes[key], "file")
    if left := notes.get("columns_left_out"):
        plain.note("columns left out", list(left)[:20] if isinstance(left, list) else left, "names that are no genes")
    plain.note("values", report["values"]["kind"], report["values"]["reason"])
    if offset := report["values"].get("offset"):
        plain.note("offset of the logarithm", offset, "smallest value")
    plain.note("samples read", f"{len(raw.samples)} of {samples['samples_in_file']}", "identifiers")
    for key in ("normals_excluded", "other_types_excluded"):
        if samples[key]:
            plain.note(key.replace("_", " "), samples[key], "sample types of barcodes")
    plain.note("patients", report["patients"])
    if report["patients_without_expression"]:
        some = ", ".join(report["patients_without_expression_examples"][:3])
        plain.note("patients without expression", f"{report['patients_without_expression']} ({some})")
    symbols = genes["genes_in_file"] - genes["ensembl"]
    plain.note("gene identifiers", f"{genes['ensembl']} Ensembl, {symbols} others", "first column or header")
    plain.note("genes", report["n_genes"])
    plain.log(log)
    found.extend(plain)
    for line in report["warnings"]:
        found.warn("expression", line, report["source"])


def _warnings(report: dict[str, Any]) -> list[str]:
    """Return what a user should look at, one sentence each."""
    out = list(report["doubts"])
    rules, genes, repeats = report["rules"], report["genes"], report["gene_duplicates"]
    if genes["n_names_made_into_numbers"]:
        some = ", ".join(f"{k} (was {v}?)" for k, v in list(genes["names_made_into_numbers"].items())[:4])
        out.append(f"{genes['n_names_made_into_numbers']} gene names were turned into numbers by a spreadsheet: {some}")
    if genes["rows_of_repeated_dates"]:
        some = ", ".join(list(genes["repeated_dates_left_out"])[:4])
        out.append(f"{genes['rows_of_repeated_dates']} rows left out: several genes became one date or number ({some})")
    if genes["cut_after"]:
        out.append(
            f"genes are in alphabetical order and end at {genes['cut_after']}: the rest of the file may be missing; "
            "compare its size or checksum with the source"
        )
    if report["samples"]["tail_absent"]:
        out.append(
            f"patients are in alphabetical order and end at {report['samples']['tail_absent']}; all "
            f"{report['patients_without_expression']} patients of the slide table without expression would follow: "
            "the rest of the file may be missing"
        )
    if report["reader"].get("no_final_line_end"):
        out.append(
            "the file does not end with a line end: it may be cut, and its last number with it; compare its size or "
            "checksum with the source"
        )
    if types := report["reader"].get("column_types"):
        out.append(
            f"{len(types)} columns per sample ({', '.join(types)}); {report['reader']['column_type_used']} is read "
            "(another: `column`)"
        )
    if genes["n_names_made_into_dates"]:
        some = ", ".join(f"{k} (was {v}?)" for k, v in list(genes["names_made_into_dates"].items())[:4])
        out.append(f"{genes['n_names_made_into_dates']} gene names were turned into dates by a spreadsheet: {some}")
    if repeats["rows_merged"]:
        out.append(f"{repeats['rows_merged']} rows of repeated gene names merged (policy {repeats['policy']})")
    different = report["duplicates"]["patients_with_different_samples"]
    if different:
        out.append(f"{different} patients have samples with different values (policy {report['duplicates']['policy']})")
    if rules["missing"]["cells"]:
        gaps = rules["missing"]
        out.append(f"{gaps['cells']} missing values in {gaps['genes']} genes (policy {gaps['policy']})")
    if report["samples"]["n_all_missing"]:
        out.append(f"{report['samples']['n_all_missing']} samples without one value left out")
    if report["samples"]["samples_without_identifier"]:
        out.append(f"{report['samples']['samples_without_identifier']} samples without an identifier left out")
    if report["samples"]["samples_named_after_a_patient"]:
        out.append(
            f"{report['samples']['samples_named_after_a_patient']} samples belong to the patient whose identifier "
            "theirs begins with; their sample types are not known (a `sample_sheet` would tell)"
        )
    if unnamed := report["reader"].get("samples_named_by", {}).get("its own name"):
        out.append(f"{unnamed} files are named by no sample sheet and no barcode: each counts as a patient of its own")
    if odd := report["reader"].get("columns_unlike_samples"):
        out.append(
            f"{len(odd)} columns are read as samples, and their names are not barcodes as the others' are "
            f"({', '.join(odd[:5])}); remove them if they are no samples"
        )
    if odd := report["reader"].get("columns_unlike_genes"):
        out.append(f"{len(odd)} columns are read as genes but do not look so ({', '.join(odd[:5])}); remove others")
    if rules["negative"]["cells"]:
        out.append(f"{rules['negative']['cells']} negative values (policy {rules['negative']['policy']})")
    if (small := report["values"].get("negative", {})).get("rounding"):
        out.append(
            f"{small['rounding']} values just below zero (smallest {small['smallest']:.3g}) are rounding, set to 0"
        )
    if rules["constant"]["genes"]:
        flat = rules["constant"]
        out.append(f"{flat['genes']} genes are constant ({', '.join(flat['examples'][:3])}; policy {flat['policy']})")
    if rules.get("extreme", {}).get("cells"):
        odd = rules["extreme"]
        out.append(
            f"{odd['cells']} z-scores in {odd['genes']} genes are beyond {odd['bound']:g} "
            f"(largest {odd['largest']:.6g}; policy {odd['policy']})"
        )
    if apart := report["values"].get("two_scales"):
        (low, most), (least, high) = apart["ranges"]
        out.append(
            f"99 % of the values lie below {low:.3g} to {most:.3g} in {apart['below']} samples and below {least:.3g} "
            f"to {high:.3g} in {apart['above']}: samples of two scales (such as logarithms beside counts) seem to be "
            f"joined, and all are read as {report['values']['kind']}; bring them to one scale"
        )
    if "note" in report["values"]:
        out.append(report["values"]["note"])
    return out


def write_expression(adata: ad.AnnData, path: str | Path) -> None:
    """Write ``adata`` to an h5ad file atomically, compressed."""
    with atomic_path(path) as part:
        adata.write_h5ad(part, compression="gzip", compression_opts=1)
