"""One self-contained HTML report: the answer first, then the methods, then everything else."""

from __future__ import annotations

import base64
import html
import os
import re
import struct
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
import pandas as pd

from ..core.atomic import write_text
from ..core.errors import InputError
from ..core.facts import Facts, one_line
from .identifiers import Identifiers

EMBED_BYTES = 24 << 20  # of all figures; in base64 and with tables the page then stays below 40 MB
PNG = b"\x89PNG\r\n\x1a\n"
MEDIA = {".png": "image/png", ".svg": "image/svg+xml", ".jpg": "image/jpeg", ".jpeg": "image/jpeg"}


@dataclass
class Section:
    """A section of the report; ``answer`` stands out, ``entries`` are tables, figures and texts in order."""

    title: str
    answer: list[str] = field(default_factory=list)
    paragraphs: list[str] = field(default_factory=list)
    entries: list[dict[str, Any]] = field(default_factory=list)

    @property
    def anchor(self) -> str:
        """The section's link target."""
        return anchor(self.title)

    def figure(self, path: Path, title: str, caption: str) -> None:
        """Add a picture; `render_report` embeds it or links to it.

        Raises
        ------
        InputError
            The file is empty or of no known picture format.
        """
        if path.suffix not in MEDIA or not path.stat().st_size:
            raise InputError("not a picture", file=path)
        self.entries.append(
            {
                "kind": "figure",
                "title": title,
                "caption": caption,
                "path": path,
                "file": str(path),
                "anchor": anchor(f"{title}-{path.parent.name}-{path.stem}"),
            }
        )

    def table(self, markup: str, title: str, caption: str) -> None:
        """Add a table that is already HTML."""
        self.entries.append(
            {"kind": "table", "title": title, "caption": caption, "html": markup, "anchor": anchor(f"table-{title}")}
        )

    def frame(self, frame: pd.DataFrame, title: str, caption: str) -> None:
        """Add a DataFrame as a table; its texts are escaped."""
        shown = frame.astype(object).where(frame.notna(), "")
        markup = shown.to_html(index=False, border=0, escape=True, float_format=lambda v: f"{v:.4g}")
        self.table(markup, title, caption)

    def text(self, title: str, text: str, open_: bool = False) -> None:
        """Add preformatted text that folds away."""
        self.entries.append({"kind": "text", "title": title, "text": text, "open": open_})


def anchor(text: str) -> str:
    """A link target from a title."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def plain_caption(rst: str) -> str:
    """A caption written for Snakemake's report, as one line of plain text."""
    text = re.sub(r"{{.*?}}|{%.*?%}", "", rst)
    text = re.sub(r":\w+:`([^`<]+)(?:<[^>]*>)?`", r"\1", text).replace("``", "").replace("*", "")
    return " ".join(text.split())


def render_report(
    template: Path,
    title: str,
    subtitle: str,
    warnings: list[str],
    sections: list[Section],
    out: Path,
    embed_bytes: int = EMBED_BYTES,
) -> None:
    """Write the report.

    Where all figures together are small they are inside the page. Otherwise the page links to their files, by paths
    relative to its own folder, and the browser reads each when it comes into view.

    Parameters
    ----------
    template : Path
        Jinja2 template.
    title, subtitle : str
    warnings : list of str
        What must be said before any number: what is simulated, untrained or leaking.
    sections : list of Section
        In order; empty ones are left out.
    out : Path
        The HTML file.
    embed_bytes : int
        Figures of at most this size together are embedded.
    """
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    page = environment.from_string(template.read_text(encoding="utf-8"))
    kept = [s for s in sections if s.answer or s.entries or s.paragraphs]
    figures = [entry for section in kept for entry in section.entries if entry["kind"] == "figure"]
    embedded = sum(entry["path"].stat().st_size for entry in figures) <= embed_bytes
    for entry in figures:
        path = entry["path"]
        relative = quote(os.path.relpath(path.resolve(), out.parent.resolve()))
        entry |= {"source": _embedded(path) if embedded else relative, "lazy": not embedded, "size": picture_size(path)}
    linked = 0 if embedded else len(figures)
    write_text(out, page.render(title=title, subtitle=subtitle, warnings=warnings, sections=kept, linked=linked))


def _embedded(path: Path) -> str:
    return f"data:{MEDIA[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode()}"


def picture_size(path: Path) -> tuple[int, int] | None:
    """Width and height of a PNG in pixels, so that the page keeps its place free; None for other formats."""
    with open(path, "rb") as file:
        head = file.read(24)
    return struct.unpack(">II", head[16:24]) if head[:8] == PNG and len(head) == 24 else None


def audit_table(audits: dict[str, dict[str, Any]]) -> str:
    """The leak audit as HTML: one row a check.

    Parameters
    ----------
    audits : dict
        Name of the audited part to the content of its ``leaks.json``.
    """
    rows = []
    for name, audit in audits.items():
        for check in audit["checks"]:
            state = "passed" if check["passed"] else ("allowed" if check.get("allowed") else "FAILED")
            mark = "pass" if check["passed"] else "fail"
            words = html.escape(str(check.get("message", "")))
            if check.get("allowed") and not check["passed"]:
                words += f" <b>Allowed because: {html.escape(str(check.get('reason', '')))}</b>"
            label = html.escape(check["name"].replace("_", " "))
            rows.append(
                f"<tr><td>{html.escape(name)}</td><td>{label}</td><td class={mark}>{state}</td><td>{words}</td></tr>"
            )
    head = "<tr><th>Part</th><th>Check</th><th>Verdict</th><th>Details</th></tr>"
    return f"<table><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>"


def fact_frames(facts: Facts, identifiers: Identifiers) -> tuple[pd.DataFrame, list[str]]:
    """The facts of one input: a table of what was read as what, and a line for each contradiction.

    Examples, which are identifiers, are shown only where the report shows identifiers as given.
    """
    shown = [fact if identifiers.as_given else replace(fact, examples="") for fact in facts]
    rows = [
        {"what": f.subject, "read as": identifiers.text(f.shown), "because of": identifiers.text(one_line(f.source))}
        for f in shown
        if f.level == "info"
    ]
    lines = [identifiers.text(f.text()) for f in shown if f.level != "info"]
    return pd.DataFrame(rows, columns=["what", "read as", "because of"]), lines
