"""One folder per country, named in English or by ISO code, like GeoGuessr's images."""

from __future__ import annotations

import logging

from geoloc.corpus.sources.base import Listed, Source, SourceError
from geoloc.corpus.sources.contents import (
    EMPTY_FOLDER,
    NOT_AN_IMAGE,
    OUTSIDE,
    READ,
    SYSTEM_FILE,
    SYSTEM_FOLDER,
    Contents,
)
from geoloc.countries.names import country_of_name, display_name

log = logging.getLogger(__name__)


def list_images(source: Source, contents: Contents) -> list[Listed]:
    """List every image in a country's folder or its subfolders, with that country.

    Args:
        source: the source.
        contents: its folder.

    Raises:
        SourceError: if folders with images are not named after a country; the message lists all.
    """
    folders: dict[str, list[str]] = {}
    for path in contents.images:
        folder, slash, _ = path.partition("/")
        if slash:
            folders.setdefault(folder, []).append(path)
        elif path not in contents.problems:
            contents.tally.add(OUTSIDE, path)
    countries = _countries(source, sorted(folders))
    _warn_of_unread(source, contents)
    return [
        Listed(path, country=countries[folder])
        for folder, paths in folders.items()
        for path in paths
    ]


def _countries(source: Source, folders: list[str]) -> dict[str, str]:
    """Return the country of each folder."""
    countries, mistakes = {}, []
    for folder in folders:
        try:
            countries[folder] = country_of_name(folder)
        except ValueError as error:
            mistakes.append(str(error))
    if mistakes:
        raise SourceError(
            f"source {source.name}: {len(mistakes)} folders of {source.folder}: "
            + "; ".join(mistakes)
            + ". Move folders that don't belong to a country out of the source"
        )
    return countries


def _warn_of_unread(source: Source, contents: Contents) -> None:
    """Warn about folders without usable images, whose country would be missing silently."""
    for folder, tally in sorted(contents.folders.items()):
        if tally.counts[READ]:
            continue
        if set(tally.counts) != {EMPTY_FOLDER}:  # which is counted already
            contents.tally.add(EMPTY_FOLDER, folder + "/")
        usual = (NOT_AN_IMAGE, SYSTEM_FILE, SYSTEM_FOLDER, EMPTY_FOLDER)
        skipped = [kind for kind in tally.counts if kind not in usual]
        try:
            name = display_name(country_of_name(folder))
        except ValueError:
            name = "not a country"
        log.warning(
            "source %s: no usable image in the folder %s (%s): %s",
            source.name,
            folder,
            name,
            "; ".join(map(tally.describe, skipped)) or "it has no image",
        )
