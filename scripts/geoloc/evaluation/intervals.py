"""Intervals of accuracies and of their differences: of a share, over authors, and over seeds."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from scipy.stats import binomtest, bootstrap

from geoloc.evaluation.few_authors import (
    FEW_AUTHORS,
    known_authors,
    spread_of_few,
    spread_over_authors,
    t_interval,
)

RESAMPLES = 9999
BATCH = 1000  # resamples drawn at once


def wilson_interval(correct: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the Wilson score interval of a share (Wilson 1927), low and high, 0–1; n > 0."""
    interval = binomtest(correct, n).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def authors_of_images(index: pd.DataFrame) -> dict[str, str]:
    """Return the author of each image by its id, "" if unknown.

    Sources name authors independently: the author 17 of two sources is not the same person.

    Args:
        index: columns image_id, source and author.
    """
    author = index["source"] + "\0" + index["author"]
    return dict(zip(index["image_id"], author.where(index["author"] != "", ""), strict=True))


def author_interval(
    frame: pd.DataFrame, authors: Mapping[str, str], seed: int, confidence: float = 0.95
) -> tuple[float, float]:
    """Return an interval of the accuracy, low and high, 0–1, if images of an author are alike.

    Authors are drawn with replacement, each with all of their images (cluster bootstrap, Davison
    and Hinkley 1997, section 3.8). Wilson's interval treats images as independent and is then too
    narrow: with author sizes as in Im2GPS3k (198 authors, 1 to 235 images) and accuracies that
    differ by author, its 95 % intervals covered the true accuracy in 27 to 51 of 100 simulations.
    Quantiles of the resamples (`percentile`) covered it in 92 to 94; BCa, whose acceleration rests
    on the few largest authors, was no better (91 to 92). Of few authors the interval is Student's,
    see `geoloc.evaluation.few_authors`.

    Args:
        frame: predictions table.
        authors: author by image id; an image without one counts as the only image of an author.
        seed: seed of the bootstrap.
        confidence: of the interval.

    Returns:
        Low and high; NaN if no author is known, or all authors have the same accuracy (a single
        author, all predictions right, all wrong), so that resamples can't vary.
    """
    right = (frame["country_1"] == frame["label"]).astype(int)
    return mean_interval_by_author(right, frame["image_id"], authors, seed, (0, 1), confidence)


def mean_interval_by_author(
    values: pd.Series,
    image_ids: pd.Series,
    authors: Mapping[str, str],
    seed: int,
    limits: tuple[float, float],
    confidence: float = 0.95,
) -> tuple[float, float]:
    """Return an interval of the mean of `values` as `author_interval` does.

    `values` are whole numbers (n,) of the images `image_ids` (n,), within the `limits`. The
    interval is NaN if no author is known, or all have the same mean, so that nothing varies.
    """
    author = image_ids.map(authors).fillna("")
    if not author.any():
        return np.nan, np.nan
    author = author.where(author != "", "\0" + image_ids)  # no author's name contains it
    by_author = values.groupby(author).agg(["sum", "size"])
    sums, sizes = by_author["sum"].to_numpy(), by_author["size"].to_numpy()
    if np.ptp(sums / sizes) == 0:
        return np.nan, np.nan
    if len(sizes) < FEW_AUTHORS:
        spread = spread_over_authors(sums, sizes)
        return t_interval(float(values.mean()), spread, *limits, confidence)
    interval = bootstrap(
        (sums, sizes),
        lambda sums, sizes, axis: sums.sum(axis=axis) / sizes.sum(axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=BATCH,  # keeps memory flat as authors grow
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(interval.low), float(interval.high)


def interval_over_seeds(
    correct: np.ndarray, author: pd.Series | None = None, seed: int = 0, confidence: float = 0.95
) -> tuple[float, float]:
    """Return an interval of an accuracy over seeds and images, bootstrapping both
    (`resampled_means`), or Student's for few authors (`spread_of_few`).

    Args:
        correct: 0 or 1, (images, seeds); without authors also other numbers.
        author: author of each image, "" if unknown; None draws images; empty gives NaN.
        seed: seed of the resamples.
        confidence: of the interval.

    Returns:
        Low and high.
    """
    if author is not None and author.empty:
        return np.nan, np.nan
    if spread := spread_of_few(correct, author):
        return t_interval(float(correct.mean()), spread, 0, 1, confidence)
    tail = (1 - confidence) / 2
    low, high = np.quantile(resampled_means(correct, author, seed), [tail, 1 - tail])
    return float(low), float(high)


def resampled_means(
    correct: np.ndarray, author: pd.Series | None = None, seed: int | np.random.SeedSequence = 0
) -> np.ndarray:
    """Bootstrap the mean over seeds and images.

    Seeds and images are crossed: every seed answers for every image. So each resample draws seeds
    and, independently, images (or authors with all of their images), both with replacement (Owen
    2007, "The pigeonhole bootstrap"). It is conservative if one of the two varies little, and rough
    for few seeds: five seeds have only 126 distinct resamples.

    Args:
        correct: 0 or 1, or a difference of them, (images, seeds).
        author: author of each image, "" if unknown, by image id; None draws images.
        seed: seed of the resamples.

    Returns:
        The mean of each resample, float64 (RESAMPLES,).
    """
    count = correct.shape[1]
    sums, sizes = correct.astype(float), np.ones(len(correct))
    if author is not None:
        _, groups = np.unique(known_authors(author), return_inverse=True)
        sizes = np.bincount(groups).astype(float)
        sums = np.stack([np.bincount(groups, column) for column in correct.T], axis=1)
    # Images or authors with the same answers are drawn together: a few numbers instead of
    # thousands.
    kinds, numbers = np.unique(np.column_stack([sums, sizes]), axis=0, return_counts=True)
    sums, sizes = kinds[:, :-1], kinds[:, -1]
    total = numbers.sum()
    rng = np.random.default_rng(seed)
    means = np.empty(RESAMPLES)
    for start in range(0, RESAMPLES, BATCH):  # keeps memory flat as images grow
        number = min(BATCH, RESAMPLES - start)
        drawn = rng.multinomial(total, numbers / total, number)
        seeds = rng.multinomial(count, np.full(count, 1 / count), number) / count
        shares = (drawn @ sums) / (drawn @ sizes)[:, None]
        means[start : start + number] = (shares * seeds).sum(axis=1)
    return means
