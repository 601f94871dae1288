"""What a source of images is: a folder on disk in one of the known layouts.

`country_folders`     one folder a country, named in English or by ISO code (GeoGuessr)
`coordinates_table`   a folder of images and a table with a row of coordinates for each (Streetview,
                      Im2GPS3k); without a file column, row i belongs to the image `i.*`
`exif_folder`         photographs in any folders, with their places in EXIF
`metadata_table`      a table of ids and coordinates, and images in folders, zip or tar archives
                      (OpenStreetView-5M, MP-16)

A kind is a module of KINDS: its `list_images` gives every image of the folder's contents with its
country or coordinates.
"""

from __future__ import annotations

import hashlib
import logging
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from geoloc.corpus.sources.base import Listed, Source, SourceError, parse_coordinates, section
from geoloc.corpus.sources.contents import (
    ARCHIVE,
    PACKED,
    READ,
    REJECTED,
    SURPRISING,
    UNREAD_ARCHIVE,
    Contents,
    Tally,
    entries,
    read_contents,
)
from geoloc.corpus.sources.overlap import check_files, check_folders, without_repeated
from geoloc.countries.geocoding import country_of_coordinates
from geoloc.files import utf8_name
from geoloc.images import EXTENSIONS
from geoloc.registry import Registry

log = logging.getLogger(__name__)

__all__ = [
    "KINDS", "Listed", "Listing", "Source", "SourceError", "check_files", "check_folders",
    "check_rejected", "configured_sources", "list_source", "listing_digest", "parse_coordinates",
    "read_source",
]  # fmt: skip

KINDS = Registry(
    "kind of source",
    {
        "country_folders": "geoloc.corpus.sources.country_folders",
        "coordinates_table": "geoloc.corpus.sources.coordinates_table",
        "exif_folder": "geoloc.corpus.sources.exif_folder",
        "metadata_table": "geoloc.corpus.sources.metadata_table",
    },
)
CHUNK = 1 << 20  # bytes of a table
BATCH = 1 << 17  # places that are named at once, so that memory does not grow with them


def configured_sources(config: dict) -> list[Source]:
    """All sources of a validated configuration: those of the street collection first. A source
    that is set to null is left out."""
    street = [Source.from_config(n, "street", e) for n, e in config["sources"].items() if e]
    others = [Source.from_config(n, n, e) for n, e in config["test_sets"].items() if e]
    return street + others


def _linked_folders(source: Source) -> bool:
    """Whether folders of a source may be links: those of countries, which have their own name."""
    return source.kind == "country_folders"


def _reads_archives(source: Source) -> bool:
    return source.kind == "metadata_table"


def listing_digest(source: Source) -> str:
    """A hash of the names of the source's images, the names and sizes of its archives and its
    table: it changes when an image is added or taken away, and is the same on another machine.
    Empty where there is no such folder. Nothing but the table is opened; what cannot be listed or
    opened is told by the index, which has another digest then."""
    digest = hashlib.sha256()
    if not source.folder.is_dir():
        return ""
    try:
        for name in _noticed(source):
            digest.update(name.encode("utf-8", "surrogateescape") + b"\0")
        if source.table and (source.path / source.table).is_file():
            with (source.path / source.table).open("rb") as file:
                for block in iter(lambda: file.read(CHUNK), b""):
                    digest.update(block)
    except (SourceError, OSError) as error:
        digest.update(str(error).encode("utf-8", "backslashreplace"))
    return digest.hexdigest()[:16]


def _noticed(source: Source) -> Iterator[str]:
    """By what a change of a folder is noticed."""
    for entry in entries(source, _linked_folders(source)):
        if entry.kind == READ or entry.problem:
            yield f"{entry.path}\0{entry.problem}"
        elif entry.kind == ARCHIVE and _reads_archives(source):
            yield f"{entry.path}\0{(source.folder / entry.path).stat().st_size}"


@dataclass
class Listing:
    """A source as it was found: its images, how many entries of its folder are of which kind, and
    the files that it uses, archives among them."""

    images: list[Listed]
    tally: Tally
    files: list[str]


def list_source(source: Source, geocoder: str = "nearest_city") -> list[Listed]:
    """The images of `read_source`."""
    return read_source(source, geocoder).images


def read_source(source: Source, geocoder: str = "nearest_city") -> Listing:
    """Every image of a source with its country, in the order of file names, and what else lies in
    its folder. Coordinates become countries by `geocoder` (geoloc.countries.geocoding.GEOCODERS).

    Raises SourceError where the folder, the table or a column is missing, an archive cannot be read
    or a folder is named after no country.
    """
    if not source.folder.is_dir():
        raise SourceError(
            f"source {source.name}: there is no folder {source.folder}; put the images there or "
            f"change {section(source)}.path"
        )
    contents = read_contents(source, _linked_folders(source))
    listed = KINDS[source.kind].list_images(source, contents)
    tally = _tally_rest(source, contents, listed)
    if not listed:
        others = "; ".join(map(tally.describe, tally.counts))
        raise SourceError(
            f"source {source.name}: no image file in {source.folder} "
            f"(looked for {', '.join(sorted(EXTENSIONS))})" + (f" but {others}" if others else "")
        )
    problems = contents.problems
    listed = [
        replace(i, rejected=problems[i.path], country="") if i.path in problems else _printable(i)
        for i in listed
    ]
    listed = without_repeated(source, contents, _name_countries(listed, geocoder))
    listed.sort(key=lambda item: item.path)
    for item in listed:
        if not item.absent and item.path not in problems:
            tally.add(REJECTED if item.rejected else READ, item.path)
    log_tally(source, tally)
    used = {item.path for item in listed if not item.absent and not item.rejected}
    archives = contents.archives if _reads_archives(source) else []
    return Listing(listed, tally, [path for path in contents.images if path in used] + archives)


def _tally_rest(source: Source, contents: Contents, listed: list[Listed]) -> Tally:
    """Count archives too, by whether they are searched and hold an image."""
    tally = contents.tally
    for path in contents.packed:
        tally.add(PACKED, path)
    for path in contents.archives:
        tally.add(ARCHIVE if _reads_archives(source) else UNREAD_ARCHIVE, path)
    return tally


def log_tally(source: Source, tally: Tally) -> None:
    """A line with all that lies in a source's folder, and a warning with what one may miss."""
    counts = ", ".join(f"{tally.counts[kind]} {kind}" for kind in sorted(tally.counts))
    log.info("source %s: %s: %s", source.name, source.folder, counts)
    if missed := [kind for kind in SURPRISING if tally.counts[kind]]:
        log.warning("source %s: left out: %s", source.name, "; ".join(map(tally.describe, missed)))


def _printable(item: Listed) -> Listed:
    """Reject a file whose name is not UTF-8: no table could hold it."""
    path = utf8_name(item.path)
    if path == item.path:
        return item
    return Listed(path, rejected="the name of the file is not UTF-8; rename it", absent=item.absent)


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


def _kind_of_reason(reason: str) -> str:
    """A reason without what is particular to one image: the line of its row, and details."""
    return re.sub(r" \((line|row) [^()]*\)$", "", reason).split(":")[0]


def check_rejected(source: Source, listed: list[Listed], largest_share: float) -> None:
    """Raise SourceError where more than `largest_share` of a source cannot be placed: then the
    table or the folder is the wrong one."""
    reasons = Counter(_kind_of_reason(item.rejected) for item in listed if item.rejected)
    if sum(reasons.values()) > largest_share * len(listed):
        ((commonest, _),) = reasons.most_common(1)
        hints = {
            "coordinates out of range": "; are latitude and longitude swapped in it?",
            "named in the table, but there is no such image": (
                f"; if the table is meant to name more images, set {section(source)}.subset"
            ),
        }
        raise SourceError(
            f"source {source.name}: {sum(reasons.values())} of {len(listed)} images have no usable "
            f"place ({'; '.join(f'{r}: {n}' for r, n in reasons.most_common(3))}); mend "
            f"{source.path} or raise index.max_rejected{hints.get(commonest, '')}"
        )
