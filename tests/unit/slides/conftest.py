"""Slides that several tests of this room share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from slide_drawing import draw_tissue, write_svs


@pytest.fixture(scope="session")
def tissue_image() -> np.ndarray:
    return draw_tissue()


@pytest.fixture(scope="session")
def tissue_svs(tmp_path_factory: pytest.TempPathFactory, tissue_image: np.ndarray) -> Path:
    """2048 px at 0.25 um/px, levels 1 and 4."""
    return write_svs(tmp_path_factory.mktemp("slide") / "disc.svs", tissue_image)
