"""Table 1 of "Beyond the Image": accuracy of every model on every test set, and how it compares
with the published one."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd

from geoloc.errors import InputError
from geoloc.evaluation.metrics import accuracy, majority_accuracy

PUBLISHED_TITLES = {
    "cnn": "Convolutional Neural Network",
    "transfer": "Transfer Learning",
    "clip": "StreetCLIP",
}
DATASET_TITLES = {
    "original": "Original",
    "weighted_base": "Weighted Base",
    "weighted_custom": "Weighted Custom",
    "default": "Default",
}
COLUMNS = {
    "original": "Original Test Accuracy",
    "weighted_base": "Weighted Base Test Accuracy",
    "weighted_custom": "Weighted Custom Test Accuracy",
    "im2gps3k": "Im2GPS-3k-modified Accuracy",
}
PUBLISHED = Path(__file__).parent / "data" / "table1_published.csv"
KEYS = ["Model", "Trained On"]


def columns_of(test_sets: Mapping[str, str] | None = None) -> dict[str, str]:
    """Columns of Table 1 by test set: the published ones, then those of further `test_sets`,
    titles by name. Raises ValueError where two columns would have the same title."""
    further = {name: f"{title} Accuracy" for name, title in (test_sets or {}).items()}
    columns = {**further, **COLUMNS}
    columns = {name: columns[name] for name in [*COLUMNS, *further]}
    if len(set(columns.values())) != len(columns):
        raise InputError(f"two columns of Table 1 have one title: {', '.join(columns.values())}")
    return columns


def table1(
    predictions: Iterable[tuple[str, str, pd.DataFrame]],
    test_sets: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Table 1 as text: percent with two decimals, "" where a test set has no images.

    `predictions` yields (title of the model, title of the dataset that it was trained on,
    predictions table of all test sets). Rows come in the published order; models that the study
    does not have follow in the order given. `test_sets` are those of `columns_of`. Raises
    ValueError when a row is given twice.
    """
    columns = columns_of(test_sets)
    rows = [
        {"Model": model, "Trained On": dataset, **_cells(frame, columns)}
        for model, dataset, frame in predictions
    ]
    table = pd.DataFrame(rows, columns=[*KEYS, *columns.values()])
    if table.duplicated(KEYS).any():
        twice = table.loc[table.duplicated(KEYS), KEYS].agg(" / ".join, axis=1)
        raise InputError(f"Table 1 has two rows for {', '.join(twice)}; give each row once")
    order = {key: row for row, key in enumerate(published()[KEYS].itertuples(index=False))}
    rank = [order.get(key, len(order)) for key in table[KEYS].itertuples(index=False)]
    return table.iloc[pd.Series(rank).argsort(kind="stable")].reset_index(drop=True)


def _cells(frame: pd.DataFrame, columns: Mapping[str, str]) -> dict[str, str]:
    parts = {test_set: frame[frame["test_set"] == test_set] for test_set in columns}
    return {
        columns[test_set]: "" if part.empty else f"{100 * accuracy(part):.2f}"
        for test_set, part in parts.items()
    }


def baselines(frame: pd.DataFrame, majority_label: str) -> dict[str, float]:
    """Accuracy (0–1) of always answering `majority_label`, by test set.

    `frame` is the predictions table of any one model: all models see the same test images.
    """
    return {
        test_set: majority_accuracy(part, majority_label)
        for test_set, part in frame.groupby("test_set", sort=False)
    }


def published() -> pd.DataFrame:
    """The study's own Table 1, in the form of `table1`."""
    return read_table1(PUBLISHED)


def read_table1(path: str | Path) -> pd.DataFrame:
    """A Table 1 that was written as CSV; cells stay text."""
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def compare(table: pd.DataFrame, titles: Mapping[str, str]) -> pd.DataFrame:
    """Ours beside the published: one row a model × dataset × test set that both tables have.

    `titles` gives the title in `table` of each model that stands beside the published one of the
    same key; other rows are left out, whatever their title. Columns: Model (as published), Trained
    On, Test Set, Ours, Published, Difference (percent and percentage points, float).
    """
    as_published = {
        titles[model]: title for model, title in PUBLISHED_TITLES.items() if model in titles
    }
    ours = table.assign(Model=table["Model"].map(as_published)).dropna(subset="Model")
    both = _long(ours, "Ours").merge(_long(published(), "Published"), on=[*KEYS, "Test Set"])
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
    test_sets: Mapping[str, str] | None = None,
) -> str:
    """Table 1 for the terminal, the majority baseline of each column under it.

    `baseline` is what `baselines` returns, `majority_name` the display name of its country;
    `test_sets` as for `table1`.
    """
    columns = columns_of(test_sets)
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
    """One line: names to the left, numbers to the right."""
    aligned = [
        cell.ljust(width) if column < len(KEYS) else cell.rjust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(aligned).rstrip()
