"""docs/faults.md is what the tests say."""

from __future__ import annotations

from table import PAGE, STAGES, faults, page


def test_the_page_is_up_to_date():
    assert PAGE.read_text(encoding="utf-8") == page(), "run `make schema`"


def test_there_are_at_least_forty_and_every_stage_has_one():
    rows = faults()
    assert len(rows) >= 40
    assert {row["stage"] for row in rows} == set(STAGES)
    assert all(set(row) == {"stage", "fault", "sees", "survives", "test"} for row in rows)
    assert all(value.strip() for row in rows for value in row.values())
