"""Images in zip and tar archives, read without unpacking.

The path of an image in an archive treats the archive as a folder: `train/00.zip/00/317.jpg` is the
member `00/317.jpg` of `train/00.zip`. The path is unambiguous, because a name can't be both a file
and a folder.
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
    """Return whether a file name is that of an archive whose members can be read one by one."""
    return name.lower().endswith(tuple(ARCHIVES))


def is_packed(name: str) -> bool:
    """Return whether a file name is that of an archive that is compressed as a whole."""
    return name.lower().endswith(PACKED)


def open_archive(path: Path) -> ZipArchive | TarArchive:
    """Open a zip or tar archive.

    Raises:
        ArchiveError: if it can't be read.
    """
    return ARCHIVES[path.suffix.lower()](path)


def list_members(path: Path) -> Iterator[Member]:
    """List the images of an archive without reading them.

    Raises:
        ArchiveError: if the archive is damaged.
    """
    with closing(open_archive(path)) as archive:
        yield from archive.members()


class ImageFiles:
    """Reads the images of a folder, including those in archives.

    The last archive stays open, so images sorted by path open each archive only once.

    Args:
        folder: the folder that paths are relative to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path: Path | None = None
        self.archive: ZipArchive | TarArchive | None = None

    def read(self, path: str) -> bytes:
        """Return the bytes of the image at `path`, relative to the folder.

        Raises:
            UnreadableImage: if the image is too large or not a regular file, or if it is a member
                that is missing, encrypted or damaged.
            OSError: if the file can't be read.
        """
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
        """Split a path into the archive and the name of its member."""
        parts = path.split("/")
        for count in range(1, len(parts)):
            archive = self.folder.joinpath(*parts[:count])
            if archive.is_file() and is_archive(archive.name):
                return archive, "/".join(parts[count:])
        raise UnreadableImage(f"{path} is not in an archive")

    def close(self) -> None:
        """Close the archive that is still open."""
        if self.archive is not None:
            self.archive.close()
        self.path = self.archive = None

    def __enter__(self) -> ImageFiles:
        return self

    def __exit__(self, *error) -> None:
        self.close()
