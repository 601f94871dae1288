"""Stores of score maps."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from geoloc.errors import InputError
from geoloc.stores.base import Store, create_store, open_store
from geoloc.stores.errors import StoreError
from geoloc.stores.manifests import check_manifest
from geoloc.stores.values import score_problem
from geoloc.types import SCORE_SIZE


def write_scores(
    path: str | Path, score_maps: Iterable[tuple[str, np.ndarray]], config: object = None
) -> int:
    """Write the `scores` layout.

    Args:
        path: the store.
        score_maps: pairs of image_id and score, uint8 (640, 640) in 0–100.
        config: settings, stored as a hash.

    Returns:
        The number of images.

    Raises:
        InputError: if a score map has another shape, dtype or range.
        OSError: if the disk is full.
    """
    ids = []
    with create_store(path, "scores", config) as writer:
        writer.grow()
        for image_id, score in score_maps:
            if score.shape != (SCORE_SIZE, SCORE_SIZE) or score.dtype != np.uint8:
                raise InputError(
                    f"{path}: image {image_id}: a score map {score.dtype} {score.shape}, expected "
                    f"uint8 {(SCORE_SIZE, SCORE_SIZE)}"
                )
            if problem := score_problem(score):
                raise InputError(f"{path}: image {image_id}: {problem}")
            writer.add({"score": score[None]})
            ids.append(image_id)
        writer.finish({"image_id": ids})
    return len(ids)


def read_scores(
    path: str | Path,
    image_ids: Container[str] | None = None,
    index: str | Path | None = None,
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield (image_id, score uint8 (640, 640) in 0–100) of a `scores` store, in order.

    Args:
        path: the store.
        image_ids: if given, only these images are read.
        index: folder of the index to compare the store with; not compared if None.

    Raises:
        StoreError: if the store differs from what was written, or from the index.
    """
    with open_store(path, "scores") as store:
        check_manifest(store, index)
        for row, image_id in enumerate(store.columns["image_id"].tolist()):
            if image_ids is None or image_id in image_ids:
                score = store.read("score", row, row + 1)
                store.check_row(row, [score], score_problem(score))
                yield image_id, score[0]


class ScoreMaps:
    """The score maps of several `scores` stores by image id, read one at a time.

    Use it as a context manager. The store of the last map stays open, so reading maps in the order
    of the stores costs no more than `read_scores`.

    Args:
        paths: `scores` stores.
        index: folder of the index to compare the stores with; not compared if None.
        others: image id -> id of the image whose map it gets; by default its own.

    Raises:
        StoreError: if a store differs from what was written. Looking up a map raises it, too, also
            if no store has the map.
    """

    def __init__(
        self,
        paths: Sequence[str | Path],
        index: str | Path | None = None,
        others: Mapping[str, str] | None = None,
    ) -> None:
        self._others, self._places = others or {}, {}
        self._stack, self._open = ExitStack(), (None, None)
        for path in map(Path, paths):
            with open_store(path, "scores") as store:
                check_manifest(store, index)
                ids = store.columns["image_id"].tolist()
                self._places |= {image_id: (path, row) for row, image_id in enumerate(ids)}

    def __enter__(self) -> ScoreMaps:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def __getitem__(self, image_id: str) -> np.ndarray:
        """Return the score map of an image, uint8 (640, 640) in 0–100."""
        wanted = self._others.get(image_id, image_id)
        if wanted not in self._places:
            raise StoreError(f"no score map of {wanted}; run snakemake again")
        path, row = self._places[wanted]
        store = self._store(path)
        score = store.read("score", row, row + 1)
        store.check_row(row, [score], score_problem(score))
        return score[0]

    def _store(self, path: Path) -> Store:
        if self._open[0] != path:
            self._stack.close()
            self._open = None, None
            self._open = path, self._stack.enter_context(open_store(path, "scores"))
        return self._open[1]
