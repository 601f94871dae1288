"""Accuracies on a map of the world, by country, and confusions by region."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from geoloc.countries.names import display_name, region
from geoloc.evaluation.by_country import MEAN
from geoloc.evaluation.metrics import NO_COUNTRY
from geoloc.report.tables import Run
from geoloc.report.world_map import WIDTH, dot, height, world

BINS = (0.1, 0.25, 0.5, 0.75, 0.9)  # between the colors of the map
OFTEN = 15  # confusions that are listed
FEW = 20  # images of a country below which its accuracy says little
CELL, SIDE = (12, 30), 420  # smallest and largest pixels of a pair of countries, and of all


def best_row(metrics: pd.DataFrame, test_set: str) -> tuple[str, str]:
    """Return the model and dataset of the row with the highest accuracy on a test set; of equals
    the first."""
    part = metrics[metrics["test_set"] == test_set]
    best = part.loc[part["accuracy"].idxmax()]
    return best["model"], best["dataset"]


def main_test_set(run: Run, metrics: pd.DataFrame) -> str:
    """Return the first column of Table 1 that has images: unchanged street images in the study."""
    measured = set(metrics["test_set"])
    return next(name for name in run.columns if name in measured)


def _of_row(table: pd.DataFrame, model: str, dataset: str, test_set: str) -> pd.DataFrame:
    """The lines of a row on a test set: the mean over seeds where there are several."""
    own = table[(table["model"] == model) & (table["dataset"] == dataset)]
    own = own[own["test_set"] == test_set]
    return own[own["seed"] == MEAN] if (own["seed"] == MEAN).any() else own


def countries_section(run: Run) -> dict[str, Any]:
    """Return the accuracy of the best row in each country, as table and as map."""
    metrics, table = run.table("metrics"), run.table("by_country", dtype={"seed": str})
    test_set = main_test_set(run, metrics)
    row = best_row(metrics, test_set)
    own = _of_row(table, *row, test_set).sort_values(["accuracy", "n"], ascending=False)
    lines = [
        {
            "code": line.country,
            "name": display_name(line.country),
            "region": region(line.country),
            "n": f"{line.n:,}",
            "right": f"{line.right:g}",
            "accuracy": f"{100 * line.accuracy:.1f}",
            "interval": f"{100 * line.low:.0f}–{100 * line.high:.0f}",
            "low": round(100 * line.low, 1),
            "high": round(100 * line.high, 1),
            "value": round(100 * line.accuracy, 1),
            "bin": color(line.accuracy),
            "few": line.n < FEW,
        }
        for line in own.itertuples()
    ]
    return {
        "row": run.row_title(*row),
        "test_set": run.test_set(test_set),
        "lines": lines,
        "few": sum(line["few"] for line in lines),
        "few_limit": FEW,
        "map": world_map(lines),
        "bins": bin_titles(),
    }


def color(share: float) -> int:
    """Return the number of the color of a share, 0 to len(BINS)."""
    return int(np.searchsorted(BINS, share, side="right"))


def bin_titles() -> list[str]:
    """Return the range of accuracies in percent of each color of the map."""
    edges = [0, *(round(100 * edge) for edge in BINS)]
    spans = [f"{low}–{high} %" for low, high in zip(edges, edges[1:], strict=False)]
    return [*spans, f"{edges[-1]} % and more"]


def world_map(lines: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return paths of all countries; those with an accuracy have a line of the table, small ones a
    dot."""
    found = {line["code"]: line for line in lines}
    paths = world()
    return {
        "width": WIDTH,
        "height": height(),
        "others": "".join(path for code, path in paths.items() if code not in found),
        "countries": [(line, paths.get(code, "")) for code, line in found.items()],
        "dots": [(line, dot(code)) for code, line in found.items() if not paths.get(code)],
    }


def confusion_section(run: Run) -> dict[str, Any] | None:
    """Return the confusions of the best row: a matrix ordered by region, and the most frequent
    pairs."""
    metrics, table = run.table("metrics"), run.table("confusion", dtype={"seed": str})
    table["answer"] = table["answer"].fillna(NO_COUNTRY)
    test_set = main_test_set(run, metrics)
    row = best_row(metrics, test_set)
    own = _of_row(table, *row, test_set).groupby(["label", "answer"])["n"].sum().reset_index()
    own["share"] = own["n"] / own.groupby("label")["n"].transform("sum")
    codes = sorted((set(own["label"]) | set(own["answer"])) - {NO_COUNTRY})
    codes.sort(key=lambda code: (region(code), display_name(code)))
    return {
        "row": run.row_title(*row),
        "test_set": run.test_set(test_set),
        "matrix": _matrix(own, codes),
        "pairs": _pairs(own),
        "few_limit": FEW,
        "few_left": bool(_often_tested(own).any()),
        "regions": _regions(own),
    }


def _matrix(own: pd.DataFrame, codes: list[str]) -> dict[str, Any]:
    place = {code: number for number, code in enumerate(codes)}
    size = int(np.clip(SIDE // len(codes), *CELL))
    cells = [
        (size * place[line.answer], size * place[line.label], color(line.share))
        for line in own[own["answer"] != NO_COUNTRY].itertuples()
    ]
    of = [region(code) for code in codes]
    starts = [n for n, name in enumerate(of) if n == 0 or name != of[n - 1]]
    return {
        "side": size * len(codes),
        "cell": size,
        "codes": codes,
        "names": [display_name(code) for code in codes],
        "cells": cells,
        "starts": [(size * n, of[n]) for n in starts],
    }


def _often_tested(own: pd.DataFrame) -> pd.Series:
    """Lines of countries whose shares of answers mean something."""
    return own.groupby("label")["n"].transform("sum") >= FEW


def _pairs(own: pd.DataFrame) -> list[dict[str, Any]]:
    """The largest shares of wrong answers, of countries with enough images if there are any."""
    often = _often_tested(own)
    wrong = own[often] if often.any() else own
    wrong = wrong[(wrong["label"] != wrong["answer"]) & (wrong["answer"] != NO_COUNTRY)]
    wrong = wrong.sort_values(["share", "n"], ascending=False, kind="stable").head(OFTEN)
    return [
        {
            "label": display_name(line.label),
            "answer": display_name(line.answer),
            "n": f"{line.n:,}",
            "share": f"{100 * line.share:.1f}",
        }
        for line in wrong.itertuples()
    ]


def _regions(own: pd.DataFrame) -> dict[str, str]:
    """Shares of all answers: right, wrong in the same region, wrong in another one."""
    known = own["answer"] != NO_COUNTRY
    same = known & (own["label"].map(region) == own["answer"].where(known, "").map(region))
    right, total = own["label"] == own["answer"], own["n"].sum()
    parts = {"right": right, "near": same & ~right, "far": ~same}
    return {name: f"{100 * own.loc[part, 'n'].sum() / total:.1f}" for name, part in parts.items()}
