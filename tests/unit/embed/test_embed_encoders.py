"""The encoder table: every row builds, weights load, and what cannot be loaded says so."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mirror.slides.encoder_build import build_encoder, check_width
from mirror.slides.encoders import read_encoders

TABLE = Path(__file__).resolve().parents[3] / "config" / "encoders.yaml"
ROWS = read_encoders(TABLE)
PUBLISHED = {
    "resnet50": 1024, "phikon": 768, "uni": 1024, "uni2-h": 1536, "virchow": 2560, "virchow2": 2560,
    "h-optimus-0": 1536, "h-optimus-1": 1536, "h0-mini": 768, "gigapath": 1536, "kaiko-s16": 384, "kaiko-s8": 384,
    "kaiko-b16": 768, "kaiko-b8": 768, "kaiko-l14": 1024, "lunit-s8": 384, "lunit-s16": 384,
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_every_row_builds_and_has_its_width(name: str) -> None:
    """On the meta device: arguments, pooling, input size and width are checked without weights."""
    with torch.device("meta"):
        encoder = build_encoder(ROWS[name])
        check_width(encoder, ROWS[name])
    if ROWS[name].pooling == "cls_mean" or ROWS[name].prefix_tokens != 1:
        assert encoder.model.num_prefix_tokens == ROWS[name].prefix_tokens


def test_published_rows_are_there() -> None:
    assert {name: ROWS[name].width for name in PUBLISHED} == PUBLISHED
    gated = {"uni", "uni2-h", "virchow", "virchow2", "h-optimus-0", "h-optimus-1", "h0-mini", "gigapath"}
    assert {name for name in PUBLISHED if ROWS[name].gated} == gated
    assert all("random" in name for name, row in ROWS.items() if row.weights == "random")
