"""Images in zip and tar archives, read without unpacking.

An image in an archive has the path that it would have if the archive were a folder of its name:
`train/00.zip/00/317.jpg` is the member `00/317.jpg` of `train/00.zip`. The path says by itself
which of its parts is the archive, since a name cannot be both a file and a folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from geoloc.corpus.archives.base import ArchiveError, DamagedArchive, Member
from geoloc.corpus.archives.tars import TarArchive
from geoloc.corpus.archives.zips import ZipArchive
from geoloc.images import UnreadableImage, read_file

__all__ = [
    "ArchiveError",
    "DamagedArchive",
    "ImageFiles",
    "Member",
    "is_archive",
    "is_packed",
    "list_members",
]

ARCHIVES = {".zip": ZipArchive, ".tar": TarArchive}
PACKED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".7z", ".rar")


def is_archive(name: str) -> bool:
    """Whether a file is by its name an archive whose members can be read one by one."""
    return name.lower().endswith(tuple(ARCHIVES))


def is_packed(name: str) -> bool:
    """Whether a file is by its name an archive that is compressed as a whole."""
    return name.lower().endswith(PACKED)


def open_archive(path: Path) -> ZipArchive | TarArchive:
    """Open an archive. Raises ArchiveError where it cannot be read."""
    return ARCHIVES[path.suffix.lower()](path)


def list_members(path: Path) -> Iterator[Member]:
    """The images of an archive; none of them is read. Raises ArchiveError where the archive is
    damaged."""
    with closing(open_archive(path)) as archive:
        yield from archive.members()


class ImageFiles:
    """Reads the images of a folder, also those in archives. The last archive stays open, so that
    images that are sorted by path open each archive once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path: Path | None = None
        self.archive: ZipArchive | TarArchive | None = None

    def read(self, path: str) -> bytes:
        """The bytes of the image at `path` below the folder. Raises OSError, or UnreadableImage for
        what is not a regular file, too large, or a member that is missing, encrypted or damaged."""
        try:
            return read_file(self.folder / path)
        except NotADirectoryError:
            archive, member = self._split(path)
        if archive != self.path:
            self.close()
            try:
                self.archive = open_archive(archive)
            except ArchiveError as error:
                raise UnreadableImage(str(error)) from error
            self.path = archive
        return self.archive.read(member)

    def _split(self, path: str) -> tuple[Path, str]:
        """The archive and the member that a path means."""
        parts = path.split("/")
        for count in range(1, len(parts)):
            archive = self.folder.joinpath(*parts[:count])
            if archive.is_file() and is_archive(archive.name):
                return archive, "/".join(parts[count:])
        raise UnreadableImage(f"{path} is in no archive")

    def close(self) -> None:
        """Close the archive that is open."""
        if self.archive is not None:
            self.archive.close()
        self.path = self.archive = None

    def __enter__(self) -> ImageFiles:
        return self

    def __exit__(self, *error) -> None:
        self.close()
