"""The plan behind the DAG: slide tables, shards, methods; and the code hash."""

from __future__ import annotations

import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from mirror.core import code_hash as codehash
from mirror.core.errors import InputError
from mirror.plan.plan import Plan
from mirror.plan.registry import find_baselines
from mirror.plan.slide_table import read_slide_table


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def plan(root, **config):
    return Plan.read({"cohorts": {"A": {"simulate": {"patients": 13}}}, **config}, root)


def test_importing_the_plan_needs_no_heavy_package(root):
    code = (
        "import sys; sys.path.insert(0, 'workflow/scripts'); import mirror.plan.plan, mirror.core.code_hash;"
        "bad = {'torch', 'scanpy', 'pandas', 'numpy', 'pydantic'} & set(sys.modules); assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True)


@pytest.mark.parametrize(
    ("text", "needle"),
    [
        ("slide\tpatient_id\nx\ty\n", "column `slide_id` is missing"),
        ("slide_id\tpatient_id\tslide_path\nx\t\tz\n", "row 2): slide_id or patient_id is empty"),
        ("slide_id,patient_id\na,p\na,q\n", "row 3): slide_id `a` is also in row 2"),
        ("slide_id,patient_id\n../a,p\n", "row 2): slide_id '../a' has a path separator"),
        ("slide_id,patient_id\nb,p\n-x,p\n", "row 3): slide_id '-x' begins with a dot or a dash"),
        ("slide_id,patient_id\nb,p\na\x01b,p\n", "row 3): slide_id 'a\\x01b' has a path separator or a control"),
        (f"slide_id,patient_id\n{'x' * 250},p\n", "is longer than 200 bytes"),
        (
            f"slide_id,patient_id\n{unicodedata.normalize('NFC', 'Präparat')},p\n"
            f"{unicodedata.normalize('NFD', 'Präparat')},q\n",
            "row 3): slide_id `Präparat` is also in row 2, its accents written as other Unicode characters",
        ),
        ("slide_id,patient_id,slide_path,mpp\na,p,x,0,25\n", "row 2): has more fields than the header has columns (4)"),
        ("slide_id,patient_id,slide_path,mpp\na,p,x,quarter\n", "mpp is `quarter`"),
        ("slide_id,patient_id\n", "has no rows"),
    ],
)
def test_slide_table_errors_name_the_row(tmp_path, text, needle):
    file = write(tmp_path / "samples.tsv", text)
    with pytest.raises(InputError) as caught:
        read_slide_table(file)
    assert needle in str(caught.value)
    assert str(file) in str(caught.value)


def test_a_mistake_in_a_slide_table_is_one_line_when_planning(root, tmp_path):
    write(tmp_path / "s.tsv", "slide_id\tpatient_id\tslide_path\n../x\tp\ta.svs\n")
    files = "{samples: s.tsv, expression: {path: x.tsv}, clinical: {path: c.tsv}}"
    config = write(tmp_path / "c.yaml", f"cohorts: {{A: {files}}}\n")
    command = [sys.executable, "-m", "snakemake", "-n", "--snakefile", str(root / "Snakefile")]
    command += ["--directory", str(tmp_path), "--configfile", str(config)]
    done = subprocess.run(command, capture_output=True, text=True)
    said = done.stdout + done.stderr
    assert done.returncode != 0 and "s.tsv (row 2): slide_id '../x' has a path separator" in said
    assert "Traceback" not in said and "InputFunctionException" not in said


def test_a_plan_reads_a_slide_table_once(root, tmp_path, monkeypatch):
    file, calls = write(tmp_path / "s.tsv", "slide_id\tpatient_id\tslide_path\na\tp\tx\n"), []
    monkeypatch.setattr("mirror.plan.plan.read_slide_table", lambda path: calls.append(path) or read_slide_table(path))
    files = {"samples": str(file), "expression": {"path": "x.tsv"}, "clinical": {"path": "c.tsv"}}
    p = Plan.read({"cohorts": {"A": files}}, root)
    assert p.slides and p.n_shards("A") == 1 and p.shard("A", 0) and p.tile_shards("A")
    assert calls == [str(file)]


def test_slide_names_have_one_spelling(tmp_path):
    decomposed = unicodedata.normalize("NFD", "Präparat")
    file = write(tmp_path / "s.tsv", f"slide_id\tpatient_id\tslide_path\n{decomposed}\tp\t/x/{decomposed}.svs\n")
    slide = read_slide_table(file)[0]
    assert slide.slide_id == unicodedata.normalize("NFC", "Präparat") != decomposed
    assert slide.slide_path == f"/x/{decomposed}.svs"  # the file's own name stays as it is


def test_a_missing_slide_is_planned_and_a_present_one_has_its_size(tmp_path):
    (tmp_path / "b.svs").write_bytes(b"12345")
    file = write(tmp_path / "s.tsv", f"slide_id\tpatient_id\tslide_path\na\tp\t/nowhere\nb\tq\t{tmp_path}/b.svs\n")
    assert [s.size for s in read_slide_table(file)] == [None, 5]


def test_shards_cover_every_slide_once(root):
    p = plan(root, slides={"slides_per_job": 4})
    names = [s["slide_id"] for i in range(p.n_shards("A")) for s in p.shard("A", i)]
    assert names == sorted({s.slide_id for s in p.slides["A"]})
    assert len(names) == 15  # every sixth of 13 patients has two


def test_methods_follow_the_data(root, tmp_path):
    rna_only = {"A": {"expression": {"path": "x.csv"}, "clinical": {"path": "c.csv"}}}
    p = Plan.read({"cohorts": rna_only}, root)
    assert {encoder for _, encoder in p.methods("A", "subtyping")} == {"none"}
    assert not p.trains("A")
    p = plan(root)
    found = {m for m, _ in p.methods("A", "survival")}
    assert "mirror" in found and "rna_cox" in found and "rna_logistic" not in found
    assert not [m for m in found if m.endswith("_finetune")]
    p = plan(root, evaluation={"protocols": ["finetune"]})
    assert "mirror_finetune" in {m for m, _ in p.methods("A", "survival")}


def test_unknown_encoder_names_the_nearest(root):
    with pytest.raises(InputError, match="did you mean `resnet50`"):
        plan(root).encoder_row("resnet5")


def test_adding_a_baseline_is_adding_one_file(tmp_path):
    write(
        tmp_path / "rna_knn.py",
        "from ._registry import baseline\n\n"
        '@baseline("rna_knn", kinds=("class",), modality="rna", description="d")\ndef fit(fold):\n    return []\n',
    )
    write(tmp_path / "_shared.py", "x = 1\n")
    (name, found), *more = find_baselines(tmp_path).items()
    assert (name, found.modality, found.kinds, more) == ("rna_knn", "rna", ("class",), [])
    assert (found.title, found.gpu, found.network) == ("rna knn", False, False)
    write(tmp_path / "vague.py", 'NAME = "x"\n\n@baseline(NAME, kinds=("class",), modality="rna")\ndef fit(f): ...\n')
    find_baselines.cache_clear()
    with pytest.raises(InputError, match="not written out"):
        find_baselines(tmp_path)


def test_a_mistyped_baseline_is_named(root):
    with pytest.raises(InputError, match=r"no baseline is called `rna_coks`.*did you mean `rna_cox`"):
        plan(root, evaluation={"baselines": ["rna_coks"]})


def test_code_hash_follows_imports_and_ignores_comments(tmp_path, monkeypatch):
    library = tmp_path / "mirror"
    (library / "a").mkdir(parents=True)
    write(library / "__init__.py", "")
    write(library / "a" / "__init__.py", "")
    write(library / "a" / "x.py", "from ..b import f\n")
    write(library / "b.py", "def f():\n    return 1\n")
    write(library / "c.py", "def g():\n    return 1\n")
    script = write(tmp_path / "step.py", "from mirror.a.x import f\n")
    monkeypatch.setattr(codehash, "LIBRARY", library)

    def fresh():
        codehash._parse.cache_clear()
        codehash.code_hash.cache_clear()
        return codehash.code_hash(script)

    first = fresh()
    write(library / "b.py", '"""Words."""\n# more words\ndef f():\n    """Docs."""\n    return 1\n')
    assert fresh() == first
    write(library / "c.py", "def g():\n    return 2\n")
    assert fresh() == first, "a file that is not imported changed the hash"
    write(library / "b.py", "def f():\n    return 2\n")
    assert fresh() != first
