"""Photographs in any folders, with their places in EXIF, as a camera or a phone writes them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from multiprocessing.pool import ThreadPool
from pathlib import Path

from PIL import ExifTags, Image

from geoloc.corpus.sources.base import Listed, Source, check_coordinates
from geoloc.corpus.sources.contents import Contents
from geoloc.errors import InputError
from geoloc.images import FORMATS, open_file
from geoloc.progress import Progress

THREADS = 16  # they wait for the disk, whatever the number of cores
HEMISPHERES = {"latitude": ("N", "S"), "longitude": ("E", "W")}


def list_images(source: Source, contents: Contents) -> list[Listed]:
    """Every photograph with the coordinates of its EXIF, or the reason why it has none. Only the
    headers of the files are read."""
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
    """Latitude and longitude in degrees from the GPS tags of an image file (Exif 2.32, section
    4.6.6). Raises ValueError with the reason where there are none or they are nonsense."""
    gps = _gps_tags(path)
    if not gps:
        raise InputError("no GPS coordinates in EXIF")
    tags = ExifTags.GPS
    return check_coordinates(
        _degrees(gps.get(tags.GPSLatitude), gps.get(tags.GPSLatitudeRef), "latitude"),
        _degrees(gps.get(tags.GPSLongitude), gps.get(tags.GPSLongitudeRef), "longitude"),
    )


def _gps_tags(path: Path) -> dict:
    try:
        with open_file(path) as file, Image.open(file, formats=FORMATS) as image:
            # Pillow decodes a whole PNG in search of EXIF behind the pixels; it stands before them.
            if image.format == "PNG" and "exif" not in image.info:
                return {}
            return dict(image.getexif().get_ifd(ExifTags.IFD.GPSInfo))
    except Exception as error:  # Pillow raises almost anything for a damaged header
        raise InputError(f"cannot read EXIF: {error}") from error


def _degrees(value: object, hemisphere: object, axis: str) -> float:
    """Degrees of degrees, minutes and seconds, negative in the south and west."""
    if value is None:
        raise InputError(f"no {axis} in EXIF")
    parts = value if isinstance(value, Sequence) and not isinstance(value, str | bytes) else [value]
    try:
        degrees, minutes, seconds = ([float(part) for part in parts] + [0.0, 0.0])[:3]
    except (TypeError, ValueError, ZeroDivisionError, OverflowError) as error:
        raise InputError(f"{axis} in EXIF is no number: {value}") from error
    if not all(map(math.isfinite, (degrees, minutes, seconds))) or len(parts) > 3:
        raise InputError(f"{axis} in EXIF is no number: {value}")
    if degrees < 0 or not (0 <= minutes <= 60 and 0 <= seconds <= 60):
        raise InputError(f"{axis} in EXIF is nonsense: {value}")
    text = hemisphere.decode("ascii", "replace") if isinstance(hemisphere, bytes) else hemisphere
    letter = str(text or "").strip("\0 ").upper()[:1]
    positive, negative = HEMISPHERES[axis]
    if letter not in (positive, negative):
        raise InputError(f"{axis} in EXIF has no hemisphere ({positive} or {negative})")
    return (degrees + minutes / 60 + seconds / 3600) * (1 if letter == positive else -1)
