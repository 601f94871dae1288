"""Find files that are used twice: by two sources, or in one source through a link."""

from __future__ import annotations

import itertools
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from geoloc.corpus.sources.base import Listed, Source, SourceError, section
from geoloc.corpus.sources.contents import Contents, is_system

REMEDY = (
    "an image in both would be counted twice, in training and in testing. Give each its own files "
    "or set one of the two to null"
)


def check_folders(sources: Sequence[Source]) -> None:
    """Check that no source's images are in the folder of another one or below it, links included.

    Folders that do not exist yet are compared by their names.

    Raises:
        SourceError: if two sources share files.
    """
    for one, other in itertools.permutations(sources, 2):
        if _lies_in(other, one):
            raise SourceError(
                f"{section(one)} and {section(other)} share files: the images of {section(other)} "
                f"in {other.folder} are in {one.folder}, the folder of {section(one)}; {REMEDY}"
            )


def _lies_in(inner: Source, outer: Source) -> bool:
    """Whether the images of a source are among those of another one."""
    folder, target = Path(os.path.realpath(inner.folder)), _identity(os.path.realpath(outer.folder))
    depth = next(
        (n for n, p in enumerate([folder, *folder.parents]) if _identity(p) == target), None
    )
    if depth is None:
        return False
    below = folder.parts[len(folder.parts) - depth :]
    # Images of a coordinates_table in folders below are only used where the table names them.
    return depth == 0 or not (outer.kind == "coordinates_table" or any(map(is_system, below)))


def _identity(path: str | Path) -> tuple:
    """Return what all paths of a folder have in common, bind mounts included."""
    try:
        status = os.stat(path)
    except OSError:
        return (str(path),)
    return status.st_dev, status.st_ino


def check_files(used: Sequence[tuple[Source, list[str]]]) -> None:
    """Check that no two sources use the same file, also through links of any kind.

    Args:
        used: each source with its files, relative to its folder.

    Raises:
        SourceError: if two sources share a file.
    """
    if len(used) < 2:
        return
    files = [(source, paths, _identities(source, paths)) for source, paths in used]
    for (one, names, first), (other, others, second) in itertools.combinations(files, 2):
        _, here, there = np.intersect1d(first, second, return_indices=True)
        if len(here):
            raise SourceError(
                f"{section(one)} and {section(other)} share {len(here)} files, such as "
                f"{one.folder / names[here[0]]} and {other.folder / others[there[0]]}; {REMEDY}"
            )


def _identities(source: Source, paths: list[str]) -> np.ndarray:
    """Return device and inode of each file."""
    numbers = np.zeros((len(paths), 2), np.uint64)
    for row, path in enumerate(paths):
        status = os.stat(source.folder / path)
        numbers[row] = status.st_dev, status.st_ino
    return numbers.view([("device", np.uint64), ("number", np.uint64)])[:, 0]


def without_repeated(source: Source, contents: Contents, listed: Sequence[Listed]) -> list[Listed]:
    """Reject links to images that the source lists already.

    If link and file have different countries, both are rejected.

    Raises:
        SourceError: if an archive is listed twice.
    """
    groups = _same_files(source, contents)
    if archives := [paths for paths in groups if paths[0] in contents.archives]:
        raise SourceError(
            f"source {source.name}: {' and '.join(archives[0])} in {source.folder} are one file; "
            "delete the links"
        )
    items = {item.path: item for item in listed if not item.absent}
    for paths in groups:
        present = [path for path in paths if path in items]
        agree = len({items[path].country for path in present}) == 1
        for path in present[1:] if agree else present:
            others = ", ".join(other for other in present if other != path)
            items[path] = Listed(path, rejected=f"the same file as others: {others}")
    return [item if item.absent else items[item.path] for item in listed]


def _same_files(source: Source, contents: Contents) -> list[list[str]]:
    """Return the paths that lead to the same file, the file itself first."""
    if not contents.linked:
        return []
    same: dict[str, list[str]] = defaultdict(list)
    folder = os.path.realpath(source.folder)
    for path in sorted(contents.linked):
        same[os.path.realpath(source.folder / path)].append(path)
    for path in itertools.chain(contents.images, contents.archives):
        if path not in contents.linked and (found := same.get(f"{folder}/{path}")):
            found.insert(0, path)
    return [paths for paths in same.values() if len(paths) > 1]
