"""Write docs/faults.md from the `fault` markers of the tests: ``python tests/faults/table.py``."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "faults.md"
STAGES = (
    "config", "slides", "features", "expression", "clinical", "tables", "splits", "training", "checkpoints",
    "evaluation", "disk", "processes", "security", "cluster",
)  # fmt: skip
HEAD = """# What can go wrong, what you see, what survives

Each row is a fault that a test plants on purpose. This page is written from the tests by
`make schema`; a test fails when the two differ. `make test` runs them, with two kills per stage;
`make test-faults-long` kills twenty times a stage; rows that name a node or a Slurm job are run by
`make test-slurm` on a real Slurm.

{count} faults.

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
    lines = ["| stage | fault | what you see | what survives | test |", "|---|---|---|---|---|"]
    for row in rows:
        cells = [row[k].replace("|", "\\|") for k in ("stage", "fault", "sees", "survives")]
        lines.append(f"| {' | '.join(cells)} | {row['test']} |")
    return HEAD.format(count=len(rows)) + "\n".join(lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
