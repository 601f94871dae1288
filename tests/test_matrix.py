"""Rows, and what a run's rows and answers depend on."""

from __future__ import annotations

from geoloc.config import default_config, load_schema
from geoloc.matrix import (
    OF_CURVES,
    answer_settings,
    dataset_settings,
    explained_rows,
    explained_scores,
    rows,
    rows_of_random_labels,
    used_files,
)
from geoloc.weighting import CURVES, OWN_KEYS, make_view
from tests.conftest import ROOT

SCHEMA = load_schema(ROOT / "config/config.schema.yaml")


def test_only_curves_in_python_need_a_file():
    own = {"curve": "python", "file": "curve.py", "scores": "objects"}
    linear = {"curve": "linear", "scores": "objects"}
    assert used_files({"curve": "none"}, linear, own, own) == ["curve.py"]


def test_answers_depend_on_the_datasets_of_rows_and_columns_only():
    """A dataset that no row or column uses reruns nothing."""
    config = default_config(SCHEMA)
    before = answer_settings(config)
    config["datasets"]["unused"] = config["datasets"]["original"] | {
        "train": False,
        "column": False,
        "title": "Unused",
    }
    assert answer_settings(config) == before
    config["datasets"]["unused"]["column"] = True
    after = answer_settings(config)
    assert after["titles"]["datasets"]["unused"] == "Unused"
    assert "unused" in after["datasets"]


def test_models_without_training_have_one_row_whatever_the_seeds():
    config = default_config(SCHEMA)
    config["seeds"] = [3, 4]
    seeds = {}
    for row in rows(config):
        seeds.setdefault((row.model, row.dataset), []).append(row.seed)
    assert set(map(tuple, seeds.values())) == {("3", "4"), ("any",)}
    assert {model for (model, _), found in seeds.items() if found == ["any"]} == {
        name for name, entry in config["models"].items() if entry["kind"] == "clip"
    }


def test_scored_pixels_are_those_of_the_score_maps_that_a_dataset_is_made_with():
    """A dataset that shows images unchanged has none: those of the run's first are taken."""
    config = default_config(SCHEMA)
    config["scores"]["signs"] = config["scores"]["objects"]
    config["datasets"]["signs"] = config["datasets"]["weighted_base"] | {"scores": "signs"}
    found = {
        name: explained_scores(config, name) for name in ("original", "weighted_base", "signs")
    }
    assert found == {"original": "objects", "weighted_base": "objects", "signs": "signs"}


def test_clips_and_cells_are_explained_and_cells_learn_no_random_labels():
    config = default_config(SCHEMA)
    config["models"]["cells"] = {"kind": "cells", "datasets": ["original"], "title": "Cells"}
    config["explain"]["random_labels"] = True
    assert {row.model for row in explained_rows(config)} >= {"cnn", "transfer", "clip", "cells"}
    assert {row.model for row in rows_of_random_labels(config)} == {"cnn", "transfer"}
    config["explain"]["random_labels"] = False
    assert rows_of_random_labels(config) == []


def test_a_dataset_has_no_settings_of_another_curve():
    config = default_config(SCHEMA)
    before = dataset_settings(config, "weighted_base")
    piecewise = (
        "no_score_factor",
        "minimum_factor",
        "maximum_factor",
        "lower_score",
        "upper_score",
    )
    config["datasets"]["weighted_base"] |= dict.fromkeys(piecewise, 7)
    assert dataset_settings(config, "weighted_base") == before
    config["datasets"]["weighted_custom"] |= dict.fromkeys(piecewise, 7)
    assert {dataset_settings(config, "weighted_custom")[name] for name in piecewise} == {7}


def test_a_key_of_two_curves_stays_in_the_settings_of_both(monkeypatch):
    monkeypatch.setitem(OF_CURVES, "step", ("lower_score",))
    monkeypatch.setitem(OWN_KEYS, "step", ("lower_score",))
    monkeypatch.setitem(CURVES, "step", lambda score, view: score >= view.lower_score)
    config = default_config(SCHEMA)
    for name, curve in (("weighted_base", "step"), ("weighted_custom", "piecewise")):
        config["datasets"][name] |= {"curve": curve, "lower_score": 7}
        settings = dataset_settings(config, name)
        assert settings["lower_score"] == make_view(settings).settings()["lower_score"] == 7
        assert ("upper_score" in settings) == (curve == "piecewise")
    config["datasets"]["weighted_base"]["curve"] = "linear"
    assert "lower_score" not in dataset_settings(config, "weighted_base")
