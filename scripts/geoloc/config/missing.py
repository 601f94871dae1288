"""Files and folders that the configuration names: those that neither exist nor will be made, and
those of which each is taken for the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from geoloc.config.paths import FOLDER_KEYS, PATH_KEYS

Entries = Iterable[tuple[str, Mapping]]
"""Places in the configuration, such as `models.clip`, and what is there."""


def missing_paths(entries: Entries, made: Callable[[str], bool]) -> Iterator[str]:
    """Yield a message for each path of `entries` that does not exist.

    Args:
        entries: parts of the configuration.
        made: whether the workflow makes or downloads a path.
    """
    for place, path in _paths(entries):
        if not Path(path).exists() and not made(path):
            yield f"{place}: {path} does not exist; put it there or correct the key"


def file_mistakes(entries: Entries) -> Iterator[str]:
    """Yield a message for each path of `entries` that is a folder and not a file, or vice versa."""
    for place, path in _paths(entries):
        folder = place.rpartition(".")[2] in FOLDER_KEYS
        if folder and Path(path).is_file():
            yield f"{place}: {path} is a file; write the path of a folder"
        elif not folder and Path(path).is_dir():
            yield f"{place}: {path} is a folder; write the path of a file"


def _paths(entries: Entries) -> Iterator[tuple[str, str]]:
    """Yield the place of each key that is a path, and the path."""
    for place, entry in entries:
        parts = {place: entry, f"{place}.classifier": entry.get("classifier") or {}}
        for name, part in parts.items():
            yield from ((f"{name}.{key}", part[key]) for key in PATH_KEYS if part.get(key))
