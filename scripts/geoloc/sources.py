"""What a source of images is: a folder on disk in one of the known layouts.

`country_folders`     one folder a country, named in English or by ISO code (GeoGuessr)
`coordinates_table`   a folder of images and a CSV with a row of coordinates for each (Streetview,
                      Im2GPS3k); without a file column, row i belongs to the image `i.*`
"""

from __future__ import annotations

import csv
import hashlib
import math
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from geoloc.geocode import country_of_coordinates, country_of_name
from geoloc.images import EXTENSIONS, Preparation


class SourceError(ValueError):
    """A source is missing or not laid out as configured; the message says what to do."""


@dataclass(frozen=True)
class Source:
    """One source of images as configured (config/config.yaml, `sources` and `benchmarks`).

    path is the folder of the downloaded data; `images` and `table` are relative to it.
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
    preparation: Preparation = field(default_factory=Preparation)

    @property
    def folder(self) -> Path:
        """Where the images lie."""
        return self.path / self.images

    @classmethod
    def from_config(cls, name: str, collection: str, entry: dict) -> Source:
        """Make a source of its entry in the configuration."""
        keys = ("kind", "images", "table", "file_column", "latitude_column", "longitude_column")
        given = {key: entry[key] for key in keys if entry.get(key) is not None}
        preparation = Preparation(entry.get("crop", "none"), entry.get("size"))
        path = Path(entry["path"])
        return cls(name, collection, path=path, preparation=preparation, **given)


@dataclass(frozen=True)
class Listed:
    """An image of a source, or the reason why it cannot be placed. `path` is relative to the
    source's folder; coordinates are NaN where unknown; `country` is an ISO code."""

    path: str
    latitude: float = math.nan
    longitude: float = math.nan
    country: str = ""
    rejected: str = ""


def configured_sources(config: dict) -> list[Source]:
    """All sources of a validated configuration: those of the street collection first. A source
    that is set to null is left out."""
    street = [Source.from_config(n, "street", e) for n, e in config["sources"].items() if e]
    others = [Source.from_config(n, n, e) for n, e in config["benchmarks"].items() if e]
    return street + others


def image_files(folder: Path) -> list[str]:
    """Names of the image files directly in `folder`, sorted, without hidden files."""
    with os.scandir(folder) as entries:
        names = [e.name for e in entries if not e.name.startswith(".") and e.is_file()]
    return sorted(name for name in names if os.path.splitext(name)[1].lower() in EXTENSIONS)


def _country_folders(source: Source) -> list[str]:
    with os.scandir(source.folder) as entries:
        return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))


def listing_digest(source: Source) -> str:
    """A hash of the names of the source's files and of its table: it changes when an image is
    added or taken away, and is the same on another machine. Empty where there is no such folder."""
    digest = hashlib.sha256()
    if not source.folder.is_dir():
        return ""
    folders = _country_folders(source) if source.kind == "country_folders" else ["."]
    for folder in folders:
        digest.update("\0".join([folder, *image_files(source.folder / folder)]).encode() + b"\n")
    if source.table and (source.path / source.table).is_file():
        digest.update((source.path / source.table).read_bytes())
    return digest.hexdigest()[:16]


def list_source(source: Source) -> list[Listed]:
    """Every image of a source with its country, in the order of file names.

    Raises SourceError where the folder, the table or a column is missing or a folder is named
    after no country.
    """
    if not source.folder.is_dir():
        raise SourceError(
            f"source {source.name}: there is no folder {source.folder}; put the images there or "
            f"change sources.{source.name}.path"
        )
    if source.kind == "country_folders":
        listed = list(_list_country_folders(source))
    else:
        listed = _list_coordinates_table(source)
    if not listed:
        raise SourceError(
            f"source {source.name}: no image file in {source.folder} "
            f"(looked for {', '.join(sorted(EXTENSIONS))})"
        )
    return listed


def _list_country_folders(source: Source) -> Iterator[Listed]:
    for folder in _country_folders(source):
        try:
            country = country_of_name(folder)
        except ValueError as error:
            raise SourceError(f"source {source.name}: folder {folder!r}: {error}") from error
        for name in image_files(source.folder / folder):
            yield Listed(f"{folder}/{name}", country=country)


def _read_table(source: Source) -> list[dict[str, str]]:
    """Rows of the source's table as text, so that `NA` and leading zeros stay what they are."""
    path = source.path / (source.table or "")
    if not source.table or not path.is_file():
        raise SourceError(f"source {source.name}: there is no table {path}")
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        rows, columns = list(reader), reader.fieldnames or []
    for key in ("file_column", "latitude_column", "longitude_column"):
        column = getattr(source, key)
        if column is not None and column not in columns:
            raise SourceError(
                f"source {source.name}: {path} has no column {column!r} but {', '.join(columns)}; "
                f"set sources.{source.name}.{key}"
            )
    return rows


def parse_coordinates(latitude: str | None, longitude: str | None) -> tuple[float, float]:
    """Latitude and longitude in degrees from the text of a table.

    Raises ValueError with the reason for what is missing, no number, out of range or (0, 0),
    which tables hold where a place is unknown.
    """
    if not (latitude or "").strip() or not (longitude or "").strip():
        raise ValueError("no coordinates")
    try:
        place = float(latitude), float(longitude)
    except ValueError as error:
        raise ValueError(f"coordinates are no numbers: {latitude}, {longitude}") from error
    if not (abs(place[0]) <= 90 and abs(place[1]) <= 180):
        raise ValueError(f"coordinates out of range: {latitude}, {longitude}")
    if place == (0, 0):
        raise ValueError("coordinates (0, 0) stand for an unknown place")
    return place


def _table_files(source: Source, rows: list[dict[str, str]], present: list[str]) -> list[str]:
    """File name of each row: that of the file column, or the row's number."""
    if source.file_column:
        return [row[source.file_column] or "" for row in rows]
    by_number = {Path(name).stem: name for name in present}
    return [by_number.get(str(number), f"{number}.png") for number in range(len(rows))]


def _list_coordinates_table(source: Source) -> list[Listed]:
    rows = _read_table(source)
    present = image_files(source.folder)
    files, places = set(present), {}
    listed: dict[str, Listed] = {}
    for name, row in zip(_table_files(source, rows, present), rows, strict=True):
        try:
            if name not in files:
                raise ValueError("named in the table, but there is no such image file")
            if name in listed:
                raise ValueError("named twice in the table")
            places[name] = parse_coordinates(
                row[source.latitude_column], row[source.longitude_column]
            )
            listed[name] = Listed(name)
        except ValueError as error:
            listed[name] = Listed(name, rejected=str(error))
            places.pop(name, None)
    for name in present:
        listed.setdefault(name, Listed(name, rejected="not named in the table"))
    coordinates = np.array([places[n] for n in places], float).reshape(-1, 2)
    countries = country_of_coordinates(coordinates[:, 0], coordinates[:, 1])
    for name, place, country in zip(places, coordinates.tolist(), countries, strict=True):
        listed[name] = Listed(name, place[0], place[1], str(country))
    return [listed[name] for name in sorted(listed)]


def check_rejected(source: Source, listed: list[Listed], largest_share: float) -> None:
    """Raise SourceError where more than `largest_share` of a source cannot be placed: then the
    table or the folder is the wrong one."""
    reasons = Counter(item.rejected.split(":")[0] for item in listed if item.rejected)
    if sum(reasons.values()) > largest_share * len(listed):
        raise SourceError(
            f"source {source.name}: {sum(reasons.values())} of {len(listed)} images have no usable "
            f"place ({'; '.join(f'{r}: {n}' for r, n in reasons.most_common(3))}); mend "
            f"{source.path} or raise index.max_rejected"
        )
