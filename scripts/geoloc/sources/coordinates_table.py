"""A folder of images and a table with a row of coordinates for each, as Streetview and Im2GPS3k;
without a file column, row i belongs to the image `i.*`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from geoloc.images import image_files
from geoloc.sources.base import Listed, Source, parse_coordinates
from geoloc.sources.tables import read_columns

KEYS = ("file_column", "latitude_column", "longitude_column", "author_column")


def list_files(source: Source) -> Iterator[list[str]]:
    """The names of the images."""
    yield [".", *image_files(source.folder)]


def _file_names(source: Source, rows: Sequence[dict], present: list[str]) -> list[str]:
    """File name of each row: that of the file column, or the row's number."""
    if source.file_column:
        return [row["file_column"] for row in rows]
    by_number = {Path(name).stem: name for name in present}
    return [by_number.get(str(number), f"{number}.png") for number in range(len(rows))]


def list_images(source: Source) -> list[Listed]:
    """Every image and every row, with the coordinates or the reason why there are none. Raises
    SourceError where the table or a column is missing."""
    rows = list(read_columns(source, KEYS))
    present = image_files(source.folder)
    files = set(present)
    listed: dict[str, Listed] = {}
    for name, row in zip(_file_names(source, rows, present), rows, strict=True):
        try:
            if name not in files:
                raise ValueError("named in the table, but there is no such image file")
            if name in listed:
                raise ValueError("named twice in the table")
            place = parse_coordinates(row["latitude_column"], row["longitude_column"])
            listed[name] = Listed(name, *place, author=row["author_column"].strip())
        except ValueError as error:
            listed[name] = Listed(name, rejected=str(error))
    for name in present:
        listed.setdefault(name, Listed(name, rejected="not named in the table"))
    return list(listed.values())
