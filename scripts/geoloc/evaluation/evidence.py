"""The data that answers and comparisons of runs are computed from, and how its parts are called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from geoloc.errors import InputError
from geoloc.evaluation.comparisons import Estimate, paired_difference
from geoloc.evaluation.metrics import Predictions
from geoloc.matrix import DEFAULT

Settings = Mapping[str, Mapping[str, Any]]
UNCHANGED = {"curve": "none"}


@dataclass(frozen=True)
class Evidence:
    """The data that answers are computed from.

    Args:
        predictions: predictions of every row and seed.
        datasets: how each dataset of a row or column shows images (`geoloc.matrix`).
        models: the configuration entry of each model.
        titles: titles of models, datasets and photo test sets, by name. Images of the test split
            are shown as a dataset; all other test sets are photos.
        majority: most frequent country of the training images, ISO alpha-2.
        near_duplicates: ids of the test images that have a near-duplicate in training.
        authors: author by image id, "" if unknown.
        seed: seed of every bootstrap.
    """

    predictions: Predictions
    datasets: Settings
    models: Settings
    titles: Mapping[str, Mapping[str, str]]
    majority: str
    near_duplicates: frozenset[str]
    authors: Mapping[str, str]
    seed: int
    images: dict[str, pd.DataFrame] = field(init=False, default_factory=dict)
    """Source and label of the images of each test set, by image id."""
    _right: dict[tuple[str, str, str], pd.DataFrame] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        found: dict[tuple[str, str, str], dict[str, pd.Series]] = {}
        for model, dataset, seed, frame in self.predictions:
            for test_set, part in frame.groupby("test_set", sort=False):
                part = part.set_index("image_id").sort_index()
                right = part["country_1"] == part["label"]
                found.setdefault((model, dataset, test_set), {})[seed] = right
                self.images.setdefault(test_set, part[["source", "label"]])
        self._right.update({key: pd.DataFrame(by_seed) for key, by_seed in found.items()})
        if not all(right.notna().all(axis=None) for right in self._right.values()):
            raise InputError(
                "predictions of two seeds are not of the same images; delete them and run "
                "snakemake again"
            )

    @property
    def unchanged(self) -> str | None:
        """Return the first dataset that shows images unchanged."""
        return next((name for name, s in self.datasets.items() if s == UNCHANGED), None)

    @property
    def photographs(self) -> list[str]:
        """Return the test sets that are not datasets."""
        return [name for name in self.images if name not in self.datasets]

    def right(self, model: str, dataset: str, test_set: str | None) -> pd.DataFrame | None:
        """Return correctness (bool) by image id and seed; None if the row was not tested on it."""
        return self._right.get((model, dataset, test_set))

    def rows(self) -> list[tuple[str, str]]:
        """Return each pair of model and training dataset once."""
        return list(dict.fromkeys((model, dataset) for model, dataset, _, _ in self.predictions))

    def own_test_set(self, dataset: str) -> str | None:
        """Return the test images shown as in training; unchanged if the model has no dataset."""
        return self.unchanged if dataset == DEFAULT else dataset

    def main_rows(self) -> list[tuple[str, str]]:
        """Return the rows trained on unchanged images, and those of models without training."""
        return [row for row in self.rows() if row[1] in (self.unchanged, DEFAULT)]

    def paired(self, *sides: tuple[str, str, str | None]) -> Estimate | None:
        """Return the accuracy of the first (model, dataset, test set) minus that of the second."""
        first, second = (self.right(*side) for side in sides)
        if first is None or second is None:
            return None
        return paired_difference(first, second, self.authors, self.seed)

    def model(self, name: str) -> str:
        return self.titles["models"].get(name, name)

    def dataset(self, name: str) -> str:
        return self.titles["datasets"].get(name, name)

    def test_set(self, name: str) -> str:
        """Describe in words what a test set shows."""
        if name == self.unchanged:
            return "unchanged street images"
        if name in self.datasets:
            return f"{self.dataset(name)} images"
        return f"the photos of {self.titles['test_sets'].get(name, name)}"
