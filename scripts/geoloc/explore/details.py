"""Everything about one image, as plain values for JSON."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from geoloc.countries.names import display_name
from geoloc.errors import FileError
from geoloc.evaluation.distances import answers_are_places, distances, median_positions
from geoloc.explore.pictures import Pictures, outline
from geoloc.explore.run import FinishedRun
from geoloc.segmentation import rle
from geoloc.segmentation.scoring import segment_classes, segment_scores
from geoloc.tables import check_end
from geoloc.types import Segments

RANKS = range(1, 6)
LEAKAGE = ("nearest_image", "nearest_country", "bits", "mirrored", "nearest_place", "meters")


class Details:
    """Tells about the images of a run.

    Args:
        run: the run.
        pictures: reads its segments.
    """

    def __init__(self, run: FinishedRun, pictures: Pictures) -> None:
        self._run, self._pictures, self._images = run, pictures, run.images

    def image(self, n: int, row: str) -> dict[str, Any]:
        """Return facts about image n, the answers of a row ("" for none) and its nearest training
        image.

        Raises:
            Refused: if there is no such image.
        """
        images, image_id = self._images, self._images.id_of(n)
        country = images.value("country", n)
        latitude, longitude = map(_number, images.places[n])
        return {
            "n": n,
            "id": image_id,
            "country": country,
            "country_name": display_name(country),
            **{name: images.value(name, n) for name in ("source", "collection", "split", "shard")},
            "latitude": latitude,
            "longitude": longitude,
            "street": images.is_street(n),
            "answers": [self._answer(each) for each in self._answers(row, image_id)],
            "nearest": self._nearest(image_id),
        }

    def _answers(self, row: str, image_id: str) -> list[dict[str, Any]]:
        return self._run.answers_to(row, image_id) if row else []

    def _answer(self, found: dict[str, Any]) -> dict[str, Any]:
        """The five best countries of an answer, and how far it is from the truth."""
        best = [
            {
                "country": found[f"country_{rank}"],
                "name": display_name(found[f"country_{rank}"]),
                "probability": _number(found[f"probability_{rank}"]),
            }
            for rank in RANKS
            if found[f"country_{rank}"]
        ]
        titles = self._run.dataset_titles | self._run.test_set_titles
        frame = pd.DataFrame([found])
        kilometers = distances(frame, self._positions)
        return {
            "test_set": found["test_set"],
            "title": titles.get(found["test_set"], found["test_set"]),
            "best": best,
            "right": found["country_1"] == found["label"],
            "label_probability": _number(found["label_probability"]),
            "kilometers": _number(kilometers[0]) if len(kilometers) else None,
            "distance_to": "place" if answers_are_places(frame) else "country",
        }

    @cached_property
    def _positions(self) -> pd.DataFrame:
        columns = ["split", "country", "latitude", "longitude"]
        table = pq.read_table(
            self._run.folder / "index/images.parquet",
            columns=columns,
            filters=[("split", "=", "train")],
        )
        return median_positions(table.to_pandas())

    # ------------------------------------------------------------------ nearest training image

    @cached_property
    def _leakage(self) -> tuple[pa.Array, pa.Table] | None:
        """The ids and the rows of the table of near-duplicates; None if the run has none."""
        path = self._run.folder / "leakage.csv"
        if not path.exists():
            return None
        options = csv.ConvertOptions(
            include_columns=["image_id", *LEAKAGE],
            column_types={"nearest_place": pa.string(), "mirrored": pa.string()},
            null_values=[""],
            strings_can_be_null=True,
        )
        try:
            check_end(path)
            table = csv.read_csv(path, convert_options=options)
        except (OSError, pa.ArrowException) as error:
            raise FileError(f"{path} can't be read ({error}); run snakemake again") from error
        return table["image_id"].combine_chunks(), table

    def _nearest(self, image_id: str) -> dict[str, Any] | None:
        """The training image that looks most alike, and the one that was taken nearest."""
        if self._leakage is None:
            return None
        ids, table = self._leakage
        row = pa.compute.index(ids, image_id).as_py()
        if row < 0:
            return None
        found = {name: table[name][row].as_py() for name in LEAKAGE}
        places = [found["nearest_image"] or "", found["nearest_place"] or ""]
        alike, near = self._images.positions(places).tolist()
        return {
            "n": alike,
            "id": found["nearest_image"],
            "country_name": display_name(country) if (country := found["nearest_country"]) else "",
            "bits": found["bits"],
            "mirrored": found["mirrored"] == "True",
            "place_n": near if found["nearest_place"] else None,
            "place_id": found["nearest_place"],
            "meters": _number(found["meters"]),
        }

    # ---------------------------------------------------------------------------- segments

    def segments(self, n: int, scores: str) -> dict[str, Any]:
        """Return the segments of a street image: outline, class, probability and score, those with
        the highest scores first, then by area.

        Raises:
            Refused: if there is no such image, or if it is of a test set.
        """
        run = self._run
        found = self._pictures.segments(n, run.segmentation_of(scores))
        known = run.classes.get(scores, {})
        selected = [index for index, each in known.items() if each.selected]
        minimum = run.config["scores"][scores]["minimum"]
        own = found.class_id, found.class_probability, selected, minimum
        values, (classes, probability) = segment_scores(*own), segment_classes(*own)
        order = np.lexsort((-found.area, -values.astype(int)))
        return {
            "height": found.size[0],
            "width": found.size[1],
            "segments": [
                {
                    "name": self._class_name(known, int(classes[i])),
                    "probability": float(probability[i]),
                    "score": int(values[i]),
                    **_shape(found, i),
                }
                for i in order.tolist()
            ],
        }

    @staticmethod
    def _class_name(known: dict, index: int) -> str:
        if index in known:
            return known[index].name
        return f"class {index}" if index >= 0 else "no class"


def _shape(found: Segments, row: int) -> dict[str, Any]:
    """Outline of a segment, where to write its name, and its share of the image."""
    mask = rle.decode(found.counts[row], found.size)
    x, y = rle.inner_point(mask)
    return {"path": outline(mask), "x": x, "y": y, "area": float(found.area[row] / mask.size)}


def _number(value: float | None) -> float | None:
    """A number for JSON, which has neither NaN nor infinity."""
    return None if value is None or not math.isfinite(value) else float(value)
