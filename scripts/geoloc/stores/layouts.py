"""The datasets of each kind of store, and the check that a file has exactly these.

Text has a fixed length, and so has everything else. HDF5 keeps data of variable length in heaps,
which, unlike its other metadata, have no checksums: a damaged heap can crash the library.
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
ROW_DIGEST = "row_digest"  # XXH3 of a row's data outside the columns


@dataclass(frozen=True)
class Column:
    """A dataset with one entry per unit.

    Attributes:
        kind: dtype of an entry, or TEXT.
        shape: shape of an entry.
        unit: what has an entry.
        fence: whether the entries are bounds between neighbors, one more than there are neighbors.
        chunk: entries per chunk; None for contiguous storage.
        gzip: whether chunks are compressed.
    """

    kind: str
    shape: tuple[int, ...] = ()
    unit: str = "images"
    fence: bool = False
    chunk: int | None = None
    gzip: bool = False


@dataclass(frozen=True)
class Layout:
    """The datasets of a kind of store.

    Attributes:
        columns: small datasets, read whole whenever a store is opened.
        data: large datasets, read row by row.
        bounds: unit -> the column that bounds its entries by image, or by mask.
    """

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
    """Check everything about a file's datasets except their content.

    Nothing is allocated for a dataset's declared size until the bytes are known to be in the file.

    Args:
        path: the store, for messages.
        file: the open store.
        layout: the datasets it must have.
        size: size of the file in bytes.

    Raises:
        StoreError: if the structure differs.
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
    """Return what is wrong with a dataset, or ""."""
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
    if column.gzip:  # a chunk holds one entry
        complete = dataset.id.get_num_chunks() == len(dataset)
    elif column.chunk is None:
        offset = dataset.id.get_offset()
        complete = stored == dataset.nbytes and (not stored or offset is not None)
        stored += offset or 0
    else:
        complete = stored >= dataset.nbytes
    return "" if complete and stored <= size else f"declares {len(dataset)} entries, has fewer"


def check_lengths(path: str | Path, file: h5py.File, layout: Layout, columns: Mapping) -> None:
    """Check that the lengths of all columns match their units.

    Raises:
        StoreError: if they don't.
    """
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
