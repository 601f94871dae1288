"""Read tables of coordinates without shifting, cutting or dropping a row.

A row that does not match the header is returned with its problem and its line number.
"""

from __future__ import annotations

import contextlib
import csv
import difflib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from geoloc.corpus.sources.base import Source, SourceError, section
from geoloc.errors import GeolocError, InputError

PARQUET = (".parquet", ".pq")
SEPARATORS = (",", ";", "\t", "|")
LONGEST_LINE = 1 << 20  # characters; a longer line is not a row of a table
LONGEST_FIELD = 1000  # lines; a quote that spans more is a mistake, not a field
CONTROL = re.compile("[\0-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")
UTF_16 = (b"\xff\xfe", b"\xfe\xff")
EMPTY = "the line is empty"


class Row(NamedTuple):
    """A row of a table.

    Attributes:
        where: its position: `line 4`, or `row 3` of a Parquet file.
        cells: its cells by the key of their column.
        problem: what is wrong with it, or ""; then its cells must not be used.
    """

    where: str
    cells: dict[str, str]
    problem: str = ""


class Several(str):
    """The problem of a line that may contain several rows, because a line end is damaged."""


class Part(str):
    """The problem of a line that may contain a part of a row, split by a line end."""


class TableError(GeolocError, ValueError):
    """A table can't be read. The message says why and what to do."""


class ColumnError(GeolocError, ValueError):
    """A table does not have the configured columns. The message says what to set."""


def read_rows(source: Source, keys: Sequence[str]) -> Iterator[Row]:
    """Yield every row of a source's CSV or Parquet table.

    Columns are separated by commas, semicolons, tabs or bars, whichever splits the header into the
    needed columns. A field may be in quotes but can't span lines. Empty lines at the end are
    ignored. `NA`, spaces and leading zeros are kept.

    Args:
        source: the source.
        keys: keys of the source that name columns, such as `latitude_column`. A cell is "" if it is
            empty or the source names no column.

    Raises:
        SourceError: if the table or a column is missing, or the file can't be read.
    """
    path = source.path / (source.table or "")
    if not source.table or not path.is_file():
        raise SourceError(
            f"source {source.name}: the table {path} does not exist; put it there or change "
            f"{section(source)}.table"
        )
    columns = {key: getattr(source, key) for key in keys if getattr(source, key) is not None}
    options = {key: f"{section(source)}.{key}" for key in keys}
    try:
        yield from table_rows(path, columns, options)
    except (ValueError, OSError) as error:
        raise SourceError(f"source {source.name}: {error}") from error


def table_rows(path: Path, columns: dict[str, str], options: dict[str, str]) -> Iterator[Row]:
    """Yield every row of a table, as in `read_rows`.

    Args:
        path: the table.
        columns: names of columns by key.
        options: what to set if a column is missing, by key.

    Raises:
        InputError: if a column is missing or the content can't be read.
        OSError: if the file can't be read.
    """
    empty = dict.fromkeys(options, "")
    read = _read_parquet if path.suffix.lower() in PARQUET else _read_csv
    try:
        for where, cells, problem in read(path, columns, options):
            yield Row(where, empty | dict(zip(columns, cells, strict=False)), problem)
    except ColumnError:
        raise
    except ValueError as error:  # what pyarrow raises for damaged files, too
        raise InputError(f"cannot read the table {path}: {error}") from error


# Position of a row, the cells of the needed columns, and its problem.
Cells = tuple[str, Sequence[str], str]


def _read_csv(path: Path, columns: dict, options: dict) -> Iterator[Cells]:
    lines = _lines(path)
    header = next(((number, line) for number, line in lines if line.strip()), None)
    if header is None:
        raise TableError("it is empty")
    separator, names = _header(header[1], path, columns, options)
    positions = [names.index(column) for column in columns.values()]
    for number, line in _without_last_empty(lines):
        if isinstance(line, Broken):
            yield f"line {number}", [], Part(line)
            continue
        problem, fields = _fields(line, separator, len(names))
        yield f"line {number}", [] if problem else [fields[p] for p in positions], problem


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a file with their numbers, without line ends. Bytes that are not UTF-8 are
    escaped, as in file names."""
    with path.open("rb") as file:
        start = file.read(LONGEST_LINE)
    if start.startswith(UTF_16):
        raise TableError("it is UTF-16; save it as UTF-8")
    end = "\r" if b"\n" not in start and b"\r" in start else "\n"
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline=end) as file:
        for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE), ""), start=1):
            if len(line) == LONGEST_LINE:
                raise TableError(f"line {number} has more than {LONGEST_LINE} characters")
            yield number, line.removesuffix(end).removesuffix("\r" if end == "\n" else "")


class Broken(str):
    """A line that can't be a row; the text is the reason."""


def _without_last_empty(lines: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Yield all lines up to the last one that is not empty; lines within an open quote are Broken.

    A quote that is not closed on its line either starts a field over several lines or is a mistake.
    The lines up to the next such quote may be text of that field, so none of them is used. If no
    quote follows within LONGEST_FIELD lines, only its own line is wrong.
    """
    empty: list[int] = []
    opened: list[tuple[int, str]] = []
    for number, line in lines:
        odd = line.count('"') % 2 == 1
        if not opened and not line.strip():
            empty.append(number)
            continue
        yield from ((n, Broken(EMPTY)) for n in empty)
        empty = []
        if opened or odd:
            opened.append((number, line))
        if odd and len(opened) > 1:
            reason = f"in a quote that is opened in line {opened[0][0]} and closed in line {number}"
            yield from ((n, Broken(reason)) for n, _ in opened)
            opened = []
        elif len(opened) > LONGEST_FIELD:
            while not opened[-1][1].strip():  # perhaps the last of the file
                empty.insert(0, opened.pop()[0])
            yield from _without_its_quote(opened)
            opened = []
        elif not opened:
            yield number, line
    yield from _without_its_quote(opened)


def _without_its_quote(opened: list[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Yield lines of which the first has a stray quote."""
    while opened and not opened[-1][1].strip():
        opened.pop()
    for position, (number, line) in enumerate(opened):
        if position == 0:
            yield number, Broken("a quote is opened and not closed")
        else:
            yield number, line if line.strip() else Broken(EMPTY)


def _damage(line: str) -> str:
    """Return what a line contains that no line may contain, or ""."""
    if not line.isascii() and line != line.encode("utf-8", "replace").decode():
        return "not UTF-8"
    return "a control character" if CONTROL.search(line) else ""


def _fields(line: str, separator: str, count: int) -> tuple[str, list[str]]:
    """Return what is wrong with a row, and its fields."""
    problem = _damage(line)
    if problem or ("\t" in line and separator != "\t"):
        return _kind(line.count(separator) + 1, count)(problem or "a control character"), []
    try:
        fields = _split(line, separator)
    except csv.Error as error:
        return Part(f"quotes are not valid CSV: {error}"), []
    if len(fields) == count:
        return "", fields
    hint = (
        ", perhaps because of a decimal comma" if separator == "," and len(fields) > count else ""
    )
    kind = _kind(len(fields), count)
    return kind(f"wrong number of fields: {len(fields)} instead of {count}{hint}"), []


def _kind(fields: int, count: int) -> type[str]:
    """Return the kind of problem of a line with another number of fields than `count`."""
    return Several if fields > count else Part if fields < count else str


def _split(line: str, separator: str) -> list[str]:
    """Split a line into fields. Raises csv.Error if its quotes don't match."""
    if '"' not in line:
        return line.split(separator)
    (fields,) = csv.reader([line], delimiter=separator, strict=True)
    return fields


def _header(line: str, path: Path, columns: dict, options: dict) -> tuple[str, list[str]]:
    """Return the separator that splits the header into the needed columns, and all column names.

    Raises ColumnError if a column is missing.
    """
    if problem := _damage(line):
        raise TableError(f"its header: {problem}; save the table as UTF-8 text")
    if line.count('"') % 2:
        raise TableError("a quote in its header is not closed")
    found: list[tuple[str, list[str]]] = []
    for separator in SEPARATORS:
        with contextlib.suppress(csv.Error):
            names = [text.strip() for text in _split(line, separator)]
            found.append((separator, names))
            if set(columns.values()) <= set(names):
                break
    else:
        if not found:
            raise TableError("quotes in its header are not valid CSV")
        found.sort(key=lambda pair: len(pair[1]))
    _check_columns(path, columns, options, found[-1][1])
    return found[-1]


def _check_columns(path: Path, columns: dict, options: dict, present: list[str]) -> None:
    """Raise ColumnError for a column that is missing from the header or occurs twice."""
    for key, column in columns.items():
        if present.count(column) > 1:
            raise ColumnError(
                f"{path} has {present.count(column)} columns {column!r}; rename all but one"
            )
        if column in present:
            continue
        hint = f"set {options[key]}"
        lower = {text.lower(): text for text in present}
        if near := difflib.get_close_matches(column.lower(), lower, n=1):
            hint += f" (perhaps to {lower[near[0]]!r})"
        if any(re.fullmatch(r"-?\d+(\.\d*)?", text) for text in present):
            hint = "its first row seems to be data: add a header with the names of the columns"
        raise ColumnError(f"{path} has no column {column!r}, only {', '.join(present)}; {hint}")


def _read_parquet(path: Path, columns: dict, options: dict) -> Iterator[Cells]:
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            _check_columns(path, columns, options, file.schema_arrow.names)
            number = 0
            for batch in file.iter_batches(columns=list(dict.fromkeys(columns.values()))):
                texts = [
                    batch.column(column).cast(pyarrow.string()).fill_null("").to_pylist()
                    for column in columns.values()
                ]
                for cells in zip(*texts, strict=True):
                    number += 1
                    bad = any(CONTROL.search(cell) or "\t" in cell for cell in cells)
                    yield f"row {number}", cells, "a control character" if bad else ""
    except pyarrow.ArrowException as error:
        raise TableError(str(error)) from error
