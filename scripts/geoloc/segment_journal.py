"""A journal of segmented images, so that a killed job goes on where it was.

The file is a line with the hash of the settings, then one record an image: length and CRC-32 of
its body, and the body, an NPZ. A record cut short by a kill is recognised and dropped.
"""

from __future__ import annotations

import errno
import fcntl
import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import numpy as np

from geoloc.stores import Segments

HEADER = struct.Struct("<QI")  # bytes of the body, CRC-32
ARRAYS = [field.name for field in fields(Segments) if field.name not in ("image_id", "counts")]


class Journal:
    """Segments of the images done so far, in order; `settings` tells one job from another.

    Records of other settings are thrown away when the journal is opened. It is locked until its
    `with` block or its process ends; raises BlockingIOError if another process holds it, as when a
    job that seemed lost still runs. A file system without locks is taken as it is.
    """

    def __init__(self, path: str | Path, settings: str) -> None:
        self.path = Path(path)
        first = settings.encode() + b"\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.touch()
        self._file = self.path.open("r+b")
        _lock(self._file, self.path)
        if self._file.readline() != first:
            self._file.seek(0)
            self._file.truncate()
            self._file.write(first)
        self._count = sum(1 for _ in _bodies(self._file))
        self._file.truncate()

    def __len__(self) -> int:
        return self._count

    def append(self, segments: Segments) -> None:
        """Add an image; it is in the file when this returns."""
        body = _pack(segments)
        self._file.seek(0, io.SEEK_END)
        self._file.write(HEADER.pack(len(body), zlib.crc32(body)) + body)
        self._file.flush()
        self._count += 1

    def __iter__(self) -> Iterator[Segments]:
        with self.path.open("rb") as file:
            file.readline()
            yield from map(_unpack, _bodies(file))

    def delete(self) -> None:
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_error: object) -> None:
        self._file.close()


def _lock(file: io.BufferedIOBase, path: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise BlockingIOError(
            error.errno,
            "another job is segmenting this shard; wait for it, or end it (squeue, scancel), and "
            "call again",
            str(path),
        ) from error
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP):
            raise


def _bodies(file: io.BufferedIOBase) -> Iterator[bytes]:
    """Whole bodies from the current position on; leaves the file at the end of the last one."""
    position = file.tell()
    while len(header := file.read(HEADER.size)) == HEADER.size:
        length, checksum = HEADER.unpack(header)
        body = file.read(length)
        if len(body) < length or zlib.crc32(body) != checksum:
            break
        position = file.tell()
        yield body
    file.seek(position)


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


def _unpack(body: bytes) -> Segments:
    with np.load(io.BytesIO(body), allow_pickle=False) as stored:
        values = {name: stored[name] for name in ARRAYS}
        bounds = np.cumsum(stored["lengths"])
        counts = np.split(stored["counts"], bounds[:-1]) if len(bounds) else []
        values["size"] = tuple(int(side) for side in values["size"])
        return Segments(image_id=str(stored["image_id"]), counts=counts, **values)
