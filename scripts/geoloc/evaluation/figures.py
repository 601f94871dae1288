"""The figures of the report. Each function returns a Matplotlib Figure; `save` writes it.

The colors are those of Okabe and Ito, which people with any color vision can tell apart, and color
is never the only carrier of meaning.
"""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from geoloc.countries.names import display_name
from geoloc.errors import InputError
from geoloc.files import atomic_path
from geoloc.segmentation import rle
from geoloc.weighting import View

BLUE, ORANGE, GRAY = "#0072B2", "#D55E00", "#6B6B6B"
# Parameters of Matplotlib that are not of a figure.
NOT_OF_FIGURES = ("backend", "date.epoch", "figure.hooks", "interactive", "timezone", "tk.",
                  "toolbar", "webagg")  # fmt: skip
# A user's matplotlibrc changes no figure.
DEFAULTS = {
    key: value
    for key, value in matplotlib.rcParamsDefault.items()
    if not key.startswith(NOT_OF_FIGURES)
}
STYLE = {
    **DEFAULTS,
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "legend.frameon": False,
}


def save(figure: Figure, path: str | Path, dpi: int = 150) -> None:
    """Write a figure atomically; the suffix of `path` chooses the format."""
    with atomic_path(path) as temporary, matplotlib.rc_context(DEFAULTS):
        figure.savefig(temporary, dpi=dpi, facecolor="white")


# ------------------------------------------------------------------------------------ figure 2


@dataclass(frozen=True)
class Region:
    """A segment to draw.

    Attributes:
        mask: bool (H, W).
        name: its class, "" if it has none.
        probability: of the class, 0–1.
        score: 0–100.
    """

    mask: np.ndarray
    name: str
    probability: float
    score: int


@dataclass(frozen=True)
class Example:
    """An image of Fig. 2.

    Attributes:
        image_id: its id.
        country: ISO alpha-2.
        image: uint8 (H, W, 3).
        score: its score map, uint8 (H, W) in 0–100.
        regions: the segments to draw, the most important one last.
    """

    image_id: str
    country: str
    image: np.ndarray
    score: np.ndarray
    regions: Sequence[Region] = ()


def figure2(examples: Sequence[Example], views: Mapping[str, View]) -> Figure:
    """Draw Fig. 2 of *Beyond the Image*: original, segments, score map, and the datasets made from
    them.

    Args:
        examples: one per row.
        views: how each dataset shows an image, by title.

    Raises:
        InputError: if there are no examples.
    """
    if not examples:
        raise InputError("Fig. 2 needs at least one example image")
    rows, titles = len(examples), ["Original", "Segments", "Score map", *views]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(0.8 + 2.4 * len(titles), 2.35 * rows + 0.35), layout="constrained")
        axes = figure.subplots(rows, len(titles), squeeze=False)
        for (original, regions, score, *others), example in zip(axes, examples, strict=True):
            original.imshow(example.image)
            draw_regions(regions, example.image, example.regions)
            drawn = score.imshow(example.score, cmap="viridis", vmin=0, vmax=100)
            for axis, view in zip(others, views.values(), strict=True):
                axis.imshow(view(example.image, example.score))
            original.set_ylabel(
                f"{display_name(example.country)}\n{shorten(example.image_id)}",
                fontsize=8,
                parse_math=False,  # of a file name
            )
        for axis in axes.flat:
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
        for axis, title in zip(axes[0], titles, strict=True):
            axis.set_title(title)
        bar = figure.colorbar(drawn, ax=axes, shrink=min(1, 1.6 / rows), aspect=24, pad=0.01)
        bar.set_label("score (probability of a selected class, %)")
        bar.outline.set_visible(False)
    return figure


def draw_regions(axis: Axes, image: np.ndarray, regions: Sequence[Region]) -> None:
    """Draw an image with outlines of segments, and their classes and probabilities in them.

    Segments that score have a solid outline and a bold label, the others a dashed and a plain one.
    A label that would cover one of a more important segment is omitted.
    """
    axis.imshow(image // 2 + 96)  # paler, so that labels can be read on it
    taken: list[tuple[float, float, float, float]] = []
    for region in reversed(regions):
        color, style = (ORANGE, "solid") if region.score else (BLUE, "dashed")
        axis.contour(region.mask, [0.5], colors=color, linewidths=0.7, linestyles=style)
        label = f"{region.name} {100 * region.probability:.0f} %".strip()
        x, y = rle.inner_point(region.mask)
        side = image.shape[0] / 640
        half_width, half_height = (7 if region.score else 6) * side * len(label), 11 * side
        x = float(np.clip(x, half_width, image.shape[1] - half_width))
        box = x - half_width, y - half_height, x + half_width, y + half_height
        if any(_overlap(box, other) for other in taken):
            continue
        taken.append(box)
        axis.text(
            x, y, label, fontsize=5, color=color, ha="center", va="center",
            weight="bold" if region.score else "normal",
            bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 0.4},
        )  # fmt: skip


def _overlap(box: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return box[0] < other[2] and other[0] < box[2] and box[1] < other[3] and other[1] < box[3]


def shorten(text: str, length: int = 30) -> str:
    """Shorten a long name by replacing its middle with an ellipsis."""
    if len(text) <= length:
        return text
    head = (length - 1) // 3
    return f"{text[:head]}…{text[head + 1 - length :]}"


# ----------------------------------------------------------------------------- training curves

History = tuple[str, str, pd.DataFrame]
CAPTIONED = "(training: captions of the batch; validation: names of the countries)"


def training_curves(
    histories: Sequence[History],
    majority_baseline: float,
    captioned: Container[str] = (),
) -> Figure:
    """Draw training and validation accuracy and loss by epoch, one pair of panels per model.

    Models of one kind are side by side, so that their datasets can be compared.

    Args:
        histories: (title of the model, title of its training dataset, table with the columns epoch,
            accuracy, val_accuracy, loss and val_loss).
        majority_baseline: accuracy (0–1) of always predicting the most frequent country.
        captioned: titles of the models that are trained on captions.
    """
    blocks: dict[str, list[History]] = {}
    for history in histories:
        blocks.setdefault(history[0], []).append(history)
    columns = max(len(block) for block in blocks.values())
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(1.2 + 2.9 * columns, 3.6 * len(blocks) + 0.5))
        figure.set_layout_engine("constrained", h_pad=0.06)
        parts = figure.subfigures(len(blocks), 1, squeeze=False)[:, 0]
        for part, (model, block) in zip(parts, blocks.items(), strict=True):
            # Accuracy means different things in the two curves.
            title = f"{model}\n{CAPTIONED}" if model in captioned else model
            part.suptitle(title, fontsize=11, weight="bold")
            _block_of_curves(part, block, columns, majority_baseline)
        handles, labels = parts[0].axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=4)
    return figure


def _block_of_curves(part, block: Sequence[History], columns: int, baseline: float) -> None:
    """Draw the panels of one model's datasets: accuracy above loss, with shared scales per row."""
    axes = part.subplots(2, columns, sharex="col", sharey="row", squeeze=False)
    for (accuracy, loss), (_, trained_on, table) in zip(axes.T, block, strict=False):
        accuracy.set_title(trained_on)
        _curves(accuracy, table, "accuracy")
        accuracy.axhline(baseline, color=GRAY, linestyle=":", label="majority baseline")
        best = table["val_accuracy"].idxmax()
        accuracy.plot(
            table["epoch"][best],
            table["val_accuracy"][best],
            "o",
            color=ORANGE,
            mfc="white",
            label="best epoch",
        )
        _curves(loss, table, "loss")
        loss.set_xlabel("epoch")
        loss.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes[0, 0].set_ylabel("accuracy")
    axes[1, 0].set_ylabel("loss (nats)")
    axes[0, 0].yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes[0, 0].set_ylim(0, None)
    for unused in axes[:, len(block) :].flat:
        unused.remove()


def _curves(axis: Axes, table: pd.DataFrame, column: str) -> None:
    axis.plot(table["epoch"], table[column], color=BLUE, linestyle="--", label="training")
    axis.plot(table["epoch"], table[f"val_{column}"], color=ORANGE, label="validation")


# -------------------------------------------------------------------------------- accuracies


def accuracy_figure(
    metrics: pd.DataFrame,
    model_titles: Mapping[str, str],
    dataset_titles: Mapping[str, str],
    test_set_titles: Mapping[str, str],
) -> Figure:
    """Draw the accuracy of every model with its 95 % interval, one panel per test set.

    Intervals are over authors if these are known. The dotted line is the score of always predicting
    the most frequent training country: a model left of it has learned nothing that helps on this
    test set.

    Args:
        metrics: from `geoloc.evaluation.metrics.metrics_table`.
        model_titles: titles of models by key.
        dataset_titles: titles of datasets by key.
        test_set_titles: titles of panels, in order; test sets without images are skipped.

    Raises:
        InputError: if there are no metrics.
    """
    if metrics.empty:
        raise InputError("no test set has images; add images or lower min_images")
    rows = list(dict.fromkeys(zip(metrics["model"], metrics["dataset"], strict=True)))
    shown = [name for name in test_set_titles if name in set(metrics["test_set"])]
    row_titles = [f"{model_titles[model]} · {dataset_titles[dataset]}" for model, dataset in rows]
    width = 0.3 + 0.07 * max(map(len, row_titles)) + 2.3 * len(shown)
    with matplotlib.rc_context({**STYLE, "axes.grid.axis": "x"}):
        figure = Figure(figsize=(width, 1.3 + 0.33 * len(rows)), layout="constrained")
        axes = figure.subplots(1, len(shown), sharey=True, sharex=True, squeeze=False)[0]
        for axis, test_set in zip(axes, shown, strict=True):
            part = metrics[metrics["test_set"] == test_set]
            _dots(axis, part, rows)
            axis.set_title(f"{test_set_titles[test_set]} (n = {part['n'].iloc[0]:,})")
        axes[0].set_yticks(range(len(rows)), row_titles)
        axes[0].set_ylim(len(rows) - 0.5, -0.5)
        axes[0].set_xlim(0, None)
        axes[0].xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        label = "accuracy on the test set, with 95 % interval"
        if metrics["accuracy_low_by_author"].notna().any():
            label += " (over authors where they are known)"
        figure.supxlabel(label, fontsize=9)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper right", ncols=2)
    return figure


def _dots(axis: Axes, part: pd.DataFrame, rows: Sequence[tuple[str, str]]) -> None:
    position = [rows.index(row) for row in zip(part["model"], part["dataset"], strict=True)]
    accuracy = part["accuracy"].to_numpy()
    low = part["accuracy_low_by_author"].fillna(part["accuracy_low"])
    high = part["accuracy_high_by_author"].fillna(part["accuracy_high"])
    error = np.maximum([accuracy - low, high - accuracy], 0)  # quantiles may exclude the accuracy
    axis.errorbar(accuracy, position, xerr=error, fmt="o", color=BLUE, capsize=2.5, label="model")
    name = display_name(part["majority_country"].iloc[0])
    axis.axvline(
        part["majority_baseline"].iloc[0],
        color=ORANGE,
        linestyle=":",
        linewidth=1.5,
        label=f"always answering {name}",
    )
    axis.tick_params(axis="y", length=0)
