"""Exact nearest neighbors among 64-bit hashes, by the number of different bits.

Up to `ALL_PAIRS`, all pairs are compared. Beyond, multi-index hashing skips most of them (Norouzi,
Punjani and Fleet: Fast Search in Hamming Space with Multi-Index Hashing, CVPR 2012): a hash is cut
into 4 parts of 16 bits, and two hashes that differ in few bits differ in even fewer in at least one
of their parts. So it is enough to compare hashes that are near in a part. How near grows until
nothing nearer can be left. Both ways return the same.

Unrelated hashes differ in so many bits that the index, too, compares a large share of all pairs to
find the nearest of them. If only near ones matter, a limit saves nearly all of the time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from geoloc.prefetch import map_ahead
from geoloc.progress import Progress

ALL_PAIRS = 10**10  # pairs that are compared without an index, in less than a minute
CHUNK = 1 << 18  # pairs compared at once, few enough for a core's cache
PARTS, PART_BITS = 4, 16
VALUES = 1 << PART_BITS  # of a part
TASK = 256  # values of a part that a thread takes at once
# Hashes within 3 bits in a part are 4 % of all for each part. With 4, comparing all is faster.
LAST_RADIUS = 3
NONE = 64  # bits to a reference of another group, if there is none


@dataclass
class Nearest:
    """The nearest reference found so far for each of n queries.

    Attributes:
        row: int64 (n,), its row, −1 before one is found.
        bits: uint8 (n,), different bits, or the bound that a reference must be below.
        other_bits: uint8 (n,), the fewest to a reference of another group, or a bound.
    """

    row: np.ndarray
    bits: np.ndarray
    other_bits: np.ndarray

    def update(
        self, queries: np.ndarray, different: np.ndarray, rows: np.ndarray, other: np.ndarray
    ) -> None:
        """Take references that are nearer, or as near and in an earlier row.

        Args:
            queries: (k,) rows of queries.
            different: uint8 (k, r), different bits to references; overwritten.
            rows: (r,) rows of the references.
            other: bool (k, r), whether the reference is of another group.
        """
        least = different.min(axis=1)
        first = np.where(different == least[:, None], rows, np.iinfo(np.int64).max).min(axis=1)
        nearer = least < self.bits[queries]
        nearer |= (least == self.bits[queries]) & (first < self.row[queries])
        self.bits[queries[nearer]], self.row[queries[nearer]] = least[nearer], first[nearer]
        different[~other] = NONE
        self.other_bits[queries] = np.minimum(self.other_bits[queries], different.min(axis=1))


def nearest_hashes(
    hashes: np.ndarray,
    references: np.ndarray,
    own: np.ndarray,
    groups: np.ndarray,
    threads: int = 1,
    below: tuple[np.ndarray, np.ndarray] | None = None,
    within: int = NONE,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the nearest of m ≥ 1 references for each of n hashes.

    Of references that are equally near, the one of the first group in alphabetical order counts,
    and within the group the first. Memory holds `CHUNK` pairs per thread, or one row of pairs.

    Args:
        hashes: (n,) uint64.
        references: (m,) uint64.
        own: (n,), the group (country) of each hash.
        groups: (m,), the group of each reference.
        threads: number of threads.
        below: two uint8 (n,). Only fewer different bits matter: fewer than the first to any
            reference, and than the second to one of another group. This saves time.
        within: only references that differ in at most so many bits matter. With fewer than 64, the
            index is used for any number of pairs.

    Returns:
        Row of the nearest reference int64 (n,), number of different bits uint8 (n,), and the fewest
        different bits to a reference of another group uint8 (n,), 64 if there is none. Numbers that
        are not below `below`, or larger than `within`, may be too large, and their rows −1.
    """
    order = np.argsort(groups, kind="stable")
    names, group = np.unique(groups[order], return_inverse=True)
    place = np.minimum(np.searchsorted(names, own), len(names) - 1)
    own_group = np.where(names[place] == own, place, -1)
    if within == NONE and len(hashes) * len(references) <= ALL_PAIRS:
        found = all_pairs(hashes, references[order], own_group, group, threads)
    else:
        if within < NONE:
            limits = np.full((2, len(hashes)), within + 1, np.uint8)
            below = limits if below is None else np.minimum(below, limits)
        found = multi_index(hashes, references[order], own_group, group, threads, below)
    row = np.where(found.row < 0, -1, order[found.row])
    return row, found.bits, np.minimum(found.other_bits, NONE)


def all_pairs(
    hashes: np.ndarray, references: np.ndarray, own: np.ndarray, group: np.ndarray, threads: int
) -> Nearest:
    """Compare each hash with each reference, some 10⁸ pairs per second and thread.

    Args:
        hashes: (n,) uint64.
        references: (m,) uint64, sorted by group.
        own: int (n,), the group of each hash, −1 for one without references.
        group: int (m,), the group of each reference: all numbers from 0.
        threads: number of threads.
    """
    groups, starts = np.unique(group, return_index=True)
    found = Nearest(np.empty(len(hashes), np.int64), *np.empty((2, len(hashes)), np.uint8))

    def compare(part: slice) -> None:
        different = np.bitwise_count(hashes[part, None] ^ references)  # (chunk, m)
        best = different.argmin(axis=1)
        found.row[part], found.bits[part] = best, different[np.arange(len(best)), best]
        by_group = np.minimum.reduceat(different, starts, axis=1)  # (chunk, groups)
        by_group[own[part, None] == groups] = NONE
        found.other_bits[part] = by_group.min(axis=1)

    size = max(1, CHUNK // len(references))
    parts = [slice(start, start + size) for start in range(0, len(hashes), size)]
    _in_threads(compare, parts, threads, "compare")
    return found


def multi_index(
    hashes: np.ndarray,
    references: np.ndarray,
    own: np.ndarray,
    group: np.ndarray,
    threads: int,
    below: tuple[np.ndarray, np.ndarray] | None = None,
) -> Nearest:
    """Return the same as `all_pairs` by comparing hashes that are near in one of their parts.

    Each step looks at one part and at hashes that differ there in `radius` bits. After step R, all
    pairs that differ in fewer than R bits have been compared.

    Args:
        hashes: see `all_pairs`.
        references: see `all_pairs`.
        own: see `all_pairs`.
        group: see `all_pairs`.
        threads: number of threads.
        below: see `nearest_hashes`.
    """
    start = np.full((2, len(hashes)), NONE + 1, np.uint8) if below is None else below
    found = Nearest(np.full(len(hashes), -1, np.int64), *(limit.copy() for limit in start))
    kept = _first_of_equal(references, group)
    search = _Search(hashes, references[kept], own, group[kept], threads, found)
    parts = _evenest_first(references[kept])
    steps = [(radius, part) for radius in range(LAST_RADIUS + 1) for part in parts]
    for done, (radius, part) in enumerate(steps):
        if not len(waiting := search.unanswered(done)):
            break
        search.compare_near(waiting, radius, part)
    search.compare_all(search.unanswered(len(steps)))
    found.row = np.where(found.row < 0, -1, kept[found.row])
    return found


def _first_of_equal(references: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Return the sorted rows of the first of equal references in each group.

    Corpora may hold the same placeholder picture thousands of times.
    """
    order = np.lexsort((group, references))  # stable
    differs = np.diff(references[order]) != 0
    differs |= np.diff(group[order]) != 0
    return np.sort(order[np.concatenate([[True], differs])])


def _evenest_first(references: np.ndarray) -> list[int]:
    """Return the parts, those whose values are the most evenly distributed first.

    The last step of a search takes the longest, and is spared the part with the most equal values:
    that of the lowest frequencies, such as a sky that is brighter than its street.
    """
    values = references.view(np.uint16).reshape(-1, PARTS)
    pairs = [(np.bincount(part, minlength=VALUES).astype(float) ** 2).sum() for part in values.T]
    return np.argsort(pairs, kind="stable").tolist()


@dataclass(frozen=True)
class _Search:
    """The arguments of `multi_index`, with distinct references, and what it has found."""

    hashes: np.ndarray
    references: np.ndarray
    own: np.ndarray
    group: np.ndarray
    threads: int
    found: Nearest

    def unanswered(self, compared: int) -> np.ndarray:
        """Return the queries whose answer may change if pairs that differ in fewer than `compared`
        bits have been compared: for equal bits, the first reference counts."""
        bits = self.found.bits + (self.found.row >= 0)
        has_other = (self.own < 0) | (self.group[-1] > 0)
        return np.flatnonzero((bits > compared) | (has_other & (self.found.other_bits > compared)))

    def compare_near(self, queries: np.ndarray, radius: int, part: int) -> None:
        """Compare queries with the references that differ from them in `radius` bits of a part."""
        order, starts = _by_part(self.references, part)
        sorted_references = self.references[order]
        asked, asked_starts = _by_part(self.hashes[queries], part)
        queries = queries[asked]
        changes = _changes(radius)

        def compare(values: np.ndarray) -> None:
            for value in values:
                near = value ^ changes
                slots = _ranges(starts[near], starts[near + 1])
                if len(slots):
                    some = queries[asked_starts[value] : asked_starts[value + 1]]
                    self._compare_block(some, sorted_references[slots], order, slots)

        values = np.flatnonzero(np.diff(asked_starts))
        tasks = [values[start : start + TASK] for start in range(0, len(values), TASK)]
        _in_threads(compare, tasks, self.threads, f"compare, {radius} bits of part {part}")

    def _compare_block(
        self, queries: np.ndarray, hashes: np.ndarray, order: np.ndarray, slots: np.ndarray
    ) -> None:
        """Compare queries with the references in the rows `order[slots]`, which have `hashes`.

        The rows are looked up only for the few queries that they improve.
        """
        size = max(1, CHUNK // len(slots))
        for start in range(0, len(queries), size):
            some = queries[start : start + size]
            different = np.bitwise_count(self.hashes[some, None] ^ hashes)
            least = different.min(axis=1)
            better = least <= self.found.bits[some]
            better |= least < self.found.other_bits[some]
            if better.any():
                some, different, rows = some[better], different[better], order[slots]
                other = self.group[rows] != self.own[some, None]
                self.found.update(some, different, rows, other)

    def compare_all(self, queries: np.ndarray) -> None:
        """Compare queries with all references."""
        if not len(queries):
            return
        found, own = self.found, self.own[queries]
        new = all_pairs(self.hashes[queries], self.references, own, self.group, self.threads)
        nearer = new.bits < found.bits[queries]
        nearer |= (new.bits == found.bits[queries]) & (new.row < found.row[queries])
        found.bits[queries[nearer]] = new.bits[nearer]
        found.row[queries[nearer]] = new.row[nearer]
        found.other_bits[queries] = np.minimum(found.other_bits[queries], new.other_bits)


def _by_part(hashes: np.ndarray, part: int) -> tuple[np.ndarray, np.ndarray]:
    """Sort hashes by one of their parts.

    Returns:
        Rows in the order of the part's value, int64 (n,), and where each value starts in that
        order, int64 (`VALUES` + 1,).
    """
    values = hashes.view(np.uint16).reshape(-1, PARTS)[:, part]
    starts = np.concatenate([[0], np.cumsum(np.bincount(values, minlength=VALUES))])
    return np.argsort(values, kind="stable"), starts


def _changes(radius: int) -> np.ndarray:
    """Return all values of a part with `radius` bits set, int64."""
    bits = [1 << bit for bit in range(PART_BITS)]
    return np.array([sum(chosen) for chosen in combinations(bits, radius)], np.int64)


def _ranges(starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Return the numbers of all ranges, one after the other."""
    counts = ends - starts
    before = np.cumsum(counts) - counts
    return np.repeat(starts - before, counts) + np.arange(counts.sum())


def _in_threads(function: Callable, items: Sequence, threads: int, description: str) -> None:
    done = map_ahead(function, items, 2 * threads, threads)
    for _ in Progress(done, len(items), description, unit="chunks"):
        pass
