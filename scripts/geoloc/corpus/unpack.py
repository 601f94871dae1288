"""Unpack untrusted archives: only regular files and folders, at checked paths, up to a size limit.

The target folder appears only when it is complete.
"""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from geoloc.corpus.archives import ArchiveError, DamagedArchive
from geoloc.corpus.archives.base import FILE, FOLDER, Damage, Entry, Refused
from geoloc.corpus.archives.names import Names, member_path, shown
from geoloc.corpus.archives.streams import DECODERS, Decompressed, Stream
from geoloc.corpus.archives.tar_headers import BLOCK, members
from geoloc.corpus.archives.zips import SIGNATURES, open_zip, zip_content, zip_entry
from geoloc.corpus.file_starts import described
from geoloc.progress import Progress

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
MAX_EXPANSION = 20  # pictures hardly shrink when packed; a bomb expands a thousandfold
SMALL = 256 << 20  # bytes that any archive may expand to
MAX_FILES = 50_000_000
MIN_COST = 4096  # bytes that each file and folder counts as at least

Contents = Iterator[tuple[Entry, Iterable[bytes]]]


class _Budget:
    """How many files and bytes an archive may still write."""

    def __init__(self, archive: Path, folder: Path) -> None:
        self.files = MAX_FILES
        self.allowed = max(SMALL, MAX_EXPANSION * archive.stat().st_size)
        self.free = shutil.disk_usage(folder).free

    def spend(self, size: int) -> None:
        """Count a member of `size` bytes, and raise Refused if it exceeds a limit."""
        size = max(size, MIN_COST)
        self.files -= 1
        self.allowed -= size
        self.free -= size
        if self.allowed < 0 or self.files < 0:
            raise Refused(
                f"it unpacks to more than {MAX_EXPANSION} times its size or to more than "
                f"{MAX_FILES} files, which is implausible for images"
            )
        if self.free < 0:
            raise Refused(f"not enough disk space; free at least {-self.free / 1e9:.1f} GB")


def find_archive(folder: Path) -> Path | None:
    """Find the archive next to `folder` that has its name, such as `geoguessr.zip`.

    Returns:
        Its path, or None if it does not exist.

    Raises:
        ArchiveError: if several exist.
    """
    found = [folder.with_name(folder.name + suffix) for suffix in SUFFIXES]
    found = [path for path in found if path.is_file()]
    if len(found) > 1:
        raise ArchiveError(
            f"both {found[0]} and {found[1]} could be unpacked to {folder}; remove one of them"
        )
    return found[0] if found else None


def unpack(
    archive: Path, folder: Path, arrange: Callable[[Path], None] = lambda folder: None
) -> None:
    """Unpack a zip or tar archive into `folder`, which appears only when it is complete.

    Files get the permissions and times of new files. Files that operating systems create, such as
    `__MACOSX/`, are skipped.

    Args:
        archive: the archive.
        folder: the folder to create; an existing one is replaced.
        arrange: called with the unpacked folder under its temporary name.

    Raises:
        DamagedArchive: if the archive is damaged or truncated, or the file is not an archive.
        ArchiveError: if it has links, special or encrypted files, names that point outside the
            folder or mean the same file on some file system, data after its end, or more content
            than its size allows or the disk has room for.
    """
    temporary = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    if os.path.lexists(temporary):
        raise ArchiveError(f"cannot unpack {archive}: {temporary} is in the way; delete it")
    temporary.mkdir(parents=True)
    try:
        _extract(archive, temporary)
        arrange(temporary)
        shutil.rmtree(folder, ignore_errors=True)
        temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _extract(archive: Path, folder: Path) -> None:
    plan = _Plan(_Budget(archive, folder))
    try:
        for entry, content in Progress(_contents(archive, folder), None, "unpack", "files"):
            if path := plan.admit(entry):
                _write(folder, path, entry, content)
    except Damage as error:
        raise DamagedArchive(f"cannot unpack {archive}: {error}; get it again") from error
    except Refused as error:
        raise ArchiveError(
            f"cannot unpack {archive}: {error}. If you trust it, unpack it by hand"
        ) from error
    except OSError as error:
        raise ArchiveError(f"cannot unpack {archive}: {error}; fix this and run again") from error


def _contents(archive: Path, folder: Path) -> Contents:
    """Yield every member with its content, to be read before the next member is requested."""
    with archive.open("rb") as file:
        start = file.read(BLOCK)
        file.seek(0)
        magic = _compression(start)
        if start.startswith(SIGNATURES):
            yield from _zip_contents(archive, _Plan(_Budget(archive, folder)))
        elif magic is not None:
            yield from _tar_contents(Stream(Decompressed(file, magic)))
        elif _is_tar(start):
            yield from _tar_contents(Stream(file, archive.stat().st_size))
        else:
            raise Damage(f"it is {described(archive)}, not a zip or tar archive, or it was cut off")


def is_archive_start(start: bytes) -> bool:
    """Return whether a file with these first bytes (512 or more) may be an archive for `unpack`."""
    return start.startswith(SIGNATURES) or _compression(start) is not None or _is_tar(start[:BLOCK])


def _compression(start: bytes) -> bytes | None:
    return next((magic for magic in DECODERS if start.startswith(magic)), None)


def _is_tar(block: bytes) -> bool:
    """Whether the first block of a file is that of a tar archive, possibly an old or empty one."""
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.EOFHeaderError:
        return True
    except tarfile.HeaderError:
        return block[257:262] == b"ustar"
    return True


def _zip_contents(archive: Path, rehearsal: _Plan) -> Contents:
    """Check all members before the first is written; a zip archive has a list of them."""
    with open_zip(archive) as file:
        for info in file.infolist():
            rehearsal.admit(zip_entry(info))
        for info in file.infolist():
            yield zip_entry(info), zip_content(file, info)


def _tar_contents(stream: Stream) -> Contents:
    for entry in members(stream):
        yield entry, stream.copy(entry.size)


class _Plan:
    """Decides what of an archive is written, and where."""

    def __init__(self, budget: _Budget) -> None:
        self.budget, self.names = budget, Names()

    def admit(self, entry: Entry) -> str | None:
        """Return the checked path of a member, or None to skip it. Raises Refused."""
        self.budget.spend(entry.cost)
        folder = entry.kind == FOLDER
        try:
            path = member_path(entry.raw, entry.kind != FILE)
        except Refused as error:
            raise Refused(f"member {shown(entry.raw)}: {error}") from error
        if path is None:
            return None
        if entry.kind not in (FILE, FOLDER):
            raise Refused(f"member {shown(entry.raw)} is {entry.kind}")
        other = self.names.add(path, folder)
        if other == path:
            raise Refused(f"it has {shown(path)} twice")
        if other is not None:
            raise Refused(
                f"on some file systems, its members {shown(other)} and {shown(path)} are the same "
                "file, or a file and a folder with the same name"
            )
        return path


def _write(folder: Path, path: str, entry: Entry, content: Iterable[bytes]) -> None:
    """Make a folder or write a new file. `folder` never has a link in it that could be followed."""
    target = folder / path
    if entry.kind == FOLDER:
        target.mkdir(mode=0o755, parents=True, exist_ok=True)
        return
    target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(target, flags, mode=0o644), "wb", buffering=0) as file:
        for data in content:
            view = memoryview(data)
            while view:  # a full disk may write only a part
                view = view[file.write(view) :]
