"""Build Segments from run lengths, before they have classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from geoloc.segmentation import rle
from geoloc.types import BEST_CLASSES, Segments


def to_segments(
    size: tuple[int, int],
    counts: list[np.ndarray],
    predicted_iou: Sequence[float],
    stability_score: Sequence[float],
) -> Segments:
    """Make Segments without classes.

    Args:
        size: height and width of the image in pixels.
        counts: run lengths of each mask, see `rle`.
        predicted_iou: one number per mask.
        stability_score: one number per mask, in 0–1.

    Returns:
        The masks in the given order; `image_id` is empty and `class_id` −1.
    """
    boxes = [rle.bounding_box(runs, size) for runs in counts]
    return Segments(
        image_id="",
        size=(int(size[0]), int(size[1])),
        bbox=np.array(boxes, np.int32).reshape(-1, 4),
        area=np.array([rle.area(runs) for runs in counts], np.int32),
        predicted_iou=np.asarray(predicted_iou, np.float32),
        stability_score=np.asarray(stability_score, np.float32),
        counts=counts,
        class_id=np.full((len(counts), BEST_CLASSES), -1, np.int16),
        class_probability=np.zeros((len(counts), BEST_CLASSES), np.float32),
    )
