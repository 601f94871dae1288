"""Training curves as paths of small plots, next to the published ones if the run is comparable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.ticker import MaxNLocator

from geoloc.matrix import Row
from geoloc.report.tables import COLUMNS, Run, read_table

WIDTH, HEIGHT = 300, 170
LEFT, RIGHT, TOP, BOTTOM = 40, 8, 8, 24
PUBLISHED = Path(__file__).parent / "data" / "training_published.csv"
"""The study's training histories, from the output of its notebooks."""


@dataclass(frozen=True)
class Plot:
    """A plot of lines: `paths` of an SVG by name, ticks as (position, text), and a summary."""

    title: str
    paths: dict[str, str]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    baseline: float | None
    best: tuple[float, float] | None
    summary: str


@dataclass(frozen=True)
class _Training:
    """A history of the run and, if it exists, the published one of the same model and dataset."""

    row: Row
    history: pd.DataFrame
    published: pd.DataFrame | None

    @property
    def tables(self) -> list[pd.DataFrame]:
        return [self.history] + ([] if self.published is None else [self.published])


def training_plots(run: Run, countries: pd.DataFrame) -> list[dict[str, Any]]:
    """Return a pair of plots, accuracy and loss, for each training, on one scale for a model."""
    kept = countries[countries["kept"].astype(str) == "True"]
    majority = run.table("metrics")["majority_country"].iloc[0]
    baseline = kept.loc[kept["country"] == majority, "val"].sum() / kept["val"].sum()
    published = published_histories(run)
    groups: dict[str, list[_Training]] = {}
    for row, path in run.histories.items():
        history = read_table(path, COLUMNS["history"])
        same = published.get((row.model, row.dataset))
        groups.setdefault(row.model, []).append(_Training(row, history, same))
    found = []
    for model, group in groups.items():
        tables = [table for training in group for table in training.tables]
        limits = {
            name: max(float(t[[name, f"val_{name}"]].max().max()) for t in tables)
            for name in ("accuracy", "loss")
        }
        plots = [
            (
                _title(run, training.row),
                _accuracy(training, limits["accuracy"], baseline),
                _loss(training, limits["loss"]),
            )
            for training in group
        ]
        found.append(
            {
                "title": run.model(model),
                "plots": plots,
                "captions": run.config["models"][model]["kind"] in ("clip", "contrastive"),
                "published": any(training.published is not None for training in group),
            }
        )
    return found


def published_histories(run: Run) -> Mapping[tuple[str, str], pd.DataFrame]:
    """Return the study's histories by model and dataset of the run; empty if not comparable."""
    if run.differences:
        return {}
    table = read_table(PUBLISHED, ("model", "trained_on", *COLUMNS["history"]))
    found = {key: part.reset_index() for key, part in table.groupby(["model", "trained_on"])}
    models, datasets = run.published_titles["Model"], run.published_titles["Trained On"]
    keys = {
        (row.model, row.dataset): (
            models.get(run.model(row.model)),
            datasets.get(run.dataset(row.dataset)),
        )
        for row in run.histories
    }
    return {name: found[key] for name, key in keys.items() if key in found}


def _title(run: Run, row: Row) -> str:
    seed = f", seed {row.seed}" if len(run.config["seeds"] or []) > 1 else ""
    return f"{run.dataset(row.dataset)}{seed}"


def _accuracy(training: _Training, limit: float, baseline: float) -> Plot:
    history = training.history
    best = int(history["val_accuracy"].idxmax())
    epoch, value = history["epoch"][best], history["val_accuracy"][best]
    summary = (
        f"best validation accuracy {100 * value:.1f} % after epoch {epoch} of {len(history)}; "
        f"majority baseline {100 * baseline:.1f} %"
    )
    if training.published is not None:
        other = training.published["val_accuracy"]
        summary += (
            f"; published: {100 * other.max():.1f} % after epoch "
            f"{training.published['epoch'][int(other.idxmax())]} of {len(other)}"
        )
    curves = _curves(training, "accuracy", 100)
    top = max(limit, baseline) * 100
    return _plot("Accuracy (%)", curves, top, summary, 100 * baseline, (epoch, 100 * value))


def _loss(training: _Training, limit: float) -> Plot:
    last = training.history.iloc[-1]
    summary = f"last epoch: training {last['loss']:.2f}, validation {last['val_loss']:.2f}"
    return _plot("Loss (nats)", _curves(training, "loss", 1), limit, summary)


def _curves(training: _Training, name: str, factor: float) -> dict[str, pd.Series]:
    """Values by epoch of each line of a plot."""
    found = {}
    for prefix, table in zip(("", "published "), training.tables, strict=False):
        by_epoch = factor * table.set_index("epoch")
        found |= {
            f"{prefix}training": by_epoch[name],
            f"{prefix}validation": by_epoch[f"val_{name}"],
        }
    return found


def _ticks(first: float, last: float, top: float) -> tuple[list[float], list[float]]:
    ticks = MaxNLocator(5, integer=True).tick_values(first, max(last, first + 1))
    heights = MaxNLocator(4).tick_values(0, top or 1)
    return [t for t in ticks if first <= t <= last], list(heights)


def _plot(
    title: str,
    curves: Mapping[str, pd.Series],
    top: float,
    summary: str,
    baseline: float | None = None,
    best: tuple[float, float] | None = None,
) -> Plot:
    first = float(min(curve.index[0] for curve in curves.values()))
    last = float(max(curve.index[-1] for curve in curves.values()))
    x_ticks, y_ticks = _ticks(first, last, top)
    span = max(last - first, 1.0)

    def x(epoch: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * (epoch - first) / span, 1)

    def y(value: float) -> float:
        return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / y_ticks[-1], 1)

    paths = {
        name: "M" + "L".join(f"{x(epoch)},{y(value)}" for epoch, value in curve.items())
        for name, curve in curves.items()
    }
    return Plot(
        title,
        paths,
        [(x(tick), f"{tick:g}") for tick in x_ticks],
        [(y(tick), f"{tick:g}") for tick in y_ticks],
        None if baseline is None else y(baseline),
        None if best is None else (x(best[0]), y(best[1])),
        summary,
    )
