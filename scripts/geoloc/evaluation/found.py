"""What a segmentation found: its classes, by country, and how much of an image stays visible.

A segment is counted under the class that gives it its score, and under its most likely class if it
has none.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.stats import t

from geoloc.evaluation.examples import Naming, Shard
from geoloc.evaluation.found_examples import Examples
from geoloc.progress import Progress
from geoloc.segmentation import rle
from geoloc.stores import StoreError, read_scores, read_segments
from geoloc.types import Segments
from geoloc.weighting import View

log = logging.getLogger(__name__)

ALL = "all"
"""Stands for all countries together."""
SCORES = 101
NAMELESS = "(no class)"
OBJECT_COLUMNS = {"image_id": str, "class_index": "i2", "segments": "i4", "score": "u1"}
"""Of each class in an image: number of segments, and the highest score of one."""
COMMON = 3  # classes that are named of a country
OF_CLASSES = ("segments", "scored_segments", "probability", "score", "images", "area")
OF_IMAGES = ("segments_per_image", "scored_share", "mean_score")
VISIBLE = 0.5  # factor from which on a pixel counts as visible


@dataclass
class Found:
    """Sums over images, in memory that does not grow with segments.

    Args:
        naming: classes of the segments, and which of them score.
        examples: collects segments for the figure.

    `classes` has a row for each of `OF_CLASSES` and a column for each class, the last one for
    segments without a class. `images`: values of `OF_IMAGES` of each image by country.
    `images_with`: number of images with a scoring segment of a class, and `histogram`: share of the
    pixels with each score, summed over images; both by country.
    """

    naming: Naming
    examples: Examples = field(default_factory=Examples)

    def __post_init__(self) -> None:
        number = len(self.naming.names) + 1
        self.classes = np.zeros((len(OF_CLASSES), number))
        self.images: dict[str, list] = defaultdict(list)
        self.images_with = defaultdict(lambda: np.zeros(number, int))
        self.histogram = defaultdict(lambda: np.zeros(SCORES))

    def add(self, country: str, store: Path, segments: Segments, score: np.ndarray) -> pd.DataFrame:
        """Count an image: its segments, and its score map uint8 (H, W). `store`: where it is.

        Returns the rows of `OBJECT_COLUMNS` of the image.
        """
        number = self.classes.shape[1]
        classes, probability, scores = self.naming.of(segments)
        counted = np.where(classes < 0, number - 1, classes)
        area = rle.union_areas(segments.counts, counted, number, segments.size) / score.size
        for row, weights in enumerate((None, scores > 0, probability, scores)):
            self.classes[row] += np.bincount(counted, weights, number)
        self.classes[4] += np.bincount(np.unique(counted), minlength=number)
        self.classes[5] += area
        self.images_with[country][np.unique(counted[scores > 0])] += 1
        shares = np.bincount(score.ravel(), minlength=SCORES) / score.size
        self.histogram[country] += shares
        values = len(segments), 1 - shares[0], shares @ np.arange(SCORES)
        self.images[country].append(values)
        self.examples.add(store, segments, classes, probability, scores)
        own, inverse, count = np.unique(classes, return_inverse=True, return_counts=True)
        best = np.zeros(len(own), np.uint8)
        np.maximum.at(best, inverse, scores)
        columns = [segments.image_id] * len(own), own, count, best
        return pd.DataFrame(dict(zip(OBJECT_COLUMNS, columns, strict=True)))


class ObjectTable:
    """A Parquet file of `OBJECT_COLUMNS` that is written shard by shard.

    Used as a context manager.
    """

    def __init__(self, path: str | Path) -> None:
        types = pa.string(), pa.int16(), pa.int32(), pa.uint8()
        self._schema = pa.schema(zip(OBJECT_COLUMNS, types, strict=True))
        self._path = path

    def __enter__(self) -> ObjectTable:
        self._writer = pq.ParquetWriter(self._path, self._schema, write_page_checksum=True)
        return self

    def __exit__(self, *error: object) -> None:
        self._writer.close()

    def write(self, rows: pd.DataFrame) -> None:
        """Add the rows of a shard."""
        self._writer.write_table(pa.Table.from_pandas(rows, self._schema, preserve_index=False))


def describe(
    shards: Sequence[Shard],
    found: Found,
    index: str | Path | None = None,
    write: Callable[[pd.DataFrame], object] = lambda rows: None,
) -> None:
    """Count the images of all shards, one at a time; warn if nothing in them scores.

    Args:
        shards: the stores of each shard.
        found: what they are added to.
        index: folder of the index to compare the stores with; not compared if None.
        write: is given the rows of `OBJECT_COLUMNS` of each shard.

    Raises:
        StoreError: for a damaged store, or segments and scores of other images.
        InputError: for a class that is not in the vocabulary.
    """
    for country, images, segments, scores in Progress(shards, description="describe"):
        pairs = zip_longest(
            read_segments(segments, index=index),
            read_scores(scores, index=index),
            fillvalue=(None, None),
        )
        objects = [pd.DataFrame(columns=OBJECT_COLUMNS)]
        for each, (image_id, score) in pairs:
            if not isinstance(each, Segments) or each.image_id != image_id:
                raise StoreError(
                    f"{scores} belongs to other images than {segments}; delete {scores} and run "
                    "snakemake again"
                )
            objects.append(found.add(country, images, each, score))
        write(pd.concat(objects).astype(OBJECT_COLUMNS))
    segments, scored = found.classes[:2].sum(axis=1)
    if segments and not scored:
        log.warning(
            "none of %d segments scores, so all score maps are 0; do the class list and minimum "
            "fit the segmentation?",
            segments,
        )


def classes_table(found: Found) -> pd.DataFrame:
    """Return one row for each class that a segment is counted under, most segments first.

    Columns: `class`, `class_index`, `selected`, `segments`, `images` (that have one),
    `image_share`, `area_share` (share of the picture, mean over all images),
    `area_share_where_found` (over the images that have one), `mean_probability` (0–1),
    `scored_segments`, `scored_share` (of the segments) and `mean_score` (1–100, of the segments
    that score; empty without one).
    """
    total = sum(map(len, found.images.values()))
    table = pd.DataFrame(found.classes.T, columns=OF_CLASSES)
    table.insert(0, "class", [*found.naming.names, NAMELESS])
    table.insert(1, "class_index", [*range(len(found.naming.names)), -1])
    table.insert(2, "selected", table["class_index"].isin(found.naming.selected))
    table = table[table["segments"] > 0]
    table["image_share"] = table["images"] / total
    table["area_share"] = table["area"] / total
    table["area_share_where_found"] = table["area"] / table["images"]
    table["mean_probability"] = table["probability"] / table["segments"]
    table["scored_share"] = table["scored_segments"] / table["segments"]
    table["mean_score"] = table["score"] / table["scored_segments"].replace(0, np.nan)
    counts = ["segments", "images", "scored_segments"]
    table[counts] = table[counts].astype(int)
    columns = ["class", "class_index", "selected", "segments", "images", "image_share",
               "area_share", "area_share_where_found", "mean_probability", "scored_segments",
               "scored_share", "mean_score"]  # fmt: skip
    order = ["segments", "class_index"]
    return table.sort_values(order, ascending=[False, True])[columns].reset_index(drop=True)


def countries_table(found: Found) -> pd.DataFrame:
    """Return one row for each country and one for `all`, with means over images and their 95 %
    intervals.

    Columns: `country`, `images`; `segments_per_image`, `scored_share` (share of the picture whose
    score is above 0) and `mean_score` (0–100, of all pixels), each with `_low` and `_high` (Student
    t, empty for a single image); `common_classes`, the selected classes that score in most images.
    """
    images = {country: np.array(found.images[country]) for country in sorted(found.images)}
    images[ALL] = np.concatenate([np.zeros((0, len(OF_IMAGES))), *images.values()])
    with_class = {country: found.images_with[country] for country in found.images}
    with_class[ALL] = sum(with_class.values())
    rows = []
    for country, values in images.items():
        row = {"country": country, "images": len(values)}
        for name, column in zip(OF_IMAGES, values.T, strict=True):
            row |= dict(zip((name, f"{name}_low", f"{name}_high"), _interval(column), strict=True))
        common = np.argsort(-with_class[country], kind="stable")[:COMMON]
        named = [found.naming.names[i] for i in common if with_class[country][i]]
        rows.append(row | {"common_classes": "; ".join(named)})
    return pd.DataFrame(rows)


def _interval(values: np.ndarray) -> tuple[float, float, float]:
    """Mean of values (n,) with its 95 % interval; NaN where one value has none."""
    mean, n = values.mean(), len(values)
    half = t.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n) if n > 1 else np.nan
    return mean, mean - half, mean + half


def histogram_table(found: Found) -> pd.DataFrame:
    """Return how often each score occurs: `country`, `images`, `score` (0–100) and `share` of the
    pixels, mean over the images; only scores that occur."""
    rows = [
        {"country": country, "images": len(found.images[country]), "score": score,
         "share": found.histogram[country][score] / len(found.images[country])}
        for country in sorted(found.histogram)
        for score in np.flatnonzero(found.histogram[country])
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["country", "images", "score", "share"])


def visible_table(histogram: pd.DataFrame, views: Mapping[str, View]) -> pd.DataFrame:
    """Return how much of an image its datasets leave visible, means over images.

    Args:
        histogram: of `histogram_table`.
        views: how each dataset that is weighted by these scores shows images, by name.

    Returns:
        `dataset`, `country` (or `all`), `images`, `mean_factor` (of a pixel's brightness or, with
        another fill than black, the share of the image in the mixture) and `visible_share` (pixels
        with a factor of at least 0.5), both 0–1. Of datasets that are weighted by another image's
        scores, only `all` is known.
    """
    images = histogram.groupby("country")["images"].first()
    rows = []
    for dataset, view in views.items():
        factor = view.factor[histogram["score"].to_numpy()].astype(float)
        shares = pd.DataFrame(
            {
                "country": histogram["country"],
                "mean_factor": histogram["share"] * factor,
                "visible_share": histogram["share"] * (factor >= VISIBLE),
            }
        )
        table = shares.groupby("country").sum()
        table.loc[ALL] = table.mul(images, axis=0).sum() / images.sum()
        table.insert(0, "images", [*images, images.sum()])
        table.insert(0, "dataset", dataset)
        rows.append(table.loc[[ALL]] if view.scores_of != "self" else table)
    columns = ["dataset", "country", "images", "mean_factor", "visible_share"]
    return pd.concat([table.reset_index() for table in rows])[columns]
