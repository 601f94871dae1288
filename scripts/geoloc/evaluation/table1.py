"""Table 1 of "Beyond the Image", accuracy of every model on every test set, and its comparison.

The comparison is with the published table.
"""

from collections.abc import Iterable, Mapping
from math import nan
from pathlib import Path

import pandas as pd

from geoloc.errors import InputError
from geoloc.evaluation.metrics import accuracy, majority_accuracy
from geoloc.tables import read_csv

PUBLISHED = Path(__file__).parent / "data" / "table1_published.csv"
KEYS = ["Model", "Trained On"]
COMPARED = [*KEYS, "Test Set"]  # columns of the comparison that hold titles


Predictions = Iterable[tuple[str, str, str, pd.DataFrame]]
"""Title of a model, title of its training dataset, seed, predictions table of all test sets."""


def table1(predictions: Predictions, columns: Mapping[str, str]) -> pd.DataFrame:
    """Return Table 1 as text: percent with two decimals, the mean over seeds.

    Args:
        predictions: predictions of every row and seed.
        columns: title of each column by test set.

    Returns:
        Columns Model, Trained On and those given; "" if a test set has no images. The published
        rows come first, in their order, then the others in the given order.

    Raises:
        InputError: if a row is given twice with the same seed.
    """
    columns = published_first(columns)
    cells = _accuracies(predictions, columns)
    means = cells.groupby(KEYS, sort=False)[list(columns.values())].mean().reset_index()
    return _in_published_order(_as_text(means, columns))


def table1_seeds(predictions: Predictions, columns: Mapping[str, str]) -> pd.DataFrame:
    """Return Table 1 with a row for each seed, and the column Seed after Trained On."""
    columns = published_first(columns)
    return _in_published_order(_as_text(_accuracies(predictions, columns), columns))


def published_first(columns: Mapping[str, str]) -> dict[str, str]:
    """Return the columns by test set, those of the published table first."""
    known = list(published().columns)
    rank = {
        title: known.index(title) if title in known else len(known) for title in columns.values()
    }
    return dict(sorted(columns.items(), key=lambda column: rank[column[1]]))


def _accuracies(predictions: Predictions, columns: Mapping[str, str]) -> pd.DataFrame:
    """Return accuracy (0–1) by model, dataset, seed and column; NaN if a test set has no images."""
    rows = [
        {"Model": model, "Trained On": dataset, "Seed": seed, **_cells(frame, columns)}
        for model, dataset, seed, frame in predictions
    ]
    keys = [*KEYS, "Seed"]
    table = pd.DataFrame(rows, columns=[*keys, *columns.values()])
    if table.duplicated(keys).any():
        twice = table.loc[table.duplicated(keys), keys].agg(" / ".join, axis=1)
        raise InputError(f"Table 1 has two rows for {', '.join(twice)}; give each row once")
    return table


def _as_text(table: pd.DataFrame, columns: Mapping[str, str]) -> pd.DataFrame:
    texts = {
        title: [f"{100 * share:.2f}" if pd.notna(share) else "" for share in table[title]]
        for title in columns.values()
    }
    return table.assign(**{title: pd.Series(cells, dtype=object) for title, cells in texts.items()})


def _in_published_order(table: pd.DataFrame) -> pd.DataFrame:
    order = {key: row for row, key in enumerate(published()[KEYS].itertuples(index=False))}
    rank = [order.get(key, len(order)) for key in table[KEYS].itertuples(index=False)]
    return table.iloc[pd.Series(rank).argsort(kind="stable")].reset_index(drop=True)


def _cells(frame: pd.DataFrame, columns: Mapping[str, str]) -> dict[str, float]:
    parts = {test_set: frame[frame["test_set"] == test_set] for test_set in columns}
    return {
        columns[test_set]: nan if part.empty else accuracy(part) for test_set, part in parts.items()
    }


def baselines(frame: pd.DataFrame, majority_label: str) -> dict[str, float]:
    """Return the accuracy (0–1) of always predicting `majority_label`, by test set.

    `frame` is the predictions table of any model: all models see the same test images.
    """
    return {
        test_set: majority_accuracy(part, majority_label)
        for test_set, part in frame.groupby("test_set", sort=False)
    }


def published() -> pd.DataFrame:
    """Return the study's own Table 1, in the form of `table1`."""
    return read_table1(PUBLISHED)


def read_table1(path: str | Path) -> pd.DataFrame:
    """Read a Table 1 from CSV; cells stay text."""
    return read_csv(path, dtype=str, na_values=[])


def compare(table: pd.DataFrame, titles: Mapping[str, Mapping[str, str]]) -> pd.DataFrame:
    """Compare Table 1 with the published one: a row for each model, dataset and test set of both.

    Args:
        table: Table 1.
        titles: for each of `COMPARED`, the published titles of what is the study's, by their titles
            in `table`. Everything else is skipped, whatever its title.

    Returns:
        Columns Model, Trained On, Test Set (as published), Ours, Published, Difference (percent and
        percentage points, float).
    """
    ours = _long(table, "Ours")
    for column in COMPARED:
        ours[column] = ours[column].map(titles[column])
    both = ours.dropna().merge(_long(published(), "Published"), on=COMPARED)
    both["Difference"] = (both["Ours"] - both["Published"]).round(2)
    return both


def _long(table: pd.DataFrame, name: str) -> pd.DataFrame:
    long = table.melt(KEYS, var_name="Test Set", value_name=name)
    long[name] = pd.to_numeric(long[name])
    return long.dropna(subset=[name])


def format_table(
    table: pd.DataFrame,
    baseline: Mapping[str, float],
    majority_name: str,
    columns: Mapping[str, str],
) -> str:
    """Format Table 1 for the terminal, with the majority baseline of each column below it.

    Args:
        table: Table 1.
        baseline: from `baselines`.
        majority_name: display name of the majority country.
        columns: as for `table1`.
    """
    columns = published_first(columns)
    header = [*KEYS, *(c.removesuffix(" Accuracy").removesuffix(" Test") for c in columns.values())]
    body = [[str(cell) for cell in row] for row in table.itertuples(index=False)]
    for previous, row in zip(body[-2::-1], body[:0:-1], strict=True):
        if previous[0] == row[0]:
            row[0] = ""
    last = ["Majority baseline", f"always {majority_name}"]
    last += [f"{100 * baseline[key]:.2f}" if key in baseline else "" for key in columns]
    widths = [max(len(row[i]) for row in [header, *body, last]) for i in range(len(header))]
    rule = "─" * (sum(widths) + 2 * (len(widths) - 1))
    lines = [
        "Accuracy in percent on each test set",
        _line(header, widths),
        rule,
        *(_line(row, widths) for row in body),
        rule,
    ]
    return "\n".join([*lines, _line(last, widths)])


def _line(cells: list[str], widths: list[int]) -> str:
    """Return one line: names aligned left, numbers right."""
    aligned = [
        cell.ljust(width) if column < len(KEYS) else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(aligned).rstrip()
