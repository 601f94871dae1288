"""Parse the headers of a tar archive.

`tarfile` reads PAX headers and long names of any size into memory, follows negative sizes, and
mistakes damage for the end. Here it only parses single blocks of 512 bytes; this module checks
everything else.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass

from geoloc.corpus.archives.base import FILE, FOLDER, Damage, Entry
from geoloc.corpus.archives.streams import Stream

BLOCK = tarfile.BLOCKSIZE
MAX_EXTRA = 1 << 20  # bytes of a PAX header or long name; with all attributes, one has kilobytes
MAX_HEADERS = 16  # before one member; a long name, a long link and PAX headers are four
LONG = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
PAX = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
WITHOUT_DATA = {
    tarfile.LNKTYPE: "a hard link",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.CHRTYPE: "a character device",
    tarfile.BLKTYPE: "a block device",
    tarfile.FIFOTYPE: "a FIFO",
}
SPARSE_MORE = {BLOCK: 504, 0: 482}  # where an old sparse header says that another follows


@dataclass(frozen=True, slots=True)
class TarEntry(Entry):
    """A member whose headers begin at byte `at` and whose content begins at byte `start`."""

    at: int
    start: int


def members(stream: Stream) -> Iterator[TarEntry]:
    """Yield every member of an archive, and check the bytes after its end.

    The caller may read the content of each member from the stream before it asks for the next.

    Raises:
        Damage: if a member is damaged or the end is missing.
        Refused: if data follow the end.
    """
    while (entry := next_member(stream)) is not None:
        yield entry
        stream.skip(entry.at + entry.cost - stream.position)
    stream.check_end()


def next_member(stream: Stream) -> TarEntry | None:
    """Read the headers of the next member, up to its content.

    Returns:
        The member, or None at the end of the archive.

    Raises:
        Damage: if the headers are damaged.
    """
    at, pax, long_name = stream.position, {}, None
    for _ in range(MAX_HEADERS):
        block = stream.take(BLOCK)
        if not any(block):
            if stream.position - at > BLOCK:
                raise Damage(f"headers without a member at byte {at}")
            return None
        info = _parse(block, stream.position - BLOCK)
        if info.type in LONG:
            data = _extra(stream, info.size)
            if info.type == tarfile.GNUTYPE_LONGNAME:
                long_name = data.partition(b"\0")[0].decode("utf-8", "surrogateescape")
        elif info.type in PAX:
            pax = _records(_extra(stream, info.size))
        elif info.type == tarfile.XGLTYPE:
            if {"path", "size"} & set(_records(_extra(stream, info.size))):
                raise Damage(f"one name or size for all members at byte {at}")
        else:
            return _entry(stream, block, info, at, pax, long_name)
    raise Damage(f"more than {MAX_HEADERS} headers before a member at byte {at}")


def _parse(block: bytes, at: int) -> tarfile.TarInfo:
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError) as error:
        raise Damage(f"damaged header at byte {at}: {error}") from error
    if info.size < 0:
        raise Damage(f"damaged header at byte {at}: a size of {info.size} bytes")
    return info


def _extra(stream: Stream, size: int) -> bytes:
    if size > MAX_EXTRA:
        raise Damage(f"a header of {size} bytes at byte {stream.position - BLOCK}")
    data = stream.take(size)
    stream.skip(-size % BLOCK)
    return data


def _records(data: bytes) -> dict[str, str]:
    """Parse a PAX header: entries of the form `LENGTH KEY=VALUE` and a line feed."""
    records, position = {}, 0
    while position < len(data) and data[position]:
        digits, space, _ = data[position : position + 20].partition(b" ")
        length = int(digits) if digits.isdigit() else 0
        record = data[position + len(digits) + 1 : position + length]
        key, equals, value = record[:-1].partition(b"=")
        if not space or not equals or record[-1:] != b"\n" or position + length > len(data):
            raise Damage("a damaged PAX header")
        records[key.decode("utf-8", "replace")] = value.decode("utf-8", "surrogateescape")
        position += length
    return records


def _entry(
    stream: Stream, block: bytes, info: tarfile.TarInfo, at: int, pax: dict, long_name: str | None
) -> TarEntry:
    raw = pax.get("path") or long_name or info.name
    size, kind = info.size, _kind(info.type, pax)
    if (digits := pax.get("size")) is not None:
        if not digits.isascii() or not digits.isdigit() or len(digits) > 19:
            raise Damage(f"damaged header at byte {at}: a size of {digits[:20]!r} bytes")
        size = int(digits)
    if info.type in WITHOUT_DATA:
        size = 0  # some programs give a link the size of the file
    elif kind == FOLDER and size:
        raise Damage(f"a folder with data at byte {at}")
    if info.type == tarfile.GNUTYPE_SPARSE:
        flag = SPARSE_MORE[0]
        while block[flag]:
            block, flag = stream.take(BLOCK), SPARSE_MORE[BLOCK]
    start = stream.position
    return TarEntry(raw, kind, size, start - at + size + -size % BLOCK, at, start)


def _kind(typeflag: bytes, pax: dict) -> str:
    if typeflag in WITHOUT_DATA:
        return WITHOUT_DATA[typeflag]
    if typeflag == tarfile.DIRTYPE:
        return FOLDER
    if typeflag == tarfile.GNUTYPE_SPARSE or any(key.startswith("GNU.sparse.") for key in pax):
        return "a sparse file"
    if typeflag in (tarfile.REGTYPE, tarfile.AREGTYPE):
        return FILE
    return f"a member of the unknown type {typeflag!r}"
