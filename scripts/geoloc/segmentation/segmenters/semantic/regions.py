"""Turn a label per pixel into segments: one for each connected region of a label."""

from __future__ import annotations

import cv2
import numpy as np

from geoloc.segmentation import rle
from geoloc.segmentation.segments import to_segments
from geoloc.types import Segments

NEIGHBORS = 8  # pixels that touch at a corner are connected, as for SAM's small regions


def label_regions(labels: np.ndarray, probability: np.ndarray, smallest: int) -> Segments:
    """Make a segment of each connected region of a label, sorted by falling probability.

    Args:
        labels: integers (H, W), 0 or more.
        probability: float32 (H, W) in 0–1, of the pixel's label.
        smallest: regions with fewer pixels are dropped.

    Returns:
        Segments with one class each: the label and its mean probability over the region. The other
        nine entries are −1 and 0. The mean probability also serves as predicted IoU and stability
        score, which such a network does not provide. `image_id` is empty.
    """
    size = (int(labels.shape[0]), int(labels.shape[1]))
    counts, classes, means = [], [], []
    for label in np.unique(labels):
        window = window_of(labels == label)
        present = np.ascontiguousarray(labels[window] == label).view(np.uint8)
        _, components, stats, _ = cv2.connectedComponentsWithStats(present, connectivity=NEIGHBORS)
        sums = np.bincount(components.ravel(), probability[window].ravel())
        large = np.flatnonzero(stats[:, cv2.CC_STAT_AREA] >= smallest)
        for component in large[large > 0]:  # 0 marks pixels with another label
            left, top, width, height, pixels = stats[component].tolist()
            part = components[top : top + height, left : left + width] == component
            rows, columns = window
            counts.append(rle.encode(part.T, columns.start + left, rows.start + top, size))
            classes.append(label)
            means.append(min(sums[component] / pixels, 1.0))
    order = np.argsort(-np.array(means), kind="stable")
    means, classes = np.array(means, np.float32)[order], np.array(classes, np.int16)[order]
    segments = to_segments(size, [counts[row] for row in order], means, means)
    segments.class_id[:, 0], segments.class_probability[:, 0] = classes, means
    return segments


def window_of(present: np.ndarray) -> tuple[slice, slice]:
    """Return the rows and columns of the bounding box of bool (H, W) with at least one pixel."""
    rows, columns = np.flatnonzero(present.any(1)), np.flatnonzero(present.any(0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
