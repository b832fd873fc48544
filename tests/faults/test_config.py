"""Mistaken and hostile configurations and slide tables: one clear line before anything runs."""

from __future__ import annotations

import copy
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from mirror.config.resolve import load_yaml
from mirror.core.errors import InputError
from mirror.plan.plan import Plan
from mirror.plan.slide_table import read_slide_table

SMALL = Path(__file__).parents[1] / "slurm" / "small.yaml"


@pytest.fixture
def config() -> dict:
    """A configuration that is well."""
    return yaml.safe_load(SMALL.read_text())


def refused(config: dict, root: Path, words: str) -> None:
    """The plan is refused in one line with these words."""
    with pytest.raises(InputError, match=words) as caught:
        plan = Plan.read(copy.deepcopy(config), root)
        [plan.encoder_row(e) for e in plan.encoders]
        _ = plan.slides
    assert "\n" not in str(caught.value)


@pytest.mark.fault(
    stage="config",
    fault="a mistyped key, at any depth",
    sees="the key, and the nearest valid one",
    survives="nothing has run",
)
@pytest.mark.parametrize(
    ("at", "wrong", "right"),
    [([], "encoder", "encoders"), (["slides"], "slides_per_jobs", "slides_per_job"), (["rna"], "selecton", "selection"),
     (["pretrain", "train"], "epoch", "epochs"), (["evaluation", "statistics"], "bootstraps", "bootstrap")],
)  # fmt: skip
def test_a_typo_names_the_nearest_key(config, root, at, wrong, right):
    node = config
    for key in at:
        node = node.setdefault(key, {})
    node[wrong] = node.pop(right, 1)
    refused(config, root, f"unknown key `.*{wrong}`.*did you mean `{right}`")


@pytest.mark.fault(
    stage="config",
    fault="a value out of range or of a wrong type",
    sees="the key and its limit",
    survives="nothing has run",
)
@pytest.mark.parametrize(
    "change",
    [{"seed": "x"}, {"slides": {"slides_per_job": 0}}, {"evaluation": {"statistics": {"bootstrap": -1}}},
     {"encoders": "demo-random"}, {"splits": {"cv": {"folds": 1}}}],
)  # fmt: skip
def test_values_out_of_range(config, root, change):
    refused({**config, **change}, root, "config: `")


@pytest.mark.fault(
    stage="config", fault="an unknown encoder", sees="the nearest row of the encoder table", survives="nothing has run"
)
def test_an_unknown_encoder(config, root):
    refused({**config, "encoders": ["demo-randm"]}, root, "no encoder `demo-randm`.*did you mean `demo-random`")


@pytest.mark.fault(
    stage="config", fault="an unknown variant preset", sees="the nearest preset, and all", survives="nothing has run"
)
def test_an_unknown_variant(config, root):
    refused({**config, "variants": {"miror": {}}}, root, "no preset is called `miror`.*did you mean `mirror`")


@pytest.mark.fault(
    stage="security",
    fault="cohort, scheme and variant names that are paths",
    sees="not a usable name",
    survives="nothing is written outside the results",
)
@pytest.mark.parametrize(
    "name",
    ["../up", "/etc/x", "a/b", "", ".hidden", "a b", "x;rm -rf y", "$(id)", "A\n", "A" * 5000, "{A}", "A\x1b[2J"],
)
@pytest.mark.parametrize("section", ["cohorts", "splits", "variants"])
def test_names_that_are_paths(config, root, section, name):
    config[section] = {name: next(iter(config[section].values()))}
    refused(config, root, "not a usable name|no preset")


@pytest.mark.fault(
    stage="config",
    fault="a cohort without data, or of two kinds",
    sees="what it lacks, or what clashes",
    survives="nothing has run",
)
def test_cohorts_that_cannot_be(config, root):
    refused({**config, "cohorts": {"T": {}}}, root, "`cohorts.T` is empty")
    both = {"simulate": {"patients": 24}, "samples": "a.tsv"}
    refused({**config, "cohorts": {"T": both}}, root, "cannot stand together")


@pytest.mark.fault(
    stage="security",
    fault="YAML that constructs objects (config, encoder table)",
    sees="the config file is not valid YAML",
    survives="no code is run",
)
def test_yaml_that_constructs_objects(root, tmp_path):
    ran = tmp_path / "ran"
    text = f'seed: !!python/object/apply:os.system ["touch {ran}"]\n' + SMALL.read_text().replace("seed: 3\n", "")
    hostile = tmp_path / "hostile.yaml"
    hostile.write_text(text)
    with pytest.raises((InputError, yaml.YAMLError)):
        load_yaml(hostile)
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "-n", "--snakefile", str(root / "Snakefile"), "--directory", str(tmp_path),
         "--configfile", str(hostile)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode != 0 and "not valid JSON or YAML" in done.stdout + done.stderr
    assert not ran.exists()


def table(path: Path, rows: list[str], head: str = "slide_id\tpatient_id\tslide_path") -> Path:
    """Write a slide table."""
    path.write_text("\n".join([head, *rows]) + "\n")
    return path


@pytest.mark.fault(
    stage="config",
    fault="slide tables: absent, empty, a column missing, names empty, repeated or paths, mpp in words",
    sees="the file, its row, what to do",
    survives="nothing has run",
)
def test_slide_tables(tmp_path):
    path = tmp_path / "s.tsv"
    for rows, words in (
        (None, "does not exist"),
        ([], "no rows"),
        (["a\tp\tx", "\tp\ty"], "row 3.*empty"),
        (["a\tp\tx", "a\tq\ty"], "row 3.*`a` is also in row 2"),
        (["../a\tp\tx"], "row 2.*path separator.*cannot be a file name"),
    ):
        if rows is not None:
            table(path, rows)
        with pytest.raises(InputError, match=words):
            read_slide_table(path)
    with pytest.raises(InputError, match=r"column `slide_id` is missing.*rename `slide`"):
        read_slide_table(table(path, ["a\tp"], head="slide\tpatient_id"))
    with pytest.raises(InputError, match=r"row 2.*mpp is `forty`"):
        read_slide_table(table(path, ["a\tp\tx\tforty"], head="slide_id\tpatient_id\tslide_path\tmpp"))
    path.write_bytes(b"\xff\xfe\x00\x01binary")
    with pytest.raises(InputError):
        read_slide_table(path)


@pytest.mark.fault(
    stage="config",
    fault="a slide table of 1,000,000 rows, and one whose last row repeats the first",
    sees="nothing; or both rows of the repeated name",
    survives="it is read in seconds",
)
def test_a_million_rows(tmp_path):
    path = tmp_path / "s.tsv"
    table(path, [f"s{i}\tp{i // 2}\t" for i in range(1_000_000)])
    begun = time.process_time()
    assert len(read_slide_table(path)) == 1_000_000
    assert time.process_time() - begun < 60
    with open(path, "a") as file:
        file.write("s0\tp0\t\n")
    with pytest.raises(InputError, match=r"row 1000002.*`s0` is also in row 2"):
        read_slide_table(path)


@pytest.mark.fault(
    stage="security",
    fault="an encoder called ../x; a results folder that is the root or ..; braces, line ends, 5,000 letters",
    sees="the key and what it may be",
    survives="nothing is written",
)
@pytest.mark.parametrize("encoder", ["../x", "a/b", "demo-random\n", "x" * 5000, "{x}"])
def test_encoder_names_that_are_paths(config, root, encoder):
    refused({**config, "encoders": [encoder]}, root, "`encoders`: .*not a usable name")
    features = [{"format": "pt", "path": "x", "width": 8, "encoder": encoder}]
    cohort = {"samples": "s.tsv", "features": features, "expression": {"path": "e"}, "clinical": {"path": "c"}}
    refused({**config, "cohorts": {"T": cohort}}, root, r"`cohorts\.T\.features`: .*not a usable name")


@pytest.mark.parametrize(
    "results", ["/", "..", "../..", ".", "", " ", "a{b}", "results\n", "r\x1b", "x" * 5000, "a/" * 800, "~", "/tmp/.."]
)
def test_results_folders_that_are_no_place(config, root, results, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if results == "~":
        results = str(Path.home())
    refused({**config, "results": results}, root, "`results`: ")


@pytest.mark.parametrize("results", ["results", "out/run 1", "../elsewhere", "a (b) & c", "/tmp/somewhere/results"])
def test_results_folders_that_are_well(config, root, results, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert Plan.read({**config, "results": results}, root).results == results


def test_titles_with_control_characters(config, root):
    refused({**config, "title": "x\x1b[2Jy"}, root, "`title`: control characters")


@pytest.mark.fault(
    stage="config",
    fault="numbers that arrive as text: nested --config, YAML's 1e-4",
    sees="nothing: they are taken as numbers; a word is refused with its key",
    survives="the other keys of the section",
)
def test_numbers_that_arrive_as_text(config, root):
    change = {"pretrain": {"train": {"epochs": "9", "lr": "1e-4"}, "model": {"embed_dim": "96"}}, "seed": "07"}
    plan = Plan.read({**config, **change}, root)
    train, model = (plan.config["pretrain"][part] for part in ("train", "model"))
    assert (train["epochs"], train["lr"], model["embed_dim"], plan.config["seed"]) == (9, 1e-4, 96, 7)
    refused({**config, "pretrain": {"train": {"epochs": "9x"}}}, root, r"`pretrain\.train\.epochs`: '9x'")
    assert Plan.read({**config, "title": "2024"}, root).config["title"] == "2024"


@pytest.mark.fault(
    stage="config",
    fault="control characters in a path or a patient's name",
    sees="the characters written out, and the row",
    survives="the terminal and the log",
)
def test_control_characters_reach_no_terminal(tmp_path):
    path = tmp_path / "s.tsv"
    table(path, ["a\tp\x1b[2Jq\tx"])
    with pytest.raises(InputError, match=r"row 2.*control characters"):
        read_slide_table(path)
    with pytest.raises(InputError) as caught:
        read_slide_table(tmp_path / "no\x1b[31mne.tsv")
    assert "\x1b" not in str(caught.value) and "\\x1b" in str(caught.value)
