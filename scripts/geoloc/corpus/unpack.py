"""Archives of images from elsewhere, unpacked without trust: only regular files and folders, at
paths that are checked here, no more than was announced; the folder appears only when complete."""

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
MAX_EXPANSION = 20  # of an archive of pictures, which hardly shrink; a bomb expands a thousandfold
SMALL = 256 << 20  # bytes below which an archive may expand as it likes
MAX_FILES = 50_000_000
MIN_COST = 4096  # bytes that every file and folder takes at least, on the disk or of time

Contents = Iterator[tuple[Entry, Iterable[bytes]]]


class _Budget:
    """How much an archive may still write."""

    def __init__(self, archive: Path, folder: Path) -> None:
        self.files = MAX_FILES
        self.allowed = max(SMALL, MAX_EXPANSION * archive.stat().st_size)
        self.free = shutil.disk_usage(folder).free

    def spend(self, size: int) -> None:
        """Take off a member of `size` bytes. Raises Refused where it is too much."""
        size = max(size, MIN_COST)
        self.files -= 1
        self.allowed -= size
        self.free -= size
        if self.allowed < 0 or self.files < 0:
            raise Refused(
                f"it unpacks to more than {MAX_EXPANSION} times its size or to more than "
                f"{MAX_FILES} files, which images do not"
            )
        if self.free < 0:
            raise Refused(
                f"it needs more room than is free; make {-self.free / 1e9:.1f} GB free at least"
            )


def find_archive(folder: Path) -> Path | None:
    """The archive that was put next to `folder` under its name (`geoguessr.zip`), if one exists.

    Raises ArchiveError where there are several."""
    found = [folder.with_name(folder.name + suffix) for suffix in SUFFIXES]
    found = [path for path in found if path.is_file()]
    if len(found) > 1:
        raise ArchiveError(
            f"both {found[0]} and {found[1]} could become {folder}; take one of them away"
        )
    return found[0] if found else None


def unpack(
    archive: Path, folder: Path, arrange: Callable[[Path], None] = lambda folder: None
) -> None:
    """Unpack a zip or tar archive into `folder`, which appears only when complete and after
    `arrange`, called with the folder under its temporary name.

    Files get the rights and the time of new files. Files of operating systems, such as `__MACOSX/`,
    are left out.

    Raises:
        DamagedArchive: for what is no archive or no whole one.
        ArchiveError: for an archive with links, special or encrypted files, names that point
            outside the folder or are one file on some file system, data after its end, or more
            content than its size allows or the disk has room for.
    """
    temporary = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(temporary, ignore_errors=True)
    if os.path.lexists(temporary):
        raise ArchiveError(f"{temporary} is in the way of unpacking {archive}; delete it")
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
        raise DamagedArchive(f"cannot unpack {archive}: {error}; fetch it again") from error
    except Refused as error:
        raise ArchiveError(
            f"cannot unpack {archive}: {error}. If you trust it, unpack it by hand"
        ) from error
    except OSError as error:
        raise ArchiveError(f"cannot unpack {archive}: {error}; mend that and run again") from error


def _contents(archive: Path, folder: Path) -> Contents:
    """Every member with its content, which is read before the next one or not at all."""
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
            raise Damage(
                f"it is neither a zip nor a tar archive but {described(archive)}, or was cut off"
            )


def is_archive_start(start: bytes) -> bool:
    """Whether a file with this start, of a block or more, may be an archive that `unpack` reads."""
    return start.startswith(SIGNATURES) or _compression(start) is not None or _is_tar(start[:BLOCK])


def _compression(start: bytes) -> bytes | None:
    return next((magic for magic in DECODERS if start.startswith(magic)), None)


def _is_tar(block: bytes) -> bool:
    """Whether the first block of a file is that of a tar, with or without the mark that old ones
    lack, or its end."""
    try:
        tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.EOFHeaderError:
        return True
    except tarfile.HeaderError:
        return block[257:262] == b"ustar"
    return True


def _zip_contents(archive: Path, rehearsal: _Plan) -> Contents:
    """The list of members stands by itself, so that all are checked before the first is written."""
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
        """The checked path of a member, None for one that is left out. Raises Refused."""
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
            raise Refused(f"it holds {shown(path)} twice")
        if other is not None:
            raise Refused(
                f"its members {shown(other)} and {shown(path)} are the same file, or a file and a "
                "folder of one name, on some file systems"
            )
        return path


def _write(folder: Path, path: str, entry: Entry, content: Iterable[bytes]) -> None:
    """Make a folder, or write a file that did not exist. No link is ever made in `folder`, so none
    can be followed."""
    target = folder / path
    if entry.kind == FOLDER:
        target.mkdir(mode=0o755, parents=True, exist_ok=True)
        return
    target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(target, flags, mode=0o644), "wb", buffering=0) as file:
        for data in content:
            view = memoryview(data)
            while view:  # a full disk can take a part
                view = view[file.write(view) :]
