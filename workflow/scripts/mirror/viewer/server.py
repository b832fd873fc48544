"""A server for one person on this machine: a page per slide, and its tiles."""

from __future__ import annotations

import logging
import re
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, unquote

from ..core.errors import InputError
from .layers import Layers, read_layers
from .page import slide_page
from .pyramid import Pyramid

log = logging.getLogger("mirror")
OPEN = 4
"""Slides that are kept open."""
_TILE = re.compile(r"/tile/(\d+)/(\d{1,2})/(\d{1,6})/(\d{1,6})\.jpg")
_SLIDE = re.compile(r"/slide/(\d+)")


@dataclass(frozen=True)
class Entry:
    """A slide that can be looked at.

    Attributes
    ----------
    cohort, slide, patient : str
    path : Path
        The slide's file.
    maps : dict of str to Path
        Name of a variant to its GeoJSON.
    mpp : float or None
        Micrometres per pixel of the slide table.
    """

    cohort: str
    slide: str
    patient: str
    path: Path
    maps: dict[str, Path] = field(default_factory=dict)
    mpp: float | None = None


class Viewer:
    """Pages and tiles of a list of slides; a few slides are kept open."""

    def __init__(self, entries: list[Entry]) -> None:
        self.entries = entries
        self._open: OrderedDict[int, Pyramid] = OrderedDict()
        self._lock = threading.Lock()

    def pyramid(self, number: int) -> Pyramid:
        """The slide of an entry, opened on first use."""
        with self._lock:
            if number not in self._open:
                self._open[number] = Pyramid(self.entries[number].path)
                if len(self._open) > OPEN:
                    self._open.popitem(last=False)  # closed when its last tile is read
            self._open.move_to_end(number)
            return self._open[number]

    def index(self) -> str:
        """The list of slides as HTML; those with layers first."""
        order = sorted(range(len(self.entries)), key=lambda i: not self.entries[i].maps)
        rows = "".join(
            f"<tr><td>{escape(e.cohort)}</td><td><a href='/slide/{i}'>{escape(e.slide)}</a></td>"
            f"<td>{escape(e.patient)}</td><td>{escape(', '.join(e.maps)) or '–'}</td></tr>"
            for i, e in ((i, self.entries[i]) for i in order)
        )
        return (
            "<!doctype html><html lang='en'><meta charset='utf-8'><title>Slides</title><style>body{font:15px sans-serif"
            ";margin:2em}td,th{padding:.2em 1em;text-align:left}</style><h1>Slides</h1><table><tr><th>cohort<th>slide"
            f"<th>patient<th>layers</tr>{rows}</table></html>"
        )

    def page(self, number: int) -> str:
        """The page of an entry."""
        entry = self.entries[number]
        layers: list[Layers] = [read_layers(path, name) for name, path in entry.maps.items()]
        title = f"{entry.cohort}: {entry.slide}"
        pyramid = self.pyramid(number)
        pyramid.tile(0, 0, 0)  # a damaged slide is a message, not an empty page
        tiles = f"/tile/{number}/{{Z}}/{{X}}/{{Y}}.jpg"
        return slide_page(title, pyramid, layers, tiles, pyramid.mpp(entry.mpp))


def make_server(viewer: Viewer, port: int) -> ThreadingHTTPServer:
    """A server on 127.0.0.1; a port of 0 takes a free one.

    Raises
    ------
    InputError
        The port is taken.
    """
    try:
        return ThreadingHTTPServer(("127.0.0.1", port), _handler(viewer))
    except OSError as error:
        raise InputError(f"port {port} is not free ({error.strerror})", remedy="give another `--port`") from error


def _handler(viewer: Viewer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            # Only this machine's names: a web page elsewhere must not read slides through the user's browser.
            host = (self.headers.get("Host") or "").rpartition(":")[0]
            if host not in ("127.0.0.1", "localhost"):
                return self._send(403, "text/plain", b"open the address that `mirror view` printed")
            path = unquote(self.path.partition("?")[0])
            try:
                if found := _TILE.fullmatch(path):
                    number, zoom, column, row = map(int, found.groups())
                    return self._answer(number, "image/jpeg", lambda: viewer.pyramid(number).jpeg(zoom, column, row))
                if found := _SLIDE.fullmatch(path):
                    number = int(found[1])
                    return self._answer(number, "text/html; charset=utf-8", lambda: viewer.page(number).encode())
            except (BrokenPipeError, ConnectionResetError):
                return None  # the browser has moved on
            if path == "/":
                return self._send(200, "text/html; charset=utf-8", viewer.index().encode())
            return self._send(404, "text/plain", b"no such page")

        def _answer(self, number: int, kind: str, make: Callable[[], bytes]) -> None:
            if number >= len(viewer.entries):
                return self._send(404, "text/plain", b"no such slide")
            try:
                body = make()
            except InputError as error:
                if not str(error).startswith("there is no tile"):
                    log.warning("%s", error)
                return self._send(404, "text/plain; charset=utf-8", str(error).encode())
            return self._send(200, kind, body)

        def _send(self, code: int, kind: str, body: bytes) -> None:
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("X-Content-Type-Options", "nosniff")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing of each request."""

    return Handler


def address(server: ThreadingHTTPServer, number: int | None) -> str:
    """The address of an entry's page, or of the list."""
    return f"http://127.0.0.1:{server.server_address[1]}/" + (quote(f"slide/{number}") if number is not None else "")
