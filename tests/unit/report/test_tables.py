"""Tables, reported figures and the answer: what is bold is significant, and every form says the same."""

from __future__ import annotations

import csv
import re

import numpy as np
import pandas as pd
import pytest

from mirror.core.errors import InputError
from mirror.report.headline import answers
from mirror.report.tables.build import build_table
from mirror.report.tables.reported import COLUMNS, read_reported
from mirror.report.tables.write import to_html, to_latex, to_markdown, write_table

METHODS = [("rna_logistic", "none", "rna"), ("mirror", "enc", "fused"), ("align", "enc", "fused")]
VALUES = {"rna_logistic": 0.70, "mirror": 0.80, "align": 0.75}


def metrics(methods=METHODS, cohort="A", encoder=None) -> pd.DataFrame:
    rows = []
    for method, own, modality in methods:
        shared = {
            "cohort": cohort, "encoder": own if own == "none" else encoder or own, "scheme": "cv", "method": method,
            "task": "subtyping", "protocol": "linear" if own != "none" else "supervised", "modality": modality,
            "head": "logistic", "seed": 1, "repeat": 0, "draw": 0, "metric": "auroc", "n": 60, "events": None,
        }  # fmt: skip
        for fold, shift in enumerate((-0.02, 0.0, 0.02)):
            rows.append({**shared, "fold": str(fold), "value": VALUES[method] + shift, "ci_low": None, "ci_high": None})
        value = VALUES[method]
        rows.append({**shared, "fold": "pooled", "value": value, "ci_low": value - 0.1, "ci_high": value + 0.1})
    return pd.DataFrame(rows).astype({"ci_low": float, "ci_high": float})


def comparisons(significant: bool, encoder="enc") -> pd.DataFrame:
    shared = {"cohort": "A", "encoder": encoder, "scheme": "cv", "task": "subtyping", "metric": "auroc"}
    sides = {
        "method_a": "mirror", "modality_a": "fused", "head_a": "logistic", "protocol_a": "linear",
        "method_b": "align", "modality_b": "fused", "head_b": "logistic", "protocol_b": "linear",
    }  # fmt: skip
    found = {"difference": 0.05, "ci_low": 0.01, "ci_high": 0.09, "p_holm": 0.01 if significant else 0.6}
    found |= {"table": "full", "in_family": True, "smallest_difference": 0.07}
    return pd.DataFrame([{**shared, **sides, **found, "test": "bootstrap", "significant_vs_runner_up": significant}])


def table(significant=True, reported=None, frame=None, compared=None):
    return build_table(
        metrics() if frame is None else frame,
        comparisons(significant) if compared is None else compared,
        name="t", title="Subtyping", task="subtyping", protocols=("linear", "supervised"), wanted=["auroc"],
        scheme="cv", reported=reported,
    )  # fmt: skip


def bold_methods(made) -> list[str]:
    return [made.rows[i]["method"] for (i, _), cell in made.cells.items() if cell.bold]


def test_bold_only_where_the_best_differs_from_the_runner_up():
    assert bold_methods(table(significant=True)) == ["mirror"]
    assert bold_methods(table(significant=False)) == []


def test_bold_stays_with_the_encoder_that_earned_it():
    two = pd.concat([metrics(encoder="e1"), metrics(METHODS[1:], encoder="e2")])
    both = pd.concat([comparisons(True, "e1"), comparisons(False, "e2")])
    made = table(frame=two, compared=both)
    assert [made.rows[i]["encoder"] for (i, _), c in made.cells.items() if c.bold] == ["e1"]


def test_forms_agree(tmp_path):
    made = table()
    write_table(made, tmp_path, {"A": "Cohort A"})
    numbers = pd.read_csv(tmp_path / "t.csv")
    for row in numbers.itertuples():
        text = f"{row.value:.3f}"
        assert text in (tmp_path / "t.md").read_text()
        assert text in (tmp_path / "t.tex").read_text()
        assert text in (tmp_path / "t.html").read_text()
    assert (tmp_path / "t.md").read_text().count("**0.800") == 1
    assert (tmp_path / "t.tex").read_text().count(r"\textbf{0.800") == 1
    assert (tmp_path / "t.html").read_text().count("<b>0.800") == 1
    assert numbers["bold"].sum() == 1
    assert set(numbers["n"]) == {"60 patients"}


def test_user_text_is_escaped_in_every_form(tmp_path):
    frame = metrics().replace({"cohort": {"A": "=cmd|' /C calc'!A0"}, "method": {"mirror": "my_50%&<b>"}})
    made = table(frame=frame, compared=comparisons(False))
    write_table(made, tmp_path, {})
    with open(tmp_path / "t.csv", newline="") as handle:
        cohorts = {row["cohort"] for row in csv.DictReader(handle)}
    assert all(c.startswith("'=") for c in cohorts)
    assert "<b>" not in to_html(made, {}).replace("</b>", "")
    assert r"\%\&" in to_latex(made, {})
    body = [line for line in to_markdown(made, {}).splitlines() if line.startswith("|")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in body}) == 1, "a | in a name must not make a column"


def test_missing_figures_are_a_dash_and_one_fold_has_no_sd():
    frame = metrics()
    frame = frame[(frame["fold"].isin(["0", "pooled"]))]
    other = frame[frame["method"] != "align"].assign(metric="accuracy")
    made = build_table(
        pd.concat([frame, other]), comparisons(False), name="t", title="T", task="subtyping",
        protocols=("linear", "supervised"), wanted=["auroc", "accuracy"], scheme="cv",
    )  # fmt: skip
    assert all(np.isnan(cell.sd) for cell in made.cells.values())
    assert "| – |" in to_markdown(made, {})
    assert "nan" not in to_markdown(made, {}).lower()


def test_no_rows_is_no_table():
    assert table(frame=metrics().assign(scheme="other")) is None


def reported_file(tmp_path, *rows: str):
    file = tmp_path / "reported.csv"
    file.write_text("\n".join([",".join(COLUMNS), *rows]) + "\n")
    return file


def test_reported_figures_stand_beside_ours_with_their_source_and_are_never_bold(tmp_path):
    file = reported_file(tmp_path, "mirror,A,subtyping,linear,auroc,0.999,0.010,Somebody 2025 Table 1")
    made = table(reported=read_reported(file))
    assert made.rows[-1]["encoder"] == "reported"
    cell = made.cells[len(made.rows) - 1, 0]
    assert (cell.mean, cell.sd, cell.bold) == (0.999, 0.010, False)
    assert bold_methods(made) == ["mirror"]
    assert "Somebody 2025 Table 1" in to_markdown(made, {})


def test_shipped_reported_table_holds_no_figures(root):
    assert (root / "config" / "reported.csv").read_text().strip() == ",".join(COLUMNS)
    assert read_reported(root / "config" / "reported.csv").empty


@pytest.mark.parametrize(
    ("row", "word"),
    [("mirror,A,subtyping,linear,auroc,0.9,0.1,", "source"), ("mirror,A,subtyping,linear,auroc,high,0.1,X", "high")],
)
def test_reported_figures_without_source_or_number_are_refused(tmp_path, row, word):
    with pytest.raises(InputError, match=word):
        read_reported(reported_file(tmp_path, row))


def test_absent_reported_file_is_an_empty_table(tmp_path):
    assert read_reported(tmp_path / "none.csv").empty
    assert read_reported(None).empty


def test_answer_names_the_best_its_interval_and_the_verdict():
    shown, titles = {"subtyping": "auroc"}, {"A": "Cohort A"}
    (yes,) = answers(metrics(), comparisons(True), "cv", shown, titles)
    (no,) = answers(metrics(), comparisons(False), "cv", shown, titles)
    assert "best is MIRROR (slide + RNA), AUROC 0.800 [0.700, 0.900]" in yes
    assert "It differs from the runner-up, Alignment only" in yes
    assert "It cannot be told apart from the runner-up" in no
    assert "This cohort could have shown a difference of 0.070 or more" in no and "could have shown" not in yes


def test_answer_never_takes_the_ceiling_for_a_method():
    ceiling = metrics(METHODS[:1]).assign(method="ceiling", modality="truth", value=0.99)
    (text,) = answers(pd.concat([metrics(), ceiling]), comparisons(True), "cv", {"subtyping": "auroc"}, {})
    assert "best is MIRROR" in text
    assert "true factors themselves reach 0.990" in text


def test_a_cell_is_the_pooled_value_inside_its_own_interval_and_tells_missing_folds():
    """The one fold of three that has both classes reads 1.000; the cell is the pooled value, and says 1 of 3 folds."""
    frame = metrics(METHODS[1:2])
    rest = frame.assign(metric="accuracy")
    frame = frame[frame["fold"].isin(["0", "pooled"])]
    frame.loc[frame["fold"] == "0", "value"] = 1.0
    frame = pd.concat([frame, rest]).assign(covers="widened")
    made = build_table(
        frame, comparisons(False), name="t", title="T", task="subtyping", protocols=("linear",),
        wanted=["auroc", "accuracy"], scheme="cv",
    )  # fmt: skip
    cell = made.cells[0, 0]
    assert cell.low <= cell.mean <= cell.high and cell.fold_mean == 1.0
    assert cell.text() == "0.800 (1 of 3 folds) [0.700, 0.900]†"


def test_the_caption_tells_the_share_of_the_largest_class():
    share = metrics(METHODS[1:2]).query("fold == 'pooled'").assign(metric="majority_share", value=0.8)
    made = table(frame=pd.concat([metrics(), share]))
    assert "A: 60 patients, largest class 80.0%" in to_markdown(made, {})


def test_a_table_says_what_its_own_figures_are():
    made = build_table(
        metrics(), comparisons(True), name="t", title="T", task="subtyping", protocols=("linear",), wanted=["auroc"],
        scheme="cv", legend="Intervals over folds.",
    )  # fmt: skip
    assert "Intervals over folds. A: 60 patients." in to_markdown(made, {}) and "bootstrap" not in to_latex(made, {})
