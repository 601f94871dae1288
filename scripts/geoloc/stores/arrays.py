"""Images and score maps at the input size of the Keras models.

They are separate stores, so a new class list or segmentation leaves the image arrays unchanged.
"""

from __future__ import annotations

import os
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from geoloc.errors import InputError
from geoloc.stores.base import check_row, config_hash, create_store, open_store
from geoloc.stores.errors import StoreError, check_readable, damaged, reading
from geoloc.stores.manifests import check_manifest
from geoloc.stores.values import score_problem
from geoloc.types import ARRAY_SIZE
from geoloc.weighting import other_rows

SHAPES = {"image": (ARRAY_SIZE, ARRAY_SIZE, 3), "score": (ARRAY_SIZE, ARRAY_SIZE)}
COLUMNS = ("image_id", "label", "split", "source", "latitude", "longitude")
ROWS_AT_ONCE = 64
UNSCORED = 100  # score of images without score maps: no dataset dims them


def write_arrays(
    path: str | Path,
    columns: dict[str, np.ndarray],
    images: Iterable[np.ndarray],
    config: object = None,
) -> int:
    """Write the `arrays` layout.

    Args:
        path: the store.
        columns: image_id, label (ISO code), split, source (n,) str and latitude, longitude (n,)
            float64, both NaN if unknown.
        images: n arrays, uint8 (224, 224, 3). Storage is contiguous, so one call reads a row.
        config: settings, stored as a hash.

    Returns:
        The number of images.

    Raises:
        InputError: if the number of images differs from that of the ids, or an image has another
            shape or dtype.
        OSError: if the disk is full.
    """
    kept = {name: columns[name] for name in COLUMNS}
    return _write(path, "arrays", "image", kept, images, config)


def write_score_arrays(
    path: str | Path,
    image_ids: Sequence[str],
    scores: Iterable[np.ndarray],
    config: object = None,
) -> int:
    """Write the `score_arrays` layout: n arrays, uint8 (224, 224) in 0–100.

    Arguments, return value and errors are those of `write_arrays`.
    """
    return _write(path, "score_arrays", "score", {"image_id": image_ids}, scores, config)


def _write(
    path: str | Path, schema: str, name: str, columns: dict, rows: Iterable, config: object
) -> int:
    ids, written = columns["image_id"], 0
    with create_store(path, schema, config) as writer:
        writer.reserve(len(ids))
        for written, values in enumerate(rows, start=1):
            if written > len(ids):
                raise InputError(f"{path}: {len(ids)} images announced, more given")
            if values.shape != SHAPES[name] or values.dtype != np.uint8:
                raise InputError(
                    f"{path}: {name} {values.dtype} {values.shape}, expected uint8 {SHAPES[name]}"
                )
            if name == "score" and (problem := score_problem(values)):
                raise InputError(f"{path}: image {ids[written - 1]}: {problem}")
            writer.add({name: values[None]})
        if written != len(ids):
            raise InputError(f"{path}: {len(ids)} images announced, {written} given")
        writer.finish(columns)
    return len(ids)


class _Rows:
    """The data of several stores of one layout as a single sequence, in the order of `paths`.

    Opening reads only the columns. Each row is checked against its digest when it is first read.
    """

    def __init__(
        self, paths: Sequence[str | Path], schema: str, name: str, index: str | Path | None
    ) -> None:
        self.paths, self.name = [Path(path) for path in paths], name
        self.columns, self._offsets, self.digests = [], [], []
        for path in self.paths:
            with open_store(path, schema) as store:
                check_manifest(store, index)
                self.columns.append(store.columns)
                self._offsets.append(store.offset(name))
                self.digests.append(store.attributes["digest"])
        self._starts = np.cumsum([0, *(len(columns["image_id"]) for columns in self.columns)])
        self._checked = np.zeros(self._starts[-1], bool)  # rows that have been read once

    def __len__(self) -> int:
        return int(self._starts[-1])

    def column(self, name: str) -> np.ndarray:
        """Return a column of all stores, (n,)."""
        parts = [columns[name] for columns in self.columns]
        return np.concatenate(parts) if parts else np.empty(0)

    def read(self, rows: np.ndarray) -> np.ndarray:
        """Return the data of the given rows, uint8 (b, …), in the order of `rows`."""
        values = np.empty((len(rows), *SHAPES[self.name]), np.uint8)
        stores = np.searchsorted(self._starts, rows, side="right") - 1
        for store in np.unique(stores):
            with _descriptor(self.paths[store]) as descriptor:
                for target in np.flatnonzero(stores == store):
                    self._read_row(descriptor, store, int(rows[target]), values[target])
        return values

    def _read_row(self, descriptor: int, store: int, row: int, target: np.ndarray) -> None:
        """Read a row of a store.

        If the disk fails or the file was truncated, a read raises an exception; a memory map would
        get a signal.
        """
        path, number = self.paths[store], row - int(self._starts[store])
        with reading(path):
            count = os.preadv(descriptor, [target], self._offsets[store] + number * target.nbytes)
        if count != target.nbytes:
            raise damaged(path, "it is cut short")
        if not self._checked[row]:
            problem = score_problem(target) if self.name == "score" else ""
            check_row(path, self.columns[store], number, [target], problem)
            self._checked[row] = True


class Arrays:
    """Several `arrays` stores as one, with the score maps of their images.

    The columns image_id, label, split, source (n,) str and latitude, longitude (n,) float64 are
    read at once; pixels are read by `read`.

    Args:
        paths: `arrays` stores.
        split: only images of this split; all images if None.
        index: folder of the index to compare the stores with; not compared if None.
        scores: the `score_arrays` stores of the same images in the same order; if None, every score
            is 100.
        other_images: seed with which each image gets the score map of another of these images
            (`geoloc.weighting.other_rows`); if None, each image gets its own.

    Raises:
        StoreError: if a store differs from what was written, or the scores belong to other images.
            `read` raises it, too.
    """

    def __init__(
        self,
        paths: Sequence[str | Path],
        split: str | None = None,
        index: str | Path | None = None,
        scores: Sequence[str | Path] | None = None,
        other_images: int | None = None,
    ) -> None:
        self._images = _Rows(paths, "arrays", "image", index)
        columns = {name: self._images.column(name) for name in COLUMNS}
        every = np.arange(len(self._images))
        self._rows = every if split is None else np.flatnonzero(columns["split"] == split)
        self.image_id, self.label, self.split, self.source, self.latitude, self.longitude = (
            values[self._rows] for values in columns.values()
        )
        digests = list(self._images.digests)
        self._scores = None if scores is None else _Rows(scores, "score_arrays", "score", index)
        self._score_rows = self._rows
        if self._scores is not None:
            _check_same_images(self._images, self._scores)
            digests += self._scores.digests
            if other_images is not None:
                self._score_rows = self._rows[other_rows(len(self._rows), other_images)]
        self.digest = config_hash([digests, other_images])

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the pixels of the given rows of this view.

        Args:
            rows: row numbers, (b,) int.

        Returns:
            Images uint8 (b, 224, 224, 3) and scores uint8 (b, 224, 224), in the order of `rows`.

        Raises:
            StoreError: if a row differs from what was written.
        """
        rows = np.asarray(rows, int)
        image = self._images.read(self._rows[rows])
        if self._scores is None:
            return image, np.full(image.shape[:-1], UNSCORED, np.uint8)
        return image, self._scores.read(self._score_rows[rows])


def _check_same_images(images: _Rows, scores: _Rows) -> None:
    if len(images.paths) != len(scores.paths):
        raise StoreError(
            f"{len(images.paths)} stores of images, but {len(scores.paths)} of scores; "
            "run snakemake again"
        )
    for number, columns in enumerate(images.columns):
        if not np.array_equal(columns["image_id"], scores.columns[number]["image_id"]):
            raise StoreError(
                f"{scores.paths[number]} belongs to other images than {images.paths[number]}; "
                f"delete {scores.paths[number]} and run snakemake again"
            )


def read_score_arrays(
    path: str | Path, image_ids: Container[str]
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield (image_id, score uint8 (224, 224)) of the given images of a `score_arrays` store.

    The order is that of the store.

    Raises:
        StoreError: if the store differs from what was written.
    """
    rows = _Rows([path], "score_arrays", "score", None)
    for row, image_id in enumerate(rows.column("image_id").tolist()):
        if image_id in image_ids:
            yield image_id, rows.read(np.array([row]))[0]


def read_every_row(path: str | Path, schema: str) -> None:
    """Read all data of an `arrays` or `score_arrays` store to check it.

    Raises:
        StoreError: if the store differs from what was written.
    """
    rows = _Rows([path], schema, "image" if schema == "arrays" else "score", None)
    for start in range(0, len(rows), ROWS_AT_ONCE):
        rows.read(np.arange(start, min(start + ROWS_AT_ONCE, len(rows))))


@contextmanager
def _descriptor(path: Path) -> Iterator[int]:
    check_readable(path)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
