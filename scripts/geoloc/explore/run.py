"""A finished run as the page reads it: tables when asked for, bounded in memory."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from geoloc.config import ConfigError, damaged_config, load_schema, read_written_config
from geoloc.corpus.index_tables import read_rows
from geoloc.errors import FileError, MissingFile
from geoloc.explore.images import STREET, Images
from geoloc.explore.requests import Query
from geoloc.matrix import (
    dataset_settings,
    dataset_titles,
    model_titles,
    rows,
    titles_of_test_sets,
)
from geoloc.stores import explained_images

SCHEMA = "config/config.schema.yaml"
PROJECT = Path(__file__).parents[3]  # of a checkout
NO_COUNTRY = -1


@dataclass(frozen=True)
class Answers:
    """A row's best answer to each of the n images: country int32 (n,), an index in the names of
    `Images`, -1 where the image was not tested or the answer is another one; probability float32
    (n,); right int8 (n,), 1 or 0, -1 where the image was not tested."""

    country: np.ndarray
    probability: np.ndarray
    right: np.ndarray


@dataclass(frozen=True)
class FoundClass:
    """A class that segments of some score maps are counted under."""

    name: str
    selected: bool
    images: int


class FinishedRun:
    """What the page shows of results/{run}.

    Args:
        folder: results/{run}.

    Raises:
        GeolocError: if it is not a finished run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not (folder / "index/images.parquet").is_file():
            raise MissingFile(f"{folder} is not a finished run: it has no index/images.parquet")
        self.base = folder.absolute().parents[1]
        self.config = self._read_config()
        self.images = Images(folder)
        titles, datasets = model_titles(self.config), dataset_titles(self.config)
        self.rows = {row.path: row for row in rows(self.config) if self._predictions(row.path)}
        self.row_titles = {
            path: f"{titles[row.model]} · {datasets[row.dataset]} · seed {row.seed}"
            for path, row in self.rows.items()
        }
        self.dataset_titles = {name: datasets[name] for name in self.config["datasets"]}
        self.test_set_titles = titles_of_test_sets(self.config)
        self.answers = lru_cache(4)(self._answers)

    def _read_config(self) -> dict[str, Any]:
        own, path = self.base / SCHEMA, self.folder / "config.yaml"
        schema = own if own.exists() else PROJECT / SCHEMA
        if not schema.exists():
            raise MissingFile(f"{own} is missing; run geoloc in the folder of the project")
        try:
            return read_written_config(path, load_schema(schema))
        except FileNotFoundError:
            raise MissingFile(f"{path} is missing; run snakemake again") from None
        except ConfigError as error:
            raise damaged_config(path, error) from error

    def _predictions(self, path: str) -> Path | None:
        file = self.folder / "predictions" / f"{path}.parquet"
        return file if file.exists() else None

    # ---------------------------------------------------------------------------- datasets

    @cached_property
    def settings(self) -> dict[str, dict[str, Any]]:
        """How each dataset shows images, see `geoloc.weighting.View`, as far as the page can."""
        return {name: dataset_settings(self.config, name) for name in self.config["datasets"]}

    @cached_property
    def shown_datasets(self) -> list[str]:
        """Datasets that the page shows. The file of a curve `python` is not run."""
        return [name for name, s in self.settings.items() if s["curve"] != "python"]

    @cached_property
    def scores(self) -> list[str]:
        """Names of the score maps that the run has."""
        return [n for n in self.config["scores"] if (self.folder / "scores" / n).is_dir()]

    def segmentation_of(self, scores: str) -> str:
        """Return the segmentation that score maps are made from."""
        return self.config["scores"][scores]["segmentation"]

    # -------------------------------------------------------------------------- predictions

    def test_set(self, group: str, dataset: str) -> str | None:
        """Return the test set that images of a group are part of, shown as a dataset; None if no
        model was tested on them."""
        collection, _, split = group.partition("/")
        if split != "test":
            return None
        return dataset if collection == STREET else collection

    def _answers(self, row: str, test_set: str) -> Answers:
        columns = ["image_id", "label", "country_1", "probability_1"]
        table = self._read(self._predictions(row), columns, [("test_set", "=", test_set)])
        place = self.images.positions(table["image_id"].combine_chunks())
        known = place >= 0
        place, n = place[known], len(self.images)
        found = Answers(np.full(n, NO_COUNTRY), np.zeros(n, np.float32), np.full(n, -1, np.int8))
        answers, labels = (table[name].to_pylist() for name in ("country_1", "label"))
        code = {name: number for number, name in enumerate(self.images.names["country"])}
        found.country[place] = np.array([code.get(a, NO_COUNTRY) for a in answers], int)[known]
        found.probability[place] = table["probability_1"].to_numpy()[known]
        right = np.array([a == b for a, b in zip(answers, labels, strict=True)], np.int8)
        found.right[place] = right[known]
        return found

    def answers_to(self, row: str, image_id: str) -> list[dict[str, Any]]:
        """Return all rows of a row's predictions that are about an image, by test set."""
        return self._read(self._predictions(row), None, [("image_id", "=", image_id)]).to_pylist()

    def _read(self, path: Path, columns: list[str] | None, filters: list) -> pa.Table:
        try:
            return pq.read_table(path, columns=columns, filters=filters)
        except (OSError, pa.ArrowException) as error:
            raise FileError(f"{path} can't be read ({error}); run snakemake again") from error

    # ------------------------------------------------------------------------------ objects

    @cached_property
    def classes(self) -> dict[str, dict[int, FoundClass]]:
        """Classes that were found by score maps and index; none where `found` has not run."""
        found = {}
        for name in self.scores:
            path = self.folder / "found" / name / "classes.csv"
            if path.exists() and path.with_name("objects.parquet").exists():
                found[name] = {
                    int(row["class_index"]): FoundClass(
                        row["class"], row["selected"] == "True", int(row["images"])
                    )
                    for row in read_rows(path)
                }
        return found

    @cached_property
    def objects(self) -> dict[str, FoundClass]:
        """The same by the value that a request names them with."""
        return {
            f"{name}/{index}": each
            for name, classes in self.classes.items()
            for index, each in classes.items()
        }

    def images_with(self, key: str) -> np.ndarray:
        """Return which images have a segment of a class of `objects`, bool (n,)."""
        name, _, index = key.partition("/")
        path = self.folder / "found" / name / "objects.parquet"
        table = self._read(path, ["image_id"], [("class_index", "=", int(index))])
        mask = np.zeros(len(self.images), bool)
        place = self.images.positions(table["image_id"].combine_chunks())
        mask[place[place >= 0]] = True
        return mask

    # ------------------------------------------------------------------------- explanations

    def explanations_of(self, row: str) -> Path:
        """Return the store of the maps of a row, which exists if the row was explained."""
        return self.folder / "explanations" / f"{row}.h5"

    def explained(self, row: str) -> np.ndarray:
        """Return which images have a map of what the row's answer rests on, bool (n,)."""
        path, mask = self.explanations_of(row), np.zeros(len(self.images), bool)
        if path.exists():
            place = self.images.positions(explained_images(path))
            mask[place[place >= 0]] = True
        return mask

    # ------------------------------------------------------------------------------ queries

    def select(self, query: Query) -> np.ndarray:
        """Return the positions of the images that a query asks for, int64, in the order of the
        index.
        """
        collection, _, split = query.group.partition("/")
        chosen = self.images.mask("collection", collection) & self.images.mask("split", split)
        if query.country:
            chosen &= self.images.mask("country", query.country)
        test_set = self.test_set(query.group, query.dataset)
        if query.row and test_set and query.answer == "explained":
            chosen &= self.explained(query.row)
        elif query.row and test_set and query.answer != "all":
            chosen &= self.answers(query.row, test_set).right == (query.answer == "right")
        if query.object:
            chosen &= self.images_with(query.object)
        return np.flatnonzero(chosen)
