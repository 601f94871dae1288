"""Segmenters, which find the masks of an image, by the names that the configuration gives them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from geoloc.registry import Registry
from geoloc.types import Segments

SEGMENTERS = Registry(
    "segmenter",
    dict.fromkeys(
        ("demo", "vit_b", "vit_l", "vit_h"), "geoloc.segmentation.segmenters.sam.generator"
    ),
)
"""Modules with a function `build(name, checkpoint, **settings)` that returns a Segmenter."""


class Segmenter(Protocol):
    """Anything that finds masks."""

    vocabulary: str | None
    """Vocabulary of the classes that it gives the masks; None if a classifier has to name them."""

    seconds: dict[str, float]
    """Time spent in the stages `encoder` and `decoder` since the segmenter was made."""

    image_batch: int
    """How many images are best given at once."""

    def segment(self, images: Sequence[np.ndarray]) -> list[Segments]:
        """Masks of each image, uint8 (H, W, 3) RGB of any size.

        `image_id` is left empty, and `class_id` is −1 without a `vocabulary`: the caller names and
        classifies.
        """


def build_segmenter(name: str, checkpoint: str, **settings) -> Segmenter:
    """Build the segmenter of that name.

    Args:
        name: a name in `SEGMENTERS`.
        checkpoint: file of its weights.
        **settings: those of the segmenter, see its class.

    Raises:
        ValueError: for an unknown name.
        OSError: for weights that are missing, damaged, or of another model.
    """
    return SEGMENTERS[name].build(name, checkpoint, **settings)
