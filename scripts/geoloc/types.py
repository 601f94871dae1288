"""Sizes of arrays and plain data that several rooms share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

SCORE_SIZE = 640
"""Height and width in pixels of street images and their score maps."""
ARRAY_SIZE = 224
"""Height and width in pixels of what the Keras models read."""
BEST_CLASSES = 10
"""Classes that are kept of each segment."""


@dataclass(frozen=True)
class Box:
    """Where an object is in its image: left, top, width and height in pixels, its score (1–100)
    and the index of its class."""

    left: int
    top: int
    width: int
    height: int
    score: int
    class_id: int

    def crop(self, image: np.ndarray) -> np.ndarray:
        """The part of an image (H, W, …) in the box, without a copy."""
        return image[self.top : self.top + self.height, self.left : self.left + self.width]


@dataclass
class Segments:
    """The masks of one image, m of them.

    size (height, width) in pixels; bbox (m, 4) int32 as x, y, width, height; area (m,) int32;
    predicted_iou (m,) float32, finite, may exceed 1; stability_score (m,) float32 in 0–1, anything
    for an empty mask; counts: m arrays uint32, uncompressed COCO run lengths of the whole image
    (column by column, beginning with a run of zeros); class_id (m, 10) int16, indices in the
    vocabulary of the segmentation by falling probability, -1 where there is none;
    class_probability (m, 10) float32 in 0–1.
    """

    image_id: str
    size: tuple[int, int]
    bbox: np.ndarray
    area: np.ndarray
    predicted_iou: np.ndarray
    stability_score: np.ndarray
    counts: list[np.ndarray]
    class_id: np.ndarray
    class_probability: np.ndarray

    def __len__(self) -> int:
        return len(self.counts)
