"""Check a whole store."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from geoloc.stores.arrays import read_every_row
from geoloc.stores.base import open_store
from geoloc.stores.explanations import read_explanations
from geoloc.stores.images import read_images
from geoloc.stores.manifests import check_manifest
from geoloc.stores.scores import read_scores
from geoloc.stores.segments import read_segments

READERS = {
    "images": read_images,
    "segments": read_segments,
    "scores": read_scores,
    "explanations": read_explanations,
}


def check_store(
    path: str | Path, schema: str, digests: bool = True, index: str | Path | None = None
) -> dict[str, np.ndarray]:
    """Check that a store is what was written.

    Args:
        path: the store.
        schema: a key of `geoloc.stores.layouts.LAYOUTS`.
        digests: whether to read all content. If False, only structure and columns are checked,
            which takes milliseconds.
        index: folder of the index to compare the store with; not compared if None.

    Returns:
        The columns of the store (see `layouts`).

    Raises:
        StoreError: if it is not. The message names the file, what is wrong and the remedy.
    """
    with open_store(path, schema) as store:
        check_manifest(store, index)
        columns = store.columns
    if digests and schema in ("arrays", "score_arrays"):
        read_every_row(path, schema)
    elif digests:
        for _ in READERS[schema](path):
            pass
    return columns
