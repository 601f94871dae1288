"""Sources of images: folders on disk in one of the known layouts.

`country_folders`     one folder per country, named in English or by ISO code (GeoGuessr)
`coordinates_table`   a folder of images and a table with a row of coordinates for each (Streetview,
                      Im2GPS3k); without a file column, row i belongs to the image `i.*`
`exif_folder`         photos in any folders, with GPS coordinates in EXIF
`metadata_table`      a table of ids and coordinates, and images in folders, zip or tar archives
                      (OpenStreetView-5M, MP-16)
`python`              whatever a Python file of the user's lists

A kind is a module of KINDS. Its `list_images` returns every image of the folder with its country or
coordinates.
"""

from __future__ import annotations

import hashlib
import logging
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from geoloc.corpus.sources.base import (
    NO_GPS,
    Listed,
    Source,
    SourceError,
    parse_coordinates,
    section,
)
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
    "check_rejected", "configured_sources", "list_source", "listing_digest", "most_allowed",
    "parse_coordinates", "read_source",
]  # fmt: skip

KINDS = Registry(
    "kind of source",
    {
        "country_folders": "geoloc.corpus.sources.country_folders",
        "coordinates_table": "geoloc.corpus.sources.coordinates_table",
        "exif_folder": "geoloc.corpus.sources.exif_folder",
        "metadata_table": "geoloc.corpus.sources.metadata_table",
        "python": "geoloc.corpus.sources.user_source",
    },
)
CHUNK = 1 << 20  # bytes of a table
NAMED = 5  # images that a message names

BATCH = 1 << 17  # places geocoded at once, so that memory does not grow with their number


def configured_sources(config: dict) -> list[Source]:
    """Return all sources of a checked configuration, street images first, without null entries."""
    street = [Source.from_config(n, "street", e) for n, e in config["sources"].items() if e]
    others = [Source.from_config(n, n, e) for n, e in config["test_sets"].items() if e]
    return street + others


def _linked_folders(source: Source) -> bool:
    """Whether folders of a source may be links: country folders, which keep their own names."""
    return source.kind == "country_folders"


def _reads_archives(source: Source) -> bool:
    return source.kind == "metadata_table"


def _has_folder(source: Source) -> bool:
    try:
        return source.folder.is_dir()
    except OSError as error:  # it lies in a folder that may not be searched
        raise SourceError(
            f"source {source.name}: cannot read the folder {source.folder} ({error.strerror}); "
            f"make it readable or change {section(source)}.path"
        ) from error


def listing_digest(source: Source) -> str:
    """Hash the names of a source's images, the names and sizes of its archives, and its table.

    The digest changes when an image is added or removed, and is the same on another machine. Only
    the table is opened. Errors become part of the digest, so that the rule `index` runs and reports
    them.

    Returns:
        16 hexadecimal digits, or "" if the folder does not exist.
    """
    digest = hashlib.sha256()
    try:
        if not _has_folder(source):
            return ""
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
    """Yield what must change for a folder to count as changed."""
    for entry in entries(source, _linked_folders(source)):
        if entry.kind == READ or entry.problem:
            yield f"{entry.path}\0{entry.problem}"
        elif entry.kind == ARCHIVE and _reads_archives(source):
            yield f"{entry.path}\0{(source.folder / entry.path).stat().st_size}"


@dataclass
class Listing:
    """The content of a source.

    Attributes:
        images: its images, sorted by path.
        tally: the entries of its folder by kind.
        files: the files that it uses, including archives.
    """

    images: list[Listed]
    tally: Tally
    files: list[str]


def list_source(source: Source, geocoder: str = "nearest_city") -> list[Listed]:
    """Return only the images of `read_source`."""
    return read_source(source, geocoder).images


def read_source(source: Source, geocoder: str = "nearest_city") -> Listing:
    """List every image of a source with its country, and everything else in its folder.

    Args:
        source: the source.
        geocoder: a key of `geoloc.countries.geocoding.GEOCODERS`, for images with coordinates.

    Raises:
        SourceError: if the folder, the table or a column is missing, an archive can't be read, or a
            folder is not named after a country.
    """
    if not _has_folder(source):
        raise SourceError(
            f"source {source.name}: the folder {source.folder} does not exist; put the images "
            f"there or change {section(source)}.path"
        )
    contents = read_contents(source, _linked_folders(source))
    listed = KINDS[source.kind].list_images(source, contents)
    tally = _tally_rest(source, contents, listed)
    if not listed:
        others = "; ".join(map(tally.describe, tally.counts))
        raise SourceError(
            f"source {source.name}: {source.folder} has no image files "
            f"({', '.join(sorted(EXTENSIONS))})"
            + (f", only {others}" if others else "")
            + f"; put the images there or change {section(source)}.path"
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
    """Add the archives to the tally: those that are searched, and those that can't be."""
    tally = contents.tally
    for path in contents.packed:
        tally.add(PACKED, path)
    for path in contents.archives:
        tally.add(ARCHIVE if _reads_archives(source) else UNREAD_ARCHIVE, path)
    return tally


def log_tally(source: Source, tally: Tally) -> None:
    """Log the content of a source's folder, and warn about files that are skipped."""
    counts = ", ".join(f"{tally.counts[kind]} {kind}" for kind in sorted(tally.counts))
    log.info("source %s: %s: %s", source.name, source.folder, counts)
    if missed := [kind for kind in SURPRISING if tally.counts[kind]]:
        log.warning("source %s: skipped: %s", source.name, "; ".join(map(tally.describe, missed)))


def _printable(item: Listed) -> Listed:
    """Reject a file whose name is not UTF-8, because tables can't store it."""
    path = utf8_name(item.path)
    if path == item.path:
        return item
    return Listed(path, rejected="the file name is not UTF-8; rename the file", absent=item.absent)


def _name_countries(listed: list[Listed], geocoder: str) -> list[Listed]:
    """Find the countries of the images that have only coordinates."""
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
    """Strip a reason of what differs between images: the line of the row, and details."""
    return re.sub(r" \((line|row) [^()]*\)$", "", reason).split(":")[0]


def most_allowed(count: int, share: float) -> float:
    """Return how many of `count` images may be unusable: a share, or one where that is less. A
    single image says nothing of its source."""
    return max(share * count, 1) if share and count > 1 else share * count


def check_rejected(source: Source, listed: list[Listed], largest_share: float) -> None:
    """Check that few images of a source have no usable place; otherwise its table or folder is
    probably the wrong one.

    Args:
        source: the source.
        listed: its images.
        largest_share: largest allowed share (0–1) of images without a place. A single one is
            allowed if any is, and of an `exif_folder` half may have no coordinates, as screenshots
            and received pictures do on every phone.

    Raises:
        SourceError: if the share is larger. The message names the first images.
    """
    reasons = Counter(_kind_of_reason(item.rejected) for item in listed if item.rejected)
    counted = dict(reasons)
    if source.kind == "exif_folder" and largest_share and 2 * reasons[NO_GPS] <= len(listed):
        counted.pop(NO_GPS, None)
    if sum(counted.values()) > most_allowed(len(listed), largest_share):
        ((commonest, _),) = reasons.most_common(1)
        hints = {
            "coordinates out of range": " (or are latitude and longitude swapped in it?)",
            "named in the table, but the image is missing": (
                f" (or set {section(source)}.subset if the table is meant to name more images)"
            ),
        }
        raise SourceError(
            f"source {source.name}: {sum(reasons.values())} of {len(listed)} images have no usable "
            f"place ({'; '.join(f'{r}: {n}' for r, n in reasons.most_common(3))}); correct "
            f"{source.path} or raise index.max_rejected{hints.get(commonest, '')}. The first are "
            + "; ".join(islice((f"{i.path}: {i.rejected}" for i in listed if i.rejected), NAMED))
        )
