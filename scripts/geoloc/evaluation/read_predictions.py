"""Read and check the predictions that Table 1 and the metrics are computed from."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from geoloc.errors import FileError, InputError
from geoloc.probabilities import SUM_TOLERANCE

TOP = 5
ATTRIBUTES = b"PANDAS_ATTRS"  # of a data frame, in the metadata of a Parquet file
COUNTRIES = [f"country_{rank}" for rank in range(1, TOP + 1)]
PROBABILITIES = [f"probability_{rank}" for rank in range(1, TOP + 1)]
PLACE = ["predicted_latitude", "predicted_longitude"]
IMAGE = ["source", "label", "latitude", "longitude"]  # the same for every model and test set
TYPES = {
    **dict.fromkeys(["image_id", "test_set", "source", "label"], pa.string()),
    **dict.fromkeys(["latitude", "longitude"], pa.float64()),
    **dict.fromkeys(COUNTRIES, pa.string()),
    **dict.fromkeys([*PROBABILITIES, "label_probability"], pa.float32()),
    **dict.fromkeys(PLACE, pa.float64()),
}
"""Columns of a table in order, see `geoloc.evaluation.predictions.predictions_frame`."""


def read_predictions(
    paths: Sequence[str | Path],
    classes: Sequence[str],
    datasets: Sequence[Sequence[str]],
    test_sets: Iterable[str],
) -> list[pd.DataFrame]:
    """Read the predictions of several models and check that they are for the same images.

    Args:
        paths: Parquet files with the columns of `TYPES`, one per row of Table 1.
        classes: ISO codes of the countries of all models.
        datasets: for each path, the datasets that showed the street images.
        test_sets: names of the other test sets.

    Returns:
        A table for each path, with one row per image and test set.

    Raises:
        OSError: if a file is missing, damaged or has another layout.
        InputError: if a table holds values that no model predicts, or the images of two tables
            differ. The message names the file and the remedy.
    """
    others = set(test_sets)
    tables = [
        _read(Path(path), list(classes), list(shown), others - set(shown))
        for path, shown in zip(paths, datasets, strict=True)
    ]
    for path, table, shown in zip(paths[1:], tables[1:], datasets[1:], strict=True):
        own = set(datasets[0]) ^ set(shown)  # a row may be tested on its own dataset
        _check_same_images(paths[0], tables[0], path, table, own)
    return tables


def _read(path: Path, classes: list[str], datasets: list[str], others: set[str]) -> pd.DataFrame:
    try:
        found = parquet.read_table(path, page_checksum_verification=True)
        attributes = dict(json.loads((found.schema.metadata or {}).get(ATTRIBUTES, b"{}")))
    except (FileNotFoundError, PermissionError):
        raise
    except (OSError, ValueError, TypeError, pa.ArrowException) as error:
        raise FileError(
            f"{path} is damaged or no Parquet file ({error}); {_remedy(path)}"
        ) from error
    kinds = {field.name: field.type for field in found.schema}
    # A column with only missing names has no type.
    expected = TYPES | {c: pa.null() for c in COUNTRIES if kinds.get(c) == pa.null()}
    if list(kinds.items()) != list(expected.items()):
        differing = [n for n in {**expected, **kinds} if expected.get(n) != kinds.get(n)]
        names = ", ".join(differing) or "their order"
        raise FileError(f"{path} has other columns than predictions ({names}); {_remedy(path)}")
    table = found.to_pandas()
    fault = (
        _check_row(attributes, path)
        or _check_names(table, classes, datasets, others)
        or _check_places(table)
        or _check_probabilities(table, classes)
    )
    if fault:
        raise InputError(f"{path}: {fault}; {_remedy(path)}")
    return table


def _check_row(attributes: Mapping[str, str], path: Path) -> str:
    """Check that a table in the folder `predictions` of a run is of the row it is named after."""
    folder, *row = path.with_suffix("").parts[-4:]
    written = attributes.get("row")
    if folder != "predictions" or written in (None, "/".join(row)):
        return ""
    return f"it holds the predictions of {written}"


def _remedy(*paths: str | Path) -> str:
    return f"delete {' and '.join(map(str, paths))} and run snakemake again"


def _check_names(
    table: pd.DataFrame, classes: list[str], datasets: list[str], others: set[str]
) -> str:
    if table.empty:
        return "no predictions"
    countries = dict(zip(COUNTRIES[: len(classes)], PROBABILITIES, strict=False))
    for column in ["image_id", "test_set", "source", "label", *countries]:
        missing = table[column].isna()
        if column in countries:  # a model of places leaves countries without probability unnamed
            missing &= table[PLACE[0]].isna() | (table[countries[column]] != 0)
        if missing.any():
            return f"no {column} in {int(missing.sum())} rows"
    known = {"test_set": {*datasets, *others}} | dict.fromkeys(["label", *countries], set(classes))
    for column, names in known.items():
        if unknown := sorted(set(table[column].dropna()) - names):
            return f"unknown {column} {', '.join(unknown[:5])}"
    if table[COUNTRIES[len(classes) :]].notna().any(axis=None):
        return f"more than {len(classes)} countries of an image"
    twice = table[table.duplicated(["test_set", "image_id"])]
    if len(twice):
        return f"{_row(twice)} twice, as {len(twice) - 1} more rows"
    views = table[table.test_set.isin(datasets)].groupby("image_id").test_set.nunique()
    if (views != len(datasets)).any():
        return f"{views.index[views != len(datasets)][0]} is not in all of {', '.join(datasets)}"
    return ""


def _row(rows: pd.DataFrame) -> str:
    return f"{rows.image_id.iloc[0]} ({rows.test_set.iloc[0]})"


def _check_probabilities(table: pd.DataFrame, classes: list[str]) -> str:
    """Check that probabilities fall, add up to 1 at most, and include the label's if named."""
    shown = table[PROBABILITIES[: len(classes)]].to_numpy(np.float64)
    label = table["label_probability"].to_numpy(np.float64)
    named = table[COUNTRIES[: len(classes)]].to_numpy(object) == table[["label"]].to_numpy(object)
    total, of_places = shown.sum(axis=1), table[PLACE[0]].notna().to_numpy()
    names = table[COUNTRIES[: len(classes)]]
    with np.errstate(invalid="ignore"):
        faults = {
            "is not a share of 1": ~((shown >= 0) & (shown <= 1)).all(axis=1)
            | ~((label >= 0) & (label <= 1)),
            "rises": (np.diff(shown, axis=1) > 0).any(axis=1),
            "adds up to more than 1": total > 1 + SUM_TOLERANCE,
            # The probability of places outside the countries belongs to none of them.
            "adds up to less than 1": (total < 1 - SUM_TOLERANCE)
            & (len(classes) <= TOP)
            & ~of_places,
            "names a country twice": names.nunique(axis=1) != names.notna().sum(axis=1),
            "is 0, but names a country": of_places & (names.notna() & (shown == 0)).any(axis=1),
            "is not that of the label": (named & (shown != label[:, None])).any(axis=1)
            | (~named.any(axis=1) & (label > shown[:, -1])),
        }
    for fault, rows in faults.items():
        if rows.any():
            return f"a probability of {_row(table[rows])} {fault}"
    if table[PROBABILITIES[len(classes) :]].notna().any(axis=None):
        return f"more than {len(classes)} probabilities of an image"
    return ""


def _check_places(table: pd.DataFrame) -> str:
    """Check that places are complete and valid; predicted places are all known or all missing."""
    for names, of in ((["latitude", "longitude"], "has"), (PLACE, "is predicted to be at")):
        latitude, longitude = (table[name] for name in names)
        unknown = latitude.isna() & longitude.isna()
        wrong = ~(unknown | (latitude.between(-90, 90) & longitude.between(-180, 180)))
        if wrong.any():
            return f"{_row(table[wrong])} {of} no such place"
    if 0 < (missing := table[PLACE[0]].isna()).sum() < len(table):
        return f"{_row(table[missing])} has no predicted place, but others have"
    return ""


def _check_same_images(
    first_path: str | Path,
    first: pd.DataFrame,
    path: str | Path,
    table: pd.DataFrame,
    own: set[str],
) -> None:
    keys = ["test_set", "image_id"]
    shared = [t[~t.test_set.isin(own)] for t in (first, table)]
    a, b = (t.set_index(keys)[IMAGE].sort_index() for t in shared)
    if len(different := a.index.symmetric_difference(b.index)):
        test_set, image_id = different[0]
        there = first_path if different[0] in a.index else path
        raise InputError(
            f"{path} and {first_path} are of other images: {image_id} ({test_set}), one of "
            f"{len(different)}, is only in {there}; {_remedy(first_path, path)}"
        )
    if not a.equals(b):
        column = next(name for name in IMAGE if not a[name].equals(b[name]))
        raise InputError(
            f"{path} and {first_path} differ in the {column} of images; {_remedy(first_path, path)}"
        )


def check_index(table: pd.DataFrame, path: str | Path, index: pd.DataFrame) -> int:
    """Check a predictions table against the index.

    Returns:
        The number of test images without a prediction; they are in quarantine.

    Raises:
        InputError: if an image is not in the index, not in its test split or test set, or has
            another source, country or place.
    """
    street = ~table.test_set.isin(set(index.collection) - {"street"})
    seen = table[IMAGE].assign(
        image_id=table.image_id, collection=np.where(street, "street", table.test_set)
    )
    seen = seen.drop_duplicates()
    test = index[index.split == "test"].rename(columns={"country": "label"})
    columns = ["image_id", "collection", *IMAGE]
    both = seen.merge(test[columns], how="left", on=columns, indicator=True)
    wrong = both[both._merge != "both"]
    if len(wrong):
        raise InputError(
            f"{path}: {len(wrong)} images are not in the test set of the index with their "
            f"source, country and place, such as {wrong.image_id.iloc[0]}; {_remedy(path)}"
        )
    return len(test) - len(seen)
