"""What a source of images is: a folder on disk in one of the known layouts.

`country_folders`     one folder a country, named in English or by ISO code (GeoGuessr)
`coordinates_table`   a folder of images and a table with a row of coordinates for each (Streetview,
                      Im2GPS3k); without a file column, row i belongs to the image `i.*`
`exif_folder`         photographs in any folders, with their places in EXIF
`metadata_table`      a table of ids and coordinates, and images in folders, zip or tar archives
                      (OpenStreetView-5M, MP-16)

A kind is a module with two functions and an entry in KINDS: `list_images` gives every image with
its country or coordinates, `list_files` the names by which a change is noticed.
"""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from dataclasses import replace

import numpy as np

from geoloc.files import utf8_name
from geoloc.geocode import country_of_coordinates
from geoloc.images import EXTENSIONS
from geoloc.sources import coordinates_table, country_folders, exif_folder, metadata_table
from geoloc.sources.base import Listed, Source, SourceError, parse_coordinates

__all__ = [
    "KINDS", "Listed", "Source", "SourceError", "check_rejected", "configured_sources",
    "list_source", "listing_digest", "parse_coordinates",
]  # fmt: skip

KINDS = {
    "country_folders": country_folders,
    "coordinates_table": coordinates_table,
    "exif_folder": exif_folder,
    "metadata_table": metadata_table,
}
CHUNK = 1 << 20  # bytes of a table
BATCH = 1 << 17  # places that are named at once, so that memory does not grow with them


def configured_sources(config: dict) -> list[Source]:
    """All sources of a validated configuration: those of the street collection first. A source
    that is set to null is left out."""
    street = [Source.from_config(n, "street", e) for n, e in config["sources"].items() if e]
    others = [Source.from_config(n, n, e) for n, e in config["benchmarks"].items() if e]
    return street + others


def listing_digest(source: Source) -> str:
    """A hash of the names of the source's images, the names and sizes of its archives and its
    table: it changes when an image is added or taken away, and is the same on another machine.
    Empty where there is no such folder."""
    digest = hashlib.sha256()
    if not source.folder.is_dir():
        return ""
    for names in KINDS[source.kind].list_files(source):
        digest.update("\0".join(names).encode("utf-8", "surrogateescape") + b"\n")
    if source.table and (source.path / source.table).is_file():
        with (source.path / source.table).open("rb") as file:
            for block in iter(lambda: file.read(CHUNK), b""):
                digest.update(block)
    return digest.hexdigest()[:16]


def list_source(source: Source, geocoder: str = "nearest_city") -> list[Listed]:
    """Every image of a source with its country, in the order of file names. Coordinates become
    countries by `geocoder` (geoloc.geocode.GEOCODERS).

    Raises SourceError where the folder, the table or a column is missing, an archive cannot be read
    or a folder is named after no country.
    """
    if not source.folder.is_dir():
        raise SourceError(
            f"source {source.name}: there is no folder {source.folder}; put the images there or "
            f"change sources.{source.name}.path"
        )
    listed = KINDS[source.kind].list_images(source)
    if not listed:
        raise SourceError(
            f"source {source.name}: no image file in {source.folder} "
            f"(looked for {', '.join(sorted(EXTENSIONS))})"
        )
    listed = _name_countries([_printable(item) for item in listed], geocoder)
    return sorted(listed, key=lambda item: item.path)


def _printable(item: Listed) -> Listed:
    """Reject a file whose name is not UTF-8: no table could hold it."""
    path = utf8_name(item.path)
    if path == item.path:
        return item
    return Listed(path, rejected="the name of the file is not UTF-8; rename it")


def _name_countries(listed: list[Listed], geocoder: str) -> list[Listed]:
    """Name the countries of the images that have coordinates and none yet."""
    placed = [i for i, item in enumerate(listed) if not item.country and not item.rejected]
    for start in range(0, len(placed), BATCH):
        rows = placed[start : start + BATCH]
        latitude = np.array([listed[i].latitude for i in rows])
        longitude = np.array([listed[i].longitude for i in rows])
        countries = country_of_coordinates(latitude, longitude, geocoder)
        for i, country in zip(rows, countries.tolist(), strict=True):
            reason = "" if country else "no country near these coordinates"
            listed[i] = replace(listed[i], country=sys.intern(country), rejected=reason)
    return listed


def check_rejected(source: Source, listed: list[Listed], largest_share: float) -> None:
    """Raise SourceError where more than `largest_share` of a source cannot be placed: then the
    table or the folder is the wrong one."""
    reasons = Counter(item.rejected.split(":")[0] for item in listed if item.rejected)
    if sum(reasons.values()) > largest_share * len(listed):
        ((commonest, _),) = reasons.most_common(1)
        hints = {
            "coordinates out of range": "; are latitude and longitude swapped in it?",
            "named in the table, but there is no such image": (
                f"; if the table is meant to name more images, set sources.{source.name}.subset"
            ),
        }
        raise SourceError(
            f"source {source.name}: {sum(reasons.values())} of {len(listed)} images have no usable "
            f"place ({'; '.join(f'{r}: {n}' for r, n in reasons.most_common(3))}); mend "
            f"{source.path} or raise index.max_rejected{hints.get(commonest, '')}"
        )
