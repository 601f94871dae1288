"""The figure of explanations: what a model sees, what scores, and what its answers rest on."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from geoloc.countries.names import display_name
from geoloc.errors import InputError
from geoloc.evaluation.figures import STYLE
from geoloc.explain.methods import TITLES
from geoloc.stores import Explanation
from geoloc.tables import damaged

CLIPPED = 99.5  # percentile of a map that is drawn as its maximum: a few pixels outshine the others


@dataclass(frozen=True)
class Example:
    """An explained image.

    Attributes:
        dataset: title of the row's dataset.
        image: as the model sees it, uint8 (224, 224, 3).
        score: its score map, uint8 (224, 224) in 0–100.
        explanation: its maps.
        probability: of the answer, 0–1.
        shown: the methods whose maps passed their checks in this row.
    """

    dataset: str
    image: np.ndarray
    score: np.ndarray
    explanation: Explanation
    probability: float
    shown: Container[str]


def choose(checks: pd.DataFrame, seed: int) -> list[str]:
    """Draw two of a row's images: one with a right and one with a wrong answer, or two of the same
    if there are no others.

    Args:
        checks: table of the row, with the columns `geoloc.explain.row.CHECK_COLUMNS`.
        seed: of the draw.

    Returns:
        Their ids.
    """
    images = checks.drop_duplicates("image_id")
    images = images.iloc[np.random.default_rng(seed).permutation(len(images))]
    right = images["label"] == images["answer"]
    chosen = pd.concat([images[right][:1], images[~right][:1], images[right][1:], images[~right]])
    return chosen["image_id"].drop_duplicates().tolist()[:2]


def check_answers(path: str, explanation: Explanation, checks: pd.DataFrame) -> None:
    """Check that maps explain the answer that a row's table has for their image.

    Args:
        path: the store of the maps, for the message.
        explanation: the maps.
        checks: table of the row, see `choose`.

    Raises:
        FileError: if it has another one: the maps or the table are of another row.
    """
    answers = checks.set_index("image_id")["answer"]
    if set(answers.loc[[explanation.image_id]]) != {explanation.predicted}:
        raise damaged(
            path,
            f"it explains {explanation.predicted} for {explanation.image_id}, but the row answers "
            f"{answers[explanation.image_id]}",
        )


def explanation_figure(title: str, examples: Sequence[Example]) -> Figure:
    """Draw examples, one row each: the image, its score map, and a map for each of their methods.

    A map that fails its checks (`shown` in faithfulness.csv) says nothing about the model and is
    omitted.

    Args:
        title: of the model.
        examples: at least one.

    Raises:
        InputError: without an example.
    """
    if not examples:
        raise InputError("a figure of explanations needs an explained image; raise explain.images")
    methods = [m for m in TITLES if any(m in each.explanation.relevance for each in examples)]
    titles = ["As the model sees it", "Score map", *(TITLES[method] for method in methods)]
    with matplotlib.rc_context({**STYLE, "axes.grid": False}):
        size = (1.6 + 2.2 * len(titles), 0.6 + 2.2 * len(examples))
        figure = Figure(figsize=size, layout="constrained")
        figure.suptitle(title, fontsize=11, weight="bold")
        axes = figure.subplots(len(examples), len(titles), squeeze=False)
        for row, example in zip(axes, examples, strict=True):
            _draw(row, example, methods)
        for axis, name in zip(axes[0], titles, strict=True):
            axis.set_title(name)
        for axis in axes.flat:
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
    return figure


def _draw(axes: Sequence[Axes], example: Example, methods: Sequence[str]) -> None:
    seen, score, *others = axes
    found = example.explanation
    seen.imshow(example.image)
    verdict = "right" if found.label == found.predicted else "wrong"
    seen.set_ylabel(
        f"{example.dataset}\n{display_name(found.label)}\nanswer: {display_name(found.predicted)}\n"
        f"{example.probability:.0%}, {verdict}",
        fontsize=8,
    )
    score.imshow(example.score, cmap="viridis", vmin=0, vmax=100)
    for axis, method in zip(others, methods, strict=True):
        if method not in found.relevance:
            axis.text(0.5, 0.5, "not available", ha="center", va="center", fontsize=8)
        elif method not in example.shown:
            note = "not shown:\nsee faithfulness.csv"
            axis.text(0.5, 0.5, note, ha="center", va="center", fontsize=8)
        else:
            _overlay(axis, example.image, found.relevance[method])
        axis.set_aspect("equal")


def _overlay(axis: Axes, image: np.ndarray, relevance: np.ndarray) -> None:
    """Draw a map over its image in gray."""
    strength = np.clip(relevance / (np.percentile(relevance, CLIPPED) or 1), 0, 1)
    axis.imshow(image.mean(axis=-1), cmap="gray", vmin=0, vmax=255)
    axis.imshow(strength, cmap="inferno", vmin=0, vmax=1, alpha=0.25 + 0.7 * strength)
