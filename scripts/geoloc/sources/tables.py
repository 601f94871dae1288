"""Tables of coordinates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from geoloc.sources.base import Source, SourceError

PARQUET = (".parquet", ".pq")


def read_columns(source: Source, keys: Sequence[str]) -> Iterator[dict[str, str]]:
    """Rows of the source's CSV or Parquet table: the text of the columns that the source names
    under `keys` (such as `latitude_column`), by key; "" where a cell is empty or no column is
    named. `NA` and leading zeros stay what they are. Other columns are not read, so that a table
    of millions of rows fits in memory.

    Raises SourceError where the table or a column is missing or the file cannot be read.
    """
    path = source.path / (source.table or "")
    if not source.table or not path.is_file():
        raise SourceError(f"source {source.name}: there is no table {path}")
    columns = {key: getattr(source, key) for key in keys if getattr(source, key) is not None}
    read_names, read = _parquet if path.suffix.lower() in PARQUET else _csv
    try:
        _check_columns(source, columns, read_names(path))
        texts = read(path, list(dict.fromkeys(columns.values())))
    except SourceError:
        raise
    except (ValueError, OSError) as error:  # what pandas and pyarrow raise for damaged files
        raise SourceError(f"source {source.name}: cannot read the table {path}: {error}") from error
    count = len(next(iter(texts.values())))
    values = [texts[columns[key]] if key in columns else [""] * count for key in keys]
    return (dict(zip(keys, row, strict=True)) for row in zip(*values, strict=True))


def _csv_names(path: Path) -> list[str]:
    return list(pd.read_csv(path, nrows=0, encoding="utf-8-sig", index_col=False).columns)


def _read_csv(path: Path, columns: list[str]) -> dict[str, list[str]]:
    table = pd.read_csv(
        path, usecols=columns, dtype=str, keep_default_na=False, encoding="utf-8-sig",
        index_col=False,
    )  # fmt: skip
    return {name: table[name].fillna("").tolist() for name in columns}


def _parquet_names(path: Path) -> list[str]:
    from pyarrow import parquet

    return parquet.read_schema(path).names


def _read_parquet(path: Path, columns: list[str]) -> dict[str, list[str]]:
    import pyarrow
    from pyarrow import parquet

    table = parquet.read_table(path, columns=columns)
    texts = {name: table[name].cast(pyarrow.string()) for name in columns}
    return {name: text.fill_null("").to_pylist() for name, text in texts.items()}


_csv, _parquet = (_csv_names, _read_csv), (_parquet_names, _read_parquet)


def _check_columns(source: Source, columns: dict[str, str], present: list[str]) -> None:
    for key, column in columns.items():
        if column not in present:
            hint = f"set sources.{source.name}.{key}"
            if any(name.replace(".", "").lstrip("-").isdigit() for name in present):
                hint = "its first row seems to be data: write the names of the columns above it"
            raise SourceError(
                f"source {source.name}: {source.path / source.table} has no column {column!r} but "
                f"{', '.join(present)}; {hint}"
            )
