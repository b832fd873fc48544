"""The report of a finished run, in a real browser: whole, linked, without a missing picture or an error."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import torch

pytestmark = pytest.mark.slow

# Runs in the page after it has loaded; what it finds is written into the page, which --dump-dom prints.
PROBE = """
<script>
window.__errors = [];
window.addEventListener("error", e => window.__errors.push(String(e.message || e.target.src || e.target.href)), true);
window.addEventListener("load", () => setTimeout(() => {
  const images = [...document.images];
  const links = [...document.querySelectorAll("a[href]")].map(a => a.getAttribute("href"));
  const followed = links.filter(l => l.startsWith("#")).map(l => {
    location.hash = l;
    const target = document.querySelector(":target");
    return [l, Boolean(target) && target.getBoundingClientRect().height > 0];
  });
  const out = document.createElement("script");
  out.type = "application/json"; out.id = "probe";
  out.textContent = JSON.stringify({
    errors: window.__errors, images: images.length,
    broken: images.filter(i => !i.complete || i.naturalWidth === 0).map(i => i.alt),
    external: links.filter(l => !l.startsWith("#")), dead: followed.filter(f => !f[1]).map(f => f[0]),
    followed: followed.length, overflow: document.documentElement.scrollWidth - window.innerWidth,
    fetched: performance.getEntriesByType("resource").map(r => r.name).filter(n => !n.startsWith("data:")),
  });
  document.body.appendChild(out);
}, 300));
</script>
"""


def browser() -> str:
    """A chromium, or a skip that says how to get one."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        found = shutil.which(name)
        if found:
            return found
    pytest.skip("no chromium: `apt-get install chromium` to open the report in a browser")


def dump(page: Path, profile: Path) -> str:
    """The page as the browser sees it after its scripts have run."""
    command = [
        browser(), "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
        f"--user-data-dir={profile}", "--window-size=1300,1000", "--virtual-time-budget=20000", "--dump-dom",
        page.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def probed(page: str, tmp_path: Path) -> dict:
    """What the browser says of a page."""
    file = tmp_path / "page.html"
    file.write_text(page.replace("<head>", f"<head>{PROBE}", 1), encoding="utf-8")
    found = re.search(r'<script type="application/json" id="probe">(.*?)</script>', dump(file, tmp_path / "p"), re.S)
    assert found, "the page never finished loading"
    return json.loads(unescape(found[1]))


@pytest.fixture(scope="module")
def page(finished) -> str:
    """The report."""
    return (finished.folder / "results" / "report.html").read_text(encoding="utf-8")


def test_browser_shows_every_picture_and_follows_every_link(page, tmp_path):
    seen = probed(page, tmp_path)
    assert seen["errors"] == []
    assert seen["broken"] == []
    assert seen["dead"] == []
    assert seen["external"] == [] == seen["fetched"]
    assert seen["images"] >= 15
    assert seen["followed"] >= 10
    assert seen["overflow"] <= 0, "wider than the window"


def test_browser_would_notice_what_is_broken(tmp_path):
    bad = '<html><head></head><body><img alt="gone" src="data:image/png;base64,AAAA"><a href="#no">x</a></body></html>'
    seen = probed(bad, tmp_path)
    assert seen["broken"] == ["gone"]
    assert seen["dead"] == ["#no"]


class Outline(HTMLParser):
    """Sections in order, and the first table, figure and paragraph of each."""

    def __init__(self) -> None:
        super().__init__()
        self.order: list[str] = []

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        if tag == "h2":
            self.order.append(f"section {named.get('id')}")
        elif tag in ("table", "figure") or named.get("class") in ("answer", "warn"):
            self.order.append(named.get("class") or tag)


def test_report_starts_with_the_answer_then_the_methods(page):
    outline = Outline()
    outline.feed(page)
    order = outline.order
    result, methods = order.index("section result"), order.index("section methods")
    assert set(order[:result]) == {"warn"}, "what is simulated or untrained is said before any number"
    assert {"answer", "table", "figure"} <= set(order[result:methods])
    assert order[result + 1] == "answer"
    assert methods == next(i for i, entry in enumerate(order) if entry.startswith("section") and i > result)


def test_answer_agrees_with_the_metrics(finished, page):
    metrics = pd.read_csv(finished.folder / "results" / "metrics.tsv", sep="\t", dtype={"fold": str})
    some = metrics[
        (metrics["fold"] == "pooled")
        & (metrics["metric"] == "auroc")
        & metrics["protocol"].isin(["linear", "supervised"])
    ]
    best = some[some["method"] != "ceiling"]["value"].max()
    answer = re.search(r'class="answer">(.*?)</p>', page, re.S)[1]
    assert f"AUROC {best:.3f}" in answer
    assert "True factors (ceiling)" in page


def test_ceiling_exists_and_enters_no_comparison(finished):
    results = finished.folder / "results"
    metrics = pd.read_csv(results / "metrics.tsv", sep="\t", dtype={"fold": str})
    assert set(metrics[metrics["method"] == "ceiling"]["task"]) == {"subtyping", "survival"}
    compared = pd.read_csv(results / "comparisons.tsv", sep="\t")
    assert "ceiling" not in {*compared["method_a"], *compared["method_b"]}


def test_truth_recovery_stands_in_the_tables_and_the_report(finished, page):
    """Simulated cohorts alone have it: the input and every variant, by modality, with the mean of the folds."""
    results = finished.folder / "results"
    table = pd.read_csv(results / "tables/truth_recovery.csv")
    assert set(table["metric"]) == {"r2_shared", "r2_slide", "r2_rna"}
    rows = set(zip(table["method"], table["modality"], strict=True))
    assert rows == {(m, v) for m in ("input", "mirror", "align") for v in ("wsi", "rna", "fused")}
    metrics = pd.read_csv(results / "metrics.tsv", sep="\t", dtype={"fold": str})
    folds = metrics.query("task == 'truth' and method == 'mirror' and modality == 'rna' and metric == 'r2_shared'")
    cell = table.query("method == 'mirror' and modality == 'rna' and metric == 'r2_shared'").iloc[0]
    assert cell["fold_mean"] == pytest.approx(folds[folds["fold"] != "pooled"]["value"].mean(), abs=1e-4)
    assert cell["ci_low"] <= cell["value"] <= cell["ci_high"]
    assert '<h2 id="truth-recovery">' in page
    for form in ("md", "tex"):
        assert "Truth recovery" in (results / f"tables/truth_recovery.{form}").read_text()


def test_attention_is_that_of_the_embedding(finished):
    """The tiles are scored in the order in which the slide was encoded: the embedding comes out the same."""
    from mirror.dataset.bags import BagSource
    from mirror.inference.encode import restore_model
    from mirror.interpretation.tile_scores import rows_as_encoded
    from mirror.io.checkpoints import load_checkpoint

    results = finished.folder / "results"
    data = anndata.read_h5ad(results / "embeddings/T/demo-random/cv2/mirror/r0f0.h5ad")
    checkpoint = load_checkpoint(results / "models/T/demo-random/cv2/mirror/r0f0.safetensors")
    told = json.loads(str(data.uns["mirror"]))
    slide = data.obs["slide_id"].astype(str).iloc[0]
    bags = BagSource({slide: results / f"slides/features/demo-random/{slide}.h5"}, order=told["token_order"])
    model = restore_model(checkpoint, torch.device("cpu"))
    bag = bags.rows(slide, rows_as_encoded(bags, slide, told["max_tokens"], checkpoint.seed))
    with torch.inference_mode():
        again = model.encode_slide(bag[None])[0].numpy()
        attention = model.slide_attention(bag).numpy()
    assert again == pytest.approx(np.asarray(data.obsm["X_wsi"][0]), abs=1e-4)
    assert attention.shape == (checkpoint.settings.model.slide_heads, len(bag))
    assert (attention >= 0).all()


def test_interpretation_uses_test_patients_alone(finished):
    folder = finished.folder / "results/interpretation/T/demo-random/cv2/mirror"
    scores = pd.read_csv(folder / "scores.tsv", sep="\t")
    splits = pd.read_csv(finished.folder / "results/cohort/T/cv2/splits.tsv", sep="\t")
    tested = splits[splits["set"] == "test"].set_index("patient_id")["fold"]
    assert len(scores) == scores["patient_id"].nunique() == 24
    fold = scores.set_index("patient_id")["fold"]
    assert (fold == ("r0f" + tested.astype(str)).reindex(fold.index)).all()
    told = json.loads((folder / "interpretation.json").read_text())
    for slide in told["slides"]:
        shapes = json.loads((folder / "geojson" / f"{slide}.geojson").read_text())["features"]
        assert shapes and shapes[0]["properties"]["measurements"]["attention"] >= 0


def test_trace_names_every_file_behind_a_cell(finished):
    cell = "T/demo-random/cv2/mirror/subtyping/linear/fused/auroc"
    said = finished.run("trace", "--config", f"cell={cell}")
    for word in ("predictions/T/demo-random/cv2/subtyping/mirror.parquet", "r0f0.h5ad (as recorded)",
                 "r0f1.safetensors (as recorded)", "seed 3", '"embed_dim": 32'):  # fmt: skip
        assert word in said
    said = finished.run("trace", "--config", "cell=T/demo-random/cv2/mirror/truth/readout/wsi/r2_shared")
    assert "r0f1.safetensors (as recorded)" in said and "truth/factors.tsv" in said
    said = finished.run("trace", "--config", "cell=T/demo-random/cv2/mirrow/subtyping/linear/fused/auroc", ok=False)
    assert "choose among method: " in said


def test_snakemakes_own_report_is_made(finished, tmp_path):
    out = tmp_path / "report.zip"
    finished.run("--report", str(out))
    assert out.stat().st_size > 100_000
