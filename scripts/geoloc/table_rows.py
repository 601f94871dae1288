"""The rows of Table 1: which models a configuration trains and evaluates, and on what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DATASETS = ("original", "weighted_base", "weighted_custom")
KERAS_MODELS = ("cnn", "transfer")
KERAS_ROWS = [(model, dataset) for model in KERAS_MODELS for dataset in DATASETS]

Row = tuple[str, str]  # a model and the dataset that it is trained on


def clip_rows(config: Mapping[str, Any]) -> list[Row]:
    """CLIP models that the workflow trains, not those given as a folder."""
    rows = [] if config["models"]["clip"]["path"] else [("clip", "default")]
    if config["models"]["contrastive"]:
        rows += [("contrastive", dataset) for dataset in DATASETS]
    return rows


def table_rows(config: Mapping[str, Any]) -> list[Row]:
    """All rows in the order in which they are evaluated."""
    return list(dict.fromkeys([*KERAS_ROWS, ("clip", "default"), *clip_rows(config)]))


def model_titles(config: Mapping[str, Any]) -> dict[str, str]:
    """Title in Table 1 of each configured model."""
    return {model: entry["title"] for model, entry in sorted(config["models"].items()) if entry}


def titles_of_test_sets(config: Mapping[str, Any]) -> dict[str, str]:
    """Title in Table 1 of each configured test set."""
    return {name: entry["title"] or name for name, entry in config["test_sets"].items() if entry}
