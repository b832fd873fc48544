"""Fixtures that every test may use."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
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


@pytest.fixture(autouse=True)
def level_of_logging_is_kept() -> Iterator[None]:
    """Fail the test that leaves the library's logging quieter: later tests in the process would miss warnings."""
    loggers = [logging.getLogger(name) for name in (None, "mirror")]
    before = [log.level for log in loggers]
    yield
    after = [log.level for log in loggers]
    for log, level in zip(loggers, before, strict=True):
        log.setLevel(level)
    loosened = [log.name for log, a, b in zip(loggers, after, before, strict=True) if a > max(b, logging.WARNING)]
    assert not loosened, f"the test left the level of {loosened} raised"
