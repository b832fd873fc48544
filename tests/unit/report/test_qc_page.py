"""The quality-control page: what it shows, and the list that it writes is one the configuration reads."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from mirror.cohort.build import build_cohort
from mirror.core.errors import InputError
from mirror.plan.plan import Plan
from mirror.plan.slide_table import SlideRow, read_exclusions
from mirror.report.figures.cohort import flag_ranks
from mirror.report.qc_page import qc_cards, write_qc_page

ROOT = Path(__file__).resolve().parents[3]
TEMPLATE = ROOT / "workflow" / "report" / "qc.html.j2"


def tiles(n: int = 12) -> pd.DataFrame:
    frame = pd.DataFrame(
        {
            "slide_id": [f"s{i:02d}" for i in range(n)],
            "patient_id": [f"p{i // 2}" for i in range(n)],
            "status": "ok",
            "n_tiles": [100.0 + i for i in range(n)],
            "mpp": 0.5,
            "mpp_source": "slide",
            "tissue_fraction": 0.4,
            "pen_fraction": 0.0,
            "message": None,
            "fingerprint": [f"f{i}" for i in range(n)],
        }
    )
    frame.loc[3, ["status", "n_tiles", "message"]] = ["failed", None, "<b>broken & odd</b>"]
    frame.loc[5, "pen_fraction"] = 0.2
    return frame


def test_flagged_first_with_pictures_beside(tmp_path: Path) -> None:
    (tmp_path / "slides" / "qc").mkdir(parents=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "slides" / "qc" / "s05.jpg")
    out = tmp_path / "qc" / "A.html"
    cards = qc_cards(tiles(), {"gone": "fold"}, tmp_path / "slides" / "qc", out)
    assert [card["slide"] for card in cards[:3]] == ["gone", "s03", "s05"]
    assert [bool(card["flag"]) for card in cards] == [True] * 3 + [False] * 10
    assert cards[2]["picture"] == "../slides/qc/s05.jpg" and cards[1]["picture"] == ""
    out.parent.mkdir()
    write_qc_page(cards, "A", TEMPLATE, out)
    text = out.read_text()
    assert "13 slides, 3 flagged" in text and "exclude_slides: exclude_A.tsv" in text
    assert "<b>broken" not in text and html.escape("<b>broken & odd</b>") in text
    assert re.findall(r'class="mark" checked> (\w+)', text) == ["gone"]
    assert not re.search(r"https?://", text)  # nothing is fetched


def test_what_failed_and_what_is_rare_come_before_what_most_slides_share() -> None:
    ranks = flag_ranks(["coarser than the tiles"] * 3 + ["", "pen 9%", "failed"])
    order = sorted(range(6), key=lambda i: ranks[i])
    assert order == [5, 4, 0, 1, 2, 3]


def test_a_list_is_read_and_a_strange_name_refused(tmp_path: Path) -> None:
    table = [SlideRow(f"s{i}", "p", "x", None, None) for i in range(3)]
    file = tmp_path / "out.tsv"
    file.write_text("# why\ns1\tmarked on the qc page\n\ns2\n")
    assert read_exclusions(file, table) == {"s1": "marked on the qc page", "s2": ""}
    file.write_text("s1\ns22\n")
    with pytest.raises(InputError, match=r"out.tsv \(line 2\): slide `s22` is not in .* mean `s2`"):
        read_exclusions(file, table)
    with pytest.raises(InputError, match="does not exist"):
        read_exclusions(tmp_path / "absent", table)


def test_a_slide_left_out_changes_its_shard_alone_and_is_counted(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = "\n".join(f"s{i:02d}\tp{i // 2}\tx{i}.svs" for i in range(12))
    Path("samples.tsv").write_text(f"slide_id\tpatient_id\tslide_path\n{rows}\n")
    Path("counts.tsv").write_text("gene\tp0\nA\t1\n")
    Path("out.tsv").write_text("s05\tfolded\n")
    config = {"title": "t", "cohorts": {"A": {"samples": "samples.tsv", "expression": {"path": "counts.tsv"}}},
              "encoders": ["efficientnet-lite0"], "slides": {"slides_per_job": 4}}  # fmt: skip

    def shards(**more: str) -> list[list[str]]:
        plan = Plan.read({**config, "cohorts": {"A": {**config["cohorts"]["A"], **more}}}, ROOT)
        return [[s["slide_id"] for s in plan.shard("A", i)] for i in range(plan.n_shards("A"))]

    before, after = shards(), shards(exclude_slides="out.tsv")
    assert before[0] == after[0] and before[2] == after[2]
    assert before[1] == ["s04", "s05", "s06", "s07"] and after[1] == ["s04", "s06", "s07"]
    frame = tiles().query("slide_id != 's05'")
    flow = build_cohort(
        tiles=frame, features=[], clinical=None, rna=None, require="any", max_failed_fraction=0.5,
        excluded={"s05": "folded"},
    ).flow  # fmt: skip
    assert flow.iloc[:2][["step", "kept", "dropped", "reason"]].values.tolist() == [
        ["slides in the table", 12, 0, ""],
        ["left out by a person", 11, 1, "exclude_slides (folded 1)"],
    ]
