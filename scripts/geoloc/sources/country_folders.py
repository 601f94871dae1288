"""One folder a country, named in English or by ISO code, as GeoGuessr's images."""

from __future__ import annotations

import os
from collections.abc import Iterator

from geoloc.geocode import country_of_name
from geoloc.images import image_files
from geoloc.sources.base import Listed, Source, SourceError


def _folders(source: Source) -> list[str]:
    with os.scandir(source.folder) as entries:
        return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))


def list_files(source: Source) -> Iterator[list[str]]:
    """Each folder with the names of its images."""
    for folder in _folders(source):
        yield [folder, *image_files(source.folder / folder)]


def list_images(source: Source) -> list[Listed]:
    """Every image with the country of its folder. Raises SourceError for a folder that is named
    after no country."""
    listed = []
    for folder, *names in list_files(source):
        try:
            country = country_of_name(folder)
        except ValueError as error:
            raise SourceError(f"source {source.name}: folder {folder!r}: {error}") from error
        listed += [Listed(f"{folder}/{name}", country=country) for name in names]
    return listed
