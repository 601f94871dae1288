"""What all kinds of sources share: the configuration, a listed image, its coordinates."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from geoloc.errors import GeolocError, InputError
from geoloc.images import Preparation

NO_GPS = "no GPS coordinates in EXIF"  # why an image of an exif_folder is rejected


class SourceError(GeolocError, ValueError):
    """A source is missing or has another layout than configured. The message says what to do."""


@dataclass(frozen=True)
class Source:
    """A source of images, an entry of `sources` or `test_sets` in the configuration.

    Attributes:
        name: its key.
        collection: `street`, or the name of the test set.
        kind: a key of `geoloc.corpus.sources.KINDS`.
        path: folder of the data.
        images: folder of the images, relative to `path`.
        table: table of coordinates, relative to `path`; None for kinds without one.
        file_column: column of the file names; None if row i belongs to image i.
        latitude_column: column of the latitudes in degrees.
        longitude_column: column of the longitudes in degrees.
        author_column: column of the photographers; None if the table has none.
        preparation: how its images are cropped and resized.
        id_column: column of the ids, for `metadata_table`.
        subset: whether a `metadata_table` may name images that do not exist.
        first_image: number of the image of the first row, without a `file_column`; None if not
            configured.
        file: Python file of a source of the kind `python`; None for other kinds.
        options: keyword arguments of its `load`.
    """

    name: str
    collection: str
    kind: str
    path: Path
    images: str = "."
    table: str | None = None
    file_column: str | None = None
    latitude_column: str = "latitude"
    longitude_column: str = "longitude"
    author_column: str | None = None
    preparation: Preparation = field(default_factory=Preparation)
    id_column: str = "id"
    subset: bool = False
    first_image: int | None = None
    file: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def folder(self) -> Path:
        """The folder of the images."""
        return self.path / self.images

    @classmethod
    def from_config(cls, name: str, collection: str, entry: dict) -> Source:
        """Create a source from its entry in the configuration."""
        keys = {field.name for field in fields(cls)} - {"name", "collection", "path", "preparation"}
        given = {key: entry[key] for key in keys if entry.get(key) is not None}
        preparation = Preparation(entry.get("crop", "none"), entry.get("size"))
        path = Path(entry["path"])
        return cls(name, collection, path=path, preparation=preparation, **given)


def section(source: Source) -> str:
    """Return the key of a source in the configuration, such as `sources.geoguessr`."""
    return f"{'sources' if source.collection == 'street' else 'test_sets'}.{source.name}"


@dataclass(frozen=True, slots=True)
class Listed:
    """An image of a source, or a row of its table without an image.

    Attributes:
        path: relative to the source's folder, in the form of `geoloc.corpus.archives`. For a row
            without an image, the name in the row, or the position of the row.
        latitude: degrees, NaN if unknown.
        longitude: degrees, NaN if unknown.
        country: ISO code, "" if unknown.
        rejected: the reason why the image has no usable place, or "".
        author: the photographer, "" if unknown.
        absent: whether this is a row without an image.
    """

    path: str
    latitude: float = math.nan
    longitude: float = math.nan
    country: str = ""
    rejected: str = ""
    author: str = ""
    absent: bool = False


def parse_coordinates(latitude: str | None, longitude: str | None) -> tuple[float, float]:
    """Parse a latitude and a longitude in degrees from the text of a table.

    Raises:
        InputError: with the reason, if one is missing or not a number, or `check_coordinates`
            rejects them.
    """
    if not (latitude or "").strip() or not (longitude or "").strip():
        raise InputError("no coordinates")
    if any(re.fullmatch(r"\s*[+-]?\d+,\d+\s*", text) for text in (latitude, longitude)):
        raise InputError(
            f"coordinates with decimal commas: {latitude!r}, {longitude!r}; write 48.85"
        )
    try:
        if re.search(r"[^\x20-\x7e]|_", latitude + longitude):  # Python reads 4_8 as 48
            raise ValueError
        place = float(latitude), float(longitude)
    except ValueError as error:
        raise InputError(f"coordinates are not numbers: {latitude!r}, {longitude!r}") from error
    return check_coordinates(*place)


def check_coordinates(latitude: float, longitude: float) -> tuple[float, float]:
    """Return the same coordinates if they are valid.

    Raises:
        InputError: with the reason, if they are out of range or (0, 0), which many tables use for
            an unknown place.
    """
    if not (abs(latitude) <= 90 and abs(longitude) <= 180):
        raise InputError(f"coordinates out of range: {latitude}, {longitude}")
    if (latitude, longitude) == (0, 0):
        raise InputError("coordinates (0, 0) mean an unknown place")
    return latitude, longitude
