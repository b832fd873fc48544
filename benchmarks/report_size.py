"""The report at the size of a large study: bytes of the page, and seconds until a browser has opened it.

A synthetic report of COHORTS x ENCODERS x VARIANTS is written with the workflow's own template: as many figures, tables
and rows as a run makes, figures as large as the demo's. With chromium, the page is opened and the load event is timed.
`cpu_s` is the processor time of the whole browser, `empty_cpu_s` the same for an empty page: their difference does not
depend on what else the machine does.

The last line is one JSON object: bytes of the page and of its figures, and these times.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from html import unescape
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "workflow" / "scripts"))

from mirror.report.page import Section, render_report  # noqa: E402

TEMPLATE = ROOT / "workflow" / "report" / "report.html.j2"
PLACE = ("ROC", "PR", "confusion", "calibration", "Kaplan-Meier", "AUC", "style")  # figures per cohort and encoder
VARIANT = ("UMAP", "retrieval", "training")  # per variant of those
INTERPRETED = ("heatmaps", "gallery", "associations", "card 1", "card 2", "card 3")  # per interpreted variant
BASELINES, MODALITIES, METRICS, PROTOTYPES = 11, ("wsi", "rna", "fused"), 6, 50
PROBE = """<script>addEventListener("load", () => { const o = document.createElement("script");
o.type = "application/json"; o.id = "probe"; o.textContent = JSON.stringify({ms: performance.now(),
rows: document.querySelectorAll("tr").length, sortable: document.querySelectorAll("table.sortable").length});
document.body.append(o); });</script>"""


def draw(path: Path, kilobytes: int, rng: np.random.Generator) -> Path:
    """A picture of 1500 x 1000 px whose file has about this size."""
    side = int((kilobytes * 1024 / 3) ** 0.5)
    image = np.full((1000, 1500, 3), 255, np.uint8)
    image[:side, :side] = rng.integers(0, 256, (side, side, 3))
    Image.fromarray(image).save(path)
    return path


def build(folder: Path, cohorts: int, encoders: int, variants: int, kilobytes: int, embed_bytes: int | None) -> dict:
    """Write the report and its figures; return counts."""
    rng = np.random.default_rng(0)
    figures = folder / "figures"
    figures.mkdir(parents=True)
    sections = {name: Section(name) for name in ("Result", "Subtyping", "Embeddings", "Attention", "Prototypes")}
    count = 0

    def figure(section: str, title: str) -> None:
        nonlocal count
        count += 1
        sections[section].figure(draw(figures / f"{count}.png", kilobytes, rng), title, "A synthetic figure.")

    methods = [f"variant_{v}" for v in range(variants)] + [f"baseline_{b}" for b in range(BASELINES)]
    names = [(f"Cohort {c}", f"encoder_{e}") for c in range(cohorts) for e in range(encoders)]
    for task in ("Subtyping", "Survival", "Few-shot", "Retrieval"):
        rows = [
            {"cohort": c, "encoder": e, "method": m, "input": i}
            | {f"metric {k}": rng.random() for k in range(METRICS)}
            for c, e in names for m in methods for i in (MODALITIES if m.startswith("variant") else ("wsi",))
        ]  # fmt: skip
        sections["Result"].frame(pd.DataFrame(rows), task, "Synthetic.")
    for cohort, encoder in names:
        for kind in PLACE:
            figure("Subtyping", f"{cohort} ({encoder}): {kind}")
        for v in range(variants):
            for kind in VARIANT:
                figure("Embeddings", f"{cohort} ({encoder}): {kind}, variant_{v}")
        for v in range(min(2, variants)):
            for kind in INTERPRETED:
                figure("Attention", f"{cohort}, variant_{v} ({encoder}): {kind}")
            frame = pd.DataFrame(rng.random((PROTOTYPES, 12))).rename(columns=lambda i: f"column {i}")
            sections["Prototypes"].frame(frame, f"Prototypes of variant_{v} on {cohort} ({encoder})", "Synthetic.")
    more = {} if embed_bytes is None else {"embed_bytes": embed_bytes}
    out = folder / "report.html"
    render_report(TEMPLATE, "A large study", "synthetic", [], list(sections.values()), out, **more)
    return {"figures": count, "figures_mb": round(sum(f.stat().st_size for f in figures.iterdir()) / 1e6, 1),
            "page_mb": round(out.stat().st_size / 1e6, 2)}  # fmt: skip


def open_page(page: Path, profile: Path) -> dict:
    """Open the page in chromium; milliseconds until its load event, as the page itself measures them."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        return {"load_s": None}
    probed = page.with_name("probed.html")
    probed.write_text(page.read_text(encoding="utf-8").replace("<head>", f"<head>{PROBE}", 1), encoding="utf-8")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage",
               "--disable-background-networking", f"--user-data-dir={profile}", "--window-size=1400,900", "--dump-dom",
               probed.as_uri()]  # fmt: skip
    started, before = time.perf_counter(), _children()
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    seen = json.loads(unescape(re.search(r'id="probe">(.*?)</script>', done.stdout, re.S)[1]))
    return {"load_s": round(seen["ms"] / 1000, 2), "browser_s": round(time.perf_counter() - started, 2),
            "cpu_s": round(_children() - before, 2),
            "rows": seen["rows"], "sortable": seen["sortable"]}  # fmt: skip


def _children() -> float:
    """Processor seconds of finished child processes."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Write the report, open it, print the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohorts", type=int, default=4)
    parser.add_argument("--encoders", type=int, default=2)
    parser.add_argument("--variants", type=int, default=7)
    parser.add_argument("--kilobytes", type=int, default=320, help="of a figure; the demo's mean is 320")
    parser.add_argument("--embed-bytes", type=int, help="default: the report's own limit")
    parser.add_argument("--out", type=Path, help="keep the report in this new folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.out or Path(scratch) / "report"
        counts = build(
            folder, options.cohorts, options.encoders, options.variants, options.kilobytes, options.embed_bytes
        )
        empty = Path(scratch) / "empty.html"
        empty.write_text("<html><head></head><body></body></html>", encoding="utf-8")
        seen = open_page(folder / "report.html", Path(scratch) / "profile")
        seen["empty_cpu_s"] = open_page(empty, Path(scratch) / "profile").get("cpu_s")
        print(json.dumps({**counts, **seen}))


if __name__ == "__main__":
    main()
