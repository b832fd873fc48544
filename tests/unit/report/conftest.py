"""Figures are drawn as the scripts draw them."""

import pytest

from mirror.report.figures.style import use_style


@pytest.fixture(autouse=True, scope="session")
def style():
    use_style()
