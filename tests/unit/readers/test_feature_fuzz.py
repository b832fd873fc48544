"""Valid features of four slides in every format, one of them with one random lie: named, or it changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mirror.config.sources import FeatureSource
from mirror.core.facts import Facts
from mirror.features.importing import import_features
from mirror.io.features import FeatureFile

STEP = 512
SLIDES = ["s0", "s1", "s2", "s3"]
FORMATS = ["pt", "pt with coordinates", "clam", "stamp", "trident"]
Bag = tuple[np.ndarray, np.ndarray]


@st.composite
def bags(draw) -> list[Bag]:
    """Four slides of 60 to 90 tiles in rows, vectors about a common mean."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    width = draw(st.integers(3, 9))
    centre = rng.choice([-1.5, 1.5], width)
    centre[0] = -1.5  # values of both signs, else rectifying changes nothing
    out = []
    for _ in SLIDES:
        n = int(rng.integers(60, 90))
        values = (centre + rng.normal(0, 0.5, (n, width))).astype(np.float32)
        out.append((values, np.stack([np.arange(n) % 8 * STEP, np.arange(n) // 8 * STEP], axis=1)))
    return out


def write(root: Path, form: str, slide: str, values: Any, coords: Any) -> Path:
    """One slide in a format; ``values`` may be what no writer should write."""
    if form.startswith("pt"):
        path = root / f"{slide}.pt"
        tensor = torch.from_numpy(np.ascontiguousarray(values)) if isinstance(values, np.ndarray) else values
        root.mkdir(parents=True, exist_ok=True)
        place = torch.from_numpy(np.ascontiguousarray(coords))
        torch.save({"features": tensor, "coords": place} if form.endswith("coordinates") else tensor, path)
        return path
    folder = {"clam": "h5_files", "stamp": ".", "trident": "features_enc"}[form]
    path = root / folder / f"{slide}.h5"
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["feats" if form == "stamp" else "features"] = values
        file["coords"] = coords / STEP * 128.0 if form == "stamp" else coords
        if form == "stamp":
            file.attrs.update({"tile_size_um": 128.0, "unit": "um", "stamp_version": "2.3.0"})
        elif form == "trident":
            about = {"patch_size": 256, "patch_size_level0": STEP, "overlap": 0, "level0_magnification": 40}
            file["coords"].attrs.update(about | {"target_magnification": 20})
    if form == "clam":
        patches = root / "patches" / f"{slide}.h5"
        patches.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(patches, "w") as file:
            file["coords"] = coords
            file["coords"].attrs.update({"patch_size": STEP, "patch_level": 0, "downsample": np.array([1.0, 1.0])})
    return path


def take(root: Path, form: str, width: int) -> tuple[Any, str]:
    """The table by slide and everything that was said of the slides."""
    name = form.split(" ", maxsplit=1)[0]
    source = FeatureSource(format=name, path=str(root), width=width, encoder="enc")
    rows = [{"slide_id": s, "patient_id": s, "slide_path": "", "mpp": 0.25} for s in SLIDES]
    facts = Facts(root)
    table = import_features(source, rows, root.parent / "out", facts=facts).set_index("slide_id")
    failed = " ".join(table["message"][table["status"] != "ok"])
    return table, failed + "\n".join(fact.text() for fact in facts.warnings)


def cell(value: float) -> Callable[[np.ndarray, np.ndarray, int], Bag]:
    def change(values: np.ndarray, coords: np.ndarray, i: int) -> Bag:
        values = values.copy()
        values[i % len(values), i % values.shape[1]] = value
        return values, coords

    return change


def unit(values: np.ndarray) -> np.ndarray:
    return values / np.linalg.norm(values, axis=1, keepdims=True)


LIES: dict[str, Callable[[np.ndarray, np.ndarray, int], tuple[Any, Any]]] = {
    "NaN": cell(np.nan),
    "infinity": cell(np.inf),
    "scaled": lambda v, c, i: (v * (6 + i % 300), c),
    "made small": lambda v, c, i: (v / (6 + i % 300), c),
    "normalised": lambda v, c, i: (unit(v), c),
    "standardised": lambda v, c, i: ((v - v.mean(0)) / v.std(0), c),
    "rectified": lambda v, c, i: (np.abs(v), c),
    "half precision that overflows": lambda v, c, i: (np.where(v > 0, np.inf, v).astype(np.float16), c),
    "another width": lambda v, c, i: (v[:, : 1 + i % (v.shape[1] - 1)], c),
    "turned": lambda v, c, i: (v.T, c),
    "whole numbers": lambda v, c, i: ((v * 100).astype(np.int32), c),
    "one vector": lambda v, c, i: (v[0], c),
    "equal rows": lambda v, c, i: (np.repeat(v[:1], len(v), axis=0), c),
    "zeros": lambda v, c, i: (np.where(np.arange(len(v))[:, None] == i % len(v), 0, v).astype(np.float32), c),
}
PLACES: dict[str, Callable[[np.ndarray, np.ndarray, int], tuple[Any, Any]]] = {
    "a tile twice": lambda v, c, i: (np.vstack([v, v[:1]]), np.vstack([c, c[:1]])),
    "x and y exchanged": lambda v, c, i: (v, c[:, ::-1]),
    "one tile fewer": lambda v, c, i: (v[:-1], c),
    "shares of the slide": lambda v, c, i: (v, c / (c.max() + 1.0)),
    "negative": lambda v, c, i: (v, c - STEP * (1 + i % 9)),
}


@settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(slides=bags(), form=st.sampled_from(FORMATS), lie=st.sampled_from(sorted(LIES)), i=st.integers(0, 2**20))
def test_a_lie_of_values_is_named(tmp_path_factory: pytest.TempPathFactory, slides, form, lie, i) -> None:
    check(tmp_path_factory.mktemp("lie") / "in", slides, form, LIES[lie], i)


@settings(max_examples=10, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(slides=bags(), form=st.sampled_from(["pt with coordinates", "clam", "stamp", "trident"]),
       lie=st.sampled_from(sorted(PLACES)), i=st.integers(0, 2**20))  # fmt: skip
def test_a_lie_of_places_is_named(tmp_path_factory: pytest.TempPathFactory, slides, form, lie, i) -> None:
    check(tmp_path_factory.mktemp("lie") / "in", slides, form, PLACES[lie], i)


def check(root: Path, slides: list[Bag], form: str, lie: Callable, i: int) -> None:
    """Without the lie nothing is said; with it the slide is named."""
    width = slides[0][0].shape[1]
    for slide, (values, coords) in zip(SLIDES, slides, strict=True):
        write(root, form, slide, values, coords)
    table, said = take(root, form, width)
    assert set(table["status"]) == {"ok"} and not said, said
    at = i % len(SLIDES)
    write(root, form, SLIDES[at], *lie(*slides[at], i))
    table, said = take(root, form, width)
    assert SLIDES[at] in said, (table["message"].tolist(), said)
    assert set(table["status"].drop(SLIDES[at])) == {"ok"}


@settings(max_examples=10, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(slides=bags(), form=st.sampled_from(FORMATS), share=st.floats(0.01, 0.98))
def test_a_cut_file_is_named_or_whole(tmp_path_factory: pytest.TempPathFactory, slides, form, share) -> None:
    root = tmp_path_factory.mktemp("cut") / "in"
    paths = [write(root, form, s, *bag) for s, bag in zip(SLIDES, slides, strict=True)]
    content = paths[1].read_bytes()
    paths[1].write_bytes(content[: int(share * len(content))])
    table, said = take(root, form, slides[0][0].shape[1])
    if table.loc["s1", "status"] == "ok":  # nothing but padding was cut
        read = FeatureFile(root.parent / "out" / "features" / "enc" / "s1.h5").all()
        assert sorted(map(tuple, read)) == sorted(map(tuple, slides[1][0]))
    else:
        assert "s1" in said
