"""What all kinds of sources share: the configured source, a listed image, its coordinates."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from geoloc.images import Preparation


class SourceError(ValueError):
    """A source is missing or not laid out as configured; the message says what to do."""


@dataclass(frozen=True)
class Source:
    """One source of images as configured (config/config.yaml, `sources` and `benchmarks`).

    path is the folder of the downloaded data; `images` and `table` are relative to it.
    `author_column` is None where the table does not tell who took a photograph.
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

    @property
    def folder(self) -> Path:
        """Where the images lie."""
        return self.path / self.images

    @classmethod
    def from_config(cls, name: str, collection: str, entry: dict) -> Source:
        """Make a source of its entry in the configuration."""
        keys = (
            "kind", "images", "table", "file_column", "latitude_column", "longitude_column",
            "author_column", "id_column", "subset",
        )  # fmt: skip
        given = {key: entry[key] for key in keys if entry.get(key) is not None}
        preparation = Preparation(entry.get("crop", "none"), entry.get("size"))
        path = Path(entry["path"])
        return cls(name, collection, path=path, preparation=preparation, **given)


@dataclass(frozen=True, slots=True)
class Listed:
    """An image of a source, or the reason why it cannot be placed. `path` is relative to the
    source's folder, in the form of geoloc.archives; coordinates are NaN where unknown; `country` is
    an ISO code; `author` is empty where unknown."""

    path: str
    latitude: float = math.nan
    longitude: float = math.nan
    country: str = ""
    rejected: str = ""
    author: str = ""


def walk(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Every folder below `folder`, itself first as "", with the sorted names of its files. Hidden
    ones are left out; links to folders are not followed, as they may lead in circles."""

    def fail(error: OSError) -> None:  # os.walk would leave the folder out silently
        raise error

    for path, folders, files in os.walk(folder, onerror=fail):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        relative = Path(path).relative_to(folder).as_posix()
        prefix = "" if relative == "." else relative + "/"
        yield prefix, sorted(name for name in files if not name.startswith("."))


def parse_coordinates(latitude: str | None, longitude: str | None) -> tuple[float, float]:
    """Latitude and longitude in degrees from the text of a table.

    Raises ValueError with the reason for what is missing, no number, or what `check_coordinates`
    refuses.
    """
    if not (latitude or "").strip() or not (longitude or "").strip():
        raise ValueError("no coordinates")
    if "_" in latitude + longitude:  # Python reads 4_8 as 48
        raise ValueError(f"coordinates are no numbers: {latitude}, {longitude}")
    try:
        place = float(latitude), float(longitude)
    except ValueError as error:
        raise ValueError(f"coordinates are no numbers: {latitude}, {longitude}") from error
    return check_coordinates(*place)


def check_coordinates(latitude: float, longitude: float) -> tuple[float, float]:
    """The same coordinates. Raises ValueError with the reason for what is out of range and for
    (0, 0), which stands where a place is unknown."""
    if not (abs(latitude) <= 90 and abs(longitude) <= 180):
        raise ValueError(f"coordinates out of range: {latitude}, {longitude}")
    if (latitude, longitude) == (0, 0):
        raise ValueError("coordinates (0, 0) stand for an unknown place")
    return latitude, longitude
