"""Rules `pack_images` and `pack_scores`: arrays in the size that the Keras models read."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from geoloc.images import decode, resize_nearest
from geoloc.stores import (
    check_store,
    read_image_columns,
    read_images,
    read_scores,
    write_arrays,
    write_score_arrays,
)
from geoloc.types import ARRAY_SIZE


def pack_images(images: Path, label: str, arrays: Path, index: str | Path | None = None) -> None:
    """Squash each image to 224×224 and write the `arrays` layout.

    Args:
        images: `images` store of a shard.
        label: ISO code of its country.
        arrays: the store to write.
        index: folder of the index to compare the store with; not compared if None.

    Raises:
        StoreError: if the store is damaged.
    """
    columns = read_image_columns(images, index)
    columns["label"] = np.full(len(columns["image_id"]), label)
    rows = (resize_nearest(decode(data), ARRAY_SIZE) for _, data in read_images(images))
    write_arrays(arrays, columns, rows, {"size": ARRAY_SIZE})


def pack_scores(scores: Path, arrays: Path, index: str | Path | None = None) -> None:
    """Squash each score map to 224×224 and write the `score_arrays` layout.

    Args:
        scores: `scores` store of a shard.
        arrays: the store to write.
        index: folder of the index to compare the store with; not compared if None.

    Raises:
        StoreError: if the store is damaged.
    """
    ids = check_store(scores, "scores", digests=False, index=index)["image_id"].tolist()
    rows = (resize_nearest(score, ARRAY_SIZE) for _, score in read_scores(scores))
    write_score_arrays(arrays, ids, rows, {"size": ARRAY_SIZE})
