"""Every command in every page, comment and message is collected and runs as printed, or is listed with the reason.

Snakemake commands are dry runs of this workflow, from a folder with stand-ins for the files that the pages name.
``pytest -s`` prints the list.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mirror.study.__main__ import parser
from rules import ROOT

PAGES = ["README.md", "CONTRIBUTING.md", *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "docs").glob("*.md"))]
COMMENTS = ["Snakefile", "config/config.yaml", "config/paper.yaml",
            *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "rules").glob("*.smk"))]  # fmt: skip
MESSAGES = sorted(str(p.relative_to(ROOT)) for p in (ROOT / "workflow" / "scripts").rglob("*.py"))
START = re.compile(r"(snakemake|make|\./mirror|python|pip|source|export|pytest|gdc-client|PYTHONPATH=\S+ python)\s+\S")
# What is not run here, and why.
NOT_RUN = {
    r"make (venv|demo|test|lint|format|schema|test-\S+)": "run by .ci/run, or installs; its target must exist",
    r"pip install": "needs a package index",
    r"source \.venv": "changes a shell; the file is made by `make venv`",
    r"export ": "sets a variable of a shell",
    r"gdc-client": "another program, and a download",
    r"snakemake .*--report": "needs a finished run; .ci/run makes one",
    r"snakemake .*--conda-create-envs-only": "needs conda and a channel; tests/workflow/test_environments.py",
    r"snakemake --cores \S+ --configfile config/paper.yaml": "thousands of jobs; `paper`, a part of them, is run",
    r"snakemake --unlock": "needs a locked folder",
    r"python benchmarks/": "its --help is run by tests/integration/test_benchmarks.py; the file must exist",
    r"python workflow/scripts/export_checkpoint.py": "needs a trained model; run by tests/integration/test_start.py",
    r"pytest ": "the folder and the test's name must exist",
    r"PYTHONPATH=": "run by tests/unit/sources; the module must exist",
}


def commands() -> dict[str, str]:
    """Command -> where it stands first."""
    found: dict[str, str] = {}

    def take(text: str, where: str) -> None:
        text = re.sub(r"(\s+#\s|\s\(|: ).*", "", text.strip().lstrip("$ ")).strip()
        text = re.sub(r"^(HF_TOKEN|HF_HOME)=\S+ ", "", text)
        if START.match(text) and "{" not in text.replace("{config}", ""):
            found.setdefault(text.rstrip("."), where)

    for page in PAGES:
        fence, text = False, (ROOT / page).read_text(encoding="utf-8")
        for number, line in enumerate(text.splitlines(), 1):
            where = f"{page}:{number}"
            if line.lstrip().startswith("```"):
                fence = not fence
            elif fence or line.startswith("    "):
                take(line, where)
        for span in re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", text, flags=re.S)):
            take(" ".join(span.split()), page)
    for file in COMMENTS:
        for number, line in enumerate((ROOT / file).read_text(encoding="utf-8").splitlines(), 1):
            if line.strip().startswith("#"):
                comment = line.strip().lstrip("# ")
                for span in [comment, *re.findall(r"`([^`]+)`", comment), comment.rpartition(": ")[2]]:
                    take(span, f"{file}:{number}")
    for file in MESSAGES:
        for span in re.findall(r"`(snakemake [^`]+)`", (ROOT / file).read_text(encoding="utf-8")):
            take(span, file)
    return found


FOUND = commands()
CELL = "cell=SIM/efficientnet-lite0-128px/cv3/mirror/survival/cox/wsi/c_index"
# As many cores as one likes: commands that differ in that alone are one.
SNAKEMAKE = {
    re.sub(r"--cores \S+", "--cores 1", command): where
    for command, where in FOUND.items()
    if command.startswith("snakemake") and not any(re.match(pattern, command) for pattern in NOT_RUN)
}


def test_the_list_of_commands() -> None:
    """Print the list; a command is run, or a reason is given."""
    assert len(FOUND) > 25, FOUND
    for command, where in sorted(FOUND.items()):
        why = next((reason for pattern, reason in NOT_RUN.items() if re.match(pattern, command)), None)
        run = command.startswith(("snakemake", "./mirror")) and why is None
        print(f"{'run' if run else 'not run: ' + str(why):60} {command}  ({where})")
        assert run or why, f"{where}: {command} is neither run nor listed in NOT_RUN"


def test_what_is_not_run_names_things_that_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.M))
    for command, where in FOUND.items():
        words = shlex.split(command)
        if words[0] == "make":
            assert set(w for w in words[1:] if "=" not in w) <= targets, f"{where}: {command}"
        for word in words[1:]:
            if word.startswith(("benchmarks/", "tests/")):
                assert (ROOT / word).exists(), f"{where}: {word} does not exist"
        if "-m" in words and words[0].startswith("PYTHONPATH"):
            module = words[words.index("-m") + 1].replace(".", "/")
            assert (ROOT / "workflow" / "scripts" / f"{module}.py").is_file(), f"{where}: {module}"


@pytest.mark.parametrize("command", sorted(c for c in FOUND if c.startswith("./mirror")))
def test_init_takes_the_options_that_pages_show(command: str) -> None:
    words = [w for w in shlex.split(command)[1:] if w != "..."]
    if words[-1].startswith("--") and words[-1] != "--help":  # an elided value
        words = words[:-1]
    if "--help" not in words and len(words) > 1:
        parser().parse_args(words)


def test_targets_come_before_options() -> None:
    """An option that takes several values, such as --configfile, swallows a target behind it."""
    targets = {"doctor", "qc", "paper", "trace", "repair_features", "fetch_weights"}
    for command, where in FOUND.items():
        if command.startswith("snakemake"):
            words = shlex.split(command)[1:]
            named = [i for i, word in enumerate(words) if word in targets]
            assert named in ([], [0]), f"{where}: write the target first in `{command}`"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder as a clone is, with stand-ins for the study of the pages and for the paper's data."""
    place = tmp_path_factory.mktemp("pages")
    for name in ("config", "profiles"):
        (place / name).symlink_to(ROOT / name)
    paper = yaml.safe_load((ROOT / "config" / "paper.yaml").read_text())
    study = {"title": "s", "results": "my_study/results", "encoders": ["efficientnet-lite0"]}
    files = {"samples": "my_study/samples.tsv", "expression": {"path": "data/counts.tsv"},
             "clinical": {"path": "data/clinical.tsv"}}  # fmt: skip
    study["cohorts"] = {"my_study": files}
    for cohort in [*paper["cohorts"].values(), files]:
        rows = "\n".join(f"{cohort['samples']}{i}\tP{i}\tx.svs".replace("/", "_") for i in range(3))
        stand_in(place / cohort["samples"], f"slide_id\tpatient_id\tslide_path\n{rows}\n")
        stand_in(place / cohort["expression"]["path"])
        stand_in(place / cohort["clinical"]["path"])
    stand_in(place / paper["rna"]["selection"]["gene_list"])
    stand_in(place / "my_study" / "config.yaml", yaml.safe_dump(study))
    return place


def stand_in(path: Path, text: str = "x\n") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize("command", sorted(SNAKEMAKE))
def test_a_snakemake_command_runs_as_printed(command: str, folder: Path) -> None:
    """A dry run; a profile of another executor is exchanged for the local one, conda is not asked to install."""
    words = shlex.split(command)[1:]
    if "--workflow-profile" in words:
        at = words.index("--workflow-profile")
        assert (ROOT / words[at + 1] / "config.yaml").is_file()
        words = [*words[:at], *words[at + 2 :], "--cores", "1"]
    words = [w for w in words if w != "--use-conda"]
    words = [
        "cell=SIM/efficientnet-lite0-128px/cv3/mirror/survival/cox/wsi/c_index" if w == "cell=..." else w for w in words
    ]
    done = subprocess.run(
        [Path(sys.executable).parent / "snakemake", *words, "-n", "-q", "all", "-s", ROOT / "Snakefile"],
        cwd=folder, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{SNAKEMAKE[command]}: {command}\n{done.stdout[-2000:]}{done.stderr[-3000:]}"
    assert "Traceback" not in done.stderr
