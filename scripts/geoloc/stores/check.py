"""The check of a whole store."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from geoloc.stores.arrays import Arrays
from geoloc.stores.base import open_store
from geoloc.stores.images import read_images
from geoloc.stores.manifests import check_manifest
from geoloc.stores.scores import read_scores
from geoloc.stores.segments import read_segments

ROWS_AT_ONCE = 64
READERS = {"images": read_images, "segments": read_segments, "scores": read_scores}


def check_store(
    path: str | Path, schema: str, digests: bool = True, index: str | Path | None = None
) -> dict[str, np.ndarray]:
    """Check that a store is what was written.

    Args:
        path: the store.
        schema: images, segments, masks or arrays.
        digests: whether to read all content. Otherwise structure and columns are checked,
            which takes milliseconds.
        index: folder of the index to compare the store with; not compared if None.

    Returns:
        Its columns, see `layouts`.

    Raises:
        StoreError: with the file, what is wrong with it, and the remedy.
    """
    with open_store(path, schema) as store:
        check_manifest(store, index)
        columns = store.columns
    if digests and schema == "arrays":
        arrays = Arrays([path])
        for start in range(0, len(arrays), ROWS_AT_ONCE):
            arrays.read(np.arange(start, min(start + ROWS_AT_ONCE, len(arrays))))
    elif digests:
        for _ in READERS[schema](path):
            pass
    return columns
