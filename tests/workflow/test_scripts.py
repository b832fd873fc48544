"""What every script of a kind has in common."""

from __future__ import annotations

import pytest

from rules import ROOT

DRAWING = sorted(
    path for path in (ROOT / "workflow" / "scripts").glob("*.py") if "save_figure" in path.read_text(encoding="utf-8")
)


def test_scripts_that_draw_are_found():
    assert len(DRAWING) >= 10


@pytest.mark.parametrize("script", DRAWING, ids=lambda path: path.stem)
def test_a_script_that_draws_uses_the_style_of_all_figures(script):
    """Importing sets nothing; a script that forgets it draws with overlapping titles."""
    assert "    use_style()\n" in script.read_text(encoding="utf-8")
