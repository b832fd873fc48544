"""Write a simulated cohort to disk as a user would bring it."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from ..config.cohort import SimulateSettings
from ..core.atomic import write_text, write_tsv
from ..core.progress import progress
from ..plan.simulated import DEFAULT, slide_names
from .render import render_region, write_slide
from .world import draw_world


def _write_one(job: tuple[Path, dict[str, float], int, list[int]]) -> None:
    path, factors, side, entropy = job
    cv2.setNumThreads(1)
    # A second slide of a patient shows another cut of the same tumour: same factors, other draw.
    write_slide(path, render_region(factors, side, np.random.default_rng(entropy)))


def write_cohort(folder: Path, settings: SimulateSettings, threads: int = 1, cohort: str = DEFAULT) -> None:
    """Write slides/, samples.tsv, counts.tsv.gz, clinical.tsv, modules.gmt and truth/ into ``folder``.

    Parameters
    ----------
    folder : Path
    settings : SimulateSettings
    threads : int
        Processes that render slides.
    cohort : str
        Its name, with which its patients' names begin.
    """
    world = draw_world(settings.patients, settings.genes, settings.seed, cohort)
    factors = world.factors.set_index("patient_id")
    slides = slide_names(settings.patients, cohort)
    paths = {slide: folder / "slides" / f"{slide}.svs" for slide, _ in slides}
    jobs = [
        (paths[slide], factors.loc[patient].to_dict(), settings.slide_px, [settings.seed, i])
        for i, (slide, patient) in enumerate(slides)
        if not paths[slide].exists()  # slides are written atomically, so one that exists is whole
    ]
    if threads > 1 and len(jobs) > 1:
        with ProcessPoolExecutor(threads) as pool:
            for _ in progress(pool.map(_write_one, jobs), "slides", len(jobs), "slide"):
                pass
    else:
        for job in progress(jobs, "slides", len(jobs), "slide"):
            _write_one(job)
    table = pd.DataFrame(slides, columns=["slide_id", "patient_id"])
    table["slide_path"] = [str(paths[s]) for s in table["slide_id"]]
    write_tsv(folder / "clinical.tsv", world.clinical)
    write_tsv(folder / "counts.tsv", world.counts.reset_index())
    lines = [f"{name}\tsimulated module of factor {name}\t" + "\t".join(g) for name, g in world.modules.items()]
    write_text(folder / "modules.gmt", "\n".join(lines) + "\n")
    write_tsv(folder / "truth" / "factors.tsv", world.factors)
    write_tsv(folder / "samples.tsv", table)
