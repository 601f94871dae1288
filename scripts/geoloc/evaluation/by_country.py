"""Accuracy by country, and which countries are mistaken for which."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy.stats import norm

from geoloc.evaluation.metrics import NO_COUNTRY, Predictions

MEAN = "mean"  # the seed of a row that is the mean over several
KEYS = ["model", "dataset", "seed", "test_set"]


def wilson(right: np.ndarray, n: np.ndarray, confidence: float = 0.95) -> np.ndarray:
    """Return Wilson score intervals (Wilson 1927) of shares.

    `geoloc.evaluation.intervals.wilson_interval` does the same for a single share and needs whole
    numbers, which the mean of right answers over seeds is not.

    Args:
        right: number of right answers, float (k,).
        n: number of images, positive, (k,).
        confidence: of the intervals.

    Returns:
        Low and high, 0–1, float64 (2, k).
    """
    z2 = norm.ppf((1 + confidence) / 2) ** 2
    right, n = np.asarray(right, float), np.asarray(n, float)
    middle = (right + z2 / 2) / (n + z2)
    half = np.sqrt(z2 * (right * (n - right) / n + z2 / 4)) / (n + z2)
    return np.clip([middle - half, middle + half], 0, 1)


def accuracy_by_country(predictions: Predictions) -> pd.DataFrame:
    """Return the accuracy of every row on the images of each country of each test set.

    Args:
        predictions: predictions of every row and seed.

    Returns:
        Columns model, dataset, seed, test_set, country (the label), n, right, accuracy, low, high
        (95 % Wilson interval, 0–1). If a model was trained with several seeds, rows with the seed
        `mean` follow those of each seed. In these, `right` is the mean over seeds, and the interval
        is for n images: seeds add no images, and it does not include their spread.
    """
    found = []
    for model, dataset, seed, frame in predictions:
        right = (frame["country_1"] == frame["label"]).groupby([frame["test_set"], frame["label"]])
        table = right.agg(n="size", right="sum").reset_index()
        table.insert(0, "seed", seed)
        found.append(table.assign(model=model, dataset=dataset))
    table = pd.concat(found, ignore_index=True).rename(columns={"label": "country"})
    of_row = ["model", "dataset", "test_set", "country"]
    means = table.groupby(of_row, sort=False).agg(
        n=("n", "first"), right=("right", "mean"), seeds=("seed", "nunique")
    )
    means = means[means.seeds > 1].drop(columns="seeds").reset_index().assign(seed=MEAN)
    table = pd.concat([table, means], ignore_index=True) if len(means) else table
    order = {row: i for i, row in enumerate(dict.fromkeys(zip(table.model, table.dataset)))}  # noqa: B905
    rank = [order[row] for row in zip(table.model, table.dataset, strict=True)]
    table = table.iloc[np.argsort(rank, kind="stable")].reset_index(drop=True)
    table["accuracy"] = table["right"] / table["n"]
    table["low"], table["high"] = wilson(table["right"], table["n"])
    return table[[*KEYS, "country", "n", "right", "accuracy", "low", "high"]]


def confusion(predictions: Predictions) -> pd.DataFrame:
    """Count how often images of a country were given each answer.

    Args:
        predictions: predictions of every row and seed.

    Returns:
        Columns model, dataset, seed, test_set, label, answer, n; pairs that never occur are
        omitted. The answer is "" if a model of places named no country of the run.
    """
    found = []
    for model, dataset, seed, frame in predictions:
        answer = frame["country_1"].fillna(NO_COUNTRY).rename("answer")
        counts = frame.groupby(["test_set", "label", answer], sort=True).size()
        keys = {"model": model, "dataset": dataset, "seed": seed}
        found.append(counts.rename("n").reset_index().assign(**keys))
    return pd.concat(found, ignore_index=True)[[*KEYS, "label", "answer", "n"]]
