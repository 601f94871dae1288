"""What all kinds of sources share: the configured source, a listed image, its coordinates."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path

from geoloc.errors import GeolocError, InputError
from geoloc.images import Preparation


class SourceError(GeolocError, ValueError):
    """A source is missing or not laid out as configured; the message says what to do."""


@dataclass(frozen=True)
class Source:
    """One source of images as configured (config/config.yaml, `sources` and `test_sets`).

    path is the folder of the downloaded data; `images` and `table` are relative to it.
    `author_column` is None where the table does not tell who took a photograph, `first_image` where
    the numbering of images without a file column is not said.
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

    @property
    def folder(self) -> Path:
        """Where the images lie."""
        return self.path / self.images

    @classmethod
    def from_config(cls, name: str, collection: str, entry: dict) -> Source:
        """Make a source of its entry in the configuration."""
        keys = (
            "kind", "images", "table", "file_column", "latitude_column", "longitude_column",
            "author_column", "id_column", "subset", "first_image",
        )  # fmt: skip
        given = {key: entry[key] for key in keys if entry.get(key) is not None}
        preparation = Preparation(entry.get("crop", "none"), entry.get("size"))
        path = Path(entry["path"])
        return cls(name, collection, path=path, preparation=preparation, **given)


def section(source: Source) -> str:
    """The key of a source in the configuration."""
    return f"{'sources' if source.collection == 'street' else 'test_sets'}.{source.name}"


@dataclass(frozen=True, slots=True)
class Listed:
    """An image of a source, or the reason why it cannot be placed. `path` is relative to the
    source's folder, in the form of geoloc.corpus.archives; coordinates are NaN where
    unknown; `country` is an ISO code; `author` is empty where unknown. `absent` marks a row of a
    table for which there is no file: `path` is then what it names, or where it stands."""

    path: str
    latitude: float = math.nan
    longitude: float = math.nan
    country: str = ""
    rejected: str = ""
    author: str = ""
    absent: bool = False


def parse_coordinates(latitude: str | None, longitude: str | None) -> tuple[float, float]:
    """Latitude and longitude in degrees from the text of a table.

    Raises ValueError with the reason for what is missing, no number, or what `check_coordinates`
    refuses.
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
        raise InputError(f"coordinates are no numbers: {latitude!r}, {longitude!r}") from error
    return check_coordinates(*place)


def check_coordinates(latitude: float, longitude: float) -> tuple[float, float]:
    """The same coordinates. Raises ValueError with the reason for what is out of range and for
    (0, 0), which stands where a place is unknown."""
    if not (abs(latitude) <= 90 and abs(longitude) <= 180):
        raise InputError(f"coordinates out of range: {latitude}, {longitude}")
    if (latitude, longitude) == (0, 0):
        raise InputError("coordinates (0, 0) stand for an unknown place")
    return latitude, longitude
