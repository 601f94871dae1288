"""Bytes of archives, read forward in bounded memory."""

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
    """A decompressor of the standard library, for one stream."""

    eof: bool
    unused_data: bytes

    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class GzipDecoder:
    """zlib's, with the interface of the others."""

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
    """The content of a file in gzip, bzip2 or xz, of all its streams one after another, with their
    checksums checked. Bytes after the last stream are refused, as they would be lost in silence."""

    def __init__(self, file: BinaryIO, magic: bytes) -> None:
        self.file, self.magic = file, magic
        self.decoder: Decoder | None = None
        self.input = b""
        self.pending = False  # whether the decoder may hold content already
        self.streams = self.produced = 0

    def read(self, size: int) -> bytes:
        """Up to `size` bytes, none at the end. Raises Damage or Refused."""
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
        """Begin the next stream, if there is one."""
        while self.streams and not self.input.strip(b"\0"):  # streams are filled up with zeros
            self.input = self.file.read(READ)
            if not self.input:
                return False
        if self.streams:
            self.input = self.input.lstrip(b"\0")
            self.input += self.file.read(len(self.magic)) if len(self.input) < 8 else b""
            if not self.input.startswith(self.magic):
                raise Refused("bytes follow the end of its compressed data")
        self.streams += 1
        if self.streams > MAX_STREAMS + self.produced / 1024:
            raise Refused("it consists of too many compressed streams with hardly any content")
        self.decoder = DECODERS[self.magic]()
        return True

    def _decode(self, data: bytes, size: int) -> bytes:
        try:
            return self.decoder.decompress(data, size)
        except lzma.LZMAError as error:
            if "memory" in str(error).lower():
                raise Refused(
                    f"it takes more than {MAX_DICTIONARY >> 20} MiB of memory to decompress"
                ) from error
            raise Damage(f"damaged compressed data: {error}") from error
        except (zlib.error, OSError, ValueError, EOFError) as error:
            raise Damage(f"damaged compressed data: {error}") from error


class Stream:
    """An archive that is read forward. `position` counts from its first byte."""

    def __init__(self, file: BinaryIO | Decompressed, size: int | None = None) -> None:
        """`size` is that of a file that can be sought in; without it, what is skipped is read."""
        self.file, self.size, self.position = file, size, 0

    def seek(self, position: int) -> None:
        """Go on at another byte; only of a file with a known size."""
        self.file.seek(position)
        self.position = position

    def copy(self, count: int) -> Iterator[bytes]:
        """The next `count` bytes in pieces. Raises Damage where there are fewer."""
        while count > 0:
            data = self.file.read(min(count, CHUNK))
            if not data:
                raise Damage(f"cut off at byte {self.position}")
            self.position += len(data)
            count -= len(data)
            yield data

    def take(self, count: int) -> bytes:
        """The next `count` bytes, which the caller has found to be few."""
        return b"".join(self.copy(count))

    def skip(self, count: int) -> None:
        """Pass over `count` bytes. Raises Damage where there are fewer."""
        if self.size is None:
            for _ in self.copy(count):
                pass
        elif self.position + count > self.size:
            raise Damage(f"cut off: byte {self.position + count} is announced, {self.size} exist")
        elif count:
            self.seek(self.position + count)

    def check_end(self) -> None:
        """Read what follows the end of the archive, with the checksum of compressed data.

        Raises:
            Refused: for anything but some zeros.
            Damage: for damaged compressed data.
        """
        start, zeros = self.position, True
        known = 0 if self.size is None else self.size - start
        while known <= MAX_TRAILING and (data := self.file.read(CHUNK)):
            self.position += len(data)
            zeros = zeros and data.count(0) == len(data)
            known = max(known, self.position - start)
        if known > MAX_TRAILING:
            raise Refused(f"more than {MAX_TRAILING >> 20} MiB follow its end at byte {start}")
        if not zeros:
            raise Refused(f"other data follow its end at byte {start}")
