"""Fetch the weights of every configured encoder to the hub's cache, for nodes that reach no hub."""

import logging
from typing import Any

from mirror.config.slides import EmbedSettings
from mirror.core.errors import InputError
from mirror.encoders.table import EncoderRow
from mirror.encoders.weights import hub_weights, local_weights, package_weights


def main(rows: list[dict[str, Any]], settings: dict[str, Any]) -> None:
    """Fetch, or check where they are local.

    Parameters
    ----------
    rows : list of dict
        Rows of the encoder table.
    settings : dict
        `EmbedSettings`; encoders named in ``weights`` are only checked.

    Raises
    ------
    InputError
        Some could not be had; names each with what to do.
    """
    log = logging.getLogger("mirror.encoder")
    wanted, missing = EmbedSettings.model_validate(settings), []
    for entry in rows:
        row = EncoderRow.model_validate(entry)
        try:
            if row.name in wanted.weights:
                file = local_weights(wanted.weights[row.name]).file
            elif row.weights == "random":
                continue
            elif row.weights == "package":
                file = package_weights(row).file
            else:
                file = hub_weights(row, refresh=True).file
            log.info("%s: %s", row.name, file)
        except InputError as error:
            log.error("%s", error)
            missing.append(error)
    if missing:
        more = f" (and {len(missing) - 1} more, above)" if len(missing) > 1 else ""
        raise InputError(f"{missing[0].problem}{more}", row=missing[0].row, remedy=missing[0].remedy)


if "snakemake" in globals():
    from mirror.core.step import run_step

    run_step(
        lambda: main(rows=snakemake.params.rows, settings=snakemake.params.settings),
        snakemake.log[0],
    )
