"""Which way round a matrix is, and what its columns are."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Literal

from ...config.sources import ExpressionSource
from ...core.barcodes import parse
from ...core.errors import InputError
from .genes import parse_ensembl

GENE_ID_NAMES = {
    "gene", "genes", "gene_id", "geneid", "gene_name", "ensembl_id", "ensembl", "ensembl_gene_id", "hugo_symbol",
    "hgnc_symbol", "gene_symbol", "symbol", "transcript", "transcript_id", "probe", "probe_id", "target_id",
}  # fmt: skip
SAMPLE_ID_NAMES = {"sample_id", "sample", "samples", "sampleid", "barcode", "aliquot", "tcga_barcode"}
PATIENT_ID_NAMES = {
    "patient_id", "patient", "patients", "patientid", "case_id", "case", "caseid", "case_submitter_id", "submitter_id",
    "bcr_patient_barcode", "subject_id", "id",
}  # fmt: skip
ANNOTATIONS = {
    "symbol": {"gene_name", "symbol", "hugo_symbol", "hgnc_symbol", "gene_symbol", "genename"},
    "entrez": {"entrez_gene_id", "entrez", "entrezgene", "entrez_id"},
    "gene_type": {"gene_type", "gene_biotype", "biotype", "type"},
    "": {"description", "length", "chromosome", "chr", "chrom", "start", "end", "strand", "gene_length"},
}
"""Columns beside the samples of a table with genes in rows: what they become in ``var`` (``""``: left out)."""
METADATA = PATIENT_ID_NAMES | SAMPLE_ID_NAMES | {
    "slide_id", "site", "age", "sex", "gender", "is_female", "label", "oncotree_code", "survival_months", "censorship",
    "train", "project", "project_id", "cohort", "stage", "sample_type", "os", "os.time", "time", "event", "time_days",
    "survival_months_dss", "survival_months_pfi", "censorship_dss", "censorship_pfi", "cancer_type", "subtype",
}  # fmt: skip
"""Columns beside the genes of a table with samples in rows; left out by name and reported."""
_SYMBOL = re.compile(r"^(?:[A-Z][A-Z0-9]{0,9}(?:[-.][A-Z0-9]{1,8}){0,2}|C\d{1,2}orf\d+)$")
_CLINICAL = re.compile(
    r"(?:^|[_. ])(?:age|sex|gender|race|ethnicity|futime|fustat|time|days?|months?|years?|surv\w*|status|events?|"
    r"censor\w*|vital|death|dead|alive|deceased|follow\w*|stage|grade|purity|ploidy|batch|cent(?:er|re)|site|cohort|"
    r"project|group|label|subtype|sample_?type|fold|split|os|dss|pfi|dfi|pfs|dfs|rfs|bmi|weight|height|smok(?:er|ing)\w*|"
    r"treatment|therapy|response|recurrence|relapse|metastasis|msi|tmb)(?:$|[_. ])",
    re.IGNORECASE,
)
_WORD = re.compile(r"^[a-z]{4,}\d*(?:[_. ][a-z0-9]+)*$")

Known = Callable[[str], bool]
Direction = Literal["genes_by_samples", "samples_by_genes"]


def sample_share(names: Sequence[str], known: Known) -> float:
    """Share of names that are TCGA or GTEx samples, or that the cohort or sample sheet knows."""
    return sum(bool(parse(n)) or n.upper().startswith("GTEX-") or known(n) for n in names) / max(len(names), 1)


def gene_share(names: Sequence[str]) -> float:
    """Share of names that look like Ensembl ids or human gene symbols."""
    return sum(bool(parse_ensembl(n.split("|")[0])) or bool(_SYMBOL.match(n)) for n in names) / max(len(names), 1)


def settle(
    source: ExpressionSource,
    columns: Sequence[str],
    rows: Sequence[str],
    corner: str,
    known: Known,
    usual: Direction | None,
) -> Direction:
    """Return the stated orientation unless the names contradict it, else the one recognised, else the usual one.

    Raises
    ------
    InputError
        When the stated orientation would take patients for genes, or nothing tells which way round it is.
    """
    stated = source.orientation
    if stated == "auto":
        try:
            return orient(columns, rows, corner, known, source.path)
        except InputError:
            if usual is None:
                raise
            return usual
    across, down = sample_share(columns, known), sample_share(rows, known)
    samples, genes = (across, down) if stated == "genes_by_samples" else (down, across)
    if genes >= 0.3 and samples == 0:
        raise InputError(
            f"`orientation` is {stated}, but what would be genes are samples ({(rows if down else columns)[0]})",
            file=source.path,
            remedy="set `orientation: auto`",
        )
    return stated


def orient(columns: Sequence[str], rows: Sequence[str], corner: str, known: Known, file: str) -> Direction:
    """Return ``genes_by_samples`` or ``samples_by_genes``.

    Parameters
    ----------
    columns, rows : sequence of str
        Names along the header and down the first column (the first some hundred will do).
    corner : str
        The first column's name.
    known : callable
        Whether a name is a sample or patient of the cohort.
    file : str
        Named in the error.

    Raises
    ------
    InputError
        When neither side is recognised.
    """
    across, down = sample_share(columns, known), sample_share(rows, known)
    if max(across, down) >= 0.3 and across != down:
        return "genes_by_samples" if across > down else "samples_by_genes"
    corner = corner.strip().lower()
    if corner in GENE_ID_NAMES:
        return "genes_by_samples"
    if corner in PATIENT_ID_NAMES | {"sample_id", "barcode"}:
        return "samples_by_genes"
    ensembl_across = sum(bool(parse_ensembl(n)) for n in columns) / max(len(columns), 1)
    ensembl_down = sum(bool(parse_ensembl(n)) for n in rows) / max(len(rows), 1)
    if abs(ensembl_across - ensembl_down) > 0.3:
        return "samples_by_genes" if ensembl_across > ensembl_down else "genes_by_samples"
    genes_across, genes_down = gene_share(columns), gene_share(rows)
    if abs(genes_across - genes_down) > 0.5:
        return "samples_by_genes" if genes_across > genes_down else "genes_by_samples"
    raise InputError(
        f"cannot tell which way round it is: columns such as {', '.join(list(columns)[:3])}, rows such as "
        f"{', '.join(list(rows)[:3])}",
        file=file,
        remedy="set `orientation` to genes_by_samples or samples_by_genes",
    )


def skips_row_numbers(columns: Sequence[str], first: Sequence[Sequence[str]], known: Known) -> bool:
    """Whether the first column is a data frame's row numbers, and what follows can name the rows.

    Patients may be numbered 0, 1, 2 ... themselves: then numbers follow, and the first column stays.
    """
    if len(columns) < 2 or not is_row_number(columns[0], [fields[0] for fields in first]):
        return False
    lower = [column.strip().lower() for column in columns[1:]]
    if lower[0] in GENE_ID_NAMES or any(name in SAMPLE_ID_NAMES | PATIENT_ID_NAMES for name in lower):
        return True
    if sample_share([fields[0] for fields in first], known) >= 0.3:
        return False
    return not all(_is_numeral(fields[1]) for fields in first)


def _is_numeral(cell: str) -> bool:
    try:
        float(cell or "nan")
    except ValueError:
        return False
    return True


def best_identifiers(candidates: Sequence[tuple[str, Sequence[str]]], known: Known) -> int:
    """Which of several columns identifies the samples.

    The one with most barcodes or known patients; among equals the one whose barcodes say what was sampled
    (a patient's barcode would hide that a row is a normal); then the earlier candidate. A column with one
    value in all rows identifies nothing.

    Parameters
    ----------
    candidates : sequence of (name, cells)
        The most preferred first.
    known : callable
        Whether a name is a sample or patient of the cohort.

    Returns
    -------
    int
        Position in ``candidates``.
    """

    def merit(place: int) -> tuple[float, float, bool, int]:
        cells = candidates[place][1]
        parsed = [parse(cell) for cell in cells]
        typed = sum(bool(found and found.sample_type) for found in parsed) / max(len(cells), 1)
        return round(sample_share(cells, known), 2), round(typed, 2), len(set(cells)) > 1, -place

    return max(range(len(candidates)), key=merit)


def is_clinical(name: str) -> bool:
    """Whether a column beside genes is clinical by its name (``futime``, ``tumor_purity``, ``OS_days``)."""
    name = name.strip()
    if name.lower() in METADATA:
        return True
    return not (_SYMBOL.match(name) or parse_ensembl(name)) and bool(_CLINICAL.search(name))


def unlike_samples(names: Sequence[str], known: Known) -> list[str]:
    """Names that are no barcodes where nearly all others are: perhaps statistics or annotations, no samples."""
    odd = [name for name in names if not (parse(name) or name.upper().startswith("GTEX") or known(name))]
    return odd if len(odd) <= 0.2 * len(names) else []


def unlike_genes(names: Sequence[str]) -> list[str]:
    """Lower-case words among names that are no such words: perhaps no genes. Empty where most are lower-case."""
    odd = [name for name in names if _WORD.match(name)]
    return odd if len(odd) < 0.2 * len(names) else []


def is_row_number(name: str, cells: Sequence[str]) -> bool:
    """Whether a column is only the row numbers that a data frame was saved with."""
    if name.lower() not in {"", "unnamed: 0", "index", "__index_level_0__"}:
        return False
    return list(cells) == [str(i) for i in range(len(cells))] or list(cells) == [str(i + 1) for i in range(len(cells))]
