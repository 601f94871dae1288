"""Images in a plain tar archive, which is scanned only once.

A tar archive has no list of its members, so their positions are stored next to it in a small SQLite
file, `<archive>.members`. The list is made again if the archive's size, date or a sample of its
bytes changes, or if the list is damaged. If it can't be written, every job scans the archive.

Before an image is read, its header in the archive is compared with the list.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from geoloc.corpus.archives.base import FILE, ArchiveError, Damage, Member, Refused
from geoloc.corpus.archives.images import MAX_BYTES, Doubles, image_member
from geoloc.corpus.archives.names import member_path
from geoloc.corpus.archives.streams import Stream
from geoloc.corpus.archives.tar_headers import BLOCK, TarEntry, members, next_member
from geoloc.errors import GeolocError
from geoloc.files import atomic_path
from geoloc.images import UnreadableImage
from geoloc.progress import Progress

log = logging.getLogger(__name__)

TABLES = (
    "CREATE TABLE archive (size INTEGER, modified INTEGER, sample BLOB, digest BLOB)",
    "CREATE TABLE members (name TEXT PRIMARY KEY, at INTEGER, size INTEGER, problem TEXT)"
    " WITHOUT ROWID",
)
SAMPLES = 16  # blocks of 512 bytes by which two archives of one size and date are told apart


class ListMismatch(GeolocError, ValueError):
    """The list of members is damaged or belongs to another archive."""


class TarArchive:
    """The images of an uncompressed tar archive.

    Args:
        path: the archive.

    Raises:
        ArchiveError: if it is damaged, truncated or compressed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.index = _open_index(path)
        self.renewed = False
        self.file = path.open("rb")
        self.stream = Stream(self.file, path.stat().st_size)

    def members(self) -> Iterator[Member]:
        """Return every image, sorted by name.

        Raises:
            ArchiveError: if the archive is damaged.
        """
        try:
            rows = _checked_rows(self.index)
        except (sqlite3.Error, ListMismatch) as error:
            self._renew(error)
            rows = _checked_rows(self.index)
        return (Member(name, problem) for name, _, _, problem in rows)

    def read(self, name: str) -> bytes:
        """Return the bytes of an image.

        Raises:
            UnreadableImage: with the reason.
        """
        try:
            return self._read(name)
        except (sqlite3.Error, ListMismatch) as mismatch:
            try:
                self._renew(mismatch)
                return self._read(name)
            except (ListMismatch, ArchiveError) as error:
                raise UnreadableImage(f"damaged in its archive: {error}") from error

    def _read(self, name: str) -> bytes:
        query = "SELECT at, size, problem FROM members WHERE name = ?"
        row = self.index.execute(query, (name,)).fetchone()
        if row is None and self.renewed:
            raise UnreadableImage("missing from its archive")
        if row is None or not _valid((name, *row)):
            raise ListMismatch(f"no usable entry for {name}")
        at, size, problem = row
        if problem:
            raise UnreadableImage(problem)
        self.stream.seek(at)
        try:
            entry = next_member(self.stream)
            if entry is None or not _is(entry, name, size):
                raise ListMismatch(f"another member at byte {at}")
            return self.stream.take(size)
        except (Damage, Refused) as error:
            raise ListMismatch(str(error)) from error

    def _renew(self, error: Exception) -> None:
        """Make the list again, at most once while the archive is open."""
        if self.renewed:
            raise ListMismatch(str(error)) from error
        log.warning(
            "%s does not match its archive (%s); making it again", _list_path(self.path), error
        )
        self.renewed = True
        index = _make_index(self.path, _state(self.path))
        self.index.close()
        self.index = index

    def close(self) -> None:
        """Close the archive and its list of members."""
        self.index.close()
        self.file.close()


def _is(entry: TarEntry, name: str, size: int) -> bool:
    return entry.kind == FILE and entry.size == size and member_path(entry.raw) == name


def _valid(row: tuple) -> bool:
    """Whether a row of the list has valid types and ranges."""
    name, at, size, problem = row
    numbers = isinstance(at, int) and isinstance(size, int) and at >= 0 and at % BLOCK == 0
    texts = isinstance(name, str) and isinstance(problem, str)
    return numbers and texts and (bool(problem) or 0 <= size <= MAX_BYTES)


def _rows(index: sqlite3.Connection) -> Iterator[tuple]:
    return index.execute("SELECT name, at, size, problem FROM members ORDER BY name")


def _digest(index: sqlite3.Connection) -> bytes:
    digest = hashlib.sha256()
    for row in _rows(index):
        digest.update(repr(row).encode())
    return digest.digest()


def _checked_rows(index: sqlite3.Connection) -> Iterator[tuple]:
    """Return all rows of the list, after comparing them with its digest."""
    if index.execute("SELECT digest FROM archive").fetchall() != [(_digest(index),)]:
        raise ListMismatch("its digest differs")
    return _rows(index)


def _state(path: Path) -> tuple[int, int, bytes]:
    """Identify an archive by its size, time and a hash of some of its blocks."""
    status = path.stat()
    blocks = status.st_size // BLOCK
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        for number in sorted({blocks * sample // SAMPLES for sample in range(SAMPLES)}):
            file.seek(number * BLOCK)
            digest.update(file.read(BLOCK))
    return status.st_size, status.st_mtime_ns, digest.digest()


def _list_path(path: Path) -> Path:
    return path.with_name(path.name + ".members")


def _open_index(path: Path) -> sqlite3.Connection:
    state = _state(path)
    return _read_index(_list_path(path), state) or _make_index(path, state)


def _make_index(path: Path, state: tuple[int, int, bytes]) -> sqlite3.Connection:
    """Scan an archive and write the list of its members."""
    target = _list_path(path)
    try:
        with (
            atomic_path(target) as temporary,
            contextlib.closing(sqlite3.connect(temporary)) as index,
        ):
            _fill(index, path, state)
    except (sqlite3.OperationalError, OSError) as error:
        log.warning("cannot write %s (%s); every job will scan the archive", target, error)
    else:
        if index := _read_index(target, state):
            return index
    index = sqlite3.connect(":memory:")
    _fill(index, path, state)
    return index


def _read_index(path: Path, state: tuple[int, int, bytes]) -> sqlite3.Connection | None:
    """Open the list of members; None if it is missing, in another format, or of another state of
    the archive."""
    if not path.is_file():
        return None
    # Immutable: needs no locks, which some network file systems don't have, and no journal.
    index = sqlite3.connect(f"file:{quote(str(path.absolute()))}?immutable=1", uri=True)
    with contextlib.suppress(sqlite3.Error):
        schema = index.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL").fetchall()
        if sorted(schema) == sorted((sql,) for sql in TABLES):
            query = "SELECT size, modified, sample FROM archive"
            if index.execute(query).fetchall() == [state]:
                return index
    index.close()
    return None


def _fill(index: sqlite3.Connection, path: Path, state: tuple[int, int, bytes]) -> None:
    index.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;" + ";".join(TABLES))
    doubles = Doubles()
    index.executemany("INSERT OR REPLACE INTO members VALUES (?, ?, ?, ?)", _scan(path, doubles))
    problems = ((problem, name) for name, problem in doubles.problems.items())
    index.executemany("UPDATE members SET problem = ? WHERE name = ?", problems)
    index.execute("INSERT INTO archive VALUES (?, ?, ?, ?)", (*state, _digest(index)))
    index.commit()


def _scan(path: Path, doubles: Doubles) -> Iterator[tuple[str, int, int, str]]:
    """Yield name, first byte, size and problem of every image. Reads only headers."""
    with path.open("rb", buffering=0) as file:  # unbuffered, so that a header is 512 bytes
        stream = Stream(file, path.stat().st_size)
        try:
            for entry in Progress(members(stream), None, f"list {path.name}", "members"):
                if member := image_member(entry):
                    doubles.check(member)
                    yield member.name, entry.at, min(entry.size, MAX_BYTES + 1), member.problem
        except Damage as error:
            raise ArchiveError(
                f"{path} is not a complete, uncompressed tar archive ({error}); get it again, or "
                "decompress it if it is compressed"
            ) from error
        except Refused as error:
            raise ArchiveError(f"cannot read {path}: {error}; pack it again") from error
