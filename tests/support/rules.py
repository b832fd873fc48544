"""The workflow's rules, read off its rule files."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def rules() -> dict[str, tuple[Path, Path | None]]:
    """Rule name -> (script, environment), read off the rule files."""
    out = {}
    for file in sorted((ROOT / "rules").glob("*.smk")):
        for block in re.split(r"^rule ", file.read_text(), flags=re.M)[1:]:
            name = block.split(":", 1)[0]
            script = re.search(r'^ +script:\s+"([^"]+)"', block, flags=re.M)
            env = re.search(r'^ +conda:\s+"([^"]+)"', block, flags=re.M)
            if script:
                out[name] = (file.parent / script[1], file.parent / env[1] if env else None)
    return out


RULES = rules()
