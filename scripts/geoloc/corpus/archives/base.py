"""What zip and tar archives share."""

from __future__ import annotations

from dataclasses import dataclass

from geoloc.errors import GeolocError

FILE, FOLDER = "file", "folder"  # kinds of members; other kinds are descriptions for messages
ENCRYPTED = "an encrypted file"


class ArchiveError(GeolocError, ValueError):
    """An archive can't be read. The message names it and says what to do."""


class DamagedArchive(ArchiveError):
    """An archive is damaged or truncated. Downloading it again may help."""


class Damage(GeolocError, ValueError):
    """Damaged bytes in an archive; becomes the message of a DamagedArchive."""


class Refused(GeolocError, ValueError):
    """Content that is never listed or extracted; becomes the message of an ArchiveError."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A member as its archive describes it.

    Attributes:
        raw: its unchecked name.
        kind: FILE, FOLDER, or a description such as "a symbolic link".
        size: size of its content in bytes, at least 0.
        cost: bytes to read or write for it, including its headers.
    """

    raw: str
    kind: str
    size: int
    cost: int


@dataclass(frozen=True, slots=True)
class Member:
    """An image in an archive: its path, and in `problem` the reason if it can't be used."""

    name: str
    problem: str = ""
