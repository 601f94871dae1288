"""Images in a zip archive."""

from __future__ import annotations

import lzma
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from geoloc.archives.base import ArchiveError, Member, image_member
from geoloc.images import UnreadableImage

ENCRYPTED = 0x1  # bit of a member's flags
DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError, ValueError)


class ZipArchive:
    """The images of a zip archive, whose directory is read when it is opened."""

    def __init__(self, path: Path) -> None:
        """Raises ArchiveError for what is no whole zip archive."""
        try:
            self.file = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError) as error:
            raise ArchiveError(f"{path} is no whole zip archive ({error}); get it again") from error
        self.infos: dict[str, tuple[Member, zipfile.ZipInfo]] = {}
        for info in self.file.infolist():  # of equal names the last counts, as when unpacked
            problem = "encrypted in its archive" if info.flag_bits & ENCRYPTED else ""
            if member := image_member(info.filename, info.file_size, problem):
                self.infos[member.name] = member, info

    def members(self) -> Iterator[Member]:
        """Every image, in the order of the archive."""
        return (member for member, _ in self.infos.values())

    def read(self, name: str) -> bytes:
        """The bytes of an image. Raises UnreadableImage with the reason."""
        if name not in self.infos:
            raise UnreadableImage("the archive has no such member")
        member, info = self.infos[name]
        if member.problem:
            raise UnreadableImage(member.problem)
        try:
            return self.file.read(info)
        except DAMAGED as error:
            raise UnreadableImage(f"damaged in its archive: {error}") from error

    def close(self) -> None:
        self.file.close()
