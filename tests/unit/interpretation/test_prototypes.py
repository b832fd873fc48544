"""Prototypes are matched over folds, scored out of fold, and chosen by use."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from mirror.interpretation.geojson import write_map
from mirror.interpretation.interpret import spread_over
from mirror.interpretation.prototypes import FoldScores, choose, match
from mirror.interpretation.tile_scores import agreement, pick_gallery
from mirror.io.slide_maps import SlideMap

N, K = 60, 8


def folds(seed=0, noise=0.1):
    """Three folds whose prototypes are the same factors under other numbers, scales and offsets."""
    rng = np.random.default_rng(seed)
    latent = rng.normal(size=(N, K))
    people = np.array([f"P{i:02d}" for i in range(N)])
    out, numbers = [], []
    for f in range(3):
        order = rng.permutation(K)
        raw = (latent[:, order] + noise * rng.normal(size=(N, K))) * rng.uniform(0.5, 3, K) + rng.normal(size=K)
        sets = pd.Series(np.where(np.arange(N) % 3 == f, "test", "train"), index=people)
        out.append(FoldScores(f"r0f{f}", pd.DataFrame(raw, index=people), pd.Series(people, index=people), sets))
        numbers.append(order)
    return out, numbers, latent, people


def test_match_finds_the_renumbering():
    parts, numbers, _, _ = folds()
    partner, r = match(parts[0], parts[1])
    assert (numbers[1][partner] == numbers[0]).all()
    assert (r > 0.9).all()


def test_two_folds_share_no_training_patient_and_are_matched_on_all():
    parts, numbers, _, _ = folds()
    other = FoldScores("x", parts[1].table, parts[1].patients, pd.Series("test", index=parts[1].sets.index))
    partner, r = match(parts[0], other)
    assert (numbers[1][partner] == numbers[0]).all()
    assert (r > 0.9).all()


def test_match_without_common_patients_claims_nothing():
    parts, *_ = folds()
    names = [f"Q{i}" for i in range(N)]
    people = pd.Series(names, index=parts[1].table.index)
    strangers = FoldScores("x", parts[1].table, people, parts[1].sets)
    assert (match(parts[0], strangers)[1] == 0).all()


def test_scores_are_out_of_fold_and_follow_the_factor():
    parts, numbers, latent, people = folds()
    chosen = choose(parts, 4, 0.9)
    assert list(chosen.table["prototype"]) == ["P01", "P02", "P03", "P04"]
    assert set(chosen.scores.index) == set(people)
    for i, patient in enumerate(people):
        assert chosen.folds[patient] == f"r0f{i % 3}"
    for name, number in zip(chosen.table["prototype"], chosen.numbers("r0f0"), strict=True):
        factor = pd.Series(latent[:, numbers[0][number]], index=people)
        assert np.corrcoef(chosen.scores[name], factor.loc[chosen.scores.index])[0, 1] > 0.9


def test_redundant_prototypes_are_passed_over():
    parts, *_ = folds()
    doubled = [
        FoldScores(p.fold, pd.concat([p.table, p.table], axis=1).set_axis(range(2 * K), axis=1), p.patients, p.sets)
        for p in parts
    ]
    scores = choose(doubled, 2 * K, 0.8).scores
    r = np.corrcoef(scores.to_numpy().T)
    assert scores.shape[1] <= K
    assert np.abs(r[np.triu_indices_from(r, 1)]).max() <= 0.8


def test_collapsed_prototypes_give_zeros_not_nan():
    parts, *_ = folds()
    flat = [FoldScores(p.fold, p.table * 0 + 1.0, p.patients, p.sets) for p in parts]
    assert (choose(flat, 3, 0.9).scores.to_numpy() == 0).all()


def test_gallery_limits_tiles_of_one_patient():
    tiles = pd.DataFrame(
        {"prototype": 0, "slide_id": "s", "patient_id": ["a"] * 5 + ["b"], "x": range(6), "y": 0, "size": 1.0,
         "z": [9, 8, 7, 6, 5, 1]}
    )  # fmt: skip
    picked = pick_gallery(tiles, pd.DataFrame({0: [1.0, 0.5]}, index=["a", "b"]), 1.0, 4, 2)
    assert picked["z"].tolist() == [9, 8, 1]
    assert picked["rank"].tolist() == [1, 2, 3]


def test_a_gallery_shows_patients_who_score_the_prototype_high():
    people = list("abcdef")
    tiles = pd.DataFrame(
        {"prototype": 0, "slide_id": people, "patient_id": people, "x": 0, "y": 0, "size": 1.0, "z": range(6)}
    )
    scores = pd.DataFrame({0: [5.0, 4.0, 0.0, 0.0, 0.0, -1.0]}, index=people)  # the nearest tile is f's: lowest
    assert pick_gallery(tiles, scores, 0.34, 4, 2)["patient_id"].tolist() == ["b", "a"]


def test_agreement_of_tiles_and_slides_is_told():
    scores = pd.DataFrame({0: [1.0, 2.0, 3.0, 4.0], 1: [1.0, 2.0, 3.0, 4.0], 2: 0.0}, index=list("abcd"))
    means = pd.DataFrame({"patient_id": list("dcba"), 0: [9.0, 7, 5, 1], 1: [1.0, 5, 7, 9], 2: 1.0})
    told = agreement(means, scores)
    assert told[:2] == pytest.approx([1, -1])
    assert np.isnan(told[2])


def test_patients_are_spread_with_both_ends():
    assert spread_over(list("abcdefg"), 3) == ["a", "d", "g"]
    assert spread_over(list("ab"), 5) == ["a", "b"]
    assert spread_over(list("ab"), 0) == []


def test_geojson_names_what_a_tile_is(tmp_path):
    drawn = SlideMap(
        np.array([[0, 0], [512, 0]]), 512.0, np.array([0.9, 0.1], np.float32),
        np.array([[2.0, 0.0], [0.0, 1.0]], np.float32), np.array([0, -1]),
    )  # fmt: skip
    write_map(tmp_path / "s.geojson", "s", drawn, ["P01", "P02"])
    features = json.loads((tmp_path / "s.geojson").read_text())["features"]
    assert [f["properties"]["classification"]["name"] for f in features] == ["P01", "other"]
    assert features[1]["geometry"]["coordinates"][0][0] == [512, 0]
    assert features[0]["properties"]["measurements"]["attention_percentile"] == pytest.approx(75)
    first = (tmp_path / "s.geojson").read_bytes()
    write_map(tmp_path / "s.geojson", "s", drawn, ["P01", "P02"])
    assert (tmp_path / "s.geojson").read_bytes() == first
