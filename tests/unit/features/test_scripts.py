"""The scripts of embedding, importing and fetching, as their rules call them."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from mirror.config.slides import SlideSettings
from mirror.core.errors import InputError
from mirror.encoders.table import find_encoder, read_encoders
from mirror.io.features import FeatureFile
from mirror.slides.tiling.tile import tile_slide

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "workflow" / "scripts"))

import embed_tiles  # noqa: E402
import fetch_weights  # noqa: E402
import import_features  # noqa: E402

TABLE = ROOT / "config" / "encoders.yaml"


def test_a_real_slide_from_tiles_to_features(tmp_path: Path, test_data: Path) -> None:
    path = test_data / "slides" / "CMU-1-Small-Region.svs"
    result = tile_slide(path, "s", tmp_path, SlideSettings())
    tiled = pd.DataFrame({"slide_id": ["s", "bad"], "status": ["ok", "failed"], "message": ["", "why"]})
    tiled.to_csv(tmp_path / "tiled.tsv", sep="\t", index=False)
    slides = [
        {"slide_id": "s", "patient_id": "p", "slide_path": str(path), "mpp": None},
        {"slide_id": "bad", "patient_id": "q", "slide_path": str(path), "mpp": None},
    ]
    row = find_encoder("demo-random", TABLE).model_dump(mode="json")
    embed_tiles.main(slides, tmp_path / "tiled.tsv", row, {"device": "cpu"}, tmp_path, tmp_path / "status.tsv", 1)
    status = pd.read_csv(tmp_path / "status.tsv", sep="\t", keep_default_na=False).set_index("slide_id")
    assert status["status"].to_dict() == {"s": "ok", "bad": "failed"}
    assert status.loc["bad", "message"] == "not tiled: why"
    file = FeatureFile(tmp_path / "features" / "demo-random" / "s.h5")
    assert file.n == result.n_tiles == status.loc["s", "n_tiles"] and file.width == 448
    features = file.all()
    assert np.isfinite(features).all() and features.std(axis=0).mean() > 0.01
    assert file.focus.min() > 0 and file.coord_attrs["patch_size_level0"] == 256


def test_importing_finds_the_mpp_of_a_slide(tmp_path: Path, test_data: Path) -> None:
    path = test_data / "slides" / "CMU-1-Small-Region.svs"
    assert import_features.slide_mpp({"mpp": 0.3, "slide_path": str(path)}) == 0.3
    assert import_features.slide_mpp({"mpp": None, "slide_path": str(path)}) == pytest.approx(0.499)
    assert import_features.slide_mpp({"mpp": None, "slide_path": str(tmp_path / "gone.svs")}) is None
    assert import_features.slide_mpp({"mpp": None, "slide_path": str(test_data / "slides" / "unopenable.tiff")}) is None


def test_importing_writes_the_table(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    torch.save(torch.ones(4, 3), tmp_path / "in" / "s.pt")
    slides = [{"slide_id": "s", "patient_id": "p", "slide_path": "s.svs", "mpp": None}]
    source = {"format": "pt", "path": str(tmp_path / "in"), "width": 3, "encoder": "theirs"}
    import_features.main(slides, source, tmp_path, tmp_path / "status.tsv")
    status = pd.read_csv(tmp_path / "status.tsv", sep="\t")
    assert status.loc[0, ["slide_id", "patient_id", "status", "n_tiles", "width"]].tolist() == ["s", "p", "ok", 4, 3]
    assert FeatureFile(tmp_path / "features" / "theirs" / "s.h5").n == 4


def test_fetching_checks_local_weights_and_names_what_is_missing(tmp_path: Path) -> None:
    rows = [find_encoder(name, TABLE).model_dump(mode="json") for name in ("demo-random", "uni", "virchow")]
    (tmp_path / "model.safetensors").write_bytes(b"x")
    fetch_weights.main(rows[:2], {"weights": {"uni": str(tmp_path)}})
    with pytest.raises(InputError, match=r"no checkpoint here \(and 1 more, above\)"):
        fetch_weights.main(rows, {"weights": {"uni": str(tmp_path / "a"), "virchow": str(tmp_path / "b")}})


def test_every_encoder_is_in_the_documentation() -> None:
    text = (ROOT / "docs" / "encoders.md").read_text(encoding="utf-8")
    for name, row in read_encoders(TABLE).items():
        line = next((line for line in text.splitlines() if line.startswith(f"| `{name}` |")), "")
        assert f"| {row.width} |" in line and row.licence in line, f"{name} is missing or differs in docs/encoders.md"
        assert ("(gated)" in line) == row.gated
