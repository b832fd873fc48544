"""Several columns per sample: the same samples once as counts, once as TPM, once as FPKM, in one table.

TCGAbiolinks writes ``tpm_unstranded_TCGA-...`` beside ``unstranded_TCGA-...`` and four more, RSEM and kallisto
tables have ``S1.TPM`` or ``S1_est_counts``. Taken as they stand, twelve patients become seventy-two.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from ...config.sources import ExpressionSource
from ...core.barcodes import find
from ...core.errors import InputError

T = TypeVar("T")
COUNTS = (
    "unstranded", "counts", "count", "raw_counts", "raw_count", "read_count", "read_counts", "readcount", "reads",
    "expected_count", "expected_counts", "est_counts", "numreads",
)  # fmt: skip
"""Names of columns of counts, the most usual first."""
_OTHERS = (
    "stranded_first", "stranded_second", "tpm_unstranded", "fpkm_unstranded", "fpkm_uq_unstranded", "tpm", "fpkm",
    "fpkm_uq", "rpkm", "cpm", "logcpm", "log2tpm", "log2_tpm", "log2fpkm", "log2", "vst", "rlog", "zscore", "z_score",
    "normalized_count", "normalized_counts", "norm_counts", "scaled_estimate", "median_length_normalized", "rsem",
    "effective_length", "length", "isopct", "abundance",
)  # fmt: skip
_SEPARATOR = r"[-._:|/ ]"
_TYPES = "|".join(sorted((t.replace("_", "[-_. ]?") for t in (*COUNTS, *_OTHERS)), key=len, reverse=True))
_PREFIX = re.compile(rf"^({_TYPES}){_SEPARATOR}+(?=\S)", re.IGNORECASE)
_SUFFIX = re.compile(rf"(?<=\S){_SEPARATOR}+[(\[]?({_TYPES})[)\]]?$", re.IGNORECASE)


def value_type(name: str) -> tuple[str, str]:
    """Split a column's name into its sample and the type of value it speaks of.

    Returns
    -------
    sample, token : str
        ``token`` is in lower case with underscores, and empty where the name is the sample's alone. What stands
        around a TCGA barcode counts as a token whatever it is, unless it is a number (the mark of a repeated name).
    """
    name = name.strip()
    place = find(name)
    if place is not None:
        start, stop = place
        rest = (name[:start].strip("-._:|/ ([") or name[stop:].strip("-._:|/ ([])")).strip()
        token = _token(rest)
        return name[start:stop], "" if token.isdigit() or len(token) > 40 else token
    for pattern in (_PREFIX, _SUFFIX):
        match = pattern.search(name)
        if match:
            sample = (name[: match.start()] + name[match.end() :]).strip("-._:|/ ([])")
            if sample:
                return sample, _token(match.group(1))
    return name, ""


def _token(text: str) -> str:
    return re.sub(r"[-. ]+", "_", text.strip()).lower()


def choose_block(
    names: Sequence[str],
    places: Sequence[T],
    source: ExpressionSource,
    known: Callable[[str], bool],
    notes: dict[str, Any],
) -> tuple[list[str], list[T]]:
    """Keep one type of value where a table holds several columns (or rows) per sample.

    ``source.column`` names the type where it was set. Otherwise the columns of counts are taken where there is one
    such type; anything else is asked for.

    Parameters
    ----------
    names : sequence of str
        Columns as the file writes them.
    places : sequence
        What belongs to each name, such as its position.
    source : ExpressionSource
        ``column`` is used.
    known : callable
        Whether a name is a sample or patient of the cohort as it stands.
    notes : dict
        Gets ``column_types`` and ``column_type_used``.

    Returns
    -------
    names, places : list
        Of the chosen type, names without it; all of them, unchanged, where there is one column per sample.

    Raises
    ------
    InputError
        Several types and no telling which is meant.
    """
    split = [value_type(name) for name in names]
    groups: dict[str, list[tuple[str, int]]] = defaultdict(list)
    for position, (sample, token) in enumerate(split):
        groups[token].append((sample, position))
    sets = {token: {sample for sample, _ in group} for token, group in groups.items()}
    most = max(map(len, sets.values()), default=0)
    usual = [token for token in groups if len(sets[token]) >= 0.8 * most]
    shared = set.intersection(*(sets[token] for token in usual)) if usual else set()
    covered = sum(len(groups[token]) for token in usual)
    if len(usual) < 2 or len(shared) < 0.8 * most or covered < 0.8 * len(names):
        if len(groups) == 1 and usual[0] in (*COUNTS, *_OTHERS) and not any(known(name) for name in names):
            return [sample for sample, _ in split], list(places)  # one type: its mark is no part of the sample's name
        return list(names), list(places)
    notes["column_types"] = [token or "(no mark)" for token in usual]
    wanted = _token(source.column)
    counts = [token for token in COUNTS if token in usual]
    chosen: str | None = None
    if wanted in usual:
        chosen = wanted
    elif "column" not in source.model_fields_set and len(counts) == 1:
        chosen = counts[0]
    if chosen is None:
        example = next((token for token in (*counts, *usual) if token), "")
        raise InputError(
            f"has {len(usual)} columns per sample ({', '.join(token or 'no mark' for token in usual[:8])}): "
            f"{len(shared)} samples, {len(names)} columns",
            file=source.path,
            remedy=f"say which is meant, such as `column: {example}`",
        )
    notes["column_type_used"] = chosen
    return [sample for sample, _ in groups[chosen]], [places[position] for _, position in groups[chosen]]
