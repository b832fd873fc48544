"""Two projects and one folder of shared features: what is used again, and what must not be."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import pytest
import yaml

pytestmark = pytest.mark.slow
FEATURES = "results/slides/A/features/demo-random.tsv"


def project(finished, folder: Path, share: Path, slides: dict[str, Path], **change) -> tuple[str, dict[str, Path]]:
    """Run a project of its own up to its features: what the embedding step logged, and the files by slide."""
    folder.mkdir()
    rows = ["slide_id\tpatient_id\tslide_path", *(f"{name}\tP{name}\t{path}" for name, path in slides.items())]
    (folder / "samples.tsv").write_text("\n".join(rows) + "\n")
    config = yaml.safe_load(finished.config.read_text())
    config["cohorts"] = {"A": {"samples": str(folder / "samples.tsv")}}
    config["embed"] = {"share_dir": str(share)}
    config["slides"] |= change
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    type(finished)(finished.root, folder, folder / "config.yaml").run(FEATURES)
    log = (folder / "results/logs/embed_tiles/A_demo-random_0.log").read_text()
    return log, {name: folder / f"results/slides/features/demo-random/{name}.h5" for name in slides}


def test_a_second_project_embeds_only_what_is_new(finished, tmp_path):
    share = tmp_path / "share"
    first, second, third = sorted((finished.folder / "results/simulated/T/slides").glob("*.svs"))[:3]
    log, mine = project(finished, tmp_path / "one", share, {"x": first, "y": second})
    assert "shared by another project" not in log
    # Another project: one of these slides under its name, one under another, and one that is new.
    log, theirs = project(finished, tmp_path / "two", share, {"x": first, "renamed": second, "z": third})
    assert log.count("shared by another project") == 2
    assert os.path.samefile(mine["x"], theirs["x"]), "no second copy on the disk"
    with h5py.File(mine["y"]) as a, h5py.File(theirs["renamed"]) as b:
        assert (a["features"][:] == b["features"][:]).all() and b["coords"].attrs["name"] == "renamed"
    assert not os.path.samefile(mine["y"], theirs["renamed"])
    # Other tiles, or another slide under a known name: nothing is taken.
    log, _ = project(finished, tmp_path / "tiles", share, {"x": first}, tile={"size_px": 224})
    assert "shared by another project" not in log
    log, other = project(finished, tmp_path / "slide", share, {"x": third})
    assert log.count("shared by another project") == 1, "the third slide, which the second project called z"
    assert os.path.samefile(other["x"], theirs["z"]) is False, "it carries another name"
    with h5py.File(other["x"]) as a, h5py.File(theirs["z"]) as b, h5py.File(mine["x"]) as wrong:
        assert (a["features"][:] == b["features"][:]).all()
        assert a.attrs["fingerprint"] != wrong.attrs["fingerprint"]
