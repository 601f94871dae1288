"""What a reader sees first: the question, the verdict, and Table 1 with what judges it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from geoloc.countries.names import display_name
from geoloc.errors import FileError
from geoloc.evaluation.table1 import COMPARED
from geoloc.evaluation.verdict import verdict
from geoloc.report.tables import Run

QUESTION = "Does it help to show a country classifier only the telling objects?"


@dataclass(frozen=True)
class Cell:
    """An accuracy of Table 1.

    Args:
        accuracy: percent with two decimals as in table1.csv, "" where a test set has no images.
        interval: 95 % interval in percent.
        spread: standard deviation over seeds in points, "" for one seed.
        above: whether the whole interval is above the majority baseline.
        published: the published accuracy in percent, "" where it is not comparable.
    """

    accuracy: str
    interval: str = ""
    spread: str = ""
    above: bool = True
    published: str = ""


@dataclass(frozen=True)
class Column:
    """A test set: title, number of images, and accuracy in percent of the majority baseline."""

    title: str
    n: str
    baseline: str
    kind: str


def read_answers(path: str | Path) -> list[dict[str, Any]]:
    """Read the records of answers.json.

    Raises:
        FileError: if the file is missing or damaged.
    """
    try:
        records = json.loads(Path(path).read_text(encoding="utf-8"))
        if all("family" in record for record in records):
            return records
    except (ValueError, TypeError) as error:
        raise FileError(
            f"{path} is damaged ({error}); delete it and run snakemake again"
        ) from error
    raise FileError(f"{path} holds no answers; delete it and run snakemake again")


def interval_of(row: Any) -> tuple[float, float]:
    """Return the interval of a row of metrics.csv, 0–1: over authors where these are known."""
    low, high = row.accuracy_low_by_author, row.accuracy_high_by_author
    return (row.accuracy_low, row.accuracy_high) if math.isnan(low) else (low, high)


def first_screen(run: Run) -> dict[str, Any]:
    """Return question, verdict and Table 1 for the template."""
    metrics, table = run.table("metrics"), run.table("table1", dtype=str).fillna("")
    columns = [_column(run, metrics, test_set) for test_set in run.columns]
    keys = {(run.model(r.model), run.dataset(r.dataset)): (r.model, r.dataset) for r in run.rows}
    found = {(m.model, m.dataset, m.test_set): m for m in metrics.itertuples()}
    published = _published(run)
    groups: dict[str, list[tuple[str, list[Cell]]]] = {}
    for row in table.to_dict("records"):
        titles = row["Model"], row["Trained On"]
        if titles not in keys:
            raise FileError(
                f"{run.files['table1']} has a row {' / '.join(titles)}, which the configuration "
                "does not have; delete it and run snakemake again"
            )
        cells = [
            _cell(row[title], found.get((*keys[titles], name)), published.get((*titles, title)))
            for name, title in run.columns.items()
        ]
        groups.setdefault(titles[0], []).append((titles[1], cells))
    majority = metrics["majority_country"].iloc[0]
    return {
        "question": QUESTION,
        "verdict": verdict(read_answers(run.files["records"])),
        "columns": columns,
        "groups": groups,
        "majority": display_name(majority),
        "seeds": int(metrics["seeds"].max()),
        "by_author": bool(metrics["accuracy_low_by_author"].notna().any()),
        "compared": bool(published),
        "below": _below(groups.values()),
        "cells": sum(bool(c.accuracy) for g in groups.values() for _, cells in g for c in cells),
    }


def _column(run: Run, metrics: pd.DataFrame, test_set: str) -> Column:
    part = metrics[metrics["test_set"] == test_set]
    photos = test_set not in run.config["datasets"]
    title = run.columns[test_set].removesuffix(" Accuracy").removesuffix(" Test")
    kind = "photos" if photos else "street images"
    if part.empty:
        return Column(title, "0", "", kind)
    first = part.iloc[0]
    return Column(title, f"{first['n']:,}", f"{100 * first['majority_baseline']:.2f}", kind)


def _published(run: Run) -> dict[tuple[str, str, str], str]:
    """Published accuracies by model, dataset and column as Table 1 of this run names them."""
    if not run.has("comparison"):
        return {}
    ours = {
        column: {published: title for title, published in run.published_titles[column].items()}
        for column in COMPARED
    }
    return {
        tuple(ours[column][row[column]] for column in COMPARED): f"{row['Published']:.2f}"
        for row in run.table("comparison").to_dict("records")
    }


def _cell(accuracy: str, found: Any, published: str | None) -> Cell:
    if not accuracy or found is None:
        return Cell(accuracy)
    low, high = interval_of(found)
    spread = getattr(found, "accuracy_sd", math.nan)
    return Cell(
        accuracy,
        f"{100 * low:.1f}–{100 * high:.1f}",
        "" if math.isnan(spread) else f"{100 * spread:.1f}",
        low > found.majority_baseline,
        published or "",
    )


def _below(groups: Iterable[list[tuple[str, list[Cell]]]]) -> int:
    return sum(not cell.above for group in groups for _, cells in group for cell in cells)


def run_facts(run: Run, countries: pd.DataFrame) -> Mapping[str, Any]:
    """Return the numbers of images and countries of the street images that are kept."""
    kept = countries[countries["kept"].astype(str) == "True"]
    return {
        "countries": len(kept),
        **{split: f"{kept[split].sum():,}" for split in ("train", "val", "test")},
        "images": f"{kept[['train', 'val', 'test']].to_numpy().sum():,}",
    }
