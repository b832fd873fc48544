"""Patch encoders: whether their weights are here or can be fetched, and under which licence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..core.errors import InputError
from ..core.findings import Finding
from ..encoders.table import EncoderRow
from ..encoders.weights import HubUnreachable, find_weights, look_at_hub
from .render import of_error


def check_encoders(rows: Sequence[dict[str, Any]], weights: dict[str, str]) -> Iterator[Finding]:
    """Whether the weights of every encoder are at hand, or could be fetched, and their licence.

    Nothing is downloaded. Where the hub gives no answer within seconds, it is asked once for all encoders.

    Parameters
    ----------
    rows : sequence of dict
        Rows of the encoder table in use.
    weights : dict of str to str
        ``embed.weights``: encoder to a local checkpoint.
    """
    unreachable = ""
    for given in rows:
        row = EncoderRow(**given)
        what, licence = f"encoder {row.name}", f"licence {row.licence}{', gated' if row.gated else ''}"
        if row.weights == "random":
            yield Finding(
                what,
                "warning",
                "random weights: features are untrained, for demonstration only",
                "choose another row of config/encoders.yaml",
            )
            continue
        try:
            found = find_weights(row, weights.get(row.name), download=False)
            if found is not None:
                yield Finding(what, "ok", f"weights at hand ({Path(found.file).name}); {licence}")
                continue
            if not unreachable:
                size = look_at_hub(row)
                volume = f" ({size / 1e9:.2g} GB)" if size else ""
                yield Finding(
                    what, "ok", f"weights can be fetched{volume}; the first job does, or `fetch_weights`; {licence}"
                )
                continue
        except HubUnreachable as error:
            unreachable = str(error)
        except InputError as error:
            row_of = of_error(what, error)
            yield Finding(what, "problem", f"{row_of.detail}; {licence}", row_of.remedy)
            continue
        yield Finding(
            what,
            "problem",
            f"weights are not on this machine, and the hub cannot be reached ({unreachable}); {licence}",
            f"run `snakemake fetch_weights --cores 1` where there is a network, with the same HF_HOME, or name a "
            f"checkpoint: embed: weights: {{{row.name}: /path/to/folder}}",
        )
