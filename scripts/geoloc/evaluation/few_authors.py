"""Intervals and tests of a mean over the images of few authors.

Resamples of few authors vary too little, so intervals of the bootstrap are too narrow. The
cluster-robust standard error CR2 and the degrees of freedom that Bell and McCaffrey (2002) derived
for it are made for few clusters of different sizes (Imbens and Kolesár 2016; Cameron and Miller
2015). For a mean, both have a closed form.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import t

FEW_AUTHORS = 30
"""With fewer authors, intervals are Student's; with more, the bootstrap's."""


class Spread(NamedTuple):
    """Squared standard error of an estimate, and the degrees of freedom that it is known with."""

    variance: float
    freedom: float


def spread_of_few(correct: np.ndarray, author: pd.Series | None) -> Spread | None:
    """Return the spread of a mean over images and seeds if the images are of few authors.

    Seeds and authors are crossed, so their variances add up. Each also has the variance of their
    interaction, which is conservative.

    Args:
        correct: 0 or 1, or a difference of them, (images, seeds).
        author: author of each image, "" if unknown, by image id; None if no author is known.

    Returns:
        None if no author is known, there are `FEW_AUTHORS` or more, or nothing differs between
        authors.
    """
    if author is None:
        return None
    _, groups = np.unique(known_authors(author), return_inverse=True)
    # Whole numbers: authors with the same accuracy have exactly the same quotient.
    sums = np.bincount(groups, correct.sum(axis=1))
    sizes = np.bincount(groups) * correct.shape[1]
    if not 1 < len(sizes) < FEW_AUTHORS or np.ptp(sums / sizes) == 0:
        return None
    found, of_seeds = spread_over_authors(sums, sizes), correct.mean(axis=0)
    if len(of_seeds) == 1:
        return found
    seeds = Spread(float(np.var(of_seeds, ddof=1)) / len(of_seeds), len(of_seeds) - 1)
    return sum_of_spreads(found, seeds)


def known_authors(author: pd.Series) -> np.ndarray:
    """Return the author of each image: for an unknown one, a name that no other image has."""
    return np.where(author != "", author, "\0" + author.index.to_series())


def spread_over_authors(sums: np.ndarray, sizes: np.ndarray) -> Spread:
    """Return the spread of `sums.sum() / sizes.sum()` over clusters, CR2 with Bell and McCaffrey's
    degrees of freedom.

    Args:
        sums: sum of the values of each cluster, (clusters,), at least two.
        sizes: number of its values, (clusters,).
    """
    share = sizes / sizes.sum()
    residual = sums - sums.sum() / sizes.sum() * sizes
    variance = (residual**2 / (1 - share)).sum() / sizes.sum() ** 2
    # Covariance of the adjusted residuals if all values were independent and alike. Its trace is 1.
    cross = share**2 / (1 - share)
    freedom = 1 / ((share**2).sum() + cross.sum() ** 2 - (cross**2).sum())
    return Spread(float(variance), float(freedom))


def sum_of_spreads(*spreads: Spread) -> Spread:
    """Return the spread of a sum of independent estimates (Welch and Satterthwaite)."""
    variance = sum(spread.variance for spread in spreads)
    return Spread(variance, variance**2 / sum(s.variance**2 / s.freedom for s in spreads))


def t_interval(
    estimate: float, spread: Spread, lowest: float, highest: float, confidence: float = 0.95
) -> tuple[float, float]:
    """Return Student's interval of an estimate, cut to its possible values."""
    reach = float(t.ppf((1 + confidence) / 2, spread.freedom)) * spread.variance**0.5
    return float(max(estimate - reach, lowest)), float(min(estimate + reach, highest))


def t_p_value(estimate: float, spread: Spread) -> float:
    """Return the two-sided p-value of Student's test for an estimate of zero."""
    return float(2 * t.sf(abs(estimate) / spread.variance**0.5, spread.freedom))
