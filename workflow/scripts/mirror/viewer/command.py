"""`mirror view`: find a study's slides and their maps, and serve them."""

from __future__ import annotations

import argparse
import webbrowser
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING

from ..config.resolve import load_yaml
from ..core.errors import InputError
from ..plan.plan import Plan

if TYPE_CHECKING:
    from .server import Entry


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add the command `view`."""
    view = commands.add_parser(
        "view",
        help="look at slides in the browser, with attention and prototypes as layers",
        description="Serve the slides of a study to this machine's browser. Slides zoom to the cell; attention and "
        "prototypes of interpreted slides are layers. Tiles are cut on demand, nothing is written.",
    )
    view.add_argument("config", type=Path, metavar="CONFIG", help="configuration of the study")
    view.add_argument("--slide", help="open this slide; without it, the list of slides")
    view.add_argument("--results", type=Path, help="results folder, where it is not where the configuration says")
    view.add_argument("--port", type=int, default=8765, help="port on 127.0.0.1 (%(default)s)")
    view.add_argument("--no-browser", action="store_true", help="print the address only")


def find_entries(config: Path, results: Path | None, base: Path) -> list[Entry]:
    """The slides of a configuration whose files are here, with the maps that the interpretation wrote.

    Raises
    ------
    InputError
        No slide's file is here.
    """
    from .server import Entry

    settings = load_yaml(config) or {}
    if not isinstance(settings, dict):
        raise InputError("is no configuration", file=config)
    if results is not None:
        settings = {**settings, "results": str(results)}
    plan = Plan.read(settings, base)
    folder = Path(plan.paths.results)
    entries = []
    for cohort, slides in plan.slides.items():
        for slide in slides:
            path = Path(slide.slide_path) if slide.slide_path else None
            if path is None or not path.exists():
                continue
            maps = sorted((folder / "interpretation").glob(f"*/*/*/*/geojson/{escape(slide.slide_id)}.geojson"))
            names = {" / ".join(p.relative_to(folder).parts[1:5]): p for p in maps}
            entries.append(Entry(cohort, slide.slide_id, slide.patient_id, path, names, slide.mpp))
    if not entries:
        raise InputError(
            "no slide of this study is on this machine",
            file=config,
            remedy="run the command in the folder in which Snakemake ran: paths in the slide table are relative to it",
        )
    return entries


def run(given: argparse.Namespace, base: Path) -> None:
    """Serve until interrupted.

    Raises
    ------
    InputError
        The configuration, the slide or the port cannot be used.
    """
    from .server import Viewer, address, make_server

    entries = find_entries(given.config, given.results, base)
    number = None
    if given.slide is not None:
        found = [i for i, entry in enumerate(entries) if entry.slide == given.slide]
        if not found:
            shown = ", ".join(entry.slide for entry in entries[:5])
            raise InputError(f"there is no slide `{given.slide}`", file=given.config, remedy=f"slides are {shown} ...")
        number = found[0]
    with make_server(Viewer(entries), given.port) as server:
        place = address(server, number)
        layered = sum(bool(entry.maps) for entry in entries)
        print(f"{len(entries)} slides, {layered} with layers: {place}\nStop with Ctrl-C.", flush=True)
        if not given.no_browser:
            webbrowser.open(place)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()
