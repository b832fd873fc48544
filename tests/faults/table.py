"""Write docs/faults.md from the `fault` markers of the tests: ``python tests/faults/table.py``."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "faults.md"
STAGES = (
    "config", "slides", "features", "expression", "clinical", "tables", "splits", "training", "checkpoints",
    "evaluation", "disk", "processes", "security", "cluster",
)  # fmt: skip
TITLES = {
    "config": "Configuration and slide table", "slides": "Slides", "features": "Patch features and encoders",
    "expression": "Expression", "clinical": "Clinical tables", "tables": "Joining the tables", "splits": "Folds",
    "training": "Pre-training", "checkpoints": "Checkpoints", "evaluation": "Evaluation and report", "disk": "Disk",
    "processes": "Killed processes", "security": "Hostile files", "cluster": "Cluster",
}  # fmt: skip
HEAD = """# What can go wrong

{count} faults: what happens, **what you see**, and what is kept. Each is planted by a test (`pytest -m fault`).
This page is written from those tests by `make schema`.

"""


def faults() -> list[dict[str, str]]:
    """The markers of all tests, in the order of stages, each with the test that plants it."""
    out = []
    for file in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.FunctionDef):
                continue
            for mark in node.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.fault":
                    row = {str(k.arg): ast.literal_eval(k.value) for k in mark.keywords}
                    place = file.relative_to(ROOT / "tests").as_posix()
                    out.append({**row, "test": f"[{node.name.removeprefix('test_')}](../tests/{place})"})
    return sorted(out, key=lambda row: (STAGES.index(row["stage"]), row["fault"]))


def page() -> str:
    """The whole page."""
    rows = faults()
    lines: list[str] = []
    for stage in STAGES:
        own = [row for row in rows if row["stage"] == stage]
        if not own:
            continue
        usual = Counter(row["survives"] for row in own).most_common(1)[0][0]
        lines += [f"## {TITLES[stage]}", "", f"What is kept, where a line does not say otherwise: {usual}.", ""]
        for row in own:
            kept = "" if row["survives"] == usual else f" Kept: {row['survives']}."
            lines.append(f"- {_sentence(row['fault'])}: **{row['sees']}**.{kept}")
        lines.append("")
    return HEAD.format(count=len(rows)) + "\n".join(lines).rstrip() + "\n"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] if text[:2].islower() or text.startswith("a ") else text


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
