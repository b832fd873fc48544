"""Every figure renders, ordinary input and awkward, and the same input gives the same file."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from mirror.report.figures import classification, cohort, embedding, summary, survival, training
from mirror.report.figures.style import save_figure


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def probabilities(classes, n=30, truth=None, seed=0):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(len(classes)), n)
    return pd.DataFrame(
        {
            "patient_id": [f"P{i}" for i in range(n)],
            "y_true": truth if truth is not None else rng.choice(classes, n),
            "classes": [list(classes)] * n,
            "probabilities": list(p),
        }
    )


def follow_up(n=40, events=0.5, groups=("low", "high"), seed=0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "patient_id": [f"P{i}" for i in range(n)],
            "time_days": rng.integers(1, 3000, n),
            "event": (rng.random(n) < events).astype(int),
            "risk_group": rng.choice(groups, n),
        }
    )


def drawn(figure, tmp_path, name="f") -> np.ndarray:
    assert isinstance(figure, Figure)
    save_figure(figure, tmp_path / f"{name}.png", tmp_path / f"{name}.svg")
    assert (tmp_path / f"{name}.svg").stat().st_size > 500
    pixels = np.asarray(Image.open(tmp_path / f"{name}.png").convert("L"))
    assert pixels.std() > 1, "an empty picture"
    return pixels


@pytest.mark.parametrize("kind", ["roc", "pr"])
@pytest.mark.parametrize("classes", [("a", "b"), ("a", "b", "c")])
def test_curves(kind, classes, tmp_path):
    found = {("mirror", "fused"): probabilities(classes), ("abmil", "wsi"): probabilities(classes, seed=1)}
    drawn(classification.curves(found, kind, 0), tmp_path)


def test_curves_where_a_class_was_never_seen(tmp_path):
    one = probabilities(("a", "b"), truth=["a"] * 30)
    drawn(classification.curves({("mirror", "fused"): one}, "roc", 0), tmp_path)
    missing = probabilities(("a", "b", "c"), truth=["a", "b"] * 15)
    drawn(classification.curves({("mirror", "fused"): missing}, "pr", 0), tmp_path)


def test_probabilities_are_put_in_one_order():
    rows = pd.DataFrame(
        {
            "patient_id": ["P1", "P1"], "y_true": ["b", "b"],
            "classes": [["a", "b"], ["b"]], "probabilities": [[0.2, 0.8], [1.0]],
        }
    )  # fmt: skip
    truth, p, classes = classification.unpack(rows)
    assert classes == ["a", "b"]
    assert truth.tolist() == [1]
    assert p[0].tolist() == pytest.approx([0.1, 0.9])


@pytest.mark.parametrize("n", [1, 3, 30])
def test_confusion_and_calibration_of_few_patients(n, tmp_path):
    found = {("mirror", "fused"): probabilities(("a", "b"), n)}
    drawn(classification.confusion(found), tmp_path, "a")
    drawn(classification.calibration(found), tmp_path, "b")


def test_confusion_counts_every_patient_once():
    found = {("mirror", "fused"): probabilities(("a", "b"), 25)}
    texts = [t.get_text() for t in classification.confusion(found).axes[0].texts]
    assert sum(int(t.split("\n")[0]) for t in texts) == 25


def test_wilson_interval_known_answer():
    # 8 of 10: 0.490 to 0.943 (Wilson 1927)
    low, high = classification._wilson(np.array([0.8]), np.array([10]))
    assert low[0] == pytest.approx(0.490, abs=1e-3)
    assert high[0] == pytest.approx(0.943, abs=1e-3)


@pytest.mark.parametrize(
    "rows",
    [
        follow_up(),
        follow_up(events=0.0),
        follow_up(groups=("low",)),
        follow_up(n=1),
        follow_up().iloc[:0],
    ],
    ids=["usual", "no events", "one group", "one patient", "nobody"],
)
def test_kaplan_meier(rows, tmp_path):
    drawn(survival.kaplan_meier(rows, "title"), tmp_path)


def test_numbers_at_risk_are_right():
    rows = pd.DataFrame(
        {
            "patient_id": list("abcd"), "time_days": [100, 500, 900, 1200], "event": [1, 0, 1, 0],
            "risk_group": ["low", "low", "high", "high"],
        }
    )  # fmt: skip
    table = survival.kaplan_meier(rows, "").axes[1]
    low = [int(t.get_text()) for t in table.texts if t.get_position()[1] == 1]
    high = [int(t.get_text()) for t in table.texts if t.get_position()[1] == 0]
    assert low[:3] == [2, 1, 0]  # at 0, 1 and 2 years
    assert high[:4] == [2, 2, 2, 1]


def test_time_dependent_auc_with_and_without_horizons(tmp_path):
    rows = [
        {"method": m, "modality": "fused", "head": h, "metric": f"auc_{d}d", "fold": "pooled", "value": 0.6,
         "ci_low": 0.5, "ci_high": 0.7, "n": 40, "events": 22}
        for m, h in (("mirror", "cox"), ("mirror", "discrete"), ("ceiling", "cox"))
        for d in (365, 1096)
    ]  # fmt: skip
    figure = survival.time_dependent_auc(pd.DataFrame(rows))
    assert "n = 40 patients, 22 events" in figure._supxlabel.get_text()
    assert len(figure.axes) == 1, "the ceiling is a line in every panel, not a panel"
    drawn(figure, tmp_path, "a")
    drawn(survival.time_dependent_auc(pd.DataFrame(rows).assign(metric="c_index")), tmp_path, "b")


def test_a_head_looks_the_same_in_every_panel_and_no_other_looks_like_it():
    rows = [
        {"method": m, "modality": "rna", "head": h, "metric": "auc_365d", "fold": "pooled", "value": 0.6,
         "ci_low": 0.5, "ci_high": 0.7, "n": 40, "events": 22}
        for m, h in (("mirror", "cox"), ("mirror", "discrete"), ("rna_cox", "cox"), ("rna_cox", "coxnet"),
                     ("abmil", "mil"))
    ]  # fmt: skip
    looks: dict[str, set] = {}
    for panel in survival.time_dependent_auc(pd.DataFrame(rows)).axes:
        for drawn_head in panel.containers:
            line = drawn_head.lines[0]
            looks.setdefault(drawn_head.get_label(), set()).add((line.get_color(), line.get_linestyle()))
    assert {"Cox", "discrete-time", "elastic net"} < set(looks)
    assert all(len(look) == 1 for look in looks.values()), "one look a head"
    assert len(set.union(*looks.values())) == len(looks) == 4, "and no two heads alike"


def test_umap_passes_over_nan_rows_and_says_why_it_cannot(tmp_path):
    rng = np.random.default_rng(0)
    obs = pd.DataFrame({"label": list("ab") * 10, "set": ["train"] * 15 + ["test"] * 5, "site": [None] * 20})
    x = rng.normal(size=(20, 4))
    x[3] = np.nan
    nothing = np.full((20, 4), np.nan)
    figure = embedding.umap_panels(obs, {"wsi": x, "rna": nothing}, ["label", "set", "site", "cohort"], 0)
    assert len([a for a in figure.axes if a.get_title()]) == 2  # one modality, two columns that vary
    drawn(figure, tmp_path, "a")
    drawn(embedding.umap_panels(obs, {"wsi": nothing}, ["label"], 0), tmp_path, "b")


def test_alignment_of_nobody(tmp_path):
    drawn(embedding.alignment_heatmap(np.empty((0, 0)), {}), tmp_path, "a")
    drawn(
        embedding.alignment_heatmap(np.eye(5), {"wsi_to_rna": np.ones(5), "rna_to_wsi": np.arange(1.0, 6)}),
        tmp_path,
        "b",
    )


def test_retrieval_curves_are_recall_in_both_directions():
    figure = embedding.alignment_heatmap(np.eye(4), {"wsi_to_rna": np.ones(8), "rna_to_wsi": np.array([1.0, 2, 3, 4])})
    curves = {line.get_label(): list(line.get_ydata()) for line in figure.axes[1].get_lines()}
    assert curves["slide to RNA"] == [1, 1, 1, 1]
    assert curves["RNA to slide"] == [0.25, 0.5, 0.75, 1]
    assert "n = 8" in figure.axes[1].get_title()


def test_training_curves_of_logs_and_of_none(tmp_path):
    log = pd.DataFrame(
        {"epoch": [1, 2, 1, 2], "split": ["train", "train", "validation", "validation"], "total": [2, 1, 2.5, np.nan]}
    )
    drawn(training.training_curves({"r0f0": log, "r0f1": log}), tmp_path, "a")
    drawn(training.training_curves({}), tmp_path, "b")


def long_metrics(methods) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"cohort": "A", "encoder": "e", "scheme": "cv", "task": "subtyping", "method": m, "protocol": "linear",
             "modality": "fused", "head": "logistic", "metric": "auroc", "fold": "pooled", "value": 0.6,
             "ci_low": 0.5, "ci_high": 0.7, "n": 9, "events": None}
            for m in methods
        ]
    )  # fmt: skip


@pytest.mark.parametrize("methods", [["mirror"], ["mirror", "align", "ceiling"], [f"mine_{i}" for i in range(20)]])
def test_forest_and_ablation(methods, tmp_path):
    drawn(summary.forest(long_metrics(methods), {"subtyping": "auroc"}, {}), tmp_path, "a")
    drawn(summary.ablation(long_metrics(methods), methods, {"subtyping": "auroc"}, {}), tmp_path, "b")


def test_forest_of_nothing(tmp_path):
    drawn(summary.forest(long_metrics(["mirror"]).iloc[:0], {"subtyping": "auroc"}, {}), tmp_path)


def test_the_contact_sheet_flags_outliers():
    slides = pd.DataFrame(
        {
            "slide_id": list("abcdefg"),
            "status": ["ok", "ok", "ok", "ok", "ok", "empty", "ok"],
            "n_tiles": [500, 480, 40, 510, 520, 0, 490],
            "mpp": [0.5, 0.5, 0.5, 0.25, 1.0, 0.5, 0.5],
            "mpp_source": ["slide", "slide", "table", "slide", "slide", "slide", "objective"],
            "pen_fraction": [0.0, 0.07, 0.0, 0.0, 0.0, 0.0, 0.0],
        }
    )
    wanted = ["", "pen 7%", "few tiles", "mpp 0.25", "mpp 1", "empty", "mpp from objective power"]
    assert cohort.flags(slides) == wanted
    small = pd.DataFrame({"slide_id": list("abc"), "status": "ok", "n_tiles": [3, 3, 1]})
    assert cohort.flags(small) == ["", "", "few tiles"]


def test_flow_contact_sheet_and_genes(tmp_path):
    flow = pd.DataFrame({"step": ["a", "b"], "unit": ["slides", "patients"], "kept": [9, 5], "dropped": [0, 4],
                         "reason": ["", "a very long reason " * 9]})  # fmt: skip
    drawn(cohort.flow(flow, "T"), tmp_path, "a")
    slides = pd.DataFrame({"slide_id": ["s1", "s2"], "status": ["ok", "failed"], "n_tiles": [50, np.nan],
                           "mpp": [0.25, np.nan], "pen_fraction": [0.2, np.nan],
                           "message": ["", "broken"]})  # fmt: skip
    assert cohort.flags(slides) == ["pen 20%", "failed"]
    drawn(cohort.contact_sheet(slides, tmp_path), tmp_path, "b")
    drawn(cohort.gene_stability({"r0f0": ["a", "b"], "r0f1": ["a", "c"]}, {"a"}), tmp_path, "c")
    drawn(cohort.gene_stability({}, set()), tmp_path, "d")


def test_the_same_figure_is_the_same_file(tmp_path):
    for name in ("a", "b"):
        drawn(survival.kaplan_meier(follow_up(), "t"), tmp_path, name)
    for form in ("png", "svg"):
        assert (tmp_path / f"a.{form}").read_bytes() == (tmp_path / f"b.{form}").read_bytes()


def test_report_embeds_pictures_and_escapes(root, tmp_path):
    from mirror.core.errors import InputError
    from mirror.report.page import Section, render_report

    save_figure(survival.kaplan_meier(follow_up(), "t"), tmp_path / "k.png")
    section = Section("Result", answer=["<script>alert(1)</script>"])
    section.figure(tmp_path / "k.png", "Curve", "words")
    template = root / "workflow" / "report" / "report.html.j2"
    render_report(template, "T & T", "sub", ["careful"], [section, Section("Empty")], tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert "<script>alert" not in page
    assert "data:image/png;base64," in page
    assert 'href="#empty"' not in page
    (tmp_path / "bad.png").write_bytes(b"")
    with pytest.raises(InputError):
        section.figure(tmp_path / "bad.png", "t", "")


def test_prototypes_below_a_floor_say_so_and_claim_nothing_missing():
    """`no expression` and `no follow-up` are for cohorts that have none."""
    from mirror.report.figures.interpretation import associations

    columns = ["label_test", "label_value", "label_fdr", "hazard_ratio", "hr_low", "hr_high", "survival_fdr"]
    prototypes = pd.DataFrame(
        {"prototype": ["P01", "P02"], "reason": ["spread 0.001 below 0.01", "match 0.2 below 0.5"]}
    )
    prototypes = prototypes.reindex(columns=["prototype", "reason", *columns, "events", "n_survival"])
    genes = pd.DataFrame(columns=["prototype", "gene", "r", "p", "fdr", "n"])
    sets = pd.DataFrame(columns=["prototype", "gene_set", "p", "fdr"])

    def words(figure):
        panels = [panel for part in figure.subfigs for panel in part.axes]
        return " ".join([p.get_title() for p in panels] + [t.get_text() for p in panels for t in p.texts])

    told = words(associations(prototypes, genes, sets, 4))
    assert "spread 0.001 below 0.01" in told and "no prototype is above the floors" in told
    assert "no expression" not in told and "no follow-up" not in told
    told = words(associations(prototypes.assign(reason=""), genes, sets, 4))
    assert "no expression" in told and "no follow-up" in told and "no gene sets given" in told


@pytest.mark.parametrize("kind", ["roc", "pr"])
def test_a_curve_is_that_of_scikit_learn(kind):
    from sklearn.metrics import precision_recall_curve, roc_curve

    rng = np.random.default_rng(0)
    for n in [2, 3, 5, 20, 200] * 40:
        truth = rng.permutation(np.r_[0, 1, rng.integers(0, 2, n - 2)])
        score = rng.random(n).round(int(rng.integers(1, 4)))  # with ties
        if kind == "roc":
            x, y, _ = roc_curve(truth, score)
        else:
            precision, recall, _ = precision_recall_curve(truth, score)
            x, y = recall[::-1], precision[::-1]
        wanted = np.interp(classification.GRID, x, y)
        assert np.array_equal(classification._one_curve(truth, score, kind), wanted)
