"""Lists of shards as Snakemake sees them while it plans; `geoloc.stores.lists` makes them."""

from __future__ import annotations

import os
from pathlib import Path

from geoloc.errors import FileError
from geoloc.tables import read_rows

COLUMNS = ("path", "bytes", "digest")
COMPLETE = ".complete"
"""Suffix of the file that marks a list as complete."""


def complete_of(path: str | Path) -> Path:
    """Return the file that marks a list as complete: none of its files is missing."""
    return Path(path).with_suffix(COMPLETE)


def forget_incomplete(folder: str | Path) -> None:
    """Remove the mark of each list below `folder` that names a file which does not exist any more.

    Snakemake then makes the file again as soon as a job needs the list. The list itself stays:
    results that are older than it were made from other files.

    Raises:
        FileError: if a list is damaged, or its mark can't be removed.
    """
    for mark in Path(folder).rglob(f"*{COMPLETE}"):
        path = mark.with_suffix(".csv")
        listed = read_rows(path, COLUMNS) if path.exists() else []
        if not all(os.path.exists(path.parent / row["path"]) for row in listed):
            try:
                mark.unlink(missing_ok=True)
            except OSError as error:
                raise FileError(
                    f"{mark} can't be removed ({error.strerror}), but a file of its list is "
                    "missing; ask the owner of the results to run snakemake"
                ) from error
