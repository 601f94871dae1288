"""Images in a plain tar archive, whose members are looked up once.

They stand scattered through the archive, so that their places are kept beside it, in a small SQLite
file `<archive>.members`. It is made anew when the archive has another size or date. Where it cannot
be written, every job walks through the archive once.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import tarfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from geoloc.archives.base import ArchiveError, Member, image_member
from geoloc.files import atomic_path, utf8_name
from geoloc.images import UnreadableImage
from geoloc.progress import Progress

log = logging.getLogger(__name__)

TABLES = """
    CREATE TABLE archive (size INTEGER, modified INTEGER);
    CREATE TABLE members (name TEXT PRIMARY KEY, start INTEGER, size INTEGER, problem TEXT)
        WITHOUT ROWID;
"""


class StrictTarInfo(tarfile.TarInfo):
    """A member of an archive that must be whole, given to `tarfile.open` as `tarinfo`.

    TarFile takes a damaged header, and the end of the file, for the end of the archive. The end is
    a block of zeros and nothing else.
    """

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> tarfile.TarInfo:
        """The next member. Raises ReadError where there is neither one nor the end."""
        start = archive.offset
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:
            raise
        except tarfile.EmptyHeaderError as error:
            raise tarfile.ReadError(f"cut off at byte {start}") from error
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"damaged header at byte {start}: {error}") from error


class TarArchive:
    """The images of an uncompressed tar archive."""

    def __init__(self, path: Path) -> None:
        """Raises ArchiveError for what is no whole, uncompressed tar archive."""
        self.index = _open_index(path)
        self.file = path.open("rb")

    def members(self) -> Iterator[Member]:
        """Every image, sorted by name."""
        rows = self.index.execute("SELECT name, problem FROM members ORDER BY name")
        return (Member(name, problem) for name, problem in rows)

    def read(self, name: str) -> bytes:
        """The bytes of an image. Raises UnreadableImage with the reason."""
        query = "SELECT start, size, problem FROM members WHERE name = ?"
        row = self.index.execute(query, (name,)).fetchone()
        if row is None:
            raise UnreadableImage("the archive has no such member")
        start, size, problem = row
        if problem:
            raise UnreadableImage(problem)
        self.file.seek(start - tarfile.BLOCKSIZE)
        header, data = self.file.read(tarfile.BLOCKSIZE), self.file.read(size)
        try:
            found = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape").size
        except tarfile.HeaderError as error:
            raise UnreadableImage(f"damaged in its archive: {error}") from error
        if found != size or len(data) != size:
            raise UnreadableImage("damaged in its archive: its size is not that of its header")
        return data

    def close(self) -> None:
        self.index.close()
        self.file.close()


def _open_index(path: Path) -> sqlite3.Connection:
    status = path.stat()
    state = status.st_size, status.st_mtime_ns
    beside = path.with_name(path.name + ".members")
    if index := _read_index(beside, state):
        return index
    try:
        with (
            atomic_path(beside) as temporary,
            contextlib.closing(sqlite3.connect(temporary)) as index,
        ):
            _fill(index, path, state)
    except (sqlite3.OperationalError, OSError) as error:
        log.warning("cannot write %s (%s): every job looks its members up anew", beside, error)
        index = sqlite3.connect(":memory:")
        _fill(index, path, state)
        return index
    return _read_index(beside, state)


def _read_index(path: Path, state: tuple[int, int]) -> sqlite3.Connection | None:
    """The kept places, None where there are none, or those of another state of the archive."""
    if not path.is_file():
        return None
    # Immutable: no locks, which network file systems lack, and no journal beside the data.
    index = sqlite3.connect(f"file:{quote(str(path.absolute()))}?immutable=1", uri=True)
    with contextlib.suppress(sqlite3.DatabaseError):
        if index.execute("SELECT size, modified FROM archive").fetchall() == [state]:
            return index
    index.close()
    return None


def _fill(index: sqlite3.Connection, path: Path, state: tuple[int, int]) -> None:
    index.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;" + TABLES)
    # Of equal names the last counts, as when unpacked.
    index.executemany("INSERT OR REPLACE INTO members VALUES (?, ?, ?, ?)", _scan(path))
    index.execute("INSERT INTO archive VALUES (?, ?)", state)
    index.commit()


def _scan(path: Path) -> Iterator[tuple[str, int, int, str]]:
    """Name, first byte, size and problem of every image. Only headers are read."""
    with path.open("rb", buffering=0) as file:  # unbuffered, so that a header is 512 bytes
        try:
            with tarfile.open(fileobj=file, mode="r:", tarinfo=StrictTarInfo) as tar:
                for info in Progress(_headers(tar), None, f"list {path.name}", "members"):
                    name = utf8_name(info.name)
                    if member := image_member(name, info.size, _problem(info)):
                        yield member.name, info.offset_data, info.size, member.problem
        except tarfile.TarError as error:
            raise ArchiveError(
                f"{path} is no whole, uncompressed tar archive ({error}); get it again or, if it "
                "is compressed, decompress it"
            ) from error


def _problem(info: tarfile.TarInfo) -> str:
    if info.name != utf8_name(info.name):
        return "its name in the archive is not UTF-8"
    return "" if info.isreg() and not info.issparse() else "a link in its archive"


def _headers(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Every member but folders, without the list of all of them that TarFile keeps."""
    while (info := tar.next()) is not None:
        tar.members.clear()
        if not info.isdir():
            yield info
