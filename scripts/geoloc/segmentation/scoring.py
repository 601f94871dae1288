"""From the classes of masks to the score of each pixel ("Beyond the Image", section Masks).

A class list names the classes that may tell countries apart. A mask's score is the probability, in
percent, of the first of them among its best classes. A pixel's score is the largest score of its
masks.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from geoloc.errors import InputError
from geoloc.segmentation import rle
from geoloc.segmentation.vocabularies import read_class_list
from geoloc.types import Segments

MERGES = ("maximum", "as_published")


def read_selected(
    path: str | Path, ambiguous: str = "first_meaning", vocabulary_name: str = "imagenet"
) -> np.ndarray:
    """Read a class list (see `read_class_list`) as int16 (n,), sorted and distinct, n ≥ 1."""
    return np.array(read_class_list(path, ambiguous, vocabulary_name), np.int16)


def segment_scores(
    class_id: np.ndarray,
    class_probability: np.ndarray,
    selected: Iterable[int],
    minimum: float = 0.10,
) -> np.ndarray:
    """Return the score of each mask, uint8 (m,) in 0–100.

    Args:
        class_id: (m, 10), best first.
        class_probability: (m, 10) in 0–1.
        selected: indices of the classes that score.
        minimum: the first selected class above this probability gives the score, as a rounded
            percentage. Masks without one score 0.
    """
    wanted = np.isin(class_id, np.asarray(selected)) & (class_probability > minimum)
    first = wanted.argmax(axis=1) if wanted.size else np.zeros(len(class_id), int)
    probability = np.take_along_axis(class_probability, first[:, None], axis=1)[:, 0]
    percent = np.rint(100 * probability.astype(np.float64))
    return np.where(wanted.any(axis=1), percent, 0).astype(np.uint8)


def segment_classes(
    class_id: np.ndarray,
    class_probability: np.ndarray,
    selected: Iterable[int],
    minimum: float = 0.10,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the class that each mask is counted under, int64 (m,), and its probability, float64
    (m,).

    It is the class that gives the mask its score (see `segment_scores`), and for a mask without a
    score the most likely one. -1 stands for a mask that has no class.
    """
    wanted = np.isin(class_id, np.asarray(selected)) & (class_probability > minimum)
    first = wanted.argmax(axis=1) if wanted.size else np.zeros(len(class_id), int)
    rows = np.arange(len(class_id))
    return class_id[rows, first].astype(int), class_probability[rows, first].astype(float)


def score_map(
    segments: Segments,
    selected: Iterable[int],
    minimum: float = 0.10,
    merge: str = "maximum",
) -> np.ndarray:
    """Return the score of each pixel, uint8 (H, W) in 0–100; 0 outside all masks.

    Args:
        segments: the masks of an image and their classes.
        selected: indices of the classes that score.
        minimum: a class counts only above this probability.
        merge: `maximum` takes the largest score of a pixel's masks, whatever their order.
            `as_published` does what the study's code does: it takes the scored masks in order and
            paints each whole mask with the larger of its score and the map's value at its first
            pixel (in row order). So a mask can erase a higher score, or take over a neighbor's.

    Raises:
        InputError: if `merge` is unknown.
    """
    if merge not in MERGES:
        raise InputError(f"merge {merge!r} is unknown: use one of {', '.join(MERGES)}")
    scores = segment_scores(segments.class_id, segments.class_probability, selected, minimum)
    painted = np.zeros(segments.size, np.uint8)
    order = np.argsort(scores, kind="stable") if merge == "maximum" else np.arange(len(scores))
    for row in order[scores[order] > 0]:
        mask = rle.decode(segments.counts[row], segments.size)
        if merge == "as_published":
            painted[mask] = max(scores[row], painted.flat[mask.argmax()])
        else:  # painted by rising score, the maximum remains
            painted[mask] = scores[row]
    return painted
