"""Images and their score maps, read side by side."""

from __future__ import annotations

from collections.abc import Container, Iterator
from itertools import zip_longest
from pathlib import Path

import numpy as np

from geoloc.stores.errors import StoreError
from geoloc.stores.images import read_images
from geoloc.stores.masks import read_masks


def read_images_and_masks(
    images: str | Path,
    masks: str | Path | None,
    image_ids: Container[str] | None = None,
    index: str | Path | None = None,
) -> Iterator[tuple[str, bytes, np.ndarray | None]]:
    """Yield (image_id, encoded bytes, score uint8 (640, 640) in 0–100) of an `images` store and its
    `masks` store, in order; the score is None where `masks` is.

    Args:
        images: the `images` store.
        masks: the `masks` store of the same images.
        image_ids: if given, only these images are read.
        index: folder of the index to compare the stores with; not compared if None.

    Raises:
        StoreError: for a damaged store, or when the two are not of the same images.
    """
    rows = read_images(images, image_ids=image_ids, index=index)
    if masks is None:
        yield from ((image_id, data, None) for image_id, data in rows)
        return
    scores = read_masks(masks, image_ids, index)
    nothing = (None, None)
    for (image_id, data), (mask_id, score) in zip_longest(rows, scores, fillvalue=nothing):
        if image_id != mask_id:
            raise StoreError(
                f"{masks} belongs to other images than {images} ({mask_id}, {image_id}); delete "
                f"{masks} and run snakemake again"
            )
        yield image_id, data, score
