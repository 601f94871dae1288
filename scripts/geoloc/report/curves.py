"""Training curves as paths of small plots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.ticker import MaxNLocator

from geoloc.report.tables import COLUMNS, Run, read_table

WIDTH, HEIGHT = 300, 170
LEFT, RIGHT, TOP, BOTTOM = 40, 8, 8, 24


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


def training_plots(run: Run, countries: pd.DataFrame) -> list[dict[str, Any]]:
    """A pair of plots, accuracy and loss, for each training, on one scale for a model."""
    kept = countries[countries["kept"].astype(str) == "True"]
    majority = run.table("metrics")["majority_country"].iloc[0]
    baseline = kept.loc[kept["country"] == majority, "val"].sum() / kept["val"].sum()
    histories = {row: read_table(path, COLUMNS["history"]) for row, path in run.histories.items()}
    groups: dict[str, list] = {}
    for row, history in histories.items():
        groups.setdefault(row.model, []).append((row, history))
    found = []
    for model, group in groups.items():
        tables = [history for _, history in group]
        limits = {
            name: max(float(t[[name, f"val_{name}"]].max().max()) for t in tables)
            for name in ("accuracy", "loss")
        }
        plots = [
            (_title(run, row), _accuracy(history, limits["accuracy"], baseline),
             _loss(history, limits["loss"]))
            for row, history in group
        ]  # fmt: skip
        captions = run.config["models"][model]["kind"] in ("clip", "contrastive")
        found.append({"title": run.model(model), "plots": plots, "captions": captions})
    return found


def _title(run: Run, row: Any) -> str:
    seed = f", seed {row.seed}" if len(run.config["seeds"] or []) > 1 else ""
    return f"{run.dataset(row.dataset)}{seed}"


def _accuracy(history: pd.DataFrame, limit: float, baseline: float) -> Plot:
    best = int(history["val_accuracy"].idxmax())
    epoch, value = history["epoch"][best], history["val_accuracy"][best]
    top = max(limit, baseline) * 100
    scales = _scales(history["epoch"], top)
    summary = (
        f"best validation accuracy {100 * value:.1f} % after epoch {epoch} of {len(history)}; "
        f"majority baseline {100 * baseline:.1f} %"
    )
    percent = 100 * history[["accuracy", "val_accuracy"]]
    return _plot("Accuracy (%)", history["epoch"], percent, scales, summary,
                 100 * baseline, (epoch, 100 * value))  # fmt: skip


def _loss(history: pd.DataFrame, limit: float) -> Plot:
    last = history.iloc[-1]
    summary = f"last epoch: training {last['loss']:.2f}, validation {last['val_loss']:.2f}"
    losses = history[["loss", "val_loss"]]
    return _plot("Loss (nats)", history["epoch"], losses, _scales(history["epoch"], limit), summary)


def _scales(epochs: pd.Series, top: float) -> tuple[list[float], list[float]]:
    first, last = float(epochs.iloc[0]), float(epochs.iloc[-1])
    ticks = MaxNLocator(5, integer=True).tick_values(first, max(last, first + 1))
    heights = MaxNLocator(4).tick_values(0, top or 1)
    return [t for t in ticks if first <= t <= last], list(heights)


def _plot(
    title: str,
    epochs: pd.Series,
    values: pd.DataFrame,
    scales: tuple[Sequence[float], Sequence[float]],
    summary: str,
    baseline: float | None = None,
    best: tuple[float, float] | None = None,
) -> Plot:
    x_ticks, y_ticks = scales
    first, span = float(epochs.iloc[0]), max(float(epochs.iloc[-1] - epochs.iloc[0]), 1.0)

    def x(epoch: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * (epoch - first) / span, 1)

    def y(value: float) -> float:
        return round(HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / y_ticks[-1], 1)

    names = ("training", "validation")
    paths = {
        name: "M" + "L".join(f"{x(e)},{y(v)}" for e, v in zip(epochs, values[column], strict=True))
        for name, column in zip(names, values, strict=True)
    }
    return Plot(
        title, paths,
        [(x(tick), f"{tick:g}") for tick in x_ticks],
        [(y(tick), f"{tick:g}") for tick in y_ticks],
        None if baseline is None else y(baseline),
        None if best is None else (x(best[0]), y(best[1])),
        summary,
    )  # fmt: skip
