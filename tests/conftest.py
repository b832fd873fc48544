"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

# Examples are slow when the machine is busy; that is no failure.
settings.register_profile("shared", deadline=None)
settings.load_profile("shared")

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root."""
    return ROOT


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real test data, or a skip that says why."""
    folder = os.environ.get("MIRROR_TEST_DATA")
    if not folder:
        pytest.skip("MIRROR_TEST_DATA is not set: real slides and RNA are not here")
    return Path(folder)
