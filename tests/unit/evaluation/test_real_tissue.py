"""The benchmark on sections: pixels and spots meet, readouts see training sections only, chance is chance."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import openslide
import pandas as pd
import pytest
from PIL import Image

from mirror.core.seeds import stream
from mirror.io.features import write_features
from mirror.slides.reading.mpp import resolve_mpp
from mirror.slides.reading.open import open_slide

BENCHMARKS = Path(__file__).resolve().parents[3] / "benchmarks"
PITCH = 290  # px


@pytest.fixture
def tissue(monkeypatch):
    """The benchmark's parts as modules."""
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    import tissue.readout
    import tissue.sections

    return SimpleNamespace(sections=tissue.sections, readout=tissue.readout)


def write_section(folder: Path, name: str, columns: int = 4, rows: int = 3) -> None:
    """Spots on a grid; one lies under tissue without counts, one has counts outside the tissue."""
    spots = [(x, y) for x in range(columns) for y in range(rows)]
    selection = [{"x": x, "y": y, "pixel_x": 300 + PITCH * x, "pixel_y": 200 + PITCH * y} for x, y in spots]
    pd.DataFrame(selection[1:]).to_csv(folder / f"{name}_selection.tsv", sep="\t", index=False)
    counts = pd.DataFrame({"A": range(len(spots)), "B": 1, "C": 0}, index=[f"{x}x{y}" for x, y in spots])
    counts.iloc[2] = 0
    counts.to_csv(folder / f"{name}.tsv.gz", sep="\t")
    clusters = pd.DataFrame(selection).assign(label=[x // 2 for x, _ in spots])[3:]
    clusters.to_csv(folder / f"{name}-cluster-annotation.tsv.gz", sep="\t")
    Image.new("RGB", (1600, 1200), (200, 120, 180)).save(folder / f"{name}.jpg")


def test_spots_scale_and_clusters_are_read(tissue, tmp_path):
    write_section(tmp_path, "B4")
    found = tissue.sections.read_section(tmp_path, "B4")
    assert len(found.counts) == 10, "of 12: one not selected, one without a count"
    assert found.mpp == pytest.approx(200 / PITCH)
    places = dict(zip(map(tuple, found.place), found.clusters, strict=True))
    assert places[(0, 1)] == "" and places[(3, 2)] == "1"


def test_a_section_becomes_a_slide_of_known_resolution(tissue, tmp_path):
    write_section(tmp_path, "B4")
    section = tissue.sections.read_section(tmp_path, "B4")
    tissue.sections.write_pyramid(section, tmp_path / "B4.tiff")
    with openslide.OpenSlide(tmp_path / "B4.tiff") as levels:
        assert levels.level_dimensions == ((1600, 1200), (800, 600))
    with open_slide(tmp_path / "B4.tiff") as slide:
        assert slide.bounds == (0, 0, 1600, 1200)
        assert resolve_mpp(slide.properties, None, slide.path).value == pytest.approx(section.mpp, rel=1e-3)


def test_a_block_sums_counts_and_gets_the_tiles_around_its_spots(tissue, tmp_path):
    write_section(tmp_path, "B4")
    section = tissue.sections.read_section(tmp_path, "B4")
    corners = np.array([[x, y] for x in range(0, 900, 100) for y in range(0, 900, 100)])
    values = corners.astype(np.float32) + 50  # the features are the tiles' centres
    grid = {"patch_size": 100, "patch_size_level0": 100}
    write_features(tmp_path / "B4.h5", values, corners, encoder="centres", coord_attrs=grid, dtype="float32")
    samples = tissue.sections.make_samples([section], tmp_path, 2, 110.0)
    block = samples.table.loc["B4_0x0"]  # spots 0x1, 1x0, 1x1
    assert samples.counts.layers["read"][list(samples.table.index).index("B4_0x0")].tolist() == [1 + 3 + 4, 3, 0]
    bag = samples.bags["B4_0x0"]
    spots = np.array([[300, 490], [590, 200], [590, 490]])
    near = np.abs(values[:, None] - spots[None]).max(2).min(1) <= 110 / section.mpp
    assert len(bag) == block["tiles"] == near.sum() and set(map(tuple, bag)) == set(map(tuple, values[near]))


def test_patients_and_sections_are_held_out(tissue):
    table = pd.DataFrame({"section": ["B4", "C2", "C3", "C2"], "patient": ["B", "C", "C", "C"]})
    assert tissue.sections.folds_of(table) == [
        ("section", ["B4", "C3"], ["C2"]), ("section", ["B4", "C2"], ["C3"]),
        ("patient", ["C2", "C3"], ["B4"]), ("patient", ["B4"], ["C2", "C3"]),
    ]  # fmt: skip


def test_the_readout_finds_the_genes_that_a_vector_tells(tissue):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 6))
    y = np.stack([x[:, 0] + 0.1 * rng.normal(size=300), rng.normal(size=300)], 1)
    found = tissue.readout.Readout(x[:200], y[:200], np.repeat([0, 1, 2, 3], 50))
    told, noise = tissue.readout.correlations(found.predict(x[200:]), y[200:])
    assert told > 0.95 and abs(noise) < 0.3
    assert found.inner_r[0] > 0.95 > 0.3 > abs(found.inner_r[1])
    assert tissue.readout.correlations(np.ones((5, 1)), np.arange(5.0)[:, None]) == [0.0]


def test_the_ridge_path_is_ridge_regression(tissue):
    from sklearn.linear_model import Ridge

    rng = np.random.default_rng(1)
    x, y, new = rng.normal(size=(30, 50)) + 3, rng.normal(size=(30, 4)) - 2, rng.normal(size=(7, 50)) + 3
    for penalty, guess in zip((1.0, 1e3), tissue.readout.ridge_path(x, y, new, 1.0, 1e3), strict=True):
        assert np.allclose(guess, Ridge(alpha=penalty).fit(x, y).predict(new), atol=1e-8)


def test_shuffling_over_all_and_inside_sections(tissue):
    sections = np.repeat(["a", "b"], 50)
    inside, over = (tissue.readout.shuffled(sections, 3, within=within) for within in (True, False))
    assert sorted(inside[:50]) == list(range(50)) and (inside != np.arange(100)).sum() > 80
    assert sorted(over) == list(range(100)) and (over[:50] >= 50).sum() > 10


def test_a_moved_map_keeps_what_neighbours_share(tissue):
    """Stripes along the columns: equal maps have an NMI of 1; permuted spots share nothing, moved ones something."""
    table = pd.DataFrame([(c, r) for c in range(20) for r in range(20)], columns=["column", "row"])
    table["cluster"] = [str(c // 10) for c in table["column"]]
    won = (table["column"] // 10).to_numpy()
    moved = tissue.readout.moved_nmi(table, won)
    from sklearn.metrics import normalized_mutual_info_score as nmi

    permuted = nmi(stream(0, "x").permutation(won), won)
    assert nmi(table["cluster"], won) == 1.0 and permuted < 0.02 < 0.1 < moved < 1
