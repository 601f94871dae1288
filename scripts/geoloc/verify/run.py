"""A finished run as the checks see it, and the findings of a check."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd

from geoloc.config import load_schema
from geoloc.corpus.index_tables import SHARD_KEYS
from geoloc.errors import InputError
from geoloc.stores import StoreError

SCHEMA = "config/config.schema.yaml"
PROJECT = Path(__file__).parents[3]  # root of a checkout
AGAIN = "delete it and run snakemake again"
SNAKEMAKE = ".snakemake_timestamp"  # in folders that are outputs
NAMED = 3  # ids named in a message


@dataclass(frozen=True)
class Finding:
    """What is wrong with one file of the run.

    Attributes:
        path: path below the run's folder.
        problem: what is wrong and what to do.
        warning: whether it is worth knowing but changes no result.
    """

    path: str
    problem: str
    warning: bool = False


Check = Generator[Finding, None, str]
"""A check yields its findings and returns a few words on what it checked."""


class NotChecked(Exception):
    """A check can't run; the message says why."""


def of_street_images(stage: str) -> bool:
    """Return whether only street images have files of a stage."""
    return stage.startswith(("segments/", "scores/", "arrays/scores/", "arrays/crops/"))


@dataclass(frozen=True)
class Shard:
    """Locations of the files of one shard. Its parts identify it in the index."""

    folder: Path
    collection: str
    country: str
    shard: str

    def path(self, stage: str) -> Path:
        """Return its file of a stage.

        Stages are index, quarantine, images, segments/{segmentation}, scores/{scores},
        arrays/images, arrays/scores/{scores} and arrays/crops/{scores}.
        """
        if stage == "index":
            stage = "index/shards"
        suffix = "csv" if stage in ("index/shards", "quarantine") else "h5"
        folder = self.folder / stage
        if not of_street_images(stage):
            folder /= self.collection
        return folder / self.country / f"{self.shard}.{suffix}"

    def name(self, stage: str) -> str:
        """Return its file of a stage, relative to the run's folder."""
        return self.path(stage).relative_to(self.folder).as_posix()

    @property
    def street(self) -> bool:
        return self.collection == "street"


@dataclass
class Run:
    """A run, and what the checks have read of it so far.

    Args:
        folder: results/{run}.
        digests: whether to read and recompute all content, or a sample of each shard.
        jobs: number of processes that read shards.
        configuration: the run's settings; None if unknown.
        isolate: whether to load models in separate processes.
        tables: what the checks have read.
    """

    folder: Path
    digests: bool = False
    jobs: int = 1
    configuration: dict[str, Any] | None = None
    isolate: bool = True
    tables: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def schema(self) -> dict:
        """The configuration schema of the project that contains the run, or of this project."""
        own = self.base / SCHEMA
        return load_schema(own if own.exists() else PROJECT / SCHEMA)

    @property
    def base(self) -> Path:
        """The folder that paths of the configuration are relative to."""
        return self.folder.absolute().parents[1]

    def relative(self, path: str | Path) -> str:
        return Path(path).relative_to(self.folder).as_posix()

    @property
    def config(self) -> dict[str, Any]:
        if self.configuration is None:
            raise NotChecked("needs the configuration of the run")
        return self.configuration

    def need(self, name: str) -> Any:
        """Return what an earlier check has read.

        Raises:
            NotChecked: if that check could not read it.
        """
        if name not in self.tables:
            raise NotChecked(f"needs {name}, which cannot be read")
        return self.tables[name]

    @property
    def images(self) -> pd.DataFrame:
        """The table of the index."""
        return self.need("index/images.parquet")

    def shards(self) -> Iterator[tuple[Shard, pd.DataFrame]]:
        """Yield each shard of the index with its rows, in order."""
        for keys, rows in self.images.groupby(SHARD_KEYS):
            yield Shard(self.folder, *keys), rows

    def map(
        self, function: Callable[..., list[Finding]], tasks: Sequence[tuple]
    ) -> Iterator[Finding]:
        """Yield the findings of `function(*task)` for each task, with several jobs in parallel.

        The first item of a task is the path, relative to the run's folder, to which an error is
        attributed.
        """
        if self.jobs == 1 or len(tasks) < 2:
            for task in tasks:
                yield from guarded(function, *task)
            return
        try:
            results = [self.pool.submit(guarded, function, *task) for task in tasks]
            for result in results:
                yield from result.result()
        except BrokenProcessPool:
            del self.pool  # the next check gets a new one
            first = next((n for n, r in enumerate(results) if r.exception() is not None), 0)
            yield Finding(
                tasks[first][0],
                "the process that read this file or one of the next "
                f"{self.jobs} died; run again with --jobs 1 to see which",
            )

    @cached_property
    def pool(self) -> ProcessPoolExecutor:
        context = get_context("forkserver")
        context.set_forkserver_preload(["geoloc.verify.shards"])  # import once for all
        return ProcessPoolExecutor(self.jobs, context)

    def close(self) -> None:
        """Stop the processes."""
        if "pool" in vars(self):
            self.pool.shutdown()
            del self.pool


def guarded(function: Callable[..., list[Finding]], name: str, *arguments: Any) -> list[Finding]:
    """Call `function(name, *arguments)`; any error becomes a finding about the file `name`."""
    try:
        return function(name, *arguments)
    except Exception as error:  # damaged files can raise anything
        return [failure(name, error)]


def failure(name: str, error: BaseException) -> Finding:
    """Turn an error from reading a file into a finding."""
    if isinstance(error, FileNotFoundError) and name in str(error):
        return Finding(name, "is missing; run snakemake again")
    if isinstance(error, IsADirectoryError):
        return Finding(name, "is a folder; remove it and run snakemake again")
    text, remedy = str(error), AGAIN
    if isinstance(error, OSError) and error.strerror:  # an error of the system, not of the content
        text, remedy = f"cannot be read ({error.strerror})", "check its disk and its permissions"
    elif not text or not isinstance(error, OSError | ValueError):
        text = f"{type(error).__name__}: {error}"
    text = re.sub(rf"^\S*{re.escape(name)}:? ", "", text)  # most messages start with the file
    has_remedy = isinstance(error, StoreError) or "snakemake again" in text
    return Finding(name, text if has_remedy else f"{text}; {remedy}")


def some(values: Iterable[Any]) -> str:
    """Return the number of values and the first few, for a message."""
    values = list(values)
    more = ", …" if len(values) > NAMED else ""
    return f"{len(values)} ({', '.join(map(str, values[:NAMED]))}{more})"


def read_text(path: Path) -> str:
    """Read a text file without translating line ends.

    Raises:
        InputError: if it is not UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"is not UTF-8 text ({error.reason} at byte {error.start})") from error


def read_table(path: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Read a CSV file as text, with `NA` and empty fields unchanged.

    Raises:
        InputError: if its columns are not `columns` (None allows any), or a line has another number
            of fields.
    """
    rows = list(csv.reader(io.StringIO(read_text(path), newline=""), strict=True))
    if not rows:
        raise InputError("is empty")
    header = rows[0]
    if columns is not None and header != list(columns):
        raise InputError(f"has the columns {','.join(header)}, expected {','.join(columns)}")
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(header):
            raise InputError(f"row {number} has {len(row)} fields, the header has {len(header)}")
    return pd.DataFrame(rows[1:], columns=header, dtype=object)


def csv_text(table: pd.DataFrame, **options: Any) -> str:
    """Return a table as text, in the way the jobs write it."""
    return table.to_csv(index=False, **options)


def compare_text(name: str, found: str, expected: str, source: str) -> Iterator[Finding]:
    """Yield a finding if a text file differs from `expected`, with the first line that differs."""
    if found == expected:
        return
    lines, wanted = found.splitlines(), expected.splitlines()
    pairs = zip(lines, wanted)  # noqa: B905  one may be longer
    number = next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(lines), len(wanted)))

    def line(texts: list[str]) -> str:
        return repr(texts[number]) if number < len(texts) else "the end of the file"

    problem = f"line {number + 1} is {line(lines)}, expected {line(wanted)} by {source}"
    if lines == wanted:
        problem = f"has other line ends than expected by {source}"
    yield Finding(name, f"{problem}; {AGAIN}")
