"""Stores of run-length encoded masks, with the best classes of each mask."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from pathlib import Path

import numpy as np

from geoloc.errors import InputError
from geoloc.stores.base import Store, create_store, open_store
from geoloc.stores.layouts import SEGMENT_COLUMNS
from geoloc.stores.manifests import check_manifest
from geoloc.stores.values import segments_problem
from geoloc.types import Segments


def write_segments(path: str | Path, images: Iterable[Segments], config: object = None) -> int:
    """Write the `segments` layout, image by image.

    Args:
        path: the store.
        images: the segments of each image.
        config: settings, stored as a hash.

    Returns:
        The number of images.

    Raises:
        InputError: if masks are invalid (see `segments_problem`) or an id repeats.
        OSError: if the disk is full.
    """
    ids, sizes, offsets, counts_offsets = [], [], [0], [0]
    with create_store(path, "segments", config, ["torch", "segment-anything"]) as writer:
        writer.grow()
        for segments in images:
            if problem := segments_problem(segments):
                raise InputError(f"{path}: image {segments.image_id}: {problem}")
            row = {name: getattr(segments, name) for name in SEGMENT_COLUMNS}
            row["counts"] = np.concatenate([np.empty(0, np.uint32), *segments.counts])
            writer.add(row)
            for run_lengths in segments.counts:
                counts_offsets.append(counts_offsets[-1] + len(run_lengths))
            ids.append(segments.image_id)
            sizes.append(segments.size)
            offsets.append(offsets[-1] + len(segments))
        writer.finish(
            {"image_id": ids, "size": sizes, "offsets": offsets, "counts_offsets": counts_offsets}
        )
    return len(ids)


def read_segments(
    path: str | Path,
    image_ids: Container[str] | None = None,
    index: str | Path | None = None,
) -> Iterator[Segments]:
    """Yield the Segments of each image of a `segments` store, in order.

    Args:
        path: the store.
        image_ids: if given, only these images are read.
        index: folder of the index to compare the store with; not compared if None.

    Raises:
        StoreError: if the store differs from what was written, or from the index.
    """
    with open_store(path, "segments") as store:
        check_manifest(store, index)
        for row, image_id in enumerate(store.columns["image_id"].tolist()):
            if image_ids is None or image_id in image_ids:
                yield _read_row(store, row)


def _read_row(store: Store, row: int) -> Segments:
    start, stop = store.columns["offsets"][row : row + 2]
    offsets = store.columns["counts_offsets"][start : stop + 1]
    columns = {name: store.read(name, start, stop) for name in SEGMENT_COLUMNS}
    runs, bounds = store.read("counts", offsets[0], offsets[-1]), offsets - offsets[0]
    size = store.columns["size"][row]
    segments = Segments(
        image_id=str(store.columns["image_id"][row]),
        size=(int(size[0]), int(size[1])),
        counts=np.split(runs, bounds[1:-1]) if stop > start else [],
        **columns,
    )
    store.check_row(row, [*columns.values(), runs], segments_problem(segments, runs, bounds))
    return segments
