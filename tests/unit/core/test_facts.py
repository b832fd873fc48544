"""Facts of an input: kept in order, shown on one line each, raised by rule, written and read back."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mirror.core.errors import InputError
from mirror.core.facts import Fact, Facts, one_line


def some() -> Facts:
    facts = Facts("clinical.tsv")
    facts.note("time column", "os_days", "clinical.time")
    facts.note("patients", 40)
    facts.warn("follow-up", "36 of 45 living patients have none", "time, event", "add follow_up.tsv")
    return facts


def test_facts_are_written_and_read_back(tmp_path):
    facts = some()
    facts.note("share", np.float32(0.5))
    facts.note("nothing", float("nan"))
    facts.note("names", ["a", "b"])
    facts.note("counts", {"Alive": 3, "Dead": 2})
    facts.write(tmp_path / "facts" / "BRCA.json")
    again = Facts.read(tmp_path / "facts" / "BRCA.json")
    assert again.about == "clinical.tsv"
    assert again.facts == facts.facts
    assert again.get("share") == 0.5
    assert again.get("nothing") == "nan"
    assert again.get("names") == "a, b"
    assert again.get("counts") == "Alive 3, Dead 2"
    assert again.get("absent") is None


def test_a_refusal_is_recorded_and_names_file_row_and_remedy():
    facts = some()
    with pytest.raises(InputError, match=r"clinical\.tsv \(line 3\): vital status: .*\(vital_status\); fix"):
        facts.refuse("vital status", "alive with a date of death", "vital_status", "fix it", row="line 3")
    assert facts.worst == "error"
    assert facts.warnings[-1] == Fact("vital status", "alive with a date of death", "vital_status", "error", "fix it")


def test_levels_and_extension():
    facts = Facts("slides of A")
    assert (facts.worst, len(facts), facts.warnings) == ("info", 0, [])
    facts.extend(some(), prefix="A: ")
    facts.extend(some(), prefix="A: ")  # what is known already is not repeated
    assert [fact.subject for fact in facts] == ["A: time column", "A: patients", "A: follow-up"]
    assert facts.worst == "warning"


def test_the_log_shows_a_table_and_each_warning_at_its_level(caplog):
    with caplog.at_level(logging.INFO, logger="x"):
        some().log(logging.getLogger("x"))
    table, warning = caplog.records
    assert table.levelno == logging.INFO
    assert [line.split() for line in table.getMessage().splitlines()[1:]] == [
        ["time", "column", "os_days", "clinical.time"],
        ["patients", "40"],
    ]
    assert warning.levelno == logging.WARNING
    assert warning.getMessage().startswith("clinical.tsv: follow-up: 36 of 45 living")


def test_a_hostile_cell_neither_breaks_a_line_nor_reaches_the_terminal(caplog):
    facts = Facts("a\nb")
    facts.note("label", "x\x1b[2J\ny\u202ez", "s\r\x00")
    facts.warn("label", "w" * 10_000, "", "r\nr")
    with caplog.at_level(logging.INFO, logger="x"):
        facts.log(logging.getLogger("x"))
    for record in caplog.records:
        assert not set(record.getMessage()) & set("\x1b\x00\r\u202e")
        assert len(record.getMessage()) < 1000
    assert len(facts.table().splitlines()) == 2
    assert one_line("x" * 500, 100).startswith("x" * 40)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"about": "x"}', '{"about": "x", "facts": [{"nonsense": 1}]}',
                json.dumps({"about": "x", "facts": [{"subject": "s", "value": 1, "level": "loud"}]})]
)  # fmt: skip
def test_what_is_no_facts_file_is_refused(tmp_path, content):
    path = tmp_path / "f.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"f\.json"):
        Facts.read(path)


def test_facts_need_no_third_party_package():
    scripts = Path(__file__).resolve().parents[3] / "workflow" / "scripts"
    code = "import sys, mirror.core.facts; print(sorted({'numpy', 'pandas', 'torch', 'pydantic'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=scripts, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
