"""The configuration: defaults, errors that name the remedy, variants, no drift."""

from __future__ import annotations

import contextlib
import copy
import json

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mirror.config import generate
from mirror.config.checks import check_shots, check_starts, start_files
from mirror.config.pretrain import PretrainSettings
from mirror.config.resolve import check_names, load_schema, load_yaml, merge, resolve, resolve_variants
from mirror.config.root import Config
from mirror.core.errors import InputError


@pytest.fixture(scope="module")
def schema(root):
    return load_schema(root / "config" / "schemas" / "config.schema.json")


def small(**changes):
    return {"cohorts": {"A": {"simulate": {}}}, **changes}


def test_schema_and_reference_do_not_drift(root, schema):
    assert schema == json.loads(json.dumps(generate.json_schema())), "run `make schema`"
    assert generate.reference_page().strip() in (root / "config" / "README.md").read_text(), "run `make schema`"


def test_shipped_configs_are_valid_for_schema_and_models(root, schema):
    for name in ("config.yaml", "paper.yaml"):
        config = resolve(load_yaml(root / "config" / name), schema, name)
        check_names(config)
        Config(**config)


def test_defaults_of_schema_and_models_agree(schema):
    assert resolve(small(), schema) == json.loads(Config(**small()).model_dump_json())


@pytest.mark.parametrize(
    ("change", "needle"),
    [
        ({"evalution": {}}, "did you mean `evaluation`"),
        ({"slides": {"tile": {"size": 256}}}, "did you mean `size_px`"),
        ({"seed": -1}, "`seed`: -1 is less than"),
        ({"splits": {"cv": {"folds": 1}}}, "splits.cv.folds"),
        ({"evaluation": {"tasks": ["subtypes"]}}, "subtypes"),
    ],
)
def test_mistakes_are_named(schema, change, needle):
    with pytest.raises(InputError, match="config") as caught:
        resolve(small(**change), schema, "config/config.yaml")
    assert needle in str(caught.value)


def test_shots_are_a_number_or_a_list_also_as_text(schema):
    """`--config` hands numbers over as text, in lists too."""
    for said, taken in (("7", 7), (["1", 5], [1, 5])):
        assert resolve(small(evaluation={"fewshot": {"k": said}}), schema)["evaluation"]["fewshot"]["k"] == taken
    for wrong in ([], 0, [1, 0], "ten"):
        with pytest.raises(InputError, match=r"fewshot\.k"):
            resolve(small(evaluation={"fewshot": {"k": wrong}}), schema)
    few = {"k": [1, 5], "table_k": 10}
    with pytest.raises(InputError, match="take one of 1, 5"):
        check_shots(resolve(small(evaluation={"fewshot": few}), schema)["evaluation"])
    check_shots(resolve(small(evaluation={"fewshot": {**few, "table_k": 5}}), schema)["evaluation"])


def test_names_that_would_leave_the_folder_are_refused(schema):
    for section, name in (("cohorts", "../x"), ("variants", "a b"), ("splits", "")):
        config = resolve(small(), schema)
        config[section] = {name: next(iter(config[section].values()))}
        with pytest.raises(InputError, match="not a usable name"):
            check_names(config)


def test_the_order_of_keys_changes_nothing(schema):
    config = small(seed=3, slides={"tile": {"mpp": 0.25, "size_px": 128}, "slides_per_job": 4})
    turned = {k: dict(reversed(v.items())) if isinstance(v, dict) else v for k, v in reversed(config.items())}
    assert repr(resolve(config, schema)) == repr(resolve(turned, schema))


def test_empty_and_contradicting_cohorts_are_refused(schema):
    for cohort, needle in (
        ({}, "is empty"),
        ({"simulate": {}, "samples": "x.tsv"}, "cannot stand together"),
        ({"joint": ["B"]}, "`B` is not a cohort"),
    ):
        config = resolve({"cohorts": {"A": cohort}}, schema)
        with pytest.raises(InputError, match=needle):
            check_names(config)


def test_yaml_that_builds_objects_is_refused(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text("seed: !!python/object/apply:os.system ['true']\n")
    with pytest.raises(InputError, match="plain YAML"):
        load_yaml(file)


def test_variant_takes_preset_then_own_changes(schema):
    config = resolve(small(pretrain={"model": {"embed_dim": 96}}), schema)
    config["variants"] = {"x": {"preset": "p", "train": {"epochs": 3}}}
    got = resolve_variants(config, {"p": {"title": "P", "retention": {"slide_weight": 0.0}}}, schema)["x"]
    assert (got["model"]["embed_dim"], got["retention"]["slide_weight"], got["train"]["epochs"]) == (96, 0.0, 3)
    config["variants"] = {"mirorr": {}}
    with pytest.raises(InputError, match="did you mean `mirror`"):
        resolve_variants(config, {"mirror": {}, "align": {}}, schema)


@pytest.mark.fault(
    stage="config",
    fault="settings of a variant that cannot stand together: heads that do not divide, no epochs and no start",
    sees="the variant, the key, and values that would do",
    survives="nothing runs",
)
@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model": {"embed_dim": 32, "rna_heads": 5}}, r"variant `mirror`: `model.rna_heads`: 5 heads.*1, 2, 4, 8"),
        ({"model": {"embed_dim": 36, "slide_heads": 8}}, "slide_heads`: 8 heads do not divide embed_dim 36"),
        ({"train": {"epochs": 0}}, "0 epochs leave the model untrained.*init_from"),
        ({"train": {"init_genes": "g.txt"}}, "init_genes.*none is given"),
    ],
)
def test_contradictions_are_named_before_anything_runs(schema, changes, says):
    config = resolve(small(variants={"mirror": changes}), schema)
    with pytest.raises(InputError, match=says):
        resolve_variants(config, {"mirror": {}}, schema)
    with pytest.raises(ValueError, match=says.rsplit("`: ", 1)[-1]):
        PretrainSettings.model_validate(changes)


def start(**train):
    return {"m": {"train": {"init_from": None, "init_genes": None, "init_patients": None, **train}}}


@pytest.mark.fault(
    stage="config",
    fault="pre-training that starts from a missing checkpoint, or from one whose training patients nothing names",
    sees="the variant, the file, and the keys that name them",
    survives="nothing runs",
)
def test_weights_to_start_from_name_their_patients(tmp_path):
    theirs, ours, people = (tmp_path / name for name in ("m.pth.tar", "m.safetensors", "patients.txt"))
    with pytest.raises(InputError, match=r"m\.pth\.tar.*`train.init_from`: this file does not exist"):
        check_starts(start(init_from=str(theirs)), {})
    for file in (theirs, ours, people):
        file.touch()
    with pytest.raises(InputError, match=r"keeps no record of the patients.*init_patients.*audit\.allow\.pretraining"):
        check_starts(start(init_from=str(theirs)), {})
    check_starts(start(init_from=str(ours)), {})
    check_starts(start(init_from=str(theirs)), {"pretraining": "trained on another country's slides"})
    declared = start(init_from=str(theirs), init_patients=str(people))
    check_starts(declared, {})
    assert start_files(declared["m"]) == [str(theirs), str(people)]


trees = st.recursive(
    st.integers() | st.text(max_size=3),
    lambda kids: st.dictionaries(st.sampled_from("abcd"), kids, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(st.sampled_from("abcd"), trees, max_size=3),
    st.dictionaries(st.sampled_from("abcd"), trees, max_size=3),
)
def test_merge_keeps_both_and_changes_neither(base, change):
    before = copy.deepcopy((base, change))
    out = merge(base, change)
    assert (base, change) == before
    assert set(out) == set(base) | set(change)
    assert merge(out, change) == out


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda k: st.lists(k, max_size=2) | st.dictionaries(st.text(max_size=8), k, max_size=3),
        max_leaves=6,
    )
)
def test_no_config_crashes_the_checker(value):
    schema = generate.json_schema()
    with contextlib.suppress(InputError):
        check_names(resolve({"cohorts": value} if not isinstance(value, dict) else value, schema))


def test_shipped_config_mentions_only_real_presets(root):
    presets = load_yaml(root / "config" / "variants.yaml")
    for name in ("config.yaml", "paper.yaml"):
        for variant, changes in yaml.safe_load((root / "config" / name).read_text())["variants"].items():
            assert (changes or {}).get("preset", variant) in presets
