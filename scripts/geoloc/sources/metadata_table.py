"""A table of ids and coordinates with images in folders or in zip and tar archives, as
OpenStreetView-5M and MP-16 publish. The archives are read as they are."""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator

from geoloc.archives import ArchiveError, is_archive, is_packed, list_members
from geoloc.images import is_image
from geoloc.progress import Progress
from geoloc.sources.base import Listed, Source, SourceError, parse_coordinates, walk
from geoloc.sources.tables import read_columns

log = logging.getLogger(__name__)
MISSING = "named in the table, but there is no such image"
KEYS = ("id_column", "latitude_column", "longitude_column", "author_column")


def list_files(source: Source) -> Iterator[list[str]]:
    """Each folder with the names of its images and the names and sizes of its archives."""
    for prefix, names in walk(source.folder):
        sizes = [
            f"{name} {(source.folder / (prefix + name)).stat().st_size}"
            for name in filter(is_archive, names)
        ]
        yield [prefix, *filter(is_image, names), *sizes]


def _present(source: Source) -> Iterator[Listed]:
    """Every image in folders and archives, without its place. No image is read."""
    archives = []
    for prefix, names in walk(source.folder):
        packed = [name for name in names if is_packed(name)]
        if packed:
            raise SourceError(
                f"source {source.name}: {source.folder / (prefix + packed[0])} is compressed as a "
                "whole, so no image in it can be read by itself; make a plain .tar or .zip of it"
            )
        yield from (Listed(prefix + name) for name in names if is_image(name))
        archives += [prefix + name for name in names if is_archive(name)]
    for archive in Progress(archives, description=f"list {source.name}", unit="archives"):
        try:
            for member in list_members(source.folder / archive):
                yield Listed(f"{archive}/{member.name}", rejected=member.problem)
        except ArchiveError as error:
            raise SourceError(f"source {source.name}: {error}") from error


def _key(path: str) -> str:
    """What an id is compared with: the path without suffix."""
    return os.path.splitext(path)[0] if is_image(path) else path


def _end(path: str, depth: int) -> str:
    """The last `depth` parts of a path, or all that it has, without suffix."""
    return "/".join(_key(path).rsplit("/", depth)[-depth:])


def _by_end(paths: Iterable[str], depth: int) -> dict[str, list[str]]:
    """Paths by their last `depth` parts, in their order."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        found[_end(path, depth)].append(path)
    return dict(found)


class _Images:
    """Finds the images of an id: those whose path without suffix is the id or ends with it."""

    def __init__(self, paths: Iterator[str]) -> None:
        self.by_name: dict[str, str | list[str]] = {}
        self.by_end: dict[tuple[str, int], dict[str, list[str]]] = {}
        for path in paths:
            name = _key(path).rpartition("/")[2]
            known = self.by_name.get(name)
            if known is None:
                self.by_name[name] = path  # a list for each of millions would be many times larger
            elif isinstance(known, str):
                self.by_name[name] = [known, path]
            else:
                known.append(path)

    def find(self, identity: str) -> list[str]:
        key = _key(identity)
        name, depth = key.rpartition("/")[2], key.count("/") + 1
        found = self.by_name.get(name, [])
        if isinstance(found, str):
            return [found] if _end(found, depth) == key else []
        if (name, depth) not in self.by_end:
            self.by_end[name, depth] = _by_end(found, depth)
        return self.by_end[name, depth].get(key, [])


def list_images(source: Source) -> list[Listed]:
    """Every image and every row, with the coordinates or the reason why there are none. Raises
    SourceError where the table, a column or an archive cannot be read."""
    listed = {item.path: item for item in _present(source)}
    images = _Images(path for path, item in listed.items() if not item.rejected)
    taken: set[str] = set()
    missing = 0
    for number, row in enumerate(read_columns(source, KEYS), start=1):
        identity = row["id_column"].strip()
        found = images.find(identity) if identity else []
        if len(found) == 1:
            listed[found[0]] = _placed(found[0], row, twice=found[0] in taken)
        for path in found if len(found) > 1 else []:
            listed[path] = Listed(path, rejected=f"fits the same id as others: {identity}")
        taken.update(found)
        if not found:
            missing += 1
        if not found and not source.subset:
            path = identity or f"row {number}"
            listed[path] = Listed(path, rejected=MISSING if identity else "no id in the table")
    log.info("%s: %d rows of the table have no image", source.name, missing)
    for path, item in listed.items():
        if item.rejected == "" and path not in taken:
            listed[path] = Listed(path, rejected="not named in the table")
    return list(listed.values())


def _placed(path: str, row: dict[str, str], twice: bool) -> Listed:
    if twice:
        return Listed(path, rejected="named twice in the table")
    try:
        place = parse_coordinates(row["latitude_column"], row["longitude_column"])
    except ValueError as error:
        return Listed(path, rejected=str(error))
    return Listed(path, *place, author=row["author_column"].strip())
