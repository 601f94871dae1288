"""Rule `pack`: images and score maps at the size that the Keras models read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from geoloc.images import decode, resize_nearest
from geoloc.stores import read_image_columns, read_images_and_scores, write_arrays
from geoloc.types import ARRAY_SIZE


def pack_arrays(
    images: Path,
    scores: Path | None,
    label: str,
    arrays: Path,
    index: str | Path | None = None,
) -> None:
    """Squash each image and its score map to 224×224 and write the `arrays` layout.

    Photographs of test sets have no score map; their score is 100 everywhere, so that no dataset
    dims them. `index`: folder of the index to compare the stores with; not compared if None.
    Raises StoreError for a damaged store, or scores that are not those of the images.
    """
    columns = read_image_columns(images, index)
    columns["label"] = np.full(len(columns["image_id"]), label)
    write_arrays(arrays, columns, _squashed(images, scores, index), {"size": ARRAY_SIZE})


def _squashed(
    images: Path, scores: Path | None, index: str | Path | None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    unscored = np.full((ARRAY_SIZE, ARRAY_SIZE), 100, np.uint8)
    for _, data, score in read_images_and_scores(images, scores, index=index):
        image = resize_nearest(decode(data), ARRAY_SIZE)
        yield image, unscored if score is None else resize_nearest(score, ARRAY_SIZE)
