"""Damage to bytes, for all targets."""

from __future__ import annotations

import numpy as np

FILLERS = (b"\0", b"\xff", b" ", b"\n", b"PK\1\2", b"../")


def mutate(rng: np.random.Generator, data: bytes) -> bytes:
    """Damaged bytes: flipped, cut, overwritten, inserted, repeated or swapped, up to four times."""
    changed = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        MUTATIONS[rng.integers(len(MUTATIONS))](rng, changed)
    return bytes(changed)


def _span(rng: np.random.Generator, data: bytearray) -> slice:
    """A piece of the data, of a length between 1 and all, short ones as often as long ones."""
    length = min(len(data), int(2 ** rng.uniform(0, np.log2(max(2, len(data))))))
    start = int(rng.integers(0, len(data) - length + 1))
    return slice(start, start + length)


def _flip(rng: np.random.Generator, data: bytearray) -> None:
    for _ in range(rng.integers(1, 9) if data else 0):
        data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))


def _cut(rng: np.random.Generator, data: bytearray) -> None:
    del data[int(rng.integers(len(data) + 1)) :]


def _remove(rng: np.random.Generator, data: bytearray) -> None:
    del data[_span(rng, data)]


def _fill(rng: np.random.Generator, data: bytearray) -> None:
    span = _span(rng, data)
    length = span.stop - span.start
    filler = FILLERS[rng.integers(len(FILLERS))]
    data[span] = (filler * length)[:length]


def _noise(rng: np.random.Generator, data: bytearray) -> None:
    span = _span(rng, data)
    data[span] = rng.bytes(span.stop - span.start)


def _insert(rng: np.random.Generator, data: bytearray) -> None:
    at = int(rng.integers(len(data) + 1))
    data[at:at] = rng.bytes(int(2 ** rng.uniform(0, 12)))


def _repeat(rng: np.random.Generator, data: bytearray) -> None:
    at = int(rng.integers(len(data) + 1))
    data[at:at] = data[_span(rng, data)]


def _swap(rng: np.random.Generator, data: bytearray) -> None:
    first, second = _span(rng, data), _span(rng, data)
    length = min(first.stop - first.start, second.stop - second.start)
    one = data[first.start : first.start + length]
    data[first.start : first.start + length] = data[second.start : second.start + length]
    data[second.start : second.start + length] = one


MUTATIONS = (_flip, _cut, _remove, _fill, _noise, _insert, _repeat, _swap)
