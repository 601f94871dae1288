"""A journal of segmented images, with which a killed job resumes.

The file has a line with the format and the hash of the settings, then one record per image: the
length and CRC-32 of the body, and the body, an NPZ. Images are in the order of their shard.
Everything after the last complete and matching record is dropped.
"""

from __future__ import annotations

import io
import logging
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path

import numpy as np

from geoloc.files import told_if_full
from geoloc.locks import only_one
from geoloc.stores import segments_problem
from geoloc.types import Segments

log = logging.getLogger(__name__)

FORMAT = "segments journal 2"
HEADER = struct.Struct("<QI")  # bytes of the body, CRC-32
# What NumPy and zipfile raise when they read something other than a record.
UNREADABLE = (
    ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, OSError, RuntimeError,
    TypeError, ValueError, struct.error, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
ARRAYS = [field.name for field in fields(Segments) if field.name not in ("image_id", "counts")]


class Journal:
    """The segments of the images done so far, in order.

    Args:
        path: the file. It is locked until the `with` block or the process ends.
        settings: identifies the job; records with other settings are dropped.
        image_ids: the images of the shard, in order. Records of other images are dropped.

    Raises:
        BlockingIOError: if another process holds the journal, for example a job that seemed lost
            but is still running. The message names the process.
    """

    def __init__(self, path: str | Path, settings: str, image_ids: Sequence[str]) -> None:
        self.path = Path(path)
        self._held = ExitStack()
        lock = self.path.with_suffix(".lock")
        self._held.enter_context(only_one(lock, "segmenting this shard"))
        try:
            with told_if_full(self.path):
                self._open(f"{FORMAT} {settings}\n".encode(), image_ids)
        except BaseException:
            self._held.close()
            raise

    def _open(self, first: bytes, image_ids: Sequence[str]) -> None:
        """Open the file after its last complete record of this shard; drop the rest."""
        self.path.touch()
        # Unbuffered, so closing has nothing left to write.
        self._file = self._held.enter_context(self.path.open("r+b", buffering=0))
        size = os.fstat(self._file.fileno()).st_size
        if self._file.read(len(first)) != first:
            if size:
                log.info("%s is of other settings, images or a former format; not used", self.path)
            self._file.seek(0)
            self._file.truncate()
            _write(self._file, first)
        self._start, self._count = len(first), 0
        end = self._start
        for image_id, body in zip(image_ids, _bodies(self._file), strict=False):
            found = _unpack(body)
            if found is None or found.image_id != image_id:
                break
            self._count, end = self._count + 1, end + HEADER.size + len(body)
        if size > end:
            log.warning(
                "%s: the last %d bytes are not a whole record; dropped", self.path, size - end
            )
        self._file.seek(end)
        self._file.truncate()

    def __len__(self) -> int:
        return self._count

    def append(self, segments: Segments) -> None:
        """Add an image; it is in the file when this returns."""
        body = _pack(segments)
        with told_if_full(self.path):
            self._file.seek(0, io.SEEK_END)
            _write(self._file, HEADER.pack(len(body), zlib.crc32(body)) + body)
        self._count += 1

    def __iter__(self) -> Iterator[Segments]:
        with self.path.open("rb") as file:
            file.seek(self._start)
            for _, body in zip(range(self._count), _bodies(file), strict=False):
                yield _unpack(body)

    def delete(self) -> None:
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_error: object) -> None:
        self._held.close()


def _write(file: io.RawIOBase, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def _bodies(file: io.RawIOBase | io.BufferedIOBase) -> Iterator[bytes]:
    """Yield complete bodies from the current position, until something else follows."""
    left = os.fstat(file.fileno()).st_size - file.tell()
    while left > HEADER.size:
        length, checksum = HEADER.unpack(file.read(HEADER.size))
        left -= HEADER.size + length
        if not length or left < 0:  # don't trust a length beyond the end of the file
            return
        body = file.read(length)
        if zlib.crc32(body) != checksum:
            return
        yield body


def _pack(segments: Segments) -> bytes:
    buffer = io.BytesIO()
    np.savez(
        buffer,
        image_id=np.array(segments.image_id),
        lengths=np.array([len(runs) for runs in segments.counts], np.int64),
        counts=np.concatenate([np.empty(0, np.uint32), *segments.counts]),
        **{name: np.asarray(getattr(segments, name)) for name in ARRAYS},
    )
    return buffer.getvalue()


def _unpack(body: bytes) -> Segments | None:
    """Return the segments of a record, or None if they are invalid (see `segments_problem`)."""
    try:
        with np.load(io.BytesIO(body), allow_pickle=False) as stored:
            values = {name: stored[name] for name in ARRAYS}
            bounds = np.cumsum(stored["lengths"])
            counts = np.split(stored["counts"], bounds[:-1]) if len(bounds) else []
            values["size"] = tuple(int(side) for side in values["size"])
            segments = Segments(image_id=str(stored["image_id"]), counts=counts, **values)
        return None if segments_problem(segments) else segments
    except UNREADABLE:
        return None
