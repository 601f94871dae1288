"""Rule `collect_quarantine`: all excluded images in one table."""

from __future__ import annotations

import csv
import shlex
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path

from geoloc.corpus.index_tables import REJECTED_COLUMNS
from geoloc.corpus.sources import SourceError, most_allowed
from geoloc.files import atomic_path
from geoloc.tables import read_rows

NAMED = 5  # images and files that a message names


def collect_quarantine(
    rejected: Path, shards: Sequence[Path], sizes: Mapping[str, int], max_unreadable: float
) -> list[tuple[str, str, str]]:
    """Collect the images that the index and `prepare` excluded.

    Args:
        rejected: `rejected.csv` of the index.
        shards: quarantine CSVs of `prepare_shard`.
        sizes: number of images by source.
        max_unreadable: largest allowed share (0–1) of a source's images that can't be read.

    Returns:
        Rows (source, path, reason), sorted.

    Raises:
        SourceError: if more of a source's images can't be read.
    """
    unreadable = {path: [tuple(row.values()) for row in read_rows(path)] for path in shards}
    for source, size in sizes.items():
        count = sum(row[0] == source for rows in unreadable.values() for row in rows)
        if count > most_allowed(size, max_unreadable):
            lists = [p for p, rows in unreadable.items() if any(row[0] == source for row in rows)]
            raise SourceError(
                f"source {source}: {count} of {size} images cannot be read, more than "
                f"prepare.max_unreadable = {max_unreadable:g}. The first are "
                f"{_first(source, unreadable.values())}. {_remedy(source, lists)}"
            )
    rows = [row for rows in unreadable.values() for row in rows]
    return sorted([tuple(row.values()) for row in read_rows(rejected)] + rows)


def _first(source: str, tables: Iterable[Sequence[tuple[str, ...]]]) -> str:
    """The first unreadable images of a source, with their reasons."""
    rows = (row for table in tables for row in table if row[0] == source)
    return "; ".join(f"{path}: {reason}" for _, path, reason in islice(rows, NAMED))


def _remedy(source: str, lists: Sequence[Path]) -> str:
    """Say what to do about the unreadable images of a source.

    Args:
        source: its name.
        lists: the CSVs that name them, `quarantine/{collection}/{country}/{shard}.csv`, all of one
            collection.
    """
    folder = lists[0].parents[1]
    named = ", ".join(map(str, lists[:NAMED]))
    more = f" and {len(lists) - NAMED} more" if len(lists) > NAMED else ""
    command = f"grep -rl '^{source},' {shlex.quote(str(folder))} | xargs rm"
    return (
        f"The reasons are in {named}{more}. Fix the images and delete these files, so that "
        f"snakemake prepares their shards again (`{command}`), or raise the limit"
    )


def write_quarantine(path: Path, rows: Sequence[tuple[str, str, str]]) -> None:
    """Write the rows of `collect_quarantine` as CSV."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([REJECTED_COLUMNS, *rows])
