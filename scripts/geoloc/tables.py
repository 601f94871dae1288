"""Read tables completely, or fail with an error that names the file."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geoloc.errors import FileError

if TYPE_CHECKING:
    import pandas as pd


def damaged(path: str | Path, reason: object) -> FileError:
    """Return the error for a table that can't be used."""
    text = " ".join(str(reason).split()) or type(reason).__name__
    return FileError(f"{path} is damaged ({text}); delete it and run snakemake again")


def read_rows(
    path: str | Path,
    columns: Sequence[str] = (),
    fault: Callable[[str | Path, object], FileError] = damaged,
) -> list[dict[str, str]]:
    """Read the rows of a small CSV as text; `NA` stays Namibia.

    Args:
        path: UTF-8, with a header.
        columns: columns that the table must have; it may have others.
        fault: makes the error of the table and the reason.

    Raises:
        FileError: if the table is damaged: not text, no header, a missing column or one that occurs
            twice, a row with more or fewer fields than the header, or no end of the last line.
    """
    rows: list[dict[str, str]] = []
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            check_end(path, fault)
            reader = csv.DictReader(file, strict=True)
            names = reader.fieldnames or []
            if missing := [name for name in columns if name not in names]:
                raise fault(path, f"no column {', '.join(missing)}")
            if not names:
                raise fault(path, "it is empty")
            if len(set(names)) < len(names):
                raise fault(path, "a column occurs twice")
            for row in reader:
                if None in row or None in row.values():
                    raise fault(path, f"line {reader.line_num} has not {len(names)} fields")
                rows.append(row)
    except (UnicodeDecodeError, csv.Error) as error:
        raise fault(path, error) from error
    return rows


def read_table(path: str | Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Read a Parquet or CSV table that the workflow wrote.

    Args:
        path: its suffix decides the format. In a CSV, only empty fields are missing values.
        columns: columns to read; all if None.

    Raises:
        FileError: if it is damaged or a column is missing.
        OSError: if it does not exist or is not readable.
    """
    import pandas as pd
    import pyarrow as pa

    try:
        if Path(path).suffix == ".parquet":
            names = None if columns is None else list(columns)
            return pd.read_parquet(path, columns=names, page_checksum_verification=True)
        return read_csv(path, usecols=columns)
    except (FileNotFoundError, PermissionError, FileError):
        raise
    except (OSError, ValueError, pa.ArrowException) as error:
        raise damaged(path, error) from error


def read_csv(path: str | Path, **options: Any) -> pd.DataFrame:
    """Read a CSV that the workflow wrote, with options of pandas.

    Only empty fields are missing values, so that `NA` stays Namibia.

    Raises:
        FileError: if it is damaged.
        OSError: if it does not exist or is not readable.
    """
    import pandas as pd

    check_end(path)
    try:
        return pd.read_csv(path, **{"keep_default_na": False, "na_values": [""]} | options)
    except ValueError as error:  # of pandas, also for an empty file and text that is not UTF-8
        raise damaged(path, error) from error


def read_large_table(
    path: str | Path, columns: Sequence[str], categories: Sequence[str]
) -> pd.DataFrame:
    """Read a Parquet table as `read_table` does, in a third of the memory.

    Text stays in Arrow's arrays; columns with few distinct values become categories.

    Args:
        path: the table.
        columns: columns to read.
        categories: those of them with few distinct values.

    Raises:
        FileError: see `read_table`.
        OSError: see `read_table`.
    """
    import pandas as pd
    import pyarrow as pa
    from pyarrow import parquet

    text = {pa.string(): pd.ArrowDtype(pa.string())}
    try:
        table = parquet.read_table(
            path,
            columns=list(columns),
            read_dictionary=list(categories),
            page_checksum_verification=True,
        )
        if missing := [name for name in columns if name not in table.column_names]:
            raise damaged(path, f"no column {', '.join(missing)}")
        return table.to_pandas(types_mapper=text.get, self_destruct=True, split_blocks=True)
    except (FileNotFoundError, PermissionError, FileError):
        raise
    except (OSError, ValueError, pa.ArrowException) as error:
        raise damaged(path, error) from error


def check_end(path: str | Path, fault: Callable[[str | Path, object], FileError] = damaged) -> None:
    """Check that the last line ends: the workflow ends every line, so truncation is detected.

    Raises:
        FileError: if it does not.
    """
    with Path(path).open("rb") as file:
        file.seek(-min(1, file.seek(0, 2)), 2)
        if file.read() not in (b"\n", b""):
            raise fault(path, "its last line has no end")
