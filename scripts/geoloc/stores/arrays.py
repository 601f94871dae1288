"""Images and score maps as the Keras models read them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from geoloc.errors import InputError
from geoloc.stores.base import check_row, config_hash, create_store, open_store
from geoloc.stores.errors import check_readable, damaged, reading
from geoloc.stores.manifests import check_manifest
from geoloc.stores.values import score_problem
from geoloc.types import ARRAY_SIZE

SHAPES = {"image": (ARRAY_SIZE, ARRAY_SIZE, 3), "score": (ARRAY_SIZE, ARRAY_SIZE)}
COLUMNS = ("image_id", "label", "split", "source", "latitude", "longitude")


def write_arrays(
    path: str | Path,
    columns: dict[str, np.ndarray],
    rows: Iterable[tuple[np.ndarray, np.ndarray]],
    config: object = None,
) -> int:
    """Write the `arrays` layout.

    Args:
        path: the store.
        columns: image_id, label (ISO code), split, source (n,) str and latitude, longitude (n,)
            float64, both NaN where unknown.
        rows: n pairs (image uint8 (224, 224, 3), score uint8 (224, 224) in 0–100). They are stored
            contiguously, so that a row is read with one call.
        config: settings, kept as a hash.

    Returns:
        The number of images.

    Raises:
        ValueError: where the numbers differ, or for another shape, type or range.
        OSError: if the disk is full.
    """
    count, written = len(columns["image_id"]), 0
    with create_store(path, "arrays", config) as writer:
        writer.reserve(count)
        for written, (image, score) in enumerate(rows, start=1):
            if written > count:
                raise InputError(f"{path}: {count} images announced, more given")
            for name, values in (("image", image), ("score", score)):
                if values.shape != SHAPES[name] or values.dtype != np.uint8:
                    raise InputError(
                        f"{path}: {name} {values.dtype} {values.shape}, expected uint8 "
                        f"{SHAPES[name]}"
                    )
            if problem := score_problem(score):
                raise InputError(f"{path}: image {columns['image_id'][written - 1]}: {problem}")
            writer.add({"image": image[None], "score": score[None]})
        if written != count:
            raise InputError(f"{path}: {count} images announced, {written} given")
        writer.finish({name: columns[name] for name in COLUMNS})
    return count


class Arrays:
    """Several `arrays` stores as one, in the order of `paths`, without copies.

    Columns image_id, label, split, source (n,) str and latitude, longitude (n,) float64 are read
    at once; `read` reads pixels from the files that it needs and keeps none of them open, however
    many there are. `split` keeps only the rows of that split. Stores are compared with the
    manifests in the folder `index`, if given. `digest` is the same for the same content of all
    stores in the same order.

    Raises StoreError, also in `read`, where a store is not what was written. Rows are compared
    with their digests when they are read for the first time.
    """

    def __init__(
        self,
        paths: Sequence[str | Path],
        split: str | None = None,
        index: str | Path | None = None,
    ) -> None:
        self.paths = [Path(path) for path in paths]
        self._columns, self._offsets, digests = [], [], []
        for path in self.paths:
            with open_store(path, "arrays") as store:
                check_manifest(store, index)
                self._columns.append(store.columns)
                self._offsets.append({name: store.offset(name) for name in SHAPES})
                digests.append(store.attributes["digest"])
        self.digest = config_hash(digests)
        self._starts = np.cumsum([0, *(len(columns["image_id"]) for columns in self._columns)])
        self._checked = np.zeros(self._starts[-1], bool)  # rows, once they were read
        parts = {name: [columns[name] for columns in self._columns] for name in COLUMNS}
        joined = {n: np.concatenate(p) if p else np.empty(0) for n, p in parts.items()}
        every = np.arange(self._starts[-1])
        self._rows = every if split is None else np.flatnonzero(joined["split"] == split)
        self.image_id, self.label, self.split, self.source, self.latitude, self.longitude = (
            values[self._rows] for values in joined.values()
        )

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels of the given rows of this view: image uint8 (b, 224, 224, 3) and score uint8
        (b, 224, 224), in the order asked for."""
        pixels = {n: np.empty((len(rows), *shape), np.uint8) for n, shape in SHAPES.items()}
        wanted = self._rows[np.asarray(rows, int)]
        stores = np.searchsorted(self._starts, wanted, side="right") - 1
        for store in np.unique(stores):
            with _descriptor(self.paths[store]) as descriptor:
                for target in np.flatnonzero(stores == store):
                    row = int(wanted[target] - self._starts[store])
                    parts = [values[target] for values in pixels.values()]
                    self._read_row(descriptor, store, row, parts)
        return pixels["image"], pixels["score"]

    def _read_row(self, descriptor: int, store: int, row: int, parts: list[np.ndarray]) -> None:
        """Read a row of a store into `parts`. A read, unlike a memory map, fails with an exception
        and not with a signal where the disk fails or the file was cut."""
        path = self.paths[store]
        for part, offset in zip(parts, self._offsets[store].values(), strict=True):
            with reading(path):
                count = os.preadv(descriptor, [part], offset + row * part.nbytes)
            if count != part.nbytes:
                raise damaged(path, "it is cut short")
        number = self._starts[store] + row
        if not self._checked[number]:
            check_row(path, self._columns[store], row, parts, score_problem(parts[-1]))
            self._checked[number] = True


@contextmanager
def _descriptor(path: Path) -> Iterator[int]:
    check_readable(path)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
