"""The matrix of a run: the rows and columns of Table 1 from its datasets, models and seeds.

All functions take a checked configuration, in which no entry of the matrix is null. This module is
imported during planning, so it loads nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

Config = Mapping[str, Any]

ROOMS = {
    "cnn": "keras_models",
    "transfer": "keras_models",
    "cells": "keras_models",
    "keras": "keras_models",
    "clip": "image_text",
    "contrastive": "image_text",
    "geoclip": "coordinates",
    "python": "evaluation",
}
"""The package of `geoloc` that trains and evaluates each kind of model."""
EXPLAINED_ROOMS = ("keras_models", "image_text")
"""The packages whose models' answers are explained."""
DEFAULT = "default"  # dataset of models that don't choose one, as in the study's table
NEVER_TRAINED = ("geoclip", "python")  # kinds of models
ANY_SEED = "any"  # for models that the workflow does not train

# Keys of a dataset that don't change how it shows an image.
NOT_FOR_PIXELS = ("title", "train", "column")
# Keys of a model that no question of the answers depends on.
NOT_FOR_ANSWERS = ("title", "datasets", "batch_size")
# Keys that only some curves have, by curve.
OF_CURVES = {
    "piecewise": (
        "no_score_factor",
        "minimum_factor",
        "maximum_factor",
        "lower_score",
        "upper_score",
    ),
    "python": ("file", "options"),
}


class Row(NamedTuple):
    """A model, its training dataset, and the seed of its training."""

    model: str
    dataset: str
    seed: str

    @classmethod
    def of(cls, wildcards: Any) -> Row:
        """Return the row of a job by its wildcards `model`, `dataset` and `seed`."""
        return cls(wildcards.model, wildcards.dataset, wildcards.seed)

    @property
    def path(self) -> str:
        """The folder below `models`, and the file below `predictions` without its suffix."""
        return "/".join(self)


def is_trained(entry: Mapping[str, Any]) -> bool:
    """Return whether the workflow trains the model of an entry of `models`."""
    return entry["kind"] not in NEVER_TRAINED and not (entry["kind"] == "clip" and entry["path"])


def training_datasets(config: Config, model: str) -> list[str]:
    """Return the datasets of a model's rows."""
    entry = config["models"][model]
    if "datasets" not in entry:
        return [DEFAULT]
    return entry["datasets"] or [n for n, dataset in config["datasets"].items() if dataset["train"]]


def seeds(config: Config) -> list[str]:
    """Return the training seeds, as in paths."""
    return [str(seed) for seed in config["seeds"] or [config["seed"]]]


def rows(config: Config, *rooms: str, trained: bool | None = None) -> list[Row]:
    """Return the rows of the run in the order of the configuration.

    Args:
        config: the checked configuration.
        rooms: only models of these packages; all by default.
        trained: only models that the workflow trains (True) or does not train (False).
    """
    found = []
    for model, entry in config["models"].items():
        if rooms and ROOMS[entry["kind"]] not in rooms:
            continue
        if trained is None or trained == is_trained(entry):
            for dataset in training_datasets(config, model):
                numbers = seeds(config) if is_trained(entry) else [ANY_SEED]
                found += [Row(model, dataset, seed) for seed in numbers]
    return found


def dataset_settings(config: Config, name: str) -> dict[str, Any]:
    """Return how a dataset shows an image: the arguments of `geoloc.weighting.make_view`.

    Keys without effect are omitted, so that changing one of them reruns nothing.
    """
    entry = config["datasets"].get(name, {})
    if entry.get("view") == "object":
        return {"view": "object", "curve": "none", "scores": entry["scores"]}
    if entry.get("curve", "none") == "none":
        return {"curve": "none"}
    unused = keys_of_other_curves(entry["curve"], OF_CURVES)
    return {k: v for k, v in entry.items() if k not in {*NOT_FOR_PIXELS, "view", *unused}}


def keys_of_other_curves(curve: str, keys: Mapping[str, Sequence[str]]) -> set[str]:
    """Return the keys of a dataset that its curve does not have, and others do.

    Args:
        curve: curve of the dataset.
        keys: keys by curve, such as `OF_CURVES`; several curves may have the same key.
    """
    return {key for of_curve in keys.values() for key in of_curve} - {*keys.get(curve, ())}


def street_test_sets(config: Config, dataset: str | None = None) -> dict[str, dict[str, Any]]:
    """Return the datasets that show the street images of the test split, with their settings.

    Args:
        config: the checked configuration.
        dataset: dataset of a row, which is tested on it, too; None for the columns of Table 1.
    """
    names = [name for name, entry in config["datasets"].items() if entry["column"]]
    if dataset in config["datasets"] and dataset not in names:
        names.append(dataset)
    return {name: dataset_settings(config, name) for name in names}


def used_scores(*settings: Mapping[str, Any]) -> list[str]:
    """Return the names of the score maps that datasets with these settings need, each once."""
    return list(dict.fromkeys(s["scores"] for s in settings if s["curve"] != "none"))


def used_crops(*settings: Mapping[str, Any]) -> list[str]:
    """Return the score maps whose best segment crops the images of datasets with these settings."""
    return list(dict.fromkeys(s["scores"] for s in settings if s.get("view") == "object"))


def used_files(*settings: Mapping[str, Any]) -> list[str]:
    """Return the Python files of the curves of datasets with these settings, each once."""
    return list(dict.fromkeys(s["file"] for s in settings if s["curve"] == "python"))


def scores_of_run(config: Config) -> list[str]:
    """Return the names of the score maps that some row is trained or tested on."""
    datasets = dict.fromkeys(row.dataset for row in rows(config))
    shown = [street_test_sets(config, dataset).values() for dataset in datasets]
    return used_scores(*(settings for views in shown for settings in views))


def explained_rows(config: Config) -> list[Row]:
    """Return the rows whose answers are explained: Keras models and CLIPs that see whole images.

    In the crop of an object, most pixels are scored ones, so there is little to compare them with.
    Without score maps no pixel is a scored one. GeoCLIP, which compares images with places, and
    models in a user's own Python file are not explained.
    """
    if not config["explain"]["images"] or not scores_of_run(config):
        return []
    return [
        row
        for row in rows(config, *EXPLAINED_ROOMS)
        if dataset_settings(config, row.dataset).get("view") != "object"
        and explained_test_set(config, row.dataset)
    ]


def rows_of_random_labels(config: Config) -> list[Row]:
    """Return the explained rows whose network is also trained on random labels, if that is asked
    for.

    Models of cells are skipped, because their outputs depend on the labels, and so are models that
    the workflow does not train.
    """
    if not config["explain"]["random_labels"]:
        return []
    entries = config["models"]
    return [
        row
        for row in explained_rows(config)
        if is_trained(entries[row.model]) and entries[row.model]["kind"] != "cells"
    ]


def explained_test_set(config: Config, dataset: str) -> str | None:
    """Return the name of the test set whose images are explained: the dataset of the row itself, or
    for a row of the dataset `default` the first column that shows images in the same way, if there
    is one."""
    shown = street_test_sets(config, dataset)
    own = dataset_settings(config, dataset)
    same = [name for name, settings in shown.items() if settings == own]
    return dataset if dataset in same else next(iter(same), None)


def explained_scores(config: Config, dataset: str) -> str:
    """Return the name of the score maps whose pixels are asked about: those that the dataset is
    made with or, if it shows images unchanged, the first of the run."""
    return (used_scores(dataset_settings(config, dataset)) or scores_of_run(config))[0]


def titles_of_test_sets(config: Config) -> dict[str, str]:
    """Return the title of each test set of photos."""
    return {name: entry["title"] or name for name, entry in config["test_sets"].items() if entry}


def columns(config: Config) -> dict[str, str]:
    """Return the title of each column of Table 1 by test set: datasets first, then photos."""
    titles = {name: f"{dataset_titles(config)[name]} Test" for name in street_test_sets(config)}
    titles |= titles_of_test_sets(config)
    return {name: f"{title} Accuracy" for name, title in titles.items()}


def dataset_titles(config: Config) -> dict[str, str]:
    """Return the title of each dataset, including `default`."""
    titles = {name: entry["title"] or name for name, entry in config["datasets"].items()}
    return titles | {DEFAULT: "Default"}


def model_titles(config: Config) -> dict[str, str]:
    """Return the title of each model."""
    return {name: entry["title"] for name, entry in config["models"].items()}


def figure_titles(config: Config) -> dict[str, str]:
    """Return the title of each test set: datasets, then photos."""
    return dataset_titles(config) | titles_of_test_sets(config)


def answer_settings(config: Config) -> dict[str, Any]:
    """Return what decides which questions a run can answer, see `answers.Evidence`.

    Returns:
        `datasets`: how those of rows and columns show images; `models`: the entry of each model
        without keys that no question depends on; `titles`: of models, datasets and test sets.
    """
    used = {name for row in rows(config) for name in street_test_sets(config, row.dataset)}
    used |= {row.dataset for row in rows(config)}
    return {
        "datasets": {n: dataset_settings(config, n) for n in config["datasets"] if n in used},
        "models": {
            name: {k: v for k, v in entry.items() if k not in NOT_FOR_ANSWERS}
            for name, entry in config["models"].items()
        },
        "titles": {
            "models": model_titles(config),
            "datasets": {n: t for n, t in dataset_titles(config).items() if n in used},
            "test_sets": titles_of_test_sets(config),
        },
    }
