"""Runs of the real workflow, shared by the tests that look at them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from filelock import FileLock

from workflow_run import Run

TINY = Path(__file__).with_name("tiny.yaml")


@pytest.fixture(scope="session")
def finished(root, tmp_path_factory) -> Run:
    """A finished run of the tiny configuration; made once, also where several workers run the tests."""
    base = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        base = base.parent
    workflow = Run(root, base / "tiny_run", TINY)
    done = base / "tiny_run.done"
    with FileLock(base / "tiny_run.lock"):
        if not done.exists():
            workflow.run()
            done.touch()
    return workflow
