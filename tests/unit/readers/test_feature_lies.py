"""Features of others that say one thing and hold another: each lie is named, or changes nothing."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mirror.config.sources import FeatureSource
from mirror.core.errors import InputError
from mirror.core.facts import Facts
from mirror.doctor import check_features
from mirror.features.importing import import_features
from mirror.io.features import FeatureFile

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "workflow" / "scripts"))

import join_shards

N, D, STEP = 30, 6, 512
GRID = np.stack([np.arange(N) % 6 * STEP, np.arange(N) // 6 * STEP], axis=1)
VALUES = np.random.default_rng(0).standard_normal((N, D)).astype(np.float32)
ABOUT = {
    "patch_size": 256,
    "patch_size_level0": STEP,
    "level0_magnification": 40,
    "target_magnification": 20,
    "overlap": 0,
}


def write(path: Path, values: np.ndarray = VALUES, coords: Any = GRID, key: str = "features", **attrs: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file[key] = values
        if coords is not None:
            file["coords"] = coords
            file["coords"].attrs.update(attrs)


def take(
    root: Path, names: list[str], format_: str = "trident", mpp: Any = 0.25, **more: Any
) -> tuple[pd.DataFrame, Facts]:
    """Import some slides; the table by slide and the facts."""
    source = FeatureSource(format=format_, path=str(root), width=D, encoder="enc", **more)
    mpps = mpp if isinstance(mpp, list) else [mpp] * len(names)
    rows = [{"slide_id": s, "patient_id": s[:12], "slide_path": "", "mpp": m} for s, m in zip(names, mpps, strict=True)]
    facts = Facts(root)
    return import_features(source, rows, root.parent / "out", facts=facts).set_index("slide_id"), facts


def warned(facts: Facts) -> str:
    return "\n".join(fact.text() for fact in facts.warnings)


@pytest.mark.fault(
    stage="features",
    fault="imported features of two scales in one folder (20x and 40x, or 256 and 512 px)",
    sees="how many slides have tiles of how many micrometres, in log and report; mixed_scales: error stops",
    survives="the features; the comparison is over all slides of the cohort",
)
def test_two_scales_in_one_folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    names = [f"s{i}" for i in range(6)]
    for name in names:
        write(tmp_path / "in" / "h5_files" / f"{name}.h5")
        about = {"patch_size": 256, "patch_level": 0, "downsample": np.array([1.0, 1.0])}
        write(tmp_path / "in" / "patches" / f"{name}.h5", **about)
    mpps = [0.25] * 3 + [0.5] * 3
    with caplog.at_level(logging.WARNING):
        table, facts = take(tmp_path / "in", names, "clam", mpps)
    said = "3 of 6 slides have tiles of 64 um (first: s0), 3 of 6 slides have tiles of 128 um (first: s3)"
    assert said in warned(facts) and said in caplog.text
    assert list(table["tile_um"]) == [64.0] * 3 + [128.0] * 3 and set(table["status"]) == {"ok"}
    with pytest.raises(InputError, match="64 um"):
        take(tmp_path / "in", names, "clam", mpps, mixed_scales="error")
    assert "factor" not in warned(take(tmp_path / "in", names[:3], "clam", 0.25)[1])


@pytest.mark.parametrize(
    ("attrs", "step", "px", "size", "note"),
    [
        ({"tile_size_um": 256.0, "unit": "um", "stamp_version": "2.3.0"}, 256.0, 1024, 1024, ""),
        ({"tile_size": 256.0, "unit": "um", "tile_size_px": 224}, 256.0, 1024, 1024, ""),
        ({"extractor": "ctranspath"}, 224.0, 1024, 1024, "STAMP version 1"),
        ({"tile_size": 224, "unit": "px"}, 224.0, 1024, 1024, "STAMP version 1"),
        ({"extractor": "ctranspath"}, 448.0, None, None, "coordinates left out: neither their unit nor a tile size"),
        ({"tile_size_um": 256.0, "unit": "um"}, 512.0, 2048, 1024, ""),  # every second tile
        ({"tile_size_um": 256.0, "unit": "um"}, 64.0, None, None, "would lie 64 um apart"),  # pixels called um
    ],
)
def test_stamp_by_its_versions(
    tmp_path: Path, attrs: dict[str, Any], step: float, px: int | None, size: int | None, note: str
) -> None:
    write(tmp_path / "in" / "s.h5", coords=GRID / STEP * step, key="feats")
    with h5py.File(tmp_path / "in" / "s.h5", "r+") as file:
        file.attrs.update(attrs)
    table, _ = take(tmp_path / "in", ["s"], "stamp")
    assert table.loc["s", "status"] == "ok" and note in table.loc["s", "message"]
    read = FeatureFile(tmp_path / "out" / "features" / "enc" / "s.h5")
    if px is None:
        with pytest.raises(InputError, match="without coordinates"):
            _ = read.coords
        return
    assert (read.coords == GRID // STEP * px).all() and read.coord_attrs["patch_size_level0"] == size
    assert table.loc["s", "tile_um"] == 256.0


def test_a_batch_dimension_and_a_slide_of_one_tile(tmp_path: Path) -> None:
    for name, n in (("many", N), ("one", 1)):
        write(tmp_path / "in" / "features_enc" / f"{name}.h5", VALUES[None, :n], GRID[None, :n], **ABOUT)
    table, _ = take(tmp_path / "in", ["many", "one"])
    assert list(table["n_tiles"]) == [N, 1] and set(table["status"]) == {"ok"}


@pytest.mark.fault(
    stage="features",
    fault="feature files named by patient, or in lower case; datasets of another name or case",
    sees="the kind: named by the patient, differs by case alone, the features seem to be under another name",
    survives="every other slide",
)
def test_names_are_told_apart_by_kind(tmp_path: Path) -> None:
    slide = "TCGA-ZZ-A001-01Z-00-DX1"
    for stem, kind in (("TCGA-ZZ-A001", "named by the patient"), (slide.lower(), "upper and lower case alone"),
                       ("patient_7", "no TCGA barcodes")):  # fmt: skip
        root = tmp_path / stem / "in"
        write(root / "features_enc" / f"{stem}.h5", **ABOUT)
        table, facts = take(root, [slide])
        assert kind in table.loc[slide, "message"], stem
        assert facts.warnings[-1].subject in (
            "files named by patient",
            "names that differ by case",
            "other identifiers",
        )
    for key, kind in (("embeddings", "seem to be under 'embeddings'"), ("Features", "differs from it by case alone"),
                      ("feats", "format: stamp")):  # fmt: skip
        root = tmp_path / key / "in"
        write(root / "features_enc" / "s.h5", key=key, **ABOUT)
        assert kind in take(root, ["s"])[0].loc["s", "message"]


def test_overflow_of_half_precision_is_said(tmp_path: Path) -> None:
    with np.errstate(over="ignore"):
        write(tmp_path / "in" / "features_enc" / "s.h5", (VALUES * 1e5).astype(np.float16), **ABOUT)
    table, facts = take(tmp_path / "in", ["s"])
    assert "65504 became infinite in float16" in table.loc["s", "message"]
    assert "half-precision overflow" in warned(facts)


def test_slide_level_embeddings_under_patch_features_are_doubted(tmp_path: Path) -> None:
    for name in "ab":
        write(tmp_path / "in" / "features_enc" / f"{name}.h5", VALUES[:1], GRID[:1], **ABOUT)
    assert "slide-level embeddings" in warned(take(tmp_path / "in", ["a", "b"])[1])


def test_a_small_tensor_file_cannot_claim_more_than_the_memory(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    torch.save(torch.zeros(1).expand(10**8, 10**4), tmp_path / "in" / "s.pt")
    table, _ = take(tmp_path / "in", ["s"], "pt")
    assert table.loc["s", "status"] == "failed" and "this job's memory allows" in table.loc["s", "message"]


def _double(v: np.ndarray, c: np.ndarray, a: dict[str, Any], i: int) -> tuple[np.ndarray, Any, dict[str, Any]]:
    return np.vstack([v, v[i : i + 1]]), np.vstack([c, c[i : i + 1]]), a


def _cell(value: float) -> Callable[..., tuple[np.ndarray, Any, dict[str, Any]]]:
    def change(v: np.ndarray, c: np.ndarray, a: dict[str, Any], i: int) -> tuple[np.ndarray, Any, dict[str, Any]]:
        v = v.copy()
        v[i, i % D] = value
        return v, c, a

    return change


def _zero_row(v: np.ndarray, c: np.ndarray, a: dict[str, Any], i: int) -> tuple[np.ndarray, Any, dict[str, Any]]:
    v = v.copy()
    v[i] = 0
    return v, c, a


LIES: dict[str, tuple[Callable[..., tuple[np.ndarray, Any, dict[str, Any]]], str]] = {
    "a doubled row": (_double, "listed twice"),
    "NaN": (_cell(np.nan), "NaN or infinity"),
    "infinity": (_cell(np.inf), "NaN or infinity"),
    "zeros": (_zero_row, "hold zeros only"),
    "features cut": (lambda v, c, a, i: (v[: i + 1], c, a), "features but"),
    "coordinates cut": (lambda v, c, a, i: (v, c[: i + 1], a), "features but"),
    "coordinates turned": (lambda v, c, a, i: (v, c.T, a), "coordinates of shape"),
    "features turned": (lambda v, c, a, i: (v.T, c, a), "features"),
    "coordinates of another level": (lambda v, c, a, i: (v, c // 2 ** (1 + i % 3), a), "px apart"),
    "coordinates as shares": (lambda v, c, a, i: (v, c / c.max(), a), "between 0 and 1"),
    "another width": (lambda v, c, a, i: (v[:, : 1 + i % (D - 1)], c, a), "wide, the config says"),
    "integers": (lambda v, c, a, i: (v.astype(np.int32), c, a), "expected (N, D) floats"),
    "negative coordinates": (lambda v, c, a, i: (v, c - STEP * (1 + i), a), "negative coordinates"),
    "beyond the slide": (
        lambda v, c, a, i: (v, c, a | {"level0_width": 1 + i, "level0_height": 9999}),
        "beyond the slide",
    ),
    "another magnification": (lambda v, c, a, i: (v, c, a | {"level0_magnification": 20}), "the magnifications say"),
    "NaN among coordinates": (lambda v, c, a, i: (v, np.where(np.arange(N)[:, None] == i, np.nan, c), a), "NaN"),
    "a vector": (lambda v, c, a, i: (v[i], None, a), "one vector"),
}
HARMLESS: dict[str, Callable[..., tuple[np.ndarray, Any, dict[str, Any]]]] = {
    "float32 coordinates": lambda v, c, a, i: (v, c.astype(np.float32), a),
    "another order": lambda v, c, a, i: (np.roll(v, i, 0), np.roll(c, i, 0), a),
    "a batch dimension": lambda v, c, a, i: (v[None], c[None], a),
    "float64": lambda v, c, a, i: (v.astype(np.float64), c, a),
    "attributes as arrays": lambda v, c, a, i: (v, c, {k: np.array([x]) for k, x in a.items()}),
    "size left out": lambda v, c, a, i: (v, c, {k: x for k, x in a.items() if k != "patch_size_level0"}),
}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lie=st.sampled_from(sorted(LIES)), i=st.integers(0, N - 2))
def test_one_lie_is_named(tmp_path_factory: pytest.TempPathFactory, lie: str, i: int) -> None:
    """A valid bag with one random lie: the slide's row or the facts name it."""
    root = tmp_path_factory.mktemp("lie") / "in"
    change, words = LIES[lie]
    values, coords, about = change(VALUES, GRID, ABOUT, i)
    write(root / "features_enc" / "s.h5", values, coords, **(about if coords is not None else {}))
    table, facts = take(root, ["s"])
    assert words in table.loc["s", "message"] + warned(facts), (lie, i)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(what=st.sampled_from(sorted(HARMLESS)), i=st.integers(0, N - 1))
def test_another_spelling_changes_nothing(tmp_path_factory: pytest.TempPathFactory, what: str, i: int) -> None:
    root = tmp_path_factory.mktemp("same") / "in"
    values, coords, about = HARMLESS[what](VALUES, GRID, ABOUT, i)
    write(root / "features_enc" / "s.h5", values, coords, **about)
    table, facts = take(root, ["s"])
    read = FeatureFile(root.parent / "out" / "features" / "enc" / "s.h5")
    assert (read.all() == VALUES).all() and (read.coords == GRID).all() and not facts.warnings
    assert table.loc["s", "message"] == "" and table.loc["s", "tile_um"] == 128.0


def test_the_doctor_sees_it_before_anything_runs(tmp_path: Path) -> None:
    """Headers alone tell names, widths and two scales; over the shards of a cohort the joined table tells the same."""
    names = ["TCGA-ZZ-A001-01Z-00-DX1", "TCGA-ZZ-A002-01Z-00-DX1", "TCGA-ZZ-A003-01Z-00-DX1", "TCGA-ZZ-A004-01Z-00-DX1"]
    root = tmp_path / "in"
    write(root / "features_enc" / f"{names[0]}.h5", **ABOUT)
    write(root / "features_enc" / f"{names[1]}.h5", **ABOUT | {"patch_size_level0": 1024, "target_magnification": 10})
    write(root / "features_enc" / f"{names[2]}.h5", VALUES[:, :3], **ABOUT)
    write(root / "features_enc" / f"{names[3].lower()}.h5", **ABOUT)
    source = {"format": "trident", "path": str(root), "width": D, "encoder": "enc"}
    slides = [{"slide_id": s, "patient_id": s[:12], "slide_path": "", "mpp": 0.25} for s in names]
    found = list(check_features("T", {"features": [source]}, slides))
    said = "\n".join(f"{f.state} {f.detail}" for f in found)
    for words in ("2 of 4", "factor of 2", "3 wide, the config says 6", "upper and lower case alone"):
        assert words in said
    for shard, name in enumerate(names[:2]):
        taken = import_features(FeatureSource(**source), [slides[shard]], tmp_path / "out")
        taken.to_csv(tmp_path / f"shard_{name}.tsv", sep="\t", index=False)
    shards = [str(tmp_path / f"shard_{name}.tsv") for name in names[:2]]
    join_shards.main(shards, tmp_path / "joined.tsv", tmp_path / "facts.json", "T", "features", source)
    assert "factor of 2" in warned(Facts.read(tmp_path / "facts.json"))
    with pytest.raises(InputError, match="factor of 2"):
        join_shards.main(
            shards, tmp_path / "j.tsv", tmp_path / "f.json", "T", "features", source | {"mixed_scales": "error"}
        )
    join_shards.main(shards, tmp_path / "joined.tsv", tmp_path / "own.json", "T", "features")
    assert not Facts.read(tmp_path / "own.json").warnings


@pytest.mark.fault(
    stage="features",
    fault="features of one slide that are scaled; rows that are all the same; tiles farther apart than their size",
    sees="the slides and the factor; the row of the slide",
    survives="every slide is read",
)
@pytest.mark.parametrize("lie", ["none", "scaled", "normalised", "same", "apart"])
def test_lengths_equal_rows_and_gaps_are_said(tmp_path: Path, lie: str) -> None:
    rng = np.random.default_rng(3)
    many = 80
    grid = np.stack([np.arange(many) % 9 * STEP, np.arange(many) // 9 * STEP], axis=1)
    for i in range(4):
        values, coords = rng.standard_normal((many, D)).astype(np.float32), grid
        if i == 2:
            values = {
                "scaled": values * 100,
                "normalised": values / np.linalg.norm(values, axis=1, keepdims=True) / 10,
                "same": np.repeat(values[:1], many, axis=0),
            }.get(lie, values)
            coords = grid * 2 if lie == "apart" else grid
        write(tmp_path / "in" / "features_enc" / f"s{i}.h5", values, coords, **ABOUT)
    table, facts = take(tmp_path / "in", [f"s{i}" for i in range(4)])
    said = warned(facts)
    assert set(table["status"]) == {"ok"}
    words = {
        "none": "",
        "scaled": "vectors of 1 of 4 slides differ in length",
        "normalised": "vectors of 1 of 4 slides differ in length",
        "same": "s2: all 80 rows are the same",
        "apart": "s2: no two tiles lie closer than 1024 px although their size is 512 px",
    }[lie]
    assert (words in said) if words else not said, said
    if lie == "scaled":
        assert "(for example s2 x " in said
