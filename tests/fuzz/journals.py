"""Damaged journals: the images before the damage are kept, what follows is dropped."""

from __future__ import annotations

import io
import logging
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from geoloc.segmentation.journal import HEADER, Journal
from geoloc.types import Segments
from tests.fuzz.mutations import mutate
from tests.small_stores import SIZE, segments_of

IDS = tuple(f"s/{number}.jpg" for number in range(6))
SETTINGS = "0123456789abcdef"


def record(segments: Segments) -> dict[str, bytes]:
    """All that a record holds, as values that compare."""
    return {
        name: b"".join(map(bytes, value)) if name == "counts" else np.asarray(value).tobytes()
        for name, value in vars(segments).items()
    }


@cache
def whole() -> tuple[bytes, list[dict[str, bytes]]]:
    """A journal of all but the last image as bytes, and what its records hold."""
    rng = np.random.default_rng(0)
    images = [
        segments_of(name, [rng.random(SIZE) < 0.5 for _ in range(count)], count)
        for count, name in enumerate(IDS)
    ]
    with TemporaryDirectory() as folder:
        path = Path(folder, "journal")
        with Journal(path, SETTINGS, IDS) as journal:
            for segments in images[:-1]:
                journal.append(segments)
        return path.read_bytes(), [record(segments) for segments in images]


def case(rng: np.random.Generator, folder: Path) -> str:
    """One damaged journal, opened, read and continued. Raises AssertionError if it holds anything
    but the first images as they were written."""
    data, expected = whole()
    path = folder / "journal"
    damage = DAMAGES[rng.integers(len(DAMAGES))]
    path.write_bytes(damage(rng, data))
    with Journal(path, SETTINGS, IDS) as journal:
        kept = len(journal)
        found = [record(segments) for segments in journal]
        if found != expected[:kept] or kept > len(IDS):
            raise AssertionError(f"{damage.__name__}: other records than were written")
        if kept < len(IDS):
            journal.append(segments_of(IDS[kept], [], 0))
    with Journal(path, SETTINGS, IDS) as journal:
        if [segments.image_id for segments in journal] != list(IDS[: min(kept + 1, len(IDS))]):
            raise AssertionError(f"{damage.__name__}: a record that was added is lost")
    return f"{damage.__name__}: {'all' if kept == len(IDS) - 1 else 'some'} kept"


def bytes_mutated(rng: np.random.Generator, data: bytes) -> bytes:
    return mutate(rng, data)


def tail_torn(rng: np.random.Generator, data: bytes) -> bytes:
    """A cut, and what file systems put behind it."""
    data = data[: int(rng.integers(len(data) + 1))]
    size = int(rng.integers(1, 9000))
    return data + (bytes(size), rng.bytes(size), b"\xff" * size, b"")[rng.integers(4)]


def records_moved(rng: np.random.Generator, data: bytes) -> bytes:
    """Whole records repeated, left out or in another order."""
    start = data.index(b"\n") + 1
    records, file = [], io.BytesIO(data[start:])
    while header := file.read(HEADER.size):
        records.append(header + file.read(HEADER.unpack(header)[0]))
    chosen = rng.integers(len(records), size=rng.integers(len(records) + 2))
    return data[:start] + b"".join(records[number] for number in chosen)


def header_changed(rng: np.random.Generator, data: bytes) -> bytes:
    """Lengths that are huge, negative as signed numbers, or off by one."""
    at = data.index(b"\n") + 1
    length, checksum = HEADER.unpack(data[at : at + HEADER.size])
    lengths = (0, 1, length - 1, length + 1, 2**31, 2**62, 2**63, 2**64 - 1)
    header = HEADER.pack(int(lengths[rng.integers(len(lengths))]), checksum)
    return data[:at] + header + data[at + HEADER.size :]


DAMAGES = (bytes_mutated, tail_torn, records_moved, header_changed)
logging.getLogger("geoloc.segmentation.journal").setLevel(logging.ERROR)
