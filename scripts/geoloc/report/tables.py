"""The tables that the page is made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from geoloc.evaluation.table1 import COMPARED, published_first
from geoloc.matrix import Row, columns, dataset_titles, model_titles, rows, titles_of_test_sets
from geoloc.tables import damaged, read_csv

COLUMNS = {
    "metrics": ("model", "dataset", "test_set", "seeds", "n", "accuracy", "accuracy_low",
                "accuracy_high", "accuracy_low_by_author", "accuracy_high_by_author",
                "balanced_accuracy", "majority_country", "majority_baseline"),
    "answers": ("key", "family", "question", "estimate", "low", "high", "n", "seeds", "p_value",
                "p_adjusted", "smallest_effect", "method"),
    "by_source": ("model", "dataset", "seed", "test_set", "source", "n", "accuracy"),
    "by_country": ("model", "dataset", "seed", "test_set", "country", "n", "right", "accuracy",
                   "low", "high"),
    "confusion": ("model", "dataset", "seed", "test_set", "label", "answer", "n"),
    "leakage": ("collection", "split", "images", "near_duplicates", "near_duplicate_share"),
    "quarantine": ("source", "path", "reason"),
    "countries": ("country", "name", "images", "train", "val", "test", "kept"),
    "table1": ("Model", "Trained On"),
    "comparison": ("Model", "Trained On", "Test Set", "Ours", "Published", "Difference"),
    "influence": ("model", "dataset", "seed", "method", "group_by", "group", "images",
                  "relevance_share", "area_share", "ratio", "low", "high", "control_share",
                  "excess", "excess_low", "excess_high"),
    "cause": ("model", "dataset", "seed", "change", "fill", "images", "difference", "low", "high",
              "p_adjusted"),
    "faithfulness": ("model", "dataset", "seed", "method", "pointing_game", "pointing_chance",
                     "deletion", "deletion_other", "insertion", "insertion_other",
                     "completeness_error", "similarity_100", "similarity_labels", "shown"),
    "found_classes": ("scores", "class", "selected", "segments", "image_share",
                      "area_share_where_found", "mean_probability", "mean_score"),
    "found_countries": ("scores", "country", "images", "segments_per_image", "scored_share",
                        "scored_share_low", "scored_share_high", "common_classes"),
    "found_visible": ("scores", "dataset", "country", "images", "mean_factor", "visible_share"),
    "distances": ("model", "trained_on", "test_set", "images", "within_1_km", "within_25_km",
                  "within_200_km", "within_750_km", "within_2500_km", "distances_to", "source"),
    "history": ("epoch", "accuracy", "val_accuracy", "loss", "val_loss"),
}  # fmt: skip
"""Columns that the page needs, by table."""


def read_table(path: str | Path, needed: Sequence[str] = (), **options: Any) -> pd.DataFrame:
    """Read a CSV of the run; only empty cells are missing, so that `NA` stays Namibia.

    Raises:
        FileError: if the file is missing, is not a table, or does not have the columns `needed`.
    """
    table = read_csv(path, **options)
    if missing := [name for name in needed if name not in table]:
        raise damaged(path, f"no column {', '.join(missing)}")
    return table


@dataclass(frozen=True)
class Run:
    """A finished run as the page sees it.

    Args:
        config: the checked configuration.
        files: paths by name: the tables of `COLUMNS` without `history`, and whatever else a section
            shows: `examples/{scores}`, `found/{scores}` and `explanations/{model}` are pictures.
            Optional ones are missing.
        histories: path of each training's history, by row.
        record: what `run.json` holds.
        differences: keys by which the configuration is not the study's.
        published_titles: published titles of what is the study's, see `study.study_titles`.
    """

    config: Mapping[str, Any]
    files: Mapping[str, Path]
    histories: Mapping[Row, Path]
    record: Mapping[str, Any]
    differences: Sequence[str] = ()
    published_titles: Mapping[str, Mapping[str, str]] = field(
        default_factory=lambda: {column: {} for column in COMPARED}
    )

    def table(self, name: str, **options: Any) -> pd.DataFrame:
        """Read a table of the run by its name, see `read_table`."""
        return read_table(self.files[name], COLUMNS.get(name, ()), **options)

    def has(self, name: str) -> bool:
        return name in self.files

    @property
    def rows(self) -> list[Row]:
        return rows(self.config)

    @property
    def columns(self) -> dict[str, str]:
        """Title of each column of Table 1 by test set, in the order of table1.csv."""
        return published_first(columns(self.config))

    def model(self, name: str) -> str:
        return model_titles(self.config).get(name, name)

    def dataset(self, name: str) -> str:
        return dataset_titles(self.config).get(name, name)

    def row_title(self, model: str, dataset: str) -> str:
        """Return what a row of Table 1 is called on the page."""
        return f"{self.model(model)}, {self.dataset(dataset)}"

    def test_set(self, name: str) -> str:
        """Return what a test set is called on the page."""
        if name in self.config["datasets"]:
            return f"{self.dataset(name)} street images"
        return f"{titles_of_test_sets(self.config).get(name, name)} photos"
