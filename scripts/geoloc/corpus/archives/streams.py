"""Read archives forward in bounded memory."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import BinaryIO, Protocol

from geoloc.corpus.archives.base import Damage, Refused

CHUNK = 1 << 20  # bytes
READ = 64 << 10  # bytes of a compressed file
MAX_DICTIONARY = 256 << 20  # bytes of memory that xz may take; xz -9 needs 65 MiB
MAX_STREAMS = 1000  # compressed streams in one file, besides one for each KiB of content
MAX_TRAILING = 16 << 20  # bytes after the end of a tar; tar itself fills up to some kilobytes


class Decoder(Protocol):
    """The interface of the standard library's decompressors, for one stream."""

    eof: bool
    unused_data: bytes

    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class GzipDecoder:
    """Gives zlib's decompressor the interface of the others."""

    def __init__(self) -> None:
        self.inner = zlib.decompressobj(wbits=31)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self.inner.decompress(self.inner.unconsumed_tail + data, max_length)

    @property
    def eof(self) -> bool:
        return self.inner.eof

    @property
    def unused_data(self) -> bytes:
        return self.inner.unused_data


def _xz() -> lzma.LZMADecompressor:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MAX_DICTIONARY)


DECODERS: dict[bytes, Callable[[], Decoder]] = {
    b"\x1f\x8b": GzipDecoder,
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7zXZ\0": _xz,
}


class Decompressed:
    """The decompressed content of a gzip, bzip2 or xz file: all its streams, with their checksums.

    Bytes after the last stream are refused, because they would be lost without a message.

    Args:
        file: the compressed file.
        magic: its first bytes, a key of `DECODERS`.
    """

    def __init__(self, file: BinaryIO, magic: bytes) -> None:
        self.file, self.magic = file, magic
        self.decoder: Decoder | None = None
        self.input = b""
        self.pending = False  # whether the decoder may hold content already
        self.streams = self.produced = 0

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes, and no bytes at the end.

        Raises:
            Damage: if the compressed data are damaged or truncated.
            Refused: if bytes follow the last stream, or decompression needs too much memory.
        """
        while self.decoder is not None or self._start():
            data = b"" if self.pending else (self.input or self.file.read(READ))
            ended = not self.pending and not data
            if not self.pending:
                self.input = b""
            content = self._decode(data, size)
            self.pending = bool(content)
            if self.decoder.eof:
                self.input, self.decoder, self.pending = self.decoder.unused_data, None, False
            elif ended and not content:
                raise Damage("cut off in its compressed data")
            if content:
                self.produced += len(content)
                return content
        return b""

    def _start(self) -> bool:
        """Start the next stream, if one exists."""
        while self.streams and not self.input.strip(b"\0"):  # streams are filled up with zeros
            self.input = self.file.read(READ)
            if not self.input:
                return False
        if self.streams:
            self.input = self.input.lstrip(b"\0")
            self.input += self.file.read(len(self.magic)) if len(self.input) < 8 else b""
            if not self.input.startswith(self.magic):
                raise Refused("it has extra bytes after its compressed data")
        self.streams += 1
        if self.streams > MAX_STREAMS + self.produced / 1024:
            raise Refused("it has too many compressed streams with hardly any content")
        self.decoder = DECODERS[self.magic]()
        return True

    def _decode(self, data: bytes, size: int) -> bytes:
        try:
            return self.decoder.decompress(data, size)
        except lzma.LZMAError as error:
            if "memory" in str(error).lower():
                raise Refused(
                    f"decompressing it needs more than {MAX_DICTIONARY >> 20} MiB of memory"
                ) from error
            raise Damage(f"damaged compressed data: {error}") from error
        except (zlib.error, OSError, ValueError, EOFError) as error:
            raise Damage(f"damaged compressed data: {error}") from error


class Stream:
    """An archive that is read forward. `position` counts from its first byte.

    Args:
        file: the archive, or its decompressed content.
        size: size of a seekable file in bytes; if None, skipped bytes are read.
    """

    def __init__(self, file: BinaryIO | Decompressed, size: int | None = None) -> None:
        self.file, self.size, self.position = file, size, 0

    def seek(self, position: int) -> None:
        """Continue at another byte. Needs a file with a known size."""
        self.file.seek(position)
        self.position = position

    def copy(self, count: int) -> Iterator[bytes]:
        """Yield the next `count` bytes in pieces.

        Raises:
            Damage: if fewer bytes are left.
        """
        while count > 0:
            data = self.file.read(min(count, CHUNK))
            if not data:
                raise Damage(f"cut off at byte {self.position}")
            self.position += len(data)
            count -= len(data)
            yield data

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes at once; the caller has checked that they are few."""
        return b"".join(self.copy(count))

    def skip(self, count: int) -> None:
        """Skip `count` bytes.

        Raises:
            Damage: if fewer bytes are left.
        """
        if self.size is None:
            for _ in self.copy(count):
                pass
        elif self.position + count > self.size:
            raise Damage(
                f"cut off: it has {self.size} bytes, expected at least {self.position + count}"
            )
        elif count:
            self.seek(self.position + count)

    def check_end(self) -> None:
        """Read the bytes after the end of the archive, including the checksum of compressed data.

        Raises:
            Refused: if they are not only some zeros.
            Damage: if the compressed data are damaged.
        """
        start, zeros = self.position, True
        known = 0 if self.size is None else self.size - start
        while known <= MAX_TRAILING and (data := self.file.read(CHUNK)):
            self.position += len(data)
            zeros = zeros and data.count(0) == len(data)
            known = max(known, self.position - start)
        if known > MAX_TRAILING:
            raise Refused(
                f"it has more than {MAX_TRAILING >> 20} MiB after its end at byte {start}"
            )
        if not zeros:
            raise Refused(f"it has extra data after its end at byte {start}")
