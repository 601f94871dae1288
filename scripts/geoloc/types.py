"""Array sizes and plain data types shared by several rooms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

SCORE_SIZE = 640
"""Height and width in pixels of street images and their score maps."""
ARRAY_SIZE = 224
"""Height and width in pixels of the Keras models' input."""
BEST_CLASSES = 10
"""Number of classes stored per segment."""


@dataclass(frozen=True)
class Box:
    """Where an object is in its image.

    Attributes:
        left: in pixels.
        top: in pixels.
        width: in pixels.
        height: in pixels.
        score: 1–100.
        class_id: index of its class.
    """

    left: int
    top: int
    width: int
    height: int
    score: int
    class_id: int

    def crop(self, image: np.ndarray) -> np.ndarray:
        """Return the part of an image (H, W, …) in the box, without a copy."""
        return image[self.top : self.top + self.height, self.left : self.left + self.width]


@dataclass
class Segments:
    """The masks of one image, m of them.

    Attributes:
        image_id: the image.
        size: (height, width) in pixels.
        bbox: (m, 4) int32 as x, y, width, height.
        area: (m,) int32, in pixels.
        predicted_iou: (m,) float32, finite, may exceed 1.
        stability_score: (m,) float32 in 0–1, anything for an empty mask.
        counts: m arrays uint32, uncompressed COCO run lengths of the whole image (column by column,
            starting with a run of zeros).
        class_id: (m, 10) int16, indices in the segmentation's vocabulary by falling probability; -1
            for no class.
        class_probability: (m, 10) float32 in 0–1.
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
