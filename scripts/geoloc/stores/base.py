"""Stores as files: written whole or not at all, and checked when read.

Each store has the attributes `schema`, `schema_version`, `config` (hash of the settings it was made
with), `software`, `digest` (of its content) and `seal` (of the other attributes). `digest` covers
all columns. One column holds a digest of each row's other data, so a reader of a single row can
check that row.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xxhash

from geoloc.errors import InputError
from geoloc.files import atomic_path
from geoloc.stores.errors import StoreError, check_readable, damaged, reading
from geoloc.stores.layouts import LAYOUTS, ROW_DIGEST, TEXT, Layout, check_lengths, check_structure
from geoloc.stores.sink import Sink
from geoloc.stores.values import columns_problem

SCHEMA_VERSION = 3
ATTRIBUTES = ("schema", "config", "software", "digest", "seal")


def config_hash(config: object) -> str:
    """Return a short hash of settings, independent of the order of keys."""
    text = json.dumps(config, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def software_versions(packages: Sequence[str]) -> str:
    """Return `name=version` of installed packages, in one line."""
    return " ".join(f"{name}={importlib.metadata.version(name)}" for name in packages)


def row_digest(*parts: np.ndarray | bytes) -> int:
    """Return the 64-bit XXH3 of a row's data, as in the column `row_digest`."""
    state = xxhash.xxh3_64()
    for part in parts:
        state.update(np.ascontiguousarray(part) if isinstance(part, np.ndarray) else part)
    return state.intdigest()


def content_digest(schema: str, columns: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256 of the stored columns.

    The columns include the row digests, so it covers everything in a store.
    """
    digest = hashlib.sha256(schema.encode())
    for name in LAYOUTS[schema].columns:
        values = np.ascontiguousarray(columns[name])
        digest.update(f"\n{name} {values.dtype.str} {values.shape}\n".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


def seal(attributes: Mapping[str, str]) -> str:
    """Return the hash of all attributes except `schema_version`, which is checked first."""
    return config_hash({name: attributes[name] for name in ATTRIBUTES if name != "seal"})


# ------------------------------------------------------------------------------------ writing


class Writer:
    """A store being written: data row by row, columns at the end."""

    def __init__(self, file: h5py.File, sink: Sink, schema: str) -> None:
        self._file, self._sink, self._schema = file, sink, schema
        self._layout = LAYOUTS[schema]
        self._row_digests: list[int] = []

    def reserve(self, count: int) -> None:
        """Create the contiguous datasets, for `count` images."""
        for name, column in self._layout.data.items():
            self._file.create_dataset(name, (count, *column.shape), column.kind)

    def grow(self) -> None:
        """Create the chunked datasets, empty."""
        for name, column in self._layout.data.items():
            compression = {"compression": "gzip", "compression_opts": 4} if column.gzip else {}
            self._file.create_dataset(
                name,
                (0, *column.shape),
                column.kind,
                maxshape=(None, *column.shape),
                chunks=(column.chunk, *column.shape),
                **compression,
            )

    def add(self, row: Mapping[str, np.ndarray]) -> None:
        """Add the data of an image.

        Args:
            row: name of the dataset -> entries of its unit.

        Raises:
            OSError: if the disk is full.
        """
        parts = [
            np.ascontiguousarray(row[name], column.kind)
            for name, column in self._layout.data.items()
        ]
        for name, values in zip(self._layout.data, parts, strict=True):
            dataset = self._file[name]
            if dataset.chunks is None:
                dataset[len(self._row_digests)] = values[0]
            elif len(values):
                start = len(dataset)
                dataset.resize(start + len(values), axis=0)
                dataset[start:] = values
        self._row_digests.append(row_digest(*parts))
        self._sink.check()

    def finish(self, columns: Mapping[str, Sequence[Any] | np.ndarray]) -> None:
        """Compute the digests and write all columns.

        Args:
            columns: all columns except the digests.

        Raises:
            InputError: if a value is one that readers reject.
        """
        given = dict(columns) | {ROW_DIGEST: self._row_digests}
        stored = {}
        for name, column in self._layout.columns.items():
            values = given[name]
            values = _text_array(values) if column.kind == TEXT else np.asarray(values, column.kind)
            stored[name] = values.reshape(-1, *column.shape)
        if problem := columns_problem(_decoded(self._layout, stored)):
            raise InputError(f"{self._schema} store: {problem}")
        for name, values in stored.items():
            self._file.create_dataset(name, data=values, dtype=values.dtype)
        self.set_attribute("digest", content_digest(self._schema, stored))

    def set_attribute(self, name: str, value: str) -> None:
        data = value.encode()
        kind = h5py.string_dtype("utf-8", max(len(data), 1))
        self._file.attrs.create(name, np.array(data, dtype=kind))


def _text_array(texts: Sequence[str] | np.ndarray) -> np.ndarray:
    """Encode texts as UTF-8 of fixed length, (n,)."""
    encoded = [str(text).encode("utf-8") for text in texts]
    if any(b"\0" in text for text in encoded):
        raise InputError("a text holds a NUL character")
    longest = max(map(len, encoded), default=0)
    return np.array(encoded, dtype=h5py.string_dtype("utf-8", max(longest, 1)))


def _decoded(layout: Layout, stored: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the columns with text as str."""
    return {
        name: np.char.decode(values, "utf-8") if layout.columns[name].kind == TEXT else values
        for name, values in stored.items()
    }


@contextmanager
def create_store(
    path: str | Path, schema: str, config: object = None, packages: Sequence[str] = ()
) -> Iterator[Writer]:
    """Create a store under a temporary name and move it to `path` when it is complete.

    Raises:
        OSError: if the disk is full. The message names `path`.
    """
    attributes = {
        "schema": schema,
        "config": config_hash(config),
        "software": software_versions(["h5py", "numpy", *packages]),
    }
    with atomic_path(path) as temporary, Sink(temporary) as sink:
        with h5py.File(sink, "w", libver="latest") as file:
            file.attrs["schema_version"] = SCHEMA_VERSION
            writer = Writer(file, sink, schema)
            for name, value in attributes.items():
                writer.set_attribute(name, value)
            yield writer
            attributes["digest"] = _text(file.attrs["digest"])
            writer.set_attribute("seal", seal(attributes))
        sink.check()


# ------------------------------------------------------------------------------------ reading


@dataclass(frozen=True)
class Store:
    """An open store.

    Attributes:
        columns: the small datasets, text as str.
        attributes: all attributes, as str.
    """

    path: Path
    file: h5py.File
    columns: dict[str, np.ndarray]
    attributes: dict[str, str]

    def __len__(self) -> int:
        return len(self.columns["image_id"])

    def read(self, name: str, start: int, stop: int) -> np.ndarray:
        """Return entries `start` to `stop` of a data column.

        Raises:
            StoreError: if they can't be read.
        """
        with reading(self.path):
            return self.file[name][start:stop]

    def offset(self, name: str) -> int:
        """Return the position of a contiguous column in the file, in bytes."""
        return self.file[name].id.get_offset() or 0

    def check_row(self, row: int, parts: Sequence[np.ndarray], problem: str) -> None:
        """Raise StoreError if a row's data differ from what was written or are invalid."""
        check_row(self.path, self.columns, row, parts, problem)


def check_row(
    path: str | Path, columns: Mapping, row: int, parts: Sequence[np.ndarray], problem: str = ""
) -> None:
    """Check the data of a row against its digest.

    Args:
        path: the store, for the message.
        columns: its columns.
        row: number of the row.
        parts: the data of the row, in the order of its layout.
        problem: what else is wrong with the row; empty if nothing is.

    Raises:
        StoreError: if the digest differs, or there is a `problem`.
    """
    if row_digest(*parts) != columns[ROW_DIGEST][row]:
        problem = "its data are not those that were written"
    if problem:
        raise damaged(path, f"image {columns['image_id'][row]}: {problem}")


@contextmanager
def open_store(path: str | Path, schema: str) -> Iterator[Store]:
    """Open a store for reading, without a lock: stores are complete when they appear.

    Structure, columns and attributes are checked here, rows when they are read.

    Raises:
        StoreError: if the file is missing, not readable, open for writing elsewhere, not of the
            layout `schema`, or different from what was written.
    """
    path, layout = Path(path), LAYOUTS[schema]
    check_readable(path)
    with reading(path):
        file = _open(path)
    with file:
        with reading(path):
            attributes = _attributes(path, file, schema)
            check_structure(path, file, layout, os.stat(path).st_size)
            stored = {name: file[name][()] for name in layout.columns}
            check_lengths(path, file, layout, stored)
        if content_digest(schema, stored) != attributes["digest"]:
            raise damaged(path, "its columns do not have the stored digest")
        with reading(path):
            columns = _decoded(layout, stored)
        if problem := columns_problem(columns):
            raise damaged(path, problem)
        yield Store(path, file, columns, attributes)


def _open(path: Path) -> h5py.File:
    try:
        return h5py.File(path, "r", locking=False)
    except OSError as error:
        if "locking flag" not in str(error):
            raise
        return h5py.File(path, "r")  # this process already has it open


def _attributes(path: Path, file: h5py.File, schema: str | None = None) -> dict[str, str]:
    """Return the checked attributes of a store, of any layout if `schema` is None."""
    if "schema_version" in file.attrs:
        kind = file.attrs.get_id("schema_version")
        version = file.attrs["schema_version"] if kind.dtype.kind == "i" else None
        if kind.shape == () and version is not None and version != SCHEMA_VERSION:
            raise StoreError(
                f"{path} has the layout {version} of another version of this project, not "
                f"{SCHEMA_VERSION}; delete the run's folders images, segments, scores and arrays "
                "and run snakemake again"
            )
    if different := sorted(set(file.attrs) ^ {*ATTRIBUTES, "schema_version"}):
        raise damaged(path, f"attributes missing or unknown: {', '.join(different)}")
    attributes = {}
    for name in ATTRIBUTES:
        text = h5py.check_string_dtype(file.attrs.get_id(name).dtype)
        if file.attrs.get_id(name).shape != () or text is None or text.length is None:
            raise damaged(path, f"the attribute {name} is not a text")
        attributes[name] = _text(file.attrs[name])
    if schema and attributes["schema"] != schema:
        raise StoreError(
            f"{path} holds {attributes['schema']}, expected {schema}; delete it and run snakemake "
            "again"
        )
    if seal(attributes) != attributes["seal"]:
        raise damaged(path, "its attributes are not those that were written")
    return attributes


def _text(value: bytes) -> str:
    return bytes(value).decode("utf-8")


def read_digest(path: str | Path, schema: str) -> str:
    """Return the digest of a store.

    It depends only on the content, not on the settings or the time of writing.
    """
    with open_store(path, schema) as store:
        return store.attributes["digest"]


def stored_digest(path: str | Path) -> str:
    """Return the digest in the attributes of a store of any layout, without reading its content.

    Raises:
        StoreError: if the file is missing, not readable, or its attributes are not those that were
            written.
    """
    path = Path(path)
    check_readable(path)
    with reading(path):
        file = _open(path)
    with file, reading(path):
        return _attributes(path, file)["digest"]


def read_config(path: str | Path, schema: str) -> str:
    """Return the `config_hash` of the settings that a store was made with."""
    with open_store(path, schema) as store:
        return store.attributes["config"]
