"""Estimates with uncertainty: accuracies, and differences between two of them.

Comparisons are between tables (images, seeds) of right and wrong answers. Images are grouped by
author if authors are known, and every seed answers for every image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import binomtest, fisher_exact, norm

from geoloc.errors import InputError
from geoloc.evaluation.few_authors import (
    Spread,
    known_authors,
    spread_of_few,
    sum_of_spreads,
    t_interval,
    t_p_value,
)
from geoloc.evaluation.intervals import (
    RESAMPLES,
    interval_over_seeds,
    resampled_means,
    wilson_interval,
)

CONFIDENCE = 0.95
POWER = 0.8
TAIL = (1 - CONFIDENCE) / 2
# Half a 95 % interval is 1.96 standard errors. The effect that a test at the 5 % level detects with
# 80 % power is 1.96 + 0.84 standard errors.
EFFECT_PER_HALF_WIDTH = float(1 + norm.ppf(POWER) / norm.ppf(1 - TAIL))


@dataclass(frozen=True)
class Estimate:
    """An accuracy (0–1), or a difference between two (−1…1).

    Args:
        estimate: the value.
        low: lower bound of its 95 % interval.
        high: upper bound of its 95 % interval.
        n: number of images.
        seeds: number of training runs.
        p_value: two-sided, for no difference; NaN for an accuracy.
        smallest_effect: smallest true difference that a test at the 5 % level detects with 80 %
            power, so the largest that can easily be missed; NaN for an accuracy.
        method: how these were computed.
    """

    estimate: float
    low: float
    high: float
    n: int
    seeds: int
    p_value: float
    smallest_effect: float
    method: str


def share(right: pd.DataFrame, authors: Mapping[str, str], seed: int) -> Estimate:
    """Estimate an accuracy.

    Args:
        right: correctness (bool) by image id and seed.
        authors: author by image id.
        seed: seed of the bootstrap.
    """
    author = _authors(right.index, authors)
    low, high, interval = _share_interval(right, author, seed)
    estimate = float(right.to_numpy().mean())
    method = f"share of right answers; {interval}"
    return Estimate(estimate, low, high, *right.shape, np.nan, np.nan, method)


def paired_difference(
    first: pd.DataFrame, second: pd.DataFrame, authors: Mapping[str, str], seed: int
) -> Estimate:
    """Estimate the accuracy of `first` minus that of `second` on the same images.

    One seed without authors gives an exact McNemar test. Few authors give Student's interval and
    test (`geoloc.evaluation.few_authors`). Otherwise the p-value is twice the share of resamples on
    the other side of zero, so it agrees with the interval. It is at least that of a sign test in
    which all images (authors) agree: resamples of a few can all fall on one side of zero by chance.
    If all images (authors) have the same difference, nothing varies. The interval then comes from
    the exact binomial bound on the share of images (authors) that could differ without being seen.

    Args:
        first: correctness (bool) by image id and seed.
        second: the same for the other side. A table with one seed, such as that of a model without
            training, is compared with each seed of the other.
        authors: author by image id.
        seed: seed of the bootstrap.

    Raises:
        InputError: if the images or seeds differ.
    """
    gain = _gain(first, second)
    values, author = gain.to_numpy(), _authors(gain.index, authors)
    estimate = float(values.mean())
    units = len(gain) if author is None else len(np.unique(known_authors(author)))
    all_agree = float(binomtest(units, units).pvalue)
    drawn = _drawn(gain.shape[1], author)
    if spread := spread_of_few(values, author):
        low, high = t_interval(estimate, spread, -1, 1)
        p_value = max(t_p_value(estimate, spread), all_agree)
        how = f"Student's t over {_several(drawn)} (CR2), also for the p-value"
    elif np.ptp(means := resampled_means(values, author, seed)) == 0:
        reach = 1 - TAIL ** (1 / units)
        low, high = max(estimate - reach, -1.0), min(estimate + reach, 1.0)
        p_value = all_agree if estimate else 1.0
        how = f"binomial bound, as no {drawn[0]} differs from another"
    else:
        low, high = (float(q) for q in np.quantile(means, [TAIL, 1 - TAIL]))
        exact = gain.shape[1] == 1 and author is None
        p_value = _mcnemar(values[:, 0]) if exact else max(_bootstrap_p_value(means), all_agree)
        test = "exact McNemar test" if exact else "p-value of the bootstrap"
        how = f"bootstrap over {_several(drawn)}; {test}"
    method = f"difference paired by image; {how}"
    return Estimate(estimate, low, high, *gain.shape, p_value, smallest_effect(low, high), method)


def difference_of_groups(
    first: pd.DataFrame, second: pd.DataFrame, authors: Mapping[str, str], seed: int
) -> Estimate:
    """Estimate the accuracy on the images of `first` minus that on the other images of `second`.

    One seed without authors gives Fisher's exact test and Newcombe's interval (1998, method 10).
    Otherwise both groups are resampled, each with its own draw of seeds, which is conservative if a
    seed is good or bad in both. If both are of few authors, the interval and the test are Student's
    (`geoloc.evaluation.few_authors`).

    Args:
        first: correctness (bool) by image id and seed.
        second: the same for the other images.
        authors: author by image id.
        seed: seed of the bootstrap.
    """
    shares = [float(part.to_numpy().mean()) for part in (first, second)]
    by_author = [_authors(part.index, authors) for part in (first, second)]
    estimate, n = shares[0] - shares[1], len(first) + len(second)
    if first.shape[1] == 1 and all(known is None for known in by_author):
        counts = [int(part.to_numpy().sum()) for part in (first, second)]
        sizes = [len(first), len(second)]
        (low1, high1), (low2, high2) = map(wilson_interval, counts, sizes)
        low = estimate - np.hypot(shares[0] - low1, high2 - shares[1])
        high = estimate + np.hypot(high1 - shares[0], shares[1] - low2)
        p_value = fisher_exact([counts, np.subtract(sizes, counts)]).pvalue
        method = "difference of two groups of images; Newcombe's interval; Fisher's exact test"
    elif spreads := _spreads_of_few((first, second), by_author):
        spread = sum_of_spreads(*spreads)
        low, high = t_interval(estimate, spread, -1, 1)
        p_value = t_p_value(estimate, spread)
        method = "difference of two groups of images; Student's t over authors (CR2) of both"
    else:
        streams = np.random.SeedSequence(seed).spawn(2)
        parts = zip((first, second), by_author, streams, strict=True)
        means = [resampled_means(part.to_numpy(), known, rng) for part, known, rng in parts]
        low, high = np.quantile(means[0] - means[1], [TAIL, 1 - TAIL])
        p_value = _bootstrap_p_value(means[0] - means[1])
        method = "difference of two groups of images; bootstrap of both, also for the p-value"
    effect = smallest_effect(low, high)
    return Estimate(
        estimate, float(low), float(high), n, first.shape[1], float(p_value), effect, method
    )


def smallest_effect(low: float, high: float) -> float:
    """Return the smallest true difference that a two-sided 5 % test detects with 80 % power.

    It follows from the width of the difference's 95 % interval (normal approximation).
    """
    return float(min(EFFECT_PER_HALF_WIDTH * (high - low) / 2, 1.0))


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Adjust the p-values of a family (Holm 1979), float64 (n,); NaN (no test) stays NaN."""
    values = np.asarray(p_values, float)
    order = np.argsort(values)[: np.count_nonzero(~np.isnan(values))]  # NaN sort last
    adjusted = np.full(len(values), np.nan)
    steps = values[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return adjusted


def _gain(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """Return first minus second, −1, 0 or 1, by image id and seed."""
    if len(first) != len(second) or not first.index.isin(second.index).all():
        raise InputError(
            "predictions to be compared are not of the same images; delete them and run snakemake "
            "again"
        )
    a, b = first.astype(int), second.loc[first.index].astype(int)
    if b.shape[1] == 1:
        return a.sub(b.iloc[:, 0], axis=0)
    if a.shape[1] == 1:
        return -b.sub(a.iloc[:, 0], axis=0)
    if set(a.columns) != set(b.columns):
        raise InputError(
            f"models to be compared have other seeds ({', '.join(a)}; {', '.join(b)}); delete the "
            "predictions of one and run snakemake again"
        )
    return a - b[a.columns]


def _share_interval(
    right: pd.DataFrame, author: pd.Series | None, seed: int
) -> tuple[float, float, str]:
    if right.shape[1] == 1 and author is None:
        return *wilson_interval(int(right.to_numpy().sum()), len(right)), "Wilson's interval"
    drawn = _several(_drawn(right.shape[1], author))
    low, high = interval_over_seeds(right.to_numpy(), author, seed)
    few = spread_of_few(right.to_numpy(), author)
    return low, high, f"Student's t over {drawn} (CR2)" if few else f"bootstrap over {drawn}"


def _spreads_of_few(
    parts: Sequence[pd.DataFrame], by_author: Sequence[pd.Series | None]
) -> list[Spread]:
    """Return the spread of each part; nothing unless all are of few authors."""
    found = [spread_of_few(p.to_numpy(), a) for p, a in zip(parts, by_author, strict=True)]
    return found if all(found) else []


def _authors(image_ids: pd.Index, authors: Mapping[str, str]) -> pd.Series | None:
    """Return the author of each image, "" if unknown; None if no author is known."""
    author = image_ids.to_series().map(authors).fillna("")
    return author if (author != "").any() else None


def _drawn(seeds: int, author: pd.Series | None) -> list[str]:
    return ["image" if author is None else "author", *(["seed"] if seeds > 1 else [])]


def _several(drawn: Sequence[str]) -> str:
    return " and ".join(f"{name}s" for name in drawn)


def _mcnemar(gain: np.ndarray) -> float:
    return float(binomtest(int((gain > 0).sum()), int((gain != 0).sum())).pvalue)


def _bootstrap_p_value(means: np.ndarray) -> float:
    """Return twice the share of resamples beyond zero (Davison and Hinkley 1997, 4.2)."""
    other_side = min((means <= 0).sum(), (means >= 0).sum())
    return float(min(2 * (1 + other_side) / (1 + RESAMPLES), 1.0))
