"""The report in a real browser, by clicking: tables sort and filter, figures enlarge, contents stay in view."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from mirror.report.page import Section, picture_size, render_report
from rules import ROOT

TEMPLATE = ROOT / "workflow" / "report" / "report.html.j2"
# Runs after the page's own script; its answers are written into the page, which --dump-dom prints.
CLICKS = """
<script>
window.__errors = [];
window.addEventListener("error", e => window.__errors.push(String(e.message)));
window.addEventListener("load", () => {
  const out = {}, table = document.querySelector("main table"), head = table.tHead.rows[0].cells;
  const column = i => [...table.tBodies[0].rows].filter(r => !r.hidden).map(r => r.cells[i].textContent);
  head[2].click(); out.up = column(2); out.state = head[2].getAttribute("aria-sort");
  head[2].click(); out.down = column(2);
  head[1].click(); out.names = column(1);
  const [cohort] = document.querySelectorAll(".filters select");
  out.choices = [...cohort.options].map(o => o.value);
  cohort.value = "B"; cohort.dispatchEvent(new Event("change")); out.only = column(0);
  const find = document.querySelector(".filters input");
  find.value = "METHOD 1"; find.dispatchEvent(new Event("input")); out.both = column(1);
  out.note = document.querySelector(".filters span").textContent;
  const image = document.querySelector("figure img"); image.click();
  const large = document.getElementById("large");
  out.opened = large.open; out.source = large.querySelector("img").src === image.src;
  out.title = large.querySelector("span").textContent;
  large.querySelector("img").click(); out.full = large.querySelector("img").className;
  large.querySelector("button").click(); out.closed = !large.open;
  const nav = document.querySelector("nav");
  window.scrollTo(0, document.body.scrollHeight);
  out.scrolled = window.scrollY; out.top = nav.getBoundingClientRect().top;
  out.entries = [...nav.querySelectorAll("a")].map(a => a.getAttribute("href"));
  out.dead = out.entries.filter(h => !document.getElementById(h.slice(1)));
  out.wide = document.documentElement.scrollWidth - window.innerWidth;
  out.errors = window.__errors;
  const script = document.createElement("script");
  script.type = "application/json"; script.id = "probe"; script.textContent = JSON.stringify(out);
  document.body.append(script);
});
</script>
"""


def open_page(page: Path, profile: Path, *options: str) -> str:
    """The page after its scripts have run, as HTML."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("no chromium: `apt-get install chromium` to open the report in a browser")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage",
               "--disable-background-networking", f"--user-data-dir={profile}", "--window-size=1400,900", *options,
               "--dump-dom", page.as_uri()]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr[-1000:]
    return done.stdout


def report(folder: Path, **options) -> Path:
    """A report of one table of 12 rows and three figures."""
    rng = np.random.default_rng(0)
    (folder / "figures").mkdir(parents=True)
    section = Section("Result", answer=["An answer."])
    rows = [
        {"cohort": "AB"[i % 2], "method": f"method {i}", "AUROC": [0.9, 0.123, 1.5e-3][i % 3] + i} for i in range(12)
    ]
    section.frame(pd.DataFrame(rows), "Methods", "words")
    for i in range(3):
        path = folder / "figures" / f"a figure {i}.png"
        Image.fromarray(rng.integers(0, 256, (300, 500, 3), np.uint8)).save(path)
        section.figure(path, f"Figure {i}", "words")
    more = Section("More", paragraphs=["word " * 400] * 12)
    render_report(TEMPLATE, "T", "sub", [], [section, more], folder / "report.html", **options)
    return folder / "report.html"


@pytest.mark.parametrize("embed_bytes", [1 << 30, 0])
def test_clicking_through_a_report(tmp_path: Path, embed_bytes: int):
    page = report(tmp_path, embed_bytes=embed_bytes)
    text = page.read_text(encoding="utf-8")
    assert ("data:image/png" in text) == bool(embed_bytes)
    assert ('src="figures/a%20figure%200.png"' in text) != bool(embed_bytes)
    assert ("folder beside this page" in text) != bool(embed_bytes)
    page.write_text(text.replace("<head>", f"<head>{CLICKS}", 1), encoding="utf-8")
    found = re.search(r'id="probe">(.*?)</script>', open_page(page, tmp_path / "p"), re.S)
    assert found, "the page never finished loading"
    seen = json.loads(unescape(found[1]))
    assert seen["errors"] == [] == seen["dead"]
    assert [float(v) for v in seen["up"]] == sorted(float(v) for v in seen["up"]) and seen["state"] == "ascending"
    assert seen["down"] == seen["up"][::-1] and len(set(seen["up"])) > 5
    assert seen["names"] == [f"method {i}" for i in range(12)], "10 comes after 9"
    assert seen["choices"] == ["", "A", "B"] and set(seen["only"]) == {"B"} and len(seen["only"]) == 6
    assert seen["both"] == ["method 1", "method 11"] and seen["note"] == "2 of 12 rows"
    assert seen["opened"] and seen["source"] and seen["title"] == "Figure 0" and seen["full"] == "full"
    assert seen["closed"]
    assert seen["scrolled"] > 500 and abs(seen["top"]) < 1, "the contents stay in view"
    assert {"#result", "#more"} <= set(seen["entries"]) and len(seen["entries"]) >= 6
    assert seen["wide"] <= 0, "wider than the window"


def test_everything_is_there_with_scripts_off(tmp_path: Path):
    page = report(tmp_path)
    text = page.read_text(encoding="utf-8")
    off = """<meta http-equiv="Content-Security-Policy" content="script-src 'none'">"""
    page.write_text(text.replace("<head>", f"<head>{off}{CLICKS}", 1), encoding="utf-8")
    shown = open_page(page, tmp_path / "p")
    assert 'id="probe">' not in shown and 'class="sortable"' not in shown, "scripts ran"
    markup = shown.split("</main>")[0]
    assert markup.count("<tr") == 13 and markup.count('<img alt="Figure') == 3 and 'href="#more"' in markup
    assert " hidden" not in markup.split("</style>")[1], "without scripts nothing is hidden"
    assert "display: none" not in markup.split("@media print")[0]


def test_size_of_a_picture(tmp_path: Path):
    Image.new("RGB", (31, 17)).save(tmp_path / "a.png")
    (tmp_path / "b.svg").write_text("<svg/>")
    assert picture_size(tmp_path / "a.png") == (31, 17)
    assert picture_size(tmp_path / "b.svg") is None
