"""Lists of shards: what a job that reads all shards of a stage has as its input.

A list is a CSV table with a row for each file: its path relative to the list, its size, and the
digest of its content. It changes if any of the files does.
"""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from geoloc.files import atomic_path
from geoloc.shard_lists import COLUMNS, COMPLETE, complete_of
from geoloc.stores.base import stored_digest
from geoloc.stores.errors import StoreError
from geoloc.tables import read_rows


def list_rows(folder: str | Path, paths: Iterable[str | Path]) -> list[list[str]]:
    """Return the rows of a list of files, in order.

    Args:
        folder: folder of the list.
        paths: HDF5 stores, and tables of boxes.

    Raises:
        StoreError: if a file is missing or its digest can't be read.
    """
    return [[os.path.relpath(path, folder), *_state(path)] for path in paths]


def write_list(path: str | Path, paths: Iterable[str | Path]) -> None:
    """List files at `path`, and mark the list as complete: none of them is missing.

    Raises:
        StoreError: as for `list_rows`.
    """
    rows = list_rows(Path(path).parent, paths)
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows])
    with atomic_path(complete_of(path)) as temporary:
        temporary.write_text(mark_of(path), encoding="ascii")


def mark_of(path: str | Path) -> str:
    """Return what marks a list as complete: the SHA-256 of the list."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def read_lists(paths: Iterable[str | Path], suffix: str = ".h5") -> list[str]:
    """Return the files of lists in order, each compared with its list, and each list with its mark.

    Args:
        paths: lists; the files that mark them as complete may be among them.
        suffix: only files that end in it are compared and returned.

    Raises:
        FileError: if a list is damaged.
        StoreError: if a list is not the marked one, or a listed file is missing, damaged, or not
            the one that was listed.
    """
    lists = [path for path in map(Path, paths) if path.suffix != COMPLETE]
    return [found for path in lists for found in _read_list(path, suffix)]


def _read_list(path: Path, suffix: str) -> list[str]:
    rows, mark, found = read_rows(path, COLUMNS), complete_of(path), []
    if not mark.exists() or mark.read_text(encoding="ascii", errors="replace") != mark_of(path):
        raise StoreError(
            f"{path} is not the list that {mark} marks; delete both and run snakemake again"
        )
    for row in rows:
        file = os.path.normpath(path.parent / row["path"])
        if not file.endswith(suffix):
            continue
        if _state(file) != [row["bytes"], row["digest"]]:
            raise StoreError(
                f"{file} is not the file that {path} lists; delete {path} and run snakemake again"
            )
        found.append(file)
    return found


def _state(path: str | Path) -> list[str]:
    """Return the size of a file, and the digest that a store has of its content.

    The digest of a table is that of its bytes.
    """
    if Path(path).suffix == ".csv" and os.path.exists(path):
        digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    else:
        digest = stored_digest(path)
    return [str(os.stat(path).st_size), digest]
