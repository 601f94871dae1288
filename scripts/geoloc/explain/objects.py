"""Which class each scored pixel got its score from."""

from __future__ import annotations

from collections.abc import Container, Sequence
from pathlib import Path

import numpy as np

from geoloc.images import resize_nearest
from geoloc.segmentation import rle
from geoloc.segmentation.scoring import segment_scores
from geoloc.stores import StoreError, read_segments
from geoloc.types import ARRAY_SIZE, Segments

NO_CLASS = -1


def class_map(segments: Segments, selected: np.ndarray, minimum: float = 0.10) -> np.ndarray:
    """Find the selected class with the highest score at each pixel.

    Args:
        segments: the segments of an image.
        selected: indices of the classes that score.
        minimum: a class counts only above this probability.

    Returns:
        int16 (H, W): indices in the vocabulary, −1 where nothing scores.
    """
    scores = segment_scores(segments.class_id, segments.class_probability, selected, minimum)
    wanted = np.isin(segments.class_id, selected) & (segments.class_probability > minimum)
    painted = np.full(segments.size, NO_CLASS, np.int16)
    order = np.argsort(scores, kind="stable")
    for row in order[scores[order] > 0]:
        mask = rle.decode(segments.counts[row], segments.size)
        painted[mask] = segments.class_id[row, wanted[row].argmax()]
    return painted


def class_maps(
    paths: Sequence[str | Path],
    image_ids: Container[str],
    selected: np.ndarray,
    minimum: float,
    index: str | Path | None = None,
    side: int = ARRAY_SIZE,
) -> dict[str, np.ndarray]:
    """Read the class maps of some images, int16 (side, side), by image id.

    Args:
        paths: `segments` stores.
        image_ids: the images to read.
        selected, minimum: see `class_map`.
        index: folder of the index to compare the stores with; not compared if None.
        side: pixels of a side of the pictures that are explained.

    Raises:
        StoreError: if a store is not what was written, or an image has no segments.
    """
    found = {
        segments.image_id: resize_nearest(class_map(segments, selected, minimum), side)
        for path in paths
        for segments in read_segments(path, image_ids, index)
    }
    if missing := sorted(set(image_ids) - set(found)):
        raise StoreError(f"no segments of {missing[0]}; run snakemake again")
    return found
