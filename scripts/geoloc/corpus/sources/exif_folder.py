"""Photos in any folders, with GPS coordinates in EXIF as cameras and phones write them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from multiprocessing.pool import ThreadPool
from pathlib import Path

from PIL import ExifTags, Image

from geoloc.corpus.sources.base import NO_GPS, Listed, Source, check_coordinates
from geoloc.corpus.sources.contents import Contents
from geoloc.errors import InputError
from geoloc.images import FORMATS, open_file
from geoloc.progress import Progress

THREADS = 16  # they wait for the disk, whatever the number of cores
HEMISPHERES = {"latitude": ("N", "S"), "longitude": ("E", "W")}


def list_images(source: Source, contents: Contents) -> list[Listed]:
    """List every photo with its EXIF coordinates, or the reason why they are missing.

    Reads only the headers of the files.
    """
    paths = contents.readable
    with ThreadPool(THREADS) as pool:
        read = pool.imap(partial(_listed, source.folder), paths, chunksize=16)
        placed = list(Progress(read, len(paths), f"EXIF of {source.name}"))
    return placed + [Listed(path) for path in contents.problems]


def _listed(folder: Path, path: str) -> Listed:
    try:
        return Listed(path, *exif_coordinates(folder / path))
    except ValueError as error:
        return Listed(path, rejected=str(error))


def exif_coordinates(path: Path) -> tuple[float, float]:
    """Read latitude and longitude in degrees from the GPS tags of an image file.

    The tags are those of Exif 2.32, section 4.6.6.

    Raises:
        InputError: with the reason, if the coordinates are missing or invalid.
    """
    gps = _gps_tags(path)
    if not gps:
        raise InputError(NO_GPS)
    tags = ExifTags.GPS
    return check_coordinates(
        _degrees(gps.get(tags.GPSLatitude), gps.get(tags.GPSLatitudeRef), "latitude"),
        _degrees(gps.get(tags.GPSLongitude), gps.get(tags.GPSLongitudeRef), "longitude"),
    )


def _gps_tags(path: Path) -> dict:
    try:
        with open_file(path) as file, Image.open(file, formats=FORMATS) as image:
            # For EXIF after the pixels, Pillow would decode the whole PNG; it is usually before.
            if image.format == "PNG" and "exif" not in image.info:
                return {}
            return dict(image.getexif().get_ifd(ExifTags.IFD.GPSInfo))
    except Exception as error:  # Pillow raises almost anything for a damaged header
        raise InputError(f"cannot read EXIF: {error}") from error


def _degrees(value: object, hemisphere: object, axis: str) -> float:
    """Convert degrees, minutes and seconds to degrees, negative in the south and west."""
    if value is None:
        raise InputError(f"no {axis} in EXIF")
    parts = value if isinstance(value, Sequence) and not isinstance(value, str | bytes) else [value]
    try:
        degrees, minutes, seconds = ([float(part) for part in parts] + [0.0, 0.0])[:3]
    except (TypeError, ValueError, ZeroDivisionError, OverflowError) as error:
        raise InputError(f"{axis} in EXIF is not a number: {value}") from error
    if not all(map(math.isfinite, (degrees, minutes, seconds))) or len(parts) > 3:
        raise InputError(f"{axis} in EXIF is not a number: {value}")
    if degrees < 0 or not (0 <= minutes <= 60 and 0 <= seconds <= 60):
        raise InputError(f"{axis} in EXIF is out of range: {value}")
    text = hemisphere.decode("ascii", "replace") if isinstance(hemisphere, bytes) else hemisphere
    letter = str(text or "").strip("\0 ").upper()[:1]
    positive, negative = HEMISPHERES[axis]
    if letter not in (positive, negative):
        raise InputError(f"{axis} in EXIF has no hemisphere ({positive} or {negative})")
    return (degrees + minutes / 60 + seconds / 3600) * (1 if letter == positive else -1)
