"""A path, or a list of paths, where a section belongs."""

from __future__ import annotations

import json

import jsonschema
import pytest

from mirror.config.resolve import load_schema, resolve
from mirror.config.root import Config
from mirror.config.shorthand import files_of
from mirror.core.errors import InputError


@pytest.fixture(scope="module")
def schema(root):
    return load_schema(root / "config" / "schemas" / "config.schema.json")


FORMS = [
    ("a", "a", []),
    (["a"], "a", []),
    (["a", "b", "c"], "a", ["b", "c"]),
    ({"path": "a"}, "a", []),
    ({"path": ["a", "b"]}, "a", ["b"]),
    ({"path": "a", "further": ["b"]}, "a", ["b"]),
    ({"path": ["a", "b"], "further": ["c"]}, "a", ["b", "c"]),
]


@pytest.mark.parametrize(("given", "path", "further"), FORMS)
@pytest.mark.parametrize("key", ["expression", "clinical"])
def test_every_form_is_the_same_section(schema, key, given, path, further):
    written = {"cohorts": {"A": {key: given}}}
    jsonschema.Draft202012Validator(schema).validate(written)  # as an editor does
    kept = json.loads(json.dumps(written))
    found = resolve(written, schema)["cohorts"]["A"][key]
    assert written == kept
    assert (found["path"], found["further"], found["format"]) == (path, further, "auto")
    model = getattr(Config(**written).cohorts["A"], key)
    assert model.model_dump(mode="json") == found
    assert model.files == [path, *further]


@pytest.mark.parametrize("given", [3, [], ["a", "a"], {"path": []}, {"path": 3}, {"path": ["a"], "further": ["a"]}])
@pytest.mark.parametrize("key", ["expression", "clinical"])
def test_what_is_no_file_is_refused(schema, key, given):
    with pytest.raises(InputError, match=rf"cohorts\.A\.{key}"):
        resolve({"cohorts": {"A": {key: given}}}, schema)


def test_slide_tables_may_be_a_list(schema):
    for given, files in (("a", ["a"]), (["a", "b"], ["a", "b"]), (None, [])):
        found = resolve({"cohorts": {"A": {"samples": given}}}, schema)
        assert files_of(found["cohorts"]["A"]["samples"]) == files
    for wrong in ([], ["a", "a"]):
        with pytest.raises(InputError, match=r"cohorts\.A\.samples"):
            resolve({"cohorts": {"A": {"samples": wrong}}}, schema)
