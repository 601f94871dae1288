"""What datasets each kind of store has, and the check that a file has these and no others.

Text is of fixed length and nothing has a variable length, because HDF5 keeps such data in heaps,
which, unlike all its other metadata, have no checksums: a damaged heap can crash the library.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from geoloc.stores.errors import damaged
from geoloc.types import ARRAY_SIZE, BEST_CLASSES, SCORE_SIZE

TEXT = "text"
ROW_DIGEST = "row_digest"  # XXH3 of what a row has besides its columns


@dataclass(frozen=True)
class Column:
    """A dataset with an entry for each of some unit.

    kind: the dtype of an entry, or TEXT; shape: that of an entry; unit: what has an entry;
    fence: the entries are the bounds between neighbours, one more than there are neighbours;
    chunk: entries of a chunk, None for contiguous storage; gzip: whether chunks are compressed.
    """

    kind: str
    shape: tuple[int, ...] = ()
    unit: str = "images"
    fence: bool = False
    chunk: int | None = None
    gzip: bool = False


@dataclass(frozen=True)
class Layout:
    """The datasets of a kind of store. `columns` columns are small, read whole whenever a store is
    opened; of `data` single rows are read. bounds: unit -> the column that bounds its entries
    image by image, or mask by mask."""

    columns: Mapping[str, Column]
    data: Mapping[str, Column]
    bounds: Mapping[str, str]


IMAGE_ID = {"image_id": Column(TEXT)}
DIGESTS = {ROW_DIGEST: Column("<u8")}
PLACES = {"latitude": Column("<f8"), "longitude": Column("<f8")}
SEGMENT_COLUMNS = {
    "bbox": Column("<i4", (4,), "masks", chunk=1024),
    "area": Column("<i4", (), "masks", chunk=1024),
    "predicted_iou": Column("<f4", (), "masks", chunk=1024),
    "stability_score": Column("<f4", (), "masks", chunk=1024),
    "class_id": Column("<i2", (BEST_CLASSES,), "masks", chunk=1024),
    "class_probability": Column("<f4", (BEST_CLASSES,), "masks", chunk=1024),
}
LAYOUTS = {
    "images": Layout(
        IMAGE_ID
        | {name: Column(TEXT) for name in ("split", "source")}
        | PLACES
        | {"offsets": Column("<i8", fence=True)}
        | DIGESTS,
        {"image": Column("|u1", unit="bytes", chunk=1 << 18)},
        {"bytes": "offsets"},
    ),
    "segments": Layout(
        IMAGE_ID
        | {"size": Column("<i4", (2,)), "offsets": Column("<i8", fence=True)}
        | {"counts_offsets": Column("<i8", unit="masks", fence=True)}
        | DIGESTS,
        SEGMENT_COLUMNS | {"counts": Column("<u4", unit="runs", chunk=1 << 16)},
        {"masks": "offsets", "runs": "counts_offsets"},
    ),
    "scores": Layout(
        IMAGE_ID | DIGESTS,
        {"score": Column("|u1", (SCORE_SIZE, SCORE_SIZE), chunk=1, gzip=True)},
        {},
    ),
    "arrays": Layout(
        IMAGE_ID | {name: Column(TEXT) for name in ("label", "split", "source")} | PLACES | DIGESTS,
        {"image": Column("|u1", (ARRAY_SIZE, ARRAY_SIZE, 3))},
        {},
    ),
    "score_arrays": Layout(
        IMAGE_ID | DIGESTS,
        {"score": Column("|u1", (ARRAY_SIZE, ARRAY_SIZE))},
        {},
    ),
    "explanations": Layout(
        IMAGE_ID
        | {name: Column(TEXT) for name in ("label", "predicted")}
        | {"offsets": Column("<i8", fence=True), "method": Column(TEXT, unit="maps")}
        | DIGESTS,
        {"relevance": Column("<f4", (ARRAY_SIZE, ARRAY_SIZE), unit="maps", chunk=1, gzip=True)},
        {"maps": "offsets"},
    ),
}


def check_structure(path: str | Path, file: h5py.File, layout: Layout, size: int) -> None:
    """Check everything about a file's datasets but their content.

    size: bytes of the file. Nothing is allocated for what a dataset declares before the bytes it
    takes in the file are known to be there. Raises StoreError.
    """
    columns = {**layout.columns, **layout.data}
    if names := sorted(set(file) ^ set(columns)):
        raise damaged(path, f"datasets missing or unknown: {', '.join(names)}")
    for name, column in columns.items():
        if not isinstance(file.get(name, getlink=True), h5py.HardLink):
            raise damaged(path, f"{name} is a link to somewhere else")
        if file.get(name, getclass=True) is not h5py.Dataset:
            raise damaged(path, f"{name} is not a dataset")
        if problem := _problem(file[name], column, size):
            raise damaged(path, f"{name} {problem}")


def _problem(dataset: h5py.Dataset, column: Column, size: int) -> str:
    """What is wrong with a dataset; empty if nothing is."""
    if not _is_of_kind(dataset.dtype, column.kind):
        return f"is of type {dataset.dtype}, expected {column.kind}"
    if dataset.ndim != 1 + len(column.shape) or dataset.shape[1:] != column.shape:
        return f"has the shape {dataset.shape}, expected (n, {', '.join(map(str, column.shape))})"
    plist = dataset.id.get_create_plist()
    storage = h5py.h5d.CONTIGUOUS if column.chunk is None else h5py.h5d.CHUNKED
    if plist.get_layout() != storage or plist.get_external_count() or dataset.is_virtual:
        return "is stored in another way than it was written, such as in another file"
    if column.chunk and dataset.chunks != (column.chunk, *column.shape):
        return f"has chunks of {dataset.chunks}"
    filters = [plist.get_filter(number)[0] for number in range(plist.get_nfilters())]
    if filters != ([h5py.h5z.FILTER_DEFLATE] if column.gzip else []):
        return f"has the filters {filters}"
    return _missing_bytes(dataset, column, size)


def _is_of_kind(dtype: np.dtype, kind: str) -> bool:
    if kind != TEXT:
        return dtype == np.dtype(kind)
    text = h5py.check_string_dtype(dtype)
    return text is not None and text.encoding == "utf-8" and text.length is not None


def _missing_bytes(dataset: h5py.Dataset, column: Column, size: int) -> str:
    stored = dataset.id.get_storage_size()
    if column.gzip:  # a chunk is an entry
        complete = dataset.id.get_num_chunks() == len(dataset)
    elif column.chunk is None:
        offset = dataset.id.get_offset()
        complete = stored == dataset.nbytes and (not stored or offset is not None)
        stored += offset or 0
    else:
        complete = stored >= dataset.nbytes
    return "" if complete and stored <= size else f"declares {len(dataset)} entries, has fewer"


def check_lengths(path: str | Path, file: h5py.File, layout: Layout, columns: Mapping) -> None:
    """Check that all columns are as long as their units ask for. Raises StoreError."""
    lengths = {"images": len(columns["image_id"])}
    for unit, name in layout.bounds.items():
        bounds = columns[name]
        if not len(bounds) or bounds[0] != 0 or (np.diff(bounds) < 0).any():
            raise damaged(path, f"{name} does not rise from 0")
        lengths[unit] = int(bounds[-1])
    for name, column in {**layout.columns, **layout.data}.items():
        expected = lengths[column.unit] + column.fence
        if len(file[name]) != expected:
            raise damaged(path, f"{name} has {len(file[name])} entries, expected {expected}")
