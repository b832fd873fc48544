"""Command line of `mirror`: start a study, look at its slides."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from pathlib import Path

from ..core.errors import InputError
from ..viewer.command import add_parser
from .init import UNDECIDED, Request, init, render
from .write import shown

ROOT = Path(__file__).resolve().parents[4]


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(
        prog="mirror", description="Start a study, look at its slides. All else is Snakemake's."
    )
    commands = top.add_subparsers(dest="command", required=True)
    new = commands.add_parser(
        "init",
        help="write a configuration and a slide table from folders of data",
        description="Look at slides, expression and clinical data, say what was recognised and what is open, and write "
        "OUT/config.yaml and OUT/samples.tsv. Nothing that exists is overwritten.",
    )
    new.add_argument("out", type=Path, metavar="OUT", help="folder of the new study")
    new.add_argument("--slides", type=Path, help="folder of slides, nested or flat")
    new.add_argument(
        "--features",
        type=Path,
        help="folder of patch features that TRIDENT, CLAM or STAMP made, or of .pt files; in place of an encoder",
    )
    new.add_argument("--expression", type=Path, help="expression file, or folder of GDC STAR counts")
    new.add_argument("--clinical", type=Path, help="clinical table, or folder that holds one")
    new.add_argument(
        "--sample-sheet",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="GDC sample sheet, or a table of slide_id and patient_id; may be repeated",
    )
    new.add_argument(
        "--pattern",
        help="regular expression that finds the patient in a slide's path, e.g. '(?P<patient>P\\d+)_'",
    )
    new.add_argument("--label", help="column of the subtype label")
    new.add_argument("--cohort", help="name of the cohort in paths and tables (default: the folder's name)")
    new.add_argument("--encoder", default="efficientnet-lite0", help="row of config/encoders.yaml (%(default)s)")
    new.add_argument(
        "--small",
        action="store_true",
        help="add small sizes to the configuration, to see a run end on a CPU in minutes",
    )
    new.add_argument("--frozen", action="store_true", help="keep frozen sections and normals of TCGA")
    add_parser(commands)
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return the exit status."""
    given = parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    log = logging.getLogger("mirror")
    before = log.level
    log.setLevel(logging.ERROR)  # the readers' warnings are rows of the table
    try:
        return _view(given) if given.command == "view" else _init(given)
    finally:
        log.setLevel(before)  # for a caller in the same process


def _view(given: argparse.Namespace) -> int:
    """Serve a study's slides; return the exit status."""
    try:
        from ..viewer.command import run

        run(given, ROOT)
    except InputError as error:
        print(f"mirror view: {error}", file=sys.stderr)
        return 1
    return 0


def _init(given: argparse.Namespace) -> int:
    """Write the study and print what was recognised; return the exit status."""
    request = Request(
        out=given.out,
        slides=given.slides,
        expression=given.expression,
        clinical=given.clinical,
        sheets=tuple(given.sample_sheet),
        pattern=given.pattern,
        label=given.label,
        cohort=given.cohort,
        encoder=given.encoder,
        frozen=given.frozen,
        features=given.features,
        small=given.small,
    )
    try:
        from ..encoders.table import find_encoder

        row = find_encoder(request.encoder, ROOT / "config" / "encoders.yaml")
        study = init(request)
    except InputError as error:
        print(f"mirror init: {error}", file=sys.stderr)
        return 1
    print(render(study.rows))
    print(f"\nWrote {shown(study.config)}" + (f" and {shown(study.samples)}" if study.samples else ""), end="")
    undecided = request.out / UNDECIDED
    print(f" and {shown(undecided)}." if undecided.exists() else ".")
    if request.slides and not request.features:
        gated = "; gated: accept the terms on its page and export HF_TOKEN=..." if row.gated else ""
        print(f"Encoder: {row.name}, licence {row.licence}{gated}. Others: docs/encoders.md.")
    config = shown(study.config)
    at = "" if (Path.cwd() / "Snakefile").is_file() else f" --snakefile {ROOT / 'Snakefile'}"
    activate = f"source {shown(ROOT / '.venv')}/bin/activate\n    " if not os.environ.get("VIRTUAL_ENV") else ""
    print(
        f"Next:\n    {activate}snakemake doctor --cores all --configfile {config}{at}\n"
        + (
            f"    snakemake qc --cores all --configfile {config}{at}\n"
            if request.slides and not request.features
            else ""
        )
        + f"    snakemake --cores all --configfile {config}{at}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
