"""On simulated features, prototypes lead back to what was planted; on features without it, they do not."""

from __future__ import annotations

import json
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.stats import beta

from mirror.config.interpretation import InterpretationSettings
from mirror.config.pretrain import PretrainSettings
from mirror.dataset.paired import PairedData
from mirror.inference.encode import encode, write_embeddings
from mirror.interpretation.interpret import FoldFiles, interpret
from mirror.io.features import write_features
from mirror.io.slide_maps import read_maps
from mirror.simulation.world import draw_world
from mirror.training.loop import pretrain

PATIENTS, FOLDS, TILES, WIDTH, GENES = 120, 3, 16, 24, 200
CHANCE = float(beta(4, 55.5).ppf(0.95))
"""R2 that 8 factors reach by chance in 120 patients once in twenty draws: 0.13."""
VARIANTS = yaml.safe_load((Path(__file__).parents[3] / "config" / "variants.yaml").read_text())
SMALL = {
    "model": {
        "embed_dim": 32, "slide_heads": 2, "rna_heads": 2, "rna_depth": 1, "tokens": 16, "landmarks": 8,
        "prototypes": 16, "style_dim": 8, "style_hidden": [32, 16],
    },
    "train": {"epochs": 15, "batch_size": 16, "lr": 2e-3, "device": "cpu", "workers": 0},
}  # fmt: skip


@pytest.fixture(scope="module")
def world():
    return draw_world(PATIENTS, GENES, 5)


def settings_of(variant: str) -> PretrainSettings:
    """A variant as it ships, at a size for tests."""
    whole = {key: {**VARIANTS[variant].get(key, {}), **SMALL.get(key, {})} for key in {*VARIANTS[variant], *SMALL}}
    return PretrainSettings.model_validate(whole)


def run(world, folder, informative: bool, variant: str):
    """Every fold, trained and interpreted; the slides see shared and own factors, or nothing."""
    rng = np.random.default_rng(1)
    factors = world.factors.set_index("patient_id")
    seen = factors[[c for c in factors if not c.startswith("rna_")]]
    loading = rng.normal(size=(seen.shape[1], WIDTH)) * informative
    people = list(factors.index)
    logs = np.log1p(world.counts.T / world.counts.sum().to_numpy()[:, None] * 1e4)
    z = ((logs - logs.mean()) / logs.std()).clip(-5, 5).astype(np.float32)
    bags, owners = {}, {}
    for patient in people:
        slide = f"{patient}-DX1"
        bag = (seen.loc[patient].to_numpy() @ loading + rng.normal(size=(TILES, WIDTH))).astype(np.float32)
        coords = np.stack([np.arange(TILES) % 4 * 512, np.arange(TILES) // 4 * 512], 1)
        bags[slide], owners[slide] = folder / f"{slide}.h5", patient
        write_features(bags[slide], bag, coords, encoder="toy", dtype="float32")
    files = []
    for fold in range(FOLDS):
        sets = {p: "test" if i % FOLDS == fold else "train" for i, p in enumerate(people)}
        rna = dict(zip(people, z.to_numpy(), strict=True))
        data = PairedData.from_arrays(bags, owners, rna, sets, list(z.columns))
        checkpoint, embeddings = folder / f"r0f{fold}.safetensors", folder / f"r0f{fold}.h5ad"
        pretrain(
            data, settings_of(variant), 3, checkpoint, folder / "log.tsv", folder / f"state{fold}", variant=variant
        )
        write_embeddings(embeddings, encode(checkpoint, data))
        files.append(FoldFiles(f"r0f{fold}", embeddings, checkpoint))
    anndata.AnnData(logs.astype(np.float32)).write_h5ad(folder / "rna.h5ad")
    lines = [f"{name}\tplanted\t" + "\t".join(genes) for name, genes in world.modules.items()]
    (folder / "modules.gmt").write_text("\n".join(lines) + "\n")
    clinical = world.clinical.set_index("patient_id").rename(
        columns={"subtype": "label", "os_days": "time_days", "os_event": "event"}
    )
    # Without the floors: what the scores of any prototype lead to. The published style has hardly any spread.
    settings = InterpretationSettings(
        prototypes=4, slides=2, cards=1, redundant=0.9, min_spread=0, min_match=0, min_agreement=0
    )
    out = folder / "out"
    interpret(files, clinical, folder / "rna.h5ad", folder / "modules.gmt", None, folder, settings, None, 0, out)
    return out


@pytest.fixture(scope="module", params=["mirror", "mirror_plus"])
def told(world, tmp_path_factory, request):
    return run(world, tmp_path_factory.mktemp("told"), True, request.param)


def test_gene_sets_lead_to_shared_modules_and_not_to_those_of_expression_alone(told):
    sets = pd.read_csv(told / "gene_sets.tsv", sep="\t")
    found = sets[sets["fdr"] < 0.05]
    shared = found["gene_set"].str.startswith("shared_")
    assert shared.sum() >= 3, "planted shared modules are found"
    # Slides know nothing of the RNA-only factors: what is called there is by chance.
    assert (~shared).sum() <= 1


def explained(factors: pd.DataFrame, score: pd.Series) -> tuple[float, pd.Series]:
    """R2 and fitted values of a score regressed on factors."""
    x = np.c_[np.ones(len(factors)), factors.to_numpy()]
    fitted = x @ np.linalg.lstsq(x, score.loc[factors.index].to_numpy(), rcond=None)[0]
    return float(np.corrcoef(fitted, score.loc[factors.index])[0, 1] ** 2), pd.Series(fitted, index=factors.index)


def test_galleries_show_patients_of_planted_mixtures(told, world):
    """Prototypes follow mixtures of factors, no single one (the largest correlation seen with one was 0.43)."""
    factors = world.factors.set_index("patient_id")
    hidden = [c for c in factors if c.startswith("rna_")]
    gallery = pd.read_csv(told / "gallery.tsv", sep="\t")
    scores = pd.read_csv(told / "scores.tsv", sep="\t").set_index("patient_id")
    shares = []
    for name, tiles in gallery.groupby("prototype"):
        visible, fitted = explained(factors.drop(columns=hidden), scores[name])
        shares.append(visible)
        assert visible > CHANCE
        assert explained(factors[hidden], scores[name])[0] < 0.15
        # The gallery's patients lie on the high side of the mixture that the prototype follows.
        assert fitted[tiles["patient_id"]].mean() > fitted.mean()
    assert len(shares) == 4
    print("R2 of each prototype's score on the planted factors:", np.round(shares, 2))
    assert np.mean(shares) > 1.5 * CHANCE


def test_folds_learn_matching_prototypes(told):
    assert (pd.read_csv(told / "prototypes.tsv", sep="\t")["match"] > 0.3).any()


def test_maps_and_lists_are_whole(told):
    maps = read_maps(told / "maps.npz")
    listed = json.loads((told / "interpretation.json").read_text())
    assert set(maps) == set(listed["slides"]) and len(maps) >= 2
    for one in maps.values():
        assert one.coords.shape == (TILES, 2)
        assert one.size == 512
        assert one.attention.sum() == pytest.approx(1, abs=1e-4)
        assert np.isfinite(one.scores).all()


def test_slides_without_information_lead_nowhere(world, tmp_path):
    out = run(world, tmp_path, False, "mirror")
    sets = pd.read_csv(out / "gene_sets.tsv", sep="\t")
    assert (sets["fdr"] < 0.05).sum() <= 2
    genes = pd.read_csv(out / "genes.tsv", sep="\t")
    assert (genes["fdr"] < 0.05).mean() < 0.02
