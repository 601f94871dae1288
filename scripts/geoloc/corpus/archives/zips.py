"""Read zip archives and the images in them."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from geoloc.corpus.archives.base import ENCRYPTED, FILE, FOLDER, ArchiveError, Damage, Entry, Member
from geoloc.corpus.archives.images import Doubles, image_member
from geoloc.corpus.archives.streams import CHUNK
from geoloc.images import UnreadableImage

FLAG_ENCRYPTED = 0x1  # bit of a member's flags
SIGNATURES = (b"PK\3\4", b"PK\5\6", b"PK00PK\3\4")  # a member, an empty archive, the first of parts
MAX_START = 4  # byte of the first member, behind the mark of an archive in parts
LOCAL_HEADER = 30  # bytes before a member's name and content
MAX_DIRECTORY = 512 << 20  # bytes of the list of members: more than five million names
SMALL_DIRECTORY = 16 << 20  # bytes; a larger one must be less than half of the archive
# zipfile expands bzip2 and LZMA without a limit, a gigabyte from one kilobyte.
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
LINKS = {
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
}
# What zipfile and the decompressors raise for damaged bytes.
DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    RuntimeError,
    ValueError,
    LookupError,
    OverflowError,
)


class NoSuchPlace(zipfile.BadZipFile, OSError):
    """An offset outside the file. Also an OSError, which zipfile expects from `seek`."""


class BoundedFile(io.BufferedReader):
    """A file that limits how much zipfile reads at once, and rejects offsets outside the file."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))
        self.size = path.stat().st_size
        self.limit = min(MAX_DIRECTORY, max(SMALL_DIRECTORY, self.size // 2))

    def read(self, size: int | None = -1) -> bytes:
        """Read like a file. Raises BadZipFile if more is wanted than a list of members may have."""
        wanted = self.size - self.tell() if size is None or size < 0 else size
        if wanted > self.limit:
            raise zipfile.BadZipFile(f"a list of members of {wanted} bytes")
        return super().read(size)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Seek like a file. Raises NoSuchPlace for an offset outside the file."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self.tell(), io.SEEK_END: self.size}[whence]
        if not 0 <= start + offset <= self.size:
            raise NoSuchPlace(f"an offset to byte {start + offset} of {self.size}")
        return super().seek(offset, whence)


class CheckedZip(zipfile.ZipFile):
    """A ZipFile that also closes the file that it was given."""

    def close(self) -> None:
        """Close the archive and its file."""
        file = self.fp
        super().close()
        if file is not None:
            file.close()


def open_zip(path: Path) -> zipfile.ZipFile:
    """Open a zip archive and check where its members are.

    Raises:
        Damage: if it is not a complete zip archive, its members overlap, or bytes precede them.
        OSError: if the file can't be read.
    """
    raw = BoundedFile(path)
    try:
        if not raw.peek(8).startswith(SIGNATURES):
            raise Damage("it does not start like a zip archive")
        file = CheckedZip(raw)
        _check_places(file)
    except DAMAGED as error:
        raw.close()
        if isinstance(error, Damage):
            raise
        if str(error) == "File is not a zip file":
            raise Damage("its list of members is missing: it was cut off") from error
        raise Damage(str(error) or type(error).__name__) from error
    return file


def _check_places(file: zipfile.ZipFile) -> None:
    """Raise Damage if members share bytes, as in a zip bomb, or if the first one does not start the
    file, as with two archives in one file."""
    end = file.start_dir
    for info in sorted(file.infolist(), key=lambda info: -info.header_offset):
        name = len(info.orig_filename)  # characters, no more than its bytes
        if info.header_offset + LOCAL_HEADER + name + info.compress_size > end:
            raise Damage(f"{info.orig_filename!r:.99} reaches into what follows it")
        end = info.header_offset
    if end > MAX_START and file.infolist():
        raise Damage(f"{end} bytes before its first member")


def zip_entry(info: zipfile.ZipInfo) -> Entry:
    """Return a member as the archive describes it, with its full name even if it has a NUL."""
    raw = info.orig_filename if "\0" in info.orig_filename else info.filename
    return Entry(raw, _kind(raw, info), info.file_size, info.file_size)


def _kind(raw: str, info: zipfile.ZipInfo) -> str:
    mode = stat.S_IFMT(info.external_attr >> 16)
    if mode in LINKS:
        return LINKS[mode]
    if raw.endswith(("/", "\\")) or mode == stat.S_IFDIR:
        return "a folder with data" if info.file_size or info.compress_size > 2 else FOLDER
    if info.compress_type not in METHODS:
        return "a file with a compression other than deflate"
    return ENCRYPTED if info.flag_bits & FLAG_ENCRYPTED else FILE


def zip_content(file: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    """Yield the content of a member in pieces and check its checksum.

    Raises:
        Damage: if the content is damaged or truncated.
    """
    left = info.file_size
    try:
        with file.open(info) as stream:
            while data := stream.read(CHUNK):
                left -= len(data)
                yield data
    except DAMAGED as error:
        raise Damage(str(error) or type(error).__name__) from error
    if left:
        raise Damage(f"{left} of its bytes are missing")


class ZipArchive:
    """The images of a zip archive. Its list of members is read when it is opened.

    Args:
        path: the archive.

    Raises:
        ArchiveError: if it is not a complete zip archive.
    """

    def __init__(self, path: Path) -> None:
        try:
            self.file = open_zip(path)
        except Damage as error:
            raise ArchiveError(
                f"{path} is not a complete zip archive ({error}); get it again"
            ) from error
        self.images: dict[str, tuple[Member, zipfile.ZipInfo]] = {}
        doubles = Doubles()
        for info in self.file.infolist():
            if member := image_member(zip_entry(info)):
                self.images[member.name] = member, info
                doubles.check(member)
        for name, problem in doubles.problems.items():
            self.images[name] = Member(name, problem), self.images[name][1]

    def members(self) -> Iterator[Member]:
        """Return every image, in the order of the archive."""
        return (member for member, _ in self.images.values())

    def read(self, name: str) -> bytes:
        """Return the bytes of an image.

        Raises:
            UnreadableImage: with the reason.
        """
        if name not in self.images:
            raise UnreadableImage("missing from its archive")
        member, info = self.images[name]
        if member.problem:
            raise UnreadableImage(member.problem)
        try:
            return b"".join(zip_content(self.file, info))
        except Damage as error:
            raise UnreadableImage(f"damaged in its archive: {error}") from error

    def close(self) -> None:
        """Close the archive."""
        self.file.close()
