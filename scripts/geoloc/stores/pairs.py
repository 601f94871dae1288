"""Images together with their score maps."""

from __future__ import annotations

from collections.abc import Container, Iterator
from itertools import zip_longest
from pathlib import Path

import numpy as np

from geoloc.stores.errors import StoreError
from geoloc.stores.images import read_images
from geoloc.stores.scores import read_scores


def read_images_and_scores(
    images: str | Path,
    scores: str | Path | None,
    image_ids: Container[str] | None = None,
    index: str | Path | None = None,
) -> Iterator[tuple[str, bytes, np.ndarray | None]]:
    """Yield (image_id, encoded bytes, score uint8 (640, 640) in 0–100) of two stores, in order.

    Args:
        images: the `images` store.
        scores: the `scores` store of the same images; if None, each score is None.
        image_ids: if given, only these images are read.
        index: folder of the index to compare the stores with; not compared if None.

    Raises:
        StoreError: if a store is damaged, or the two hold different images.
    """
    rows = read_images(images, image_ids=image_ids, index=index)
    if scores is None:
        yield from ((image_id, data, None) for image_id, data in rows)
        return
    maps = read_scores(scores, image_ids, index)
    nothing = (None, None)
    for (image_id, data), (score_id, score) in zip_longest(rows, maps, fillvalue=nothing):
        if image_id != score_id:
            raise StoreError(
                f"{scores} belongs to other images than {images} ({score_id}, {image_id}); delete "
                f"{scores} and run snakemake again"
            )
        yield image_id, data, score
