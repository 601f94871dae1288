"""A folder of images and a table with a row of coordinates for each, like Streetview and Im2GPS3k.

Without a file column, row i belongs to the image `i.*`.
"""

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
MISSING = "named in the table, but the image file is missing"


def list_images(source: Source, contents: Contents) -> list[Listed]:
    """List every image and every row, with coordinates or the reason why they are missing.

    Images in subfolders count only if the table names an image in the same folder.

    Args:
        source: the source.
        contents: its folder.

    Raises:
        SourceError: if the table or a column is missing, or the rows do not match the image
            numbers.
    """
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
    """Return an image with the coordinates of its row.

    An image with several rows is rejected, because nothing says which row is right.
    """
    if len(rows) > 1:
        return named_twice(path, ", ".join(row.where for row in rows))
    (row,) = rows
    try:
        if row.problem:
            raise InputError(row.problem)
        place = parse_coordinates(row.cells["latitude_column"], row.cells["longitude_column"])
    except ValueError as error:
        return Listed(path, rejected=f"{error} ({row.where})")
    return Listed(path, *place, author=row.cells["author_column"].strip())


def named_twice(path: str, where: str) -> Listed:
    """Return an image with several rows, which are `where`, as a rejected entry."""
    return Listed(path, rejected=f"named twice in the table ({where})")


def unplaced(source: Source, row: Row, reason: str, name: str = "") -> Listed:
    """Return a row without an image as a rejected entry."""
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
    """Finds the image that a name in the table means."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.exact = set(paths)
        self.spelled: Mapping[str, list[str]] = defaultdict(list)
        for path in paths:
            self.spelled[_spelling(path)].append(path)

    def find(self, name: str) -> str:
        """Return the path that a name means, also with `./`, `\\` or another Unicode form.

        Raises:
            InputError: with the reason, if no image or several images match.
        """
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
            raise InputError(f"matches several images: {', '.join(found)}")
        if not found:
            raise InputError(MISSING)
        return found[0]


def _spelling(name: str) -> str:
    """Return one form for all spellings of a relative path."""
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
            reason = f"several images have this number: {', '.join(found)} ({row.where})"
            listed += [Listed(name, rejected=reason) for name in found]
    return listed


def _check_lines(source: Source, rows: Sequence[Row]) -> None:
    """Raise SourceError if rows between two damaged lines may have been shifted.

    A line with two rows shifts all rows after it, and a row on two lines shifts them back, so the
    numbers still match at both ends.
    """
    several = [row for row in rows if isinstance(row.problem, Several)]
    parts = [row for row in rows if isinstance(row.problem, Part)]
    if several and parts:
        raise SourceError(
            f"source {source.name}: {source.path / source.table}: {several[0].where} may contain "
            f"several rows ({several[0].problem}) and {parts[0].where} a part of one "
            f"({parts[0].problem}), so the rows between them may belong to other images; correct "
            "these lines"
        )


def _first_image(source: Source, rows: Sequence[Row], images: Mapping[int, list[str]]) -> int:
    """Return the number of the image that the first row belongs to.

    A missing number in between shifts no other row. At the ends, it may mean that all rows are
    shifted, which nothing else would show.

    Raises:
        SourceError: if the first or last row has no image, or an image is beyond them, and
            `first_image` is not set or another number matches better.
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
        f"source {source.name}: {table} has {len(rows)} rows, for images {first} to {last}, but "
        f"the images in {source.folder} are numbered {lowest} to {highest}"
    )
    if fits:
        raise SourceError(f"{told}. Their numbers start at {lowest}; set {key}: {lowest}")
    if source.first_image is not None:
        return first
    empty = [row.where for row in rows if row.problem == EMPTY]
    hint = f"; {', '.join(empty[:3])} of the table is empty" if empty else ""
    raise SourceError(
        f"{told}. The rows may belong to other images{hint}. Correct the table or the folder; "
        f"if the first row belongs to image {first}, set {key}: {first}, otherwise to its number"
    )
