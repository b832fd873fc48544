"""Several configuration files: what resets a section, and the shipped demo that joins no study in silence."""

from __future__ import annotations

import copy

import pytest
import yaml

from mirror.config.files import check_demo, merge_files
from mirror.core.errors import InputError

REAL = {"cohorts": {"BRCA": {"samples": "samples.tsv"}}}


@pytest.fixture
def shipped(root):
    return root / "config" / "config.yaml"


def run(tmp_path, shipped, *contents, command_line=None):
    """Merge files as Snakemake does, then as the workflow does; return (config, notes)."""
    files = []
    for i, content in enumerate(contents):
        path = shipped if content == "shipped" else tmp_path / f"{i}.yaml"
        if content != "shipped":
            path.write_text(yaml.safe_dump(content))
        files.append(path)

    def update(base, change):
        for key, value in change.items():
            if isinstance(value, dict) and isinstance(base.get(key), dict):
                update(base[key], value)
            else:
                base[key] = copy.deepcopy(value)

    config: dict = {}
    for path in files or [shipped]:
        update(config, yaml.safe_load(path.read_text()))
    update(config, command_line or {})
    given = [key for path in files for key in yaml.safe_load(path.read_text())]
    merged = merge_files(config, files, command_line or {}, shipped)
    return merged, check_demo(merged, files, [*given, *(command_line or {})], shipped)


@pytest.mark.fault(
    stage="config",
    fault="two config files, by which the demo's simulated cohort stands beside a real one",
    sees="the cohort, and how to leave it out",
    survives="nothing has run",
)
def test_the_demo_joins_no_study(tmp_path, shipped):
    with pytest.raises(InputError, match=r"`cohorts\.SIM` is the shipped demo's simulated cohort, beside BRCA"):
        run(tmp_path, shipped, "shipped", REAL)
    config, notes = run(tmp_path, shipped, "shipped", {"cohorts": {**REAL["cohorts"], "SIM": None}})
    assert list(config["cohorts"]) == ["BRCA"]
    assert len(notes) == 1 and "pretrain.model and pretrain.train hold the small sizes of the demo" in notes[0]
    assert run(tmp_path, shipped, REAL)[1] == []
    assert run(tmp_path, shipped)[1] == []  # the demo itself
    own = {"cohorts": {**REAL["cohorts"], "S": {"simulate": {"patients": 30}}}}
    assert "simulated cohorts beside cohorts read from files: S" in run(tmp_path, shipped, own)[1][0]


@pytest.mark.fault(
    stage="config",
    fault="a config file without cohorts: the demo would be run under its title and settings",
    sees="that it names none, and how to run the demo with changes",
    survives="nothing has run",
)
@pytest.mark.parametrize("half", [{"title": "My study"}, {"seed": 1, "pretrain": {"train": {"epochs": 3}}}])
def test_a_file_without_cohorts(tmp_path, shipped, half):
    with pytest.raises(InputError, match=r"0\.yaml names no cohorts.*--configfile config/config\.yaml 0\.yaml"):
        run(tmp_path, shipped, half)
    config, notes = run(tmp_path, shipped, "shipped", half)
    assert "every cohort of this run is simulated: SIM" in notes[0]
    assert config["pretrain"]["model"]["embed_dim"] == 64


@pytest.mark.parametrize("reset", [{}, None])
def test_an_empty_section_resets_it(tmp_path, shipped, reset):
    mine = {"cohorts": {**REAL["cohorts"], "SIM": None}, "pretrain": reset}
    config, notes = run(tmp_path, shipped, "shipped", mine, command_line={"pretrain": {"train": {"epochs": 2}}})
    assert config["pretrain"] == {"train": {"epochs": 2}} and notes == []
    assert config["rna"]["selection"]["n_genes"] == 200  # other sections stay
    nested = {"cohorts": {**REAL["cohorts"], "SIM": None}, "pretrain": {"model": {}}}
    config, _ = run(tmp_path, shipped, "shipped", nested)
    assert config["pretrain"]["model"] == {} and config["pretrain"]["train"]["epochs"] == 20


@pytest.mark.parametrize("reset", [{}, None])
def test_the_command_line_resets_too(tmp_path, shipped, reset):
    config, notes = run(tmp_path, shipped, command_line={"pretrain": reset, "title": "Mine"})
    assert not config.get("pretrain") and config["title"] == "Mine" and config["rna"]["selection"]["n_genes"] == 200
    assert notes == ["every cohort of this run is simulated: SIM"]  # a title of one's own over the demo is said
    config, _ = run(tmp_path, shipped, REAL | {"pretrain": {"train": {"epochs": 3}}}, command_line={"pretrain": reset})
    assert not config.get("pretrain") and list(config["cohorts"]) == ["BRCA"]


def test_nothing_is_changed_without_a_reset(tmp_path, shipped):
    given = {"cohorts": {"BRCA": {"samples": "s.tsv", "label_map": {}}}, "variants": {"mirror": {}}}
    assert run(tmp_path, shipped, given)[0] == given
