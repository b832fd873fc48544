"""Check a configuration against its schema, fill in defaults, merge variants.

Runs while the DAG is built, so it needs only the standard library and jsonschema.
"""

from __future__ import annotations

import copy
import difflib
import json
import os
import re
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from ..core.errors import InputError
from ..core.regular_file import refuse_irregular
from .checks import contradiction
from .shorthand import unfold

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
"""Names of cohorts, schemes, variants and encoders (the whole of it): parts of paths and of Snakemake's patterns."""
_UNSAFE = re.compile(r"[{}\x00-\x1f\x7f]")
LONGEST_PATH = 1000


def load_yaml(path: str | Path) -> Any:
    """Load plain YAML; tags that would build Python objects are refused."""
    refuse_irregular(path, "YAML file")
    try:
        return yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError("this file does not exist", file=path) from None
    except yaml.YAMLError as error:
        raise InputError(
            f"not plain YAML: {error}", file=path, remedy="correct the YAML; tags such as !!python are refused"
        ) from None


def _follow(node: dict, root: dict) -> dict:
    """Resolve a local reference, the `X or null` form of optional fields, and a section's short forms."""
    while True:
        if "$ref" in node:
            node = root["$defs"][node["$ref"].rsplit("/", 1)[1]]
        elif "anyOf" in node and len(kept := [n for n in node["anyOf"] if n.get("type") != "null"]) == 1:
            node = kept[0]
        elif "anyOf" in node and len(sections := [n for n in node["anyOf"] if "$ref" in n]) == 1:
            node = sections[0]  # the short forms are unfolded by now (`shorthand`)
        else:
            return node


def _fill(value: Any, node: dict, root: dict, where: str, source: str) -> Any:
    node = _follow(node, root)
    if isinstance(value, dict) and "properties" in _follow(node.get("items", {}), root):
        value = [value]  # one section where a list of them belongs
    if isinstance(value, dict):
        known: dict[str, dict] = node.get("properties", {})
        extra = node.get("additionalProperties", True)
        out: dict[str, Any] = {}
        for key, item in value.items():
            at = f"{where}.{key}" if where else str(key)
            if key in known:
                out[key] = _fill(item, known[key], root, at, source)
            elif extra is False:
                near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.0)
                raise InputError(
                    f"unknown key `{at}`",
                    file=source,
                    remedy=f"did you mean `{near[0]}`? Valid keys here: {', '.join(sorted(known))}" if near else None,
                )
            else:
                out[key] = _fill(item, extra, root, at, source) if isinstance(extra, dict) else item
        for key, sub in known.items():
            if key not in out and "default" in sub:
                out[key] = _fill(copy.deepcopy(sub["default"]), sub, root, key, source)
        # In the schema's order, so that moving a line of the file changes no parameter and reruns nothing.
        return {key: out[key] for key in (*known, *(k for k in out if k not in known)) if key in out}
    if isinstance(value, str):
        return _number(value, node)
    if isinstance(value, list):  # where one value or a list of them may stand, the list's form
        node = next((sub for sub in node.get("anyOf", []) if "items" in sub), node)
    if isinstance(value, list) and isinstance(node.get("items"), dict):
        return [_fill(item, node["items"], root, f"{where}[{i}]", source) for i, item in enumerate(value)]
    return value


def _number(value: str, node: dict) -> Any:
    """Text that is a number where one belongs: ``--config 'a={b: 9}'`` and YAML's ``1e-4`` arrive as text."""
    kinds = {node.get("type")} | {sub.get("type") for sub in node.get("anyOf", [])}
    if "string" in kinds or "enum" in node or "const" in node:
        return value
    if "integer" in kinds and re.fullmatch(r"[+-]?\d{1,18}", value):
        return int(value)
    if "number" in kinds and re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", value):
        return float(value)
    if "boolean" in kinds and value.lower() in ("true", "false"):
        return value.lower() == "true"
    return value


def resolve(config: dict, schema: dict, source: str = "config") -> dict:
    """Fill in defaults and validate.

    Parameters
    ----------
    config : dict
        What the user wrote.
    schema : dict
        JSON schema with local references only.
    source : str
        The file's name, for messages.

    Returns
    -------
    dict
        A new dictionary with every key of the schema present.

    Raises
    ------
    InputError
        An unknown key (the nearest valid one is named) or a value out of range.
    """
    filled = _fill(unfold(config, source), schema, schema, "", source)
    errors = jsonschema.Draft202012Validator(schema).iter_errors(filled)
    error = jsonschema.exceptions.best_match(errors)
    if error is not None:
        at = error.json_path.removeprefix("$").lstrip(".") or "the whole file"
        raise InputError(f"`{at}`: {error.message}", file=source, remedy="see config/README.md for what this key takes")
    return filled


def merge(base: dict, change: dict) -> dict:
    """Merge ``change`` into ``base`` key by key, without touching either."""
    out = dict(base)
    for key, value in change.items():
        if isinstance(value, dict) and isinstance(out.get(key), dict):
            out[key] = merge(out[key], value)
        else:
            out[key] = copy.deepcopy(value)
    return out


def preset_changes(name: str, presets: dict[str, dict], seen: tuple[str, ...] = ()) -> dict:
    """The changes of a preset, laid over those of the preset that it starts from.

    Raises
    ------
    InputError
        An unknown preset (the nearest is named), or presets that start from each other.
    """
    if name in seen:
        raise InputError(f"presets start from each other: {' -> '.join((*seen, name))}")
    if name not in presets:
        near = difflib.get_close_matches(name, presets, n=1, cutoff=0.0)
        remedy = (
            f"did you mean `{near[0]}`? Presets: {', '.join(presets)}; or name one with `preset:`" if near else None
        )
        raise InputError(f"no preset is called `{name}`", remedy=remedy)
    own = {key: value for key, value in (presets[name] or {}).items() if key not in ("title", "description")}
    base = own.pop("preset", None)
    return merge(preset_changes(base, presets, (*seen, name)), own) if base else own


def resolve_variants(config: dict, presets: dict[str, dict], schema: dict, source: str = "config") -> dict[str, dict]:
    """Complete settings of every variant: shared settings, then its preset, then its own changes.

    Parameters
    ----------
    config : dict
        A resolved configuration.
    presets : dict
        ``config/variants.yaml``: name to partial pre-training settings (and a ``title``).
    schema : dict
        The configuration's schema; variants take its ``PretrainSettings``.
    """
    node = {**schema["$defs"]["PretrainSettings"], "$defs": schema["$defs"]}
    out = {}
    for name, changes in config["variants"].items():
        changes = dict(changes or {})
        try:
            preset = preset_changes(changes.pop("preset", name), presets)
        except InputError as error:
            raise InputError(f"variant `{name}`: {error.problem}", file=source, remedy=error.remedy) from None
        merged = merge(merge(config["pretrain"], preset), changes)
        out[name] = resolve(merged, node, f"{source}: variants.{name}")
        found = contradiction(out[name])
        if found:
            key, problem, remedy = found
            raise InputError(f"variant `{name}`: `{key}`: {problem}", file=source, remedy=remedy)
    return out


def _check_name(name: object, where: str, source: str) -> None:
    if not NAME.fullmatch(str(name)):
        shown = str(name) if len(str(name)) <= 60 else f"{str(name)[:60]}..."
        raise InputError(
            f"`{where}`: {shown!r} is not a usable name",
            file=source,
            remedy="use letters, digits, dot, dash and underscore, starting with a letter or digit, at most 100",
        )


def check_results(results: str, source: str = "config") -> None:
    """Refuse a results folder that would put outputs beside the user's other files, or that Snakemake cannot name."""
    problem = None
    if not results.strip():
        problem = "is empty"
    elif _UNSAFE.search(results):
        problem = "holds braces or control characters"
    elif results != results.strip():
        problem = "begins or ends with a blank"
    elif len(results) > LONGEST_PATH or any(len(part.encode()) > 255 for part in Path(results).parts):
        problem = "is too long for a file system"
    else:
        here, there = Path.cwd(), Path(os.path.normpath(Path.cwd() / results))
        if there == Path(there.anchor) or there == here or there in here.parents or there == Path.home():
            problem = "is the root, the home, the working folder or one above it"
    if problem:
        shown = results if len(results) <= 60 else f"{results[:60]}..."
        raise InputError(
            f"`results`: {shown!r} {problem}", file=source, remedy="name a folder of its own, such as results"
        )


def check_names(config: dict, source: str = "config") -> None:
    """Refuse names that would make awkward or unsafe paths."""
    check_results(config["results"], source)
    titles = [("title", config["title"])]
    titles += [(f"cohorts.{name}.title", cohort["title"] or "") for name, cohort in config["cohorts"].items()]
    for where, title in titles:
        if re.search(r"[\x00-\x1f\x7f]", title) or len(title) > 300:
            raise InputError(f"`{where}`: control characters, or over 300 letters", file=source, remedy="shorten it")
    for section in ("cohorts", "variants", "splits"):
        for name in config[section]:
            _check_name(name, section, source)
    for name in config["encoders"]:
        _check_name(name, "encoders", source)
    for name, cohort in config["cohorts"].items():
        encoders = [source["encoder"] for source in cohort["features"]]
        for encoder in encoders:
            _check_name(encoder, f"cohorts.{name}.features", source)
            if encoders.count(encoder) > 1:
                raise InputError(
                    f"`cohorts.{name}.features`: encoder `{encoder}` comes twice",
                    file=source,
                    remedy="give each source a name of its own",
                )
        kinds = [k for k in ("simulate", "joint") if cohort[k]]
        given = [k for k in ("samples", "expression", "clinical") if cohort[k]]
        if len(kinds) > 1 or (kinds and given):
            raise InputError(f"`cohorts.{name}`: {' and '.join(kinds + given)} cannot stand together", file=source)
        if not kinds and not given:
            raise InputError(
                f"`cohorts.{name}` is empty",
                file=source,
                remedy="give it samples, expression and clinical; or simulate; or joint",
            )
        for member in cohort["joint"]:
            if member not in config["cohorts"] or config["cohorts"][member]["joint"]:
                raise InputError(f"`cohorts.{name}.joint`: `{member}` is not a cohort read from files", file=source)


def load_schema(path: str | Path) -> dict:
    """Load the generated JSON schema."""
    return json.loads(Path(path).read_text(encoding="utf-8"))
