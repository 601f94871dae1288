"""A table of ids and coordinates, and images in folders or in zip and tar archives.

OpenStreetView-5M and MP-16 are published like this. Archives are read without unpacking them.
"""

from __future__ import annotations

import logging
import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator

from geoloc.corpus.archives import ArchiveError, list_members
from geoloc.corpus.sources.base import Listed, Source, SourceError
from geoloc.corpus.sources.contents import Contents
from geoloc.corpus.sources.coordinates_table import UNNAMED, named_twice, placed, unplaced
from geoloc.corpus.sources.tables import read_rows
from geoloc.images import is_image
from geoloc.progress import Progress

log = logging.getLogger(__name__)
MISSING = "named in the table, but the image is missing"
KEYS = ("id_column", "latitude_column", "longitude_column", "author_column")


def _present(source: Source, contents: Contents) -> Iterator[Listed]:
    """Yield every image in folders and archives, without coordinates. Reads no image."""
    if contents.packed:
        raise SourceError(
            f"source {source.name}: {source.folder / contents.packed[0]} is compressed as a "
            "whole, so its images can't be read one by one; repack it as a plain .tar or .zip"
        )
    yield from map(Listed, contents.images)
    archives = contents.archives
    for archive in Progress(archives, description=f"list {source.name}", unit="archives"):
        try:
            for member in list_members(source.folder / archive):
                yield Listed(f"{archive}/{member.name}", rejected=member.problem)
        except ArchiveError as error:
            raise SourceError(f"source {source.name}: {error}") from error


def _key(path: str) -> str:
    """Return what ids are compared with: the path without suffix, in one Unicode form."""
    path = os.path.splitext(path)[0] if is_image(path) else path
    return path if path.isascii() else unicodedata.normalize("NFC", path)


def _id(text: str) -> str:
    """Turn an id of the table into a path: `\\` separates folders, and `./` is dropped."""
    path = re.sub(r"/(\.?/)+", "/", text.strip().replace("\\", "/"))
    return path.removeprefix("./")


def _end(path: str, depth: int) -> str:
    """Return the last `depth` parts of a path, or all if it has fewer, without suffix."""
    return "/".join(_key(path).rsplit("/", depth)[-depth:])


def _by_end(paths: Iterable[str], depth: int) -> dict[str, list[str]]:
    """Group paths by their last `depth` parts, keeping their order."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        found[_end(path, depth)].append(path)
    return dict(found)


class _Images:
    """Finds the images whose path without suffix equals an id or ends with it."""

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
        """Return the paths of the images that match an id."""
        key = _key(identity)
        name, depth = key.rpartition("/")[2], key.count("/") + 1
        found = self.by_name.get(name, [])
        if isinstance(found, str):
            return [found] if _end(found, depth) == key else []
        if (name, depth) not in self.by_end:
            self.by_end[name, depth] = _by_end(found, depth)
        return self.by_end[name, depth].get(key, [])


def list_images(source: Source, contents: Contents) -> list[Listed]:
    """List every image and every row, with coordinates or the reason why they are missing.

    Args:
        source: the source.
        contents: its folder.

    Raises:
        SourceError: if the table, a column or an archive can't be read.
    """
    listed = {item.path: item for item in _present(source, contents)}
    images = _Images(path for path, item in listed.items() if not item.rejected)
    # Positions of the rows of each image. The rows themselves would be most of the memory.
    where: dict[str, str] = {}
    several: dict[str, Listed] = {}
    absent: list[Listed] = []
    missing = 0
    for row in read_rows(source, KEYS):
        identity = _id(row.cells["id_column"])
        if row.problem or not identity:
            absent.append(unplaced(source, row, row.problem or "no id in the table"))
            continue
        found = images.find(identity)
        missing += not found
        if not found and not source.subset:
            absent.append(unplaced(source, row, MISSING, identity))
        for path in found if len(found) > 1 else []:
            reason = f"several images match its id: {identity} ({row.where})"
            several[path] = Listed(path, rejected=reason)
        if len(found) == 1:
            (path,) = found
            known = where.get(path)
            where[path] = row.where if known is None else f"{known}, {row.where}"
            listed[path] = placed(path, [row]) if known is None else named_twice(path, where[path])
    log.info("%s: %d rows of the table have no image", source.name, missing)
    listed |= several
    for path, item in listed.items():
        if not item.rejected and path not in where:
            listed[path] = Listed(path, rejected=UNNAMED)
    return list(listed.values()) + absent
