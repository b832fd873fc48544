"""The workflow's rules, read off its rule files."""

from __future__ import annotations

import re
from pathlib import Path

from mirror.plan.environments import CHOICES, TORCH

ROOT = Path(__file__).resolve().parents[2]
# Names in rules whose environment depends on settings.
CHOSEN = {
    "TILING": "tiling",
    "PROBING": "probing",
    "baseline_environment": "probing",
    "import_environment": "importing",
}


def rules() -> dict[str, tuple[Path, list[Path]]]:
    """Rule name -> (script, environments that it may run in), read off the rule files."""
    out: dict[str, tuple[Path, list[Path]]] = {}
    for file in sorted((ROOT / "rules").glob("*.smk")):
        for block in re.split(r"^ *rule\b ?", file.read_text(), flags=re.M)[1:]:  # indented: made in a loop
            name = block.split(":", 1)[0]
            script = re.search(r'^ +script:\s+"([^"]+)"', block, flags=re.M)
            env = re.search(r"^ +conda:\n\s+(.+)$", block, flags=re.M)
            if script:
                name = name or Path(script[1]).stem  # a rule of a loop has its name from a variable
                out[name] = (file.parent / script[1], _environments(env[1]) if env else [])
    return out


def _environments(text: str) -> list[Path]:
    if "{environment}" in text:
        return [ROOT / "envs" / f"{name}.yaml" for name in TORCH]
    fixed = re.fullmatch(r'"\.\./envs/(\w+)\.yaml"', text)
    chosen = [CHOSEN[name] for name in re.findall(r"\w+", text) if name in CHOSEN]
    return [ROOT / "envs" / f"{name}.yaml" for name in ([fixed[1]] if fixed else CHOICES[chosen[0]])]


RULES = rules()
