"""Images that a Python file of the user's lists, in whatever layout the folder has.

The file has a function `load(**options)` that returns an object with a method `images(folder)`. It
yields `(path, country)` or `(path, latitude, longitude)` for each image.
"""

from __future__ import annotations

from numbers import Real
from os import PathLike, fspath
from pathlib import PurePosixPath
from typing import Any

from geoloc.corpus.sources.base import Listed, Source, SourceError, check_coordinates
from geoloc.corpus.sources.contents import UNLISTED, Contents
from geoloc.countries.names import country_of_name
from geoloc.errors import InputError
from geoloc.user_file import load_user_object, user_errors

KEYS = ()  # only the file knows the columns of its table
MISSING = "named by the Python file, but the image is missing"


def list_images(source: Source, contents: Contents) -> list[Listed]:
    """List every image that the source's file names, with its country or coordinates, or with the
    reason why it has none. Images that the file does not name are counted and skipped.

    Args:
        source: the source, with `file` and `options`.
        contents: its folder.

    Raises:
        OSError: if there is no such file.
        InputError: if the file cannot be run or raises an error, with the line.
        SourceError: if it has no method `images`, or names anything but images of the folder, each
            once.
    """
    reader = load_user_object(source.file, source.options)
    if not callable(getattr(reader, "images", None)):
        raise SourceError(
            f"source {source.name}: {source.file}: load() must return an object with "
            f"images(folder), but it returned {type(reader).__name__}; correct the file"
        )
    known, listed = set(contents.images), {}
    with user_errors(source.file):
        for row in reader.images(source.folder):
            item = _listed(row, known, source)
            if item.path in listed:
                raise _mistake(source, f"names the image {item.path!r} twice")
            listed[item.path] = item
    for path in known - listed.keys() - contents.problems.keys():
        contents.tally.add(UNLISTED, path)
    unnamed = (path for path in contents.problems if path not in listed)
    return [*listed.values(), *map(Listed, unnamed)]


def _listed(row: Any, known: set[str], source: Source) -> Listed:
    """An image from what the file says of it."""
    if not isinstance(row, tuple) or len(row) not in (2, 3) or not _is_path(row[0]):
        raise _mistake(
            source, f"gives {row!r:.80}, not (path, country) or (path, latitude, longitude)"
        )
    path, place = fspath(row[0]), row[1:]
    if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
        raise _mistake(source, f"names {path!r}, which is not below the folder {source.folder}")
    if path not in known:
        return Listed(path, rejected=MISSING, absent=True)
    try:
        return Listed(path, **_place(source, path, place))
    except InputError as error:
        return Listed(path, rejected=str(error))


def _place(source: Source, path: str, place: tuple) -> dict[str, Any]:
    """The fields of Listed that a country or coordinates fill."""
    if len(place) == 1 and isinstance(place[0], str):
        return {"country": country_of_name(place[0])}
    if len(place) == 2 and all(isinstance(x, Real) and not isinstance(x, bool) for x in place):
        latitude, longitude = check_coordinates(*map(float, place))
        return {"latitude": latitude, "longitude": longitude}
    raise _mistake(
        source,
        f"gives {path!r} the place {place!r:.80}, neither the name of a country nor two numbers "
        "in degrees",
    )


def _is_path(value: Any) -> bool:
    return isinstance(value, str | PathLike) and isinstance(fspath(value), str)


def _mistake(source: Source, what: str) -> SourceError:
    return SourceError(f"source {source.name}: {source.file} {what}; correct the file")
