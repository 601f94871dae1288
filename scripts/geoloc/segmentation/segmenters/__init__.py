"""Segmenters, which find the masks of an image, by their names in the configuration."""

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
    """A model that finds masks."""

    vocabulary: str | None
    """Vocabulary of the classes it assigns to masks; None if a classifier has to name them."""

    seconds: dict[str, float]
    """Seconds spent in the stages `encoder` and `decoder` since the segmenter was created."""

    image_batch: int
    """The best number of images per call."""

    def segment(self, images: Sequence[np.ndarray]) -> list[Segments]:
        """Return the masks of each image, uint8 (H, W, 3) RGB of any size.

        `image_id` is empty, and without a `vocabulary` `class_id` is −1: the caller fills them in.
        """


def build_segmenter(name: str, checkpoint: str, **settings) -> Segmenter:
    """Build a segmenter by name.

    Args:
        name: a name in `SEGMENTERS`.
        checkpoint: file of its weights.
        **settings: settings of the segmenter, see its class.

    Raises:
        InputError: if the name is unknown.
        OSError: if the weights are missing, damaged or of another model.
    """
    return SEGMENTERS[name].build(name, checkpoint, **settings)
