"""What zip and tar archives share."""

from __future__ import annotations

from dataclasses import dataclass

from geoloc.errors import GeolocError

FILE, FOLDER = "file", "folder"  # kinds of members; every other kind says in words what it is
ENCRYPTED = "an encrypted file"


class ArchiveError(GeolocError, ValueError):
    """An archive cannot be read; the message names it and says what to do."""


class DamagedArchive(ArchiveError):
    """The bytes are no whole archive; fetched again, it may be one."""


class Damage(GeolocError, ValueError):
    """What is wrong with the bytes of an archive, for the message of a DamagedArchive."""


class Refused(GeolocError, ValueError):
    """What in an archive is neither listed nor extracted, for the message of an ArchiveError."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What an archive says of a member.

    Attributes:
        raw: its name, unchecked.
        kind: FILE, FOLDER, or in words what else it is, such as "a symbolic link".
        size: bytes of its content, not negative.
        cost: bytes that are written or read for it, with its headers.
    """

    raw: str
    kind: str
    size: int
    cost: int


@dataclass(frozen=True, slots=True)
class Member:
    """An image in an archive: its path there, or as `problem` the reason why it is not used."""

    name: str
    problem: str = ""
