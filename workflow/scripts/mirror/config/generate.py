"""Write the JSON schema and the reference page from the models.

Run as ``python -m mirror.config.generate`` (``make schema``); a test fails where they drift.
"""

from __future__ import annotations

import json
import sys
import typing
from pathlib import Path

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from ..core.atomic import write_text
from .root import Config

START, END = "<!-- reference: made by `make schema` -->", "<!-- end of reference -->"


def _models(model: type[BaseModel], seen: dict[str, type[BaseModel]]) -> dict[str, type[BaseModel]]:
    seen[model.__name__] = model
    for field in model.model_fields.values():
        stack = [field.annotation]
        while stack:
            kind = stack.pop()
            if isinstance(kind, type) and issubclass(kind, BaseModel) and kind.__name__ not in seen:
                _models(kind, seen)
            stack.extend(typing.get_args(kind))
    return seen


def json_schema() -> dict:
    """The configuration's JSON schema (draft 2020-12), every default written out."""
    schema = Config.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    for name, model in _models(Config, {}).items():
        node = schema if name == "Config" else schema["$defs"][name]
        for name, field in model.model_fields.items():
            key = field.alias or name
            node["properties"][key].pop("title", None)
            if field.default_factory is not None:
                value = field.get_default(call_default_factory=True)
                node["properties"][key]["default"] = to_jsonable_python(value)
    return schema


def _kind(node: dict) -> str:
    if "enum" in node:
        return " / ".join(f"`{v}`" for v in node["enum"])
    if "const" in node:
        return f"`{node['const']}`"
    if "anyOf" in node:
        return " or ".join(_kind(n) for n in node["anyOf"])
    if "$ref" in node:
        return "section"
    kind = node.get("type", "any")
    if kind == "array":
        return f"list of {_kind(node['items'])}" if isinstance(node.get("items"), dict) else "list"
    if kind == "object":
        return "mapping"
    low, high = node.get("minimum", node.get("exclusiveMinimum")), node.get("maximum", node.get("exclusiveMaximum"))
    bounds = [f"{word} {bound:g}" for word, bound in (("from", low), ("to", high)) if bound is not None]
    if bounds:
        kind += f" ({' '.join(bounds)})"
    return kind


def reference_page() -> str:
    """The reference of all keys as Markdown: one table a section."""
    schema = json_schema()
    lines = [START, ""]

    def table(title: str, node: dict) -> None:
        lines.extend([f"### {title}", "", node.get("description", "").split("\n")[0], ""])
        lines.extend(["| key | takes | default | what it does |", "|---|---|---|---|"])
        for key, sub in node["properties"].items():
            default = sub.get("default", "(required)" if key in node.get("required", []) else "")
            text = "(see its section)" if isinstance(default, dict) and default else f"`{json.dumps(default)}`"
            text = "required" if default == "(required)" else text
            kind = _kind(sub).replace("|", "\\|")
            lines.append(f"| `{key}` | {kind} | {text} | {sub.get('description', '').replace('|', '&#124;')} |")
        lines.append("")

    table("The file", schema)
    for name, node in schema["$defs"].items():
        if node.get("type") == "object":
            table(name.removesuffix("Settings"), node)
    lines.append(END)
    return "\n".join(lines) + "\n"


def main(folder: Path) -> None:
    """Write ``schemas/config.schema.json`` and the reference part of ``README.md`` in ``folder``."""
    write_text(folder / "schemas" / "config.schema.json", json.dumps(json_schema(), indent=1) + "\n")
    page = folder / "README.md"
    text = page.read_text(encoding="utf-8") if page.exists() else f"# Configuration\n\n{START}\n{END}\n"
    before, rest = text.split(START, 1)
    write_text(page, before + reference_page() + rest.split(END, 1)[1].lstrip("\n"))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "config"))
