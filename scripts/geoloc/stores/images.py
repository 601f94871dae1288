"""Prepared images: encoded, with their split, source and place."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from pathlib import Path

import numpy as np

from geoloc.errors import InputError
from geoloc.stores.base import create_store, open_store
from geoloc.stores.manifests import check_manifest

COLUMNS = ("image_id", "split", "source", "latitude", "longitude")


def write_images(path: str | Path, rows: Iterable[dict], config: object = None) -> int:
    """Write the `images` layout.

    Args:
        path: the store.
        rows: dictionaries with the keys image_id, image (bytes), latitude, longitude (NaN if
            unknown), split and source. Each is written as it comes, so memory use stays constant.
        config: settings, stored as a hash.

    Returns:
        The number of images.

    Raises:
        InputError: if an image is empty, an id repeats, a split is unknown or coordinates are
            invalid.
        OSError: if the disk is full.
    """
    columns: dict[str, list] = {name: [] for name in COLUMNS}
    offsets = [0]
    with create_store(path, "images", config, ["pillow"]) as writer:
        writer.grow()
        for row in rows:
            if not row["image"]:
                raise InputError(f"{path}: image {row['image_id']} is empty")
            writer.add({"image": np.frombuffer(row["image"], np.uint8)})
            offsets.append(offsets[-1] + len(row["image"]))
            for name, values in columns.items():
                values.append(row[name])
        writer.finish(columns | {"offsets": offsets})
    return len(offsets) - 1


def read_images(
    path: str | Path,
    start: int = 0,
    image_ids: Container[str] | None = None,
    index: str | Path | None = None,
) -> Iterator[tuple[str, bytes]]:
    """Yield (image_id, encoded bytes) of an `images` store, in order.

    Args:
        path: the store.
        start: the first row.
        image_ids: if given, only these images are read.
        index: folder of the index to compare the store with; not compared if None.

    Raises:
        StoreError: if the store differs from what was written, or from the index.
    """
    with open_store(path, "images") as store:
        check_manifest(store, index)
        offsets = store.columns["offsets"]
        for row, image_id in enumerate(store.columns["image_id"][start:].tolist(), start=start):
            if image_ids is None or image_id in image_ids:
                image = store.read("image", offsets[row], offsets[row + 1])
                store.check_row(row, [image], "" if len(image) else "it is empty")
                yield image_id, image.tobytes()


def read_image_columns(path: str | Path, index: str | Path | None = None) -> dict[str, np.ndarray]:
    """Return all columns of an `images` store, without the images.

    Args:
        path: the store.
        index: folder of the index to compare the store with; not compared if None.

    Returns:
        image_id, split, source (n,) str; latitude, longitude (n,) float64, NaN if unknown.

    Raises:
        StoreError: if the store differs from what was written, or from the index.
    """
    with open_store(path, "images") as store:
        check_manifest(store, index)
        return {name: store.columns[name] for name in COLUMNS}
