"""Calibration says which expectations held, and cannot pass by saying nothing."""

import math

import calibrate
import numpy as np
import pandas as pd
import pytest
import yaml
from snakemake.utils import update_config

from geoloc.config import check_config, load_schema
from geoloc.evaluation.predictions import predictions_frame
from geoloc.matrix import explained_rows, explained_scores, rows, scores_of_run
from tests.conftest import ROOT

IMAGES, SEEDS = 150, 3


def answers(**accuracy):
    """Right answers of every dataset, independent between images."""
    rng = np.random.default_rng(3)
    return {name: rng.random((IMAGES, SEEDS)) < share for name, share in accuracy.items()}


def verdicts(world, **accuracy):
    lines = calibrate.judge(world, answers(**accuracy))
    return [line.split()[0] for line in lines]


def test_a_world_that_answers_as_expected_holds():
    objects = {"original": 0.6, "weighted_base": 0.7, "other_image": 0.3, "inverted": 0.22}
    assert verdicts("objects", **objects, perfect_masks=0.9, majority=0.2) == ["held"] * 5
    background = {"original": 0.6, "weighted_base": 0.2, "other_image": 0.4, "inverted": 0.6}
    assert verdicts("background", **background, majority=0.2) == ["held"] * 4
    none = dict.fromkeys(calibrate.DATASETS, 0.2)
    assert verdicts("none", **none, majority=0.2) == ["held"] * 5
    del none["perfect_masks"]
    assert verdicts("none", **none, majority=0.2) == ["held"] * 4


def test_a_world_that_answers_the_other_way_round_fails():
    objects = {"original": 0.6, "weighted_base": 0.2, "other_image": 0.5, "inverted": 0.6}
    found = verdicts("objects", **objects, perfect_masks=0.05, majority=0.2)
    assert found == ["held", *["failed"] * 4]
    none = dict.fromkeys(calibrate.DATASETS, 0.2) | {"original": 0.5}
    assert verdicts("none", **none, majority=0.2)[0] == "failed"


def test_only_expectations_of_the_datasets_of_a_run_are_judged():
    assert verdicts("background", original=0.6, majority=0.2) == ["held"]


def test_a_world_of_one_dataset_is_read_without_comparisons(tmp_path):
    (tmp_path / "index").mkdir()
    (tmp_path / "index/countries.csv").write_text("country,train,kept\nFR,9,True\nNA,5,True\n")
    labels = pd.Series(["FR"] * 6 + ["NA"] * 4)
    answer = np.array([0] * 6 + [1, 1, 0, 0])
    ids = pd.Series([f"s/{n}" for n in range(10)])
    nowhere = pd.Series(np.full(10, np.nan))
    frames = [
        predictions_frame(np.eye(2)[answer], ["FR", "NA"], ids, labels, labels, nowhere, nowhere, t)
        for t in ("original", "perfect_masks", "im2gps3k")
    ]
    path = tmp_path / "predictions/transfer/original/1.parquet"
    path.parent.mkdir(parents=True)
    pd.concat(frames).to_parquet(path, index=False)
    right, _ = calibrate.read_world(tmp_path, [1], ["original"], ["original", "perfect_masks"])
    assert {name: each.mean() for name, each in right.items()} == {"original": 0.8, "majority": 0.6}
    (line,) = calibrate.judge("objects", right)
    assert "+20.0 points" in line


def test_no_difference_decides_nothing():
    same = dict.fromkeys((*calibrate.DATASETS, "majority"), 0.3)
    assert verdicts("objects", **same)[1] == "undecided"


@pytest.mark.parametrize(("significant", "verdict"), [(3, "held"), (12, "failed")])
def test_significant_tests_are_counted_against_their_level(significant, verdict):
    tests = pd.DataFrame({"p_value": [0.01] * significant + [0.6] * (60 - significant)})
    (line,) = calibrate.judge_tests(tests)
    assert line.startswith(verdict)
    assert f"{significant} of 60" in line


MEASURES = (
    "grad_cam",
    "integrated_gradients",
    "grad_cam_excess",
    "integrated_gradients_excess",
    "removed",
)


def explanation_verdicts(world, mean, **shown):
    rng = np.random.default_rng(4)
    values = {name: rng.normal(mean, 0.1, (IMAGES, SEEDS)) for name in MEASURES}
    lines = calibrate.judge_explanations(world, values, shown)
    return [line[:9].strip() for line in lines]


def test_explanations_must_be_where_the_informative_marks_are():
    assert explanation_verdicts("objects", 0.05) == ["held"] * 5
    assert explanation_verdicts("objects", -0.05) == ["failed"] * 5
    assert explanation_verdicts("background", -0.05) == ["held"] * 5
    assert explanation_verdicts("background", 0.05) == ["failed"] * 5
    assert explanation_verdicts("objects", 0.0) == ["undecided"] * 5
    assert explanation_verdicts("none", 0.05) == []


def test_a_map_that_failed_its_checks_proves_nothing():
    found = explanation_verdicts("objects", 0.05, grad_cam=True, integrated_gradients=False)
    assert found == ["held", "not shown", "held", "not shown", "held"]


def configured(monkeypatch, name, world, *arguments):
    """The workflow's configuration for a world, from a function of `calibrate`."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("sys.argv", ["calibrate.py", *arguments])
    config = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))
    update_config(config, yaml.safe_load((ROOT / "config/demo.yaml").read_text(encoding="utf-8")))
    update_config(config, getattr(calibrate, name)(world, calibrate.parse_arguments()))
    check_config(config, load_schema(ROOT / "config/config.schema.yaml"))
    return config


@pytest.mark.parametrize("world", calibrate.WORLDS)
def test_each_world_is_a_configuration_of_the_workflow(world, monkeypatch):
    config = configured(monkeypatch, "compared_config", world)
    assert config["demo"]["informative"] == world
    assert config["demo"]["difficulty"] == 0  # the world in which expectations were measured
    needed = {name for e in calibrate.EXPECTATIONS if e.world == world for name in e.contrast}
    trained = {row.dataset for row in rows(config)}
    assert {row.model for row in rows(config)} == {calibrate.MODEL}
    assert trained <= set(calibrate.DATASETS)
    assert needed - {calibrate.MAJORITY} <= trained
    assert ("perfect" in scores_of_run(config)) == (world != "background")
    everywhere = ("--perfect-masks", *calibrate.WORLDS)
    config = configured(monkeypatch, "compared_config", world, *everywhere)
    assert {row.dataset for row in rows(config)} == set(calibrate.DATASETS)


def test_without_differences_there_are_forty_comparisons_or_more(monkeypatch):
    config = configured(monkeypatch, "compared_config", "none")
    trained = {row.dataset for row in rows(config)}
    columns = [name for name, entry in config["datasets"].items() if entry and entry["column"]]
    assert math.comb(len(trained), 2) * len(columns) * len(config["seeds"]) == 60


def test_every_world_is_drawn_whatever_its_datasets(tmp_path):
    few = [{"dataset": name, "accuracy": 0.5, "low": 0.4, "high": 0.6, "world": "background"}
           for name in ("original", "weighted_base", calibrate.MAJORITY)]  # fmt: skip
    calibrate.draw(pd.DataFrame(few), tmp_path / "accuracy.png")
    assert (tmp_path / "accuracy.png").stat().st_size > 1000


@pytest.mark.parametrize("world", ["objects", "background"])
def test_explanations_alone_need_one_dataset_and_the_generators_masks(world, monkeypatch):
    arguments = ("--only", "explanations", "--world-seed", "7")
    config = configured(monkeypatch, "explanations_config", world, *arguments)
    # The generator's masks are those of the world that is drawn.
    assert config["seed"] == config["segmentations"]["perfect"]["options"]["seed"] == 7
    expected = [(calibrate.MODEL, calibrate.ORIGINAL, str(seed)) for seed in (1, 2, 3)]
    assert [tuple(map(str, row)) for row in explained_rows(config)] == expected
    assert explained_scores(config, calibrate.ORIGINAL) == "perfect"
    assert scores_of_run(config) == ["perfect"]
