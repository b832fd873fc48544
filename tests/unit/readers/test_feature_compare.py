"""Features of one slide that are unlike those of the others: scaled, normalised, centred, with x and y exchanged."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from mirror.config.sources import FeatureSource
from mirror.core.facts import Facts
from mirror.doctor import check_features
from mirror.features.importing import import_features
from mirror.readers.features.compare import running_order
from mirror.slides.reading.slide_mpp import slide_size
from slide_drawing import draw_tissue, write_svs

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "workflow" / "scripts"))

import join_shards

N, D, STEP = 60, 8, 512
GRID = np.stack([np.arange(N) % 10 * STEP, np.arange(N) // 10 * STEP], axis=1)
ABOUT = {"patch_size": 256, "patch_size_level0": STEP, "level0_magnification": 40, "target_magnification": 20,
         "overlap": 0}  # fmt: skip
SLIDES = [f"s{i}" for i in range(10)]
Change = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def write(path: Path, values: np.ndarray, coords: np.ndarray, **more: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["features"], file["coords"] = values, coords
        file["coords"].attrs.update(ABOUT | more)


def bags(kind: str = "signed") -> list[np.ndarray]:
    """Features as encoders make them: a common mean, vectors of varied length, slides that differ by a few per cent."""
    rng = np.random.default_rng(5)
    centre = rng.normal(0, 1, D) if kind == "signed" else np.abs(rng.normal(0, 1, D))
    out = []
    for _ in SLIDES:
        values = (centre + rng.normal(0, 0.6, (N, D))) * rng.lognormal(0, 0.03)
        out.append((np.maximum(values, 0) if kind == "positive" else values).astype(np.float32))
    return out


def run(root: Path, shards: int = 1) -> tuple[str, str]:
    """Warnings of the import over shards, as the joined table gives them, and of the doctor."""
    source = {"format": "trident", "path": str(root / "in"), "width": D, "encoder": "enc"}
    rows = [{"slide_id": s, "patient_id": s, "slide_path": "", "mpp": 0.25} for s in SLIDES]
    tables = []
    for shard in range(shards):
        taken = import_features(FeatureSource(**source), rows[shard::shards], root / "out")
        assert set(taken["status"]) == {"ok"}
        tables.append(root / f"shard_{shard}.tsv")
        taken.to_csv(tables[-1], sep="\t", index=False)
    join_shards.main([str(t) for t in tables], root / "all.tsv", root / "facts.json", "T", "features", source)
    joined = "\n".join(fact.text() for fact in Facts.read(root / "facts.json").warnings)
    seen = "\n".join(f.detail for f in check_features("T", {"features": [source]}, rows) if f.state != "ok")
    return joined, seen


LIES: dict[str, tuple[str, Change, str]] = {
    "scaled by 3": ("signed", lambda v, c: (v * 3, c), "slides differ in length from the median slide's"),
    "scaled by a third": ("positive", lambda v, c: (v / 3, c), "slides differ in length from the median slide's"),
    "L2 normalised": ("signed", lambda v, c: (v / np.linalg.norm(v, axis=1, keepdims=True), c), "have one length"),
    "normalised to their usual length": (
        "signed", lambda v, c: (v / np.linalg.norm(v, axis=1, keepdims=True) * 2.6, c), "have one length"),
    "standardised": ("signed", lambda v, c: ((v - v.mean(0)) / v.std(0), c), "the mean vector of 1 of 10 slides is"),
    "centred": ("positive", lambda v, c: (v - v.mean(0), c), "have negative values, the others have none"),
    "rectified": ("signed", lambda v, c: (np.abs(v), c), "have no negative values, the others have"),
    "x and y exchanged": ("signed", lambda v, c: (v, c[:, ::-1]), "x and y of their coordinates may be exchanged"),
}  # fmt: skip


@pytest.mark.fault(
    stage="features",
    fault="features of one slide that are scaled by more than 2, normalised, centred, or rectified; x and y exchanged",
    sees="which slides, by how much, and the rule; a smaller factor, and a whole cohort treated alike, are not seen: "
    "compare column `norm` of the status table",
    survives="every slide is read",
)
@pytest.mark.parametrize("lie", [None, *LIES])
@pytest.mark.parametrize("shards", [1, 5])
def test_one_slide_unlike_the_others_is_named(tmp_path: Path, lie: str | None, shards: int) -> None:
    kind, change, words = LIES[lie] if lie else ("signed", lambda v, c: (v, c), "")
    for i, (slide, values) in enumerate(zip(SLIDES, bags(kind), strict=True)):
        write(tmp_path / "in" / "features_enc" / f"{slide}.h5", *(change(values, GRID) if i == 3 else (values, GRID)))
    for said in run(tmp_path, shards):
        if lie is None:
            assert not said
        else:
            assert words in said and "for example s3" in said, said


def test_coordinates_beyond_the_slide_say_whether_they_are_exchanged(tmp_path: Path) -> None:
    """The slide's size comes from the features' file, or from the slide where it is at hand."""
    wide = write_svs(tmp_path / "s0.svs", draw_tissue(1024)[:512])  # 1024 x 512 px
    grid = np.stack([np.arange(N) % 12 * 80, np.arange(N) // 12 * 80], axis=1)
    about = {"level0_width": 1024, "level0_height": 512}
    for name, coords, more in (("s0", grid[:, ::-1], {}), ("s1", grid[:, ::-1], about), ("s2", grid, about),
                               ("s3", grid * 2, about)):  # fmt: skip
        write(tmp_path / "in" / "features_enc" / f"{name}.h5", bags()[0], coords, **more)
    rows = [
        {"slide_id": s, "patient_id": s, "slide_path": str(wide) if s == "s0" else "", "mpp": 0.25} for s in SLIDES[:4]
    ]
    source = FeatureSource(format="trident", path=str(tmp_path / "in"), width=D, encoder="enc")
    table = import_features(source, rows, tmp_path / "out", size_of=slide_size).set_index("slide_id")
    for name in ("s0", "s1"):
        assert (
            "beyond the slide's height of 512 px; with x and y exchanged all tiles lie on it" in table["doubts"][name]
        )
    assert "beyond" not in table["doubts"]["s2"]
    assert "beyond the slide's width of 1024 px" in table["doubts"]["s3"] and "exchanged" not in table["doubts"]["s3"]


def test_the_order_of_tiles() -> None:
    rng = np.random.default_rng(0)
    assert (running_order(GRID), running_order(GRID[:, ::-1])) == ("x", "y")
    assert running_order(rng.permutation(GRID)) == "" == running_order(GRID[:5])
    strip = np.stack([np.zeros(40, int), np.arange(40) * STEP], axis=1)  # a biopsy one tile wide runs either way
    assert running_order(strip) == "" == running_order(strip[:, ::-1])
    holes = GRID[rng.random(N) < 0.7]
    assert running_order(holes) == "x"
