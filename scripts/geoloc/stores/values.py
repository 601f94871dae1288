"""The values that a store may hold, checked both when it is written and when it is read.

Each function returns what is wrong, or "".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from geoloc.stores.layouts import SEGMENT_COLUMNS
from geoloc.types import BEST_CLASSES

if TYPE_CHECKING:
    from geoloc.types import Segments

SPLITS = ("train", "val", "test")
COUNTRY = re.compile("[A-Z]{2}")
CLASSES = 1000  # of ImageNet-1k
ROUNDING = 1e-6  # of probabilities near 1 in float32
SUM_ROUNDING = 1e-3  # of the sum of 50,176 values in float32


def columns_problem(columns: Mapping[str, np.ndarray]) -> str:
    """Check those columns of a store that `columns` contains."""
    ids = columns["image_id"]
    if len(np.unique(ids)) != len(ids):
        values, counts = np.unique(ids, return_counts=True)
        return f"image {values[counts.argmax()]} occurs {counts.max()} times"
    if "split" in columns and (wrong := set(columns["split"].tolist()) - set(SPLITS)):
        return f"unknown split {min(wrong)!r}"
    countries = {*columns.get("label", ()), *columns.get("predicted", ())}
    if wrong := {country for country in countries if not COUNTRY.fullmatch(country)}:
        return f"{min(wrong)!r} is not an ISO code"
    if "latitude" in columns:
        return _places_problem(columns["latitude"], columns["longitude"])
    if "size" in columns and (columns["size"] < 1).any():
        return "an image without height or width"
    return ""


def _places_problem(latitude: np.ndarray, longitude: np.ndarray) -> str:
    unknown = np.isnan(latitude) & np.isnan(longitude)
    known = (np.abs(latitude) <= 90) & (np.abs(longitude) <= 180)
    if (known | unknown).all():
        return ""
    row = np.flatnonzero(~(known | unknown))[0]
    return f"latitude {latitude[row]} and longitude {longitude[row]} are not a place"


def score_problem(score: np.ndarray) -> str:
    """Check scores: uint8, of any shape."""
    return f"a score of {score.max()}, over 100" if score.size and score.max() > 100 else ""


def relevance_problem(maps: np.ndarray) -> str:
    """maps: the relevance of an image, float32 (m, 224, 224)."""
    if not np.isfinite(maps).all():
        return "relevance that is not finite"
    if maps.size and maps.min() < 0:
        return f"a relevance of {maps.min():g}, below 0"
    sums = maps.sum(axis=(1, 2), dtype=np.float64)
    if wrong := [total for total in sums if total and abs(total - 1) > SUM_ROUNDING]:
        return f"relevance that sums to {wrong[0]:g}, not to 1 or 0"
    return ""


def segments_problem(
    segments: Segments, runs: np.ndarray | None = None, bounds: np.ndarray | None = None
) -> str:
    """Check the masks of one image.

    Args:
        segments: the masks.
        runs: the run lengths of all masks, concatenated, uint32 (r,); computed if None.
        bounds: where the runs of each mask begin and end in `runs`, int64 (m + 1,), from 0 to r;
            computed if None.

    Returns:
        What is wrong, or "".
    """
    m = len(segments.counts)
    for name, column in SEGMENT_COLUMNS.items():
        if np.shape(getattr(segments, name)) != (m, *column.shape):
            return f"{name} of shape {np.shape(getattr(segments, name))} for {m} masks"
    if min(segments.size) < 1:
        return f"an image of {segments.size} pixels"
    if m == 0:
        return ""
    if runs is None:
        runs = np.concatenate(segments.counts)
    if bounds is None:
        bounds = np.cumsum([0, *map(len, segments.counts)])
    return _runs_problem(segments, runs, bounds) or _classes_problem(segments)


def _runs_problem(segments: Segments, runs: np.ndarray, bounds: np.ndarray) -> str:
    """Check that the runs fill the image and that `area`, `bbox` and the scores match them."""
    starts = bounds[:-1]
    if (starts == bounds[1:]).any():
        return "a mask without run lengths"
    height, width = segments.size
    wide = runs.astype(np.int64)  # faster than adding up with another dtype
    total = np.add.reduceat(wide, starts)
    if (total != height * width).any():
        wrong = total[total != height * width][0]
        return f"run lengths add up to {wrong} pixels, not to {height}×{width}"
    # In a mask that starts at an even position, the runs at even positions are zeros.
    wide[1::2] = 0
    even = np.add.reduceat(wide, starts)
    area = np.where(starts % 2 == 0, total - even, even)
    if (area != segments.area).any():
        return "an area that is not the mask's"
    box = segments.bbox.astype(np.int64)
    outside = box.min() < 0 or (box[:, :2] + box[:, 2:] > (width, height)).any()
    if outside or (area > box[:, 2] * box[:, 3]).any():
        return "a bounding box outside the image or smaller than its mask"
    stability = segments.stability_score[area > 0]  # for an empty mask it is 0/0
    if not _within(stability, 0, 1) or not np.isfinite(segments.predicted_iou).all():
        return "a stability score or predicted IoU that is none"
    return ""


def _within(values: np.ndarray, least: float, most: float) -> bool:
    """Return whether all values are within the bounds; NaN is not."""
    return not values.size or bool(values.min() >= least and values.max() <= most)


def _classes_problem(segments: Segments) -> str:
    class_id, probability = segments.class_id, segments.class_probability
    least = class_id.min()
    if least < -1 or class_id.max() >= CLASSES:
        return f"class {least} to {class_id.max()}, expected -1 to {CLASSES - 1}"
    if not _within(probability, 0, 1 + ROUNDING):
        return "a class probability that is not between 0 and 1"
    if (probability[:, 1:] > probability[:, :-1]).any():
        return f"probabilities of the {BEST_CLASSES} best classes that do not fall"
    if least < 0 and probability[class_id < 0].any():
        return "a probability without a class"
    return ""
