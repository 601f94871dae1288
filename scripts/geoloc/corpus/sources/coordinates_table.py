"""A folder of images and a table with a row of coordinates for each, as Streetview and Im2GPS3k;
without a file column, row i belongs to the image `i.*`."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from geoloc.corpus.sources.base import Listed, Source, SourceError, parse_coordinates, section
from geoloc.corpus.sources.contents import NESTED, Contents
from geoloc.corpus.sources.tables import EMPTY, Part, Row, Several, read_rows
from geoloc.errors import InputError

KEYS = ("file_column", "latitude_column", "longitude_column", "author_column")
UNNAMED = "not named in the table"
MISSING = "named in the table, but there is no such image file"


def list_images(source: Source, contents: Contents) -> list[Listed]:
    """Every image and every row, with the coordinates or the reason why there are none. Of the
    folders below, those count of which the table names an image. Raises SourceError where the table
    or a column is missing, or the rows do not fit the numbers of the images."""
    listed = (_named if source.file_column else _numbered)(source, contents)
    known = {item.path for item in listed if not item.absent}
    folders = {"", *(path.rpartition("/")[0] for path in known)}
    for path in contents.images:
        if path in known:
            continue
        if path.rpartition("/")[0] in folders:
            listed.append(Listed(path, rejected=UNNAMED))
        else:
            contents.tally.add(NESTED, path)
    return listed


def placed(path: str, rows: Sequence[Row]) -> Listed:
    """An image with the place of its row. Several rows for one image are all refused: nobody knows
    which is right."""
    if len(rows) > 1:
        where = ", ".join(row.where for row in rows)
        return Listed(path, rejected=f"named twice in the table ({where})")
    (row,) = rows
    try:
        if row.problem:
            raise InputError(row.problem)
        place = parse_coordinates(row.cells["latitude_column"], row.cells["longitude_column"])
    except ValueError as error:
        return Listed(path, rejected=f"{error} ({row.where})")
    return Listed(path, *place, author=row.cells["author_column"].strip())


def unplaced(source: Source, row: Row, reason: str, name: str = "") -> Listed:
    """A row of which no image is known."""
    path = name.strip() or f"{source.table}, {row.where}"
    return Listed(path, rejected=f"{reason} ({row.where})", absent=True)


def _named(source: Source, contents: Contents) -> list[Listed]:
    names, rows = _Names(contents.images), defaultdict(list)
    listed = []
    for row in read_rows(source, KEYS):
        name = row.cells["file_column"]
        try:
            if row.problem:
                raise InputError(row.problem)
            rows[names.find(name)].append(row)
        except ValueError as error:
            listed.append(unplaced(source, row, str(error), name))
    return listed + [placed(path, found) for path, found in rows.items()]


class _Names:
    """Finds the image that a table means by a name."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.exact = set(paths)
        self.spelled: Mapping[str, list[str]] = defaultdict(list)
        for path in paths:
            self.spelled[_spelling(path)].append(path)

    def find(self, name: str) -> str:
        """The path that is the name, or is spelled otherwise: with `./`, `\\` or other forms of the
        same letters. Raises ValueError with the reason where there is none."""
        if name in self.exact:
            return name
        if not name.strip():
            raise InputError("no file name in the table")
        spelling = _spelling(name)
        if (
            spelling.startswith("/")
            or ".." in spelling.split("/")
            or re.match("[a-zA-Z]:/", spelling)
        ):
            raise InputError("named in the table with a path outside the folder")
        found = self.spelled.get(spelling, [])
        if len(found) > 1:
            raise InputError(f"fits several images: {', '.join(found)}")
        if not found:
            raise InputError(MISSING)
        return found[0]


def _spelling(name: str) -> str:
    """One form for all spellings of a relative path."""
    parts = unicodedata.normalize("NFC", name.strip()).replace("\\", "/").split("/")
    kept = [part for part in parts[1:] if part not in ("", ".")]
    return "/".join(([] if parts[0] == "." else parts[:1]) + kept)


def _numbered(source: Source, contents: Contents) -> list[Listed]:
    images: dict[int, list[str]] = defaultdict(list)
    for name in contents.images:
        stem = Path(name).stem
        if "/" not in name and re.fullmatch("[0-9]{1,15}", stem):
            images[int(stem)].append(name)
    rows = list(read_rows(source, KEYS))
    _check_lines(source, rows)
    first = _first_image(source, rows, images)
    listed = []
    for number, row in enumerate(rows, start=first):
        found = images.get(number, [])
        if not found:
            listed.append(unplaced(source, row, row.problem or MISSING, f"{number}.png"))
        elif len(found) == 1:
            listed.append(placed(found[0], [row]))
        else:
            reason = f"has the number of others: {', '.join(found)} ({row.where})"
            listed += [Listed(name, rejected=reason) for name in found]
    return listed


def _check_lines(source: Source, rows: Sequence[Row]) -> None:
    """Raise SourceError where rows may have been moved between two damaged lines.

    A line that holds two rows moves all that follow, and one that was split in two moves them back,
    so that the numbering fits at both ends.
    """
    several = [row for row in rows if isinstance(row.problem, Several)]
    parts = [row for row in rows if isinstance(row.problem, Part)]
    if several and parts:
        raise SourceError(
            f"source {source.name}: {source.path / source.table}: {several[0].where} may hold "
            f"several rows ({several[0].problem}) and {parts[0].where} a part of one "
            f"({parts[0].problem}), so the rows between them may belong to other images; mend "
            "these lines"
        )


def _first_image(source: Source, rows: Sequence[Row], images: Mapping[int, list[str]]) -> int:
    """Number of the image that the first row belongs to.

    A number that is missing in between leaves all others in their place. At the ends it may mean
    that all rows are shifted, which nothing else would show.

    Raises:
        SourceError: the first or the last row has no image, or an image is beyond them, and
            `first_image` is not set or fits worse than another number.
    """
    first = source.first_image or 0
    if not rows or not images:
        return first
    lowest, highest = min(images), max(images)
    fits = highest - lowest + 1 == len(rows)
    if fits and lowest == first:
        return first
    key, last = f"{section(source)}.first_image", first + len(rows) - 1
    table = source.path / source.table
    told = (
        f"source {source.name}: {table} has {len(rows)} rows, for the images {first} to {last}, "
        f"but the images in {source.folder} are numbered {lowest} to {highest}"
    )
    if fits:
        raise SourceError(f"{told}: their numbering starts at {lowest}; set {key}: {lowest}")
    if source.first_image is not None:
        return first
    empty = [row.where for row in rows if row.problem == EMPTY]
    hint = f"; {', '.join(empty[:3])} of the table is empty" if empty else ""
    raise SourceError(
        f"{told}: the rows may belong to other images{hint}. Mend the table or the folder; if its "
        f"first row belongs to the image {first}, set {key}: {first}, else to the number it has"
    )
