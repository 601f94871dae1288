"""Intervals and tests on the images of few authors."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t, ttest_1samp

from geoloc.evaluation.comparisons import difference_of_groups, paired_difference, share
from geoloc.evaluation.few_authors import (
    FEW_AUTHORS,
    Spread,
    spread_of_few,
    spread_over_authors,
    sum_of_spreads,
)
from geoloc.evaluation.intervals import interval_over_seeds, resampled_means


def images(sizes, seeds=1, accuracy=None, seed=0):
    """Right answers to the images of authors, (images, seeds), and the author of each."""
    rng = np.random.default_rng(seed)
    accuracy = rng.beta(1, 1, len(sizes)) if accuracy is None else np.asarray(accuracy)
    of_image = np.repeat(np.arange(len(sizes)), sizes)
    right = rng.random((len(of_image), seeds)) < accuracy[of_image][:, None]
    ids = [f"i{n}" for n in range(len(of_image))]
    return right.astype(int), pd.Series([f"a{n}" for n in of_image], ids)


def test_the_spread_over_authors_is_cr2_with_the_freedom_of_bell_and_mccaffrey():
    """As in Imbens and Kolesár (2016), with matrices, for a regression on a constant."""
    sizes, rng = np.array([1, 2, 5, 9]), np.random.default_rng(1)
    n, values = sizes.sum(), rng.random(sizes.sum())
    hat = np.full((n, n), 1 / n)
    of_author = [np.flatnonzero(np.repeat(np.arange(4), sizes) == a) for a in range(4)]
    residual, variance, columns = values - values.mean(), 0.0, []
    for rows in of_author:
        leverage = np.eye(len(rows)) - hat[np.ix_(rows, rows)]
        weights, vectors = np.linalg.eigh(leverage)
        adjusted = (vectors / np.sqrt(weights)) @ vectors.T @ np.ones(len(rows)) / n
        variance += (adjusted @ residual[rows]) ** 2
        columns.append((np.eye(n) - hat)[:, rows] @ adjusted)
    product = np.array(columns) @ np.array(columns).T
    freedom = np.trace(product) ** 2 / (product**2).sum()
    sums = np.array([values[rows].sum() for rows in of_author])
    assert spread_over_authors(sums, sizes) == pytest.approx((variance, freedom))


def test_authors_of_as_many_images_each_give_the_t_test_of_their_means():
    right, author = images([6] * 9)
    first = pd.DataFrame(right, author.index)
    second = pd.DataFrame(images([6] * 9, seed=3)[0], author.index)
    found = paired_difference(first, second, author.to_dict(), 0)
    expected = ttest_1samp((first - second)[0].groupby(author).mean(), 0)
    interval = expected.confidence_interval()
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.p_value == pytest.approx(expected.pvalue)
    assert found.method.endswith("Student's t over authors (CR2), also for the p-value")
    of_first = ttest_1samp(first[0].groupby(author).mean(), 0).confidence_interval()
    assert share(first, author.to_dict(), 0).low == pytest.approx(of_first.low)


def test_the_variance_of_seeds_is_added():
    right, author = images([6] * 9, seeds=3)
    right[:, 0] = 0
    authors = spread_of_few(right.mean(axis=1, keepdims=True), author)
    of_seeds = right.mean(axis=0)
    both = spread_of_few(right, author)
    assert both.variance == pytest.approx(authors.variance + of_seeds.var(ddof=1) / 3)
    assert 2 < both.freedom < 8 + 2
    reach = t.ppf(0.975, both.freedom) * both.variance**0.5
    low, high = interval_over_seeds(right, author)
    assert low == pytest.approx(max(right.mean() - reach, 0))
    assert high == pytest.approx(min(right.mean() + reach, 1))


def test_spreads_of_independent_estimates_add_up_as_welch_and_satterthwaite_say():
    same = sum_of_spreads(Spread(2.0, 5), Spread(2.0, 5))
    assert same == (4.0, 10)
    assert sum_of_spreads(Spread(2.0, 5), Spread(0.0, 1)) == (2.0, 5)


def test_groups_of_few_authors_each_are_compared_by_students_t():
    first, by_first = images([5] * 6, accuracy=[0.9] * 6, seed=1)
    second, by_second = images([5] * 8, accuracy=[0.2] * 8, seed=2)
    tables = [pd.DataFrame(first, by_first.index), pd.DataFrame(second, "j" + by_second.index)]
    authors = by_first.to_dict() | dict(zip("j" + by_second.index, "b" + by_second, strict=True))
    found = difference_of_groups(*tables, authors, 0)
    spreads = spread_of_few(first, by_first), spread_of_few(second, by_second)
    both = sum_of_spreads(*spreads)
    estimate = first.mean() - second.mean()
    reach = t.ppf(0.975, both.freedom) * both.variance**0.5
    assert found.low == pytest.approx(estimate - reach)
    assert found.high == pytest.approx(min(estimate + reach, 1))
    assert found.p_value == pytest.approx(2 * t.sf(estimate / both.variance**0.5, both.freedom))


@pytest.mark.parametrize(
    ("sizes", "accuracy"),
    [([4], [0.5]), ([2] * FEW_AUTHORS, None), ([3, 9, 6], [1, 1, 1])],
    ids=["one author", "many authors", "authors who are alike"],
)
def test_other_images_keep_the_bootstrap(sizes, accuracy):
    right, author = images(sizes, accuracy=accuracy)
    assert spread_of_few(right, author) is None
    assert spread_of_few(right, None) is None


def test_an_image_without_an_author_is_the_only_one_of_its_author():
    right, author = images([3] * 5)
    named = author.copy()
    named[:3], author[:3] = ["x", "y", "z"], ""
    assert spread_of_few(right, author) == spread_of_few(right, named)


def coverage(count, runs, seed):
    """In how many of `runs` simulations intervals hold the true accuracy of 0.4: those of few
    authors, and the quantiles of resamples."""
    rng, true = np.random.default_rng(seed), 0.4
    held = np.zeros(2)
    for _ in range(runs):
        sizes = 1 + rng.poisson(rng.gamma(1, 8, count))  # many have a few images, a few have many
        accuracy = rng.beta(2 * true, 2 * (1 - true), count)
        right, author = images(sizes, accuracy=accuracy, seed=rng.integers(2**32))
        resampled = np.quantile(resampled_means(right, author, 0), [0.025, 0.975])
        for method, (low, high) in enumerate((interval_over_seeds(right, author), resampled)):
            held[method] += low <= true <= high
    return held / runs


@pytest.mark.parametrize("count", [5, 10, 20])
def test_intervals_hold_the_true_accuracy_more_often_than_quantiles_of_resamples(
    count, monkeypatch
):
    monkeypatch.setattr("geoloc.evaluation.intervals.RESAMPLES", 499)
    of_few, resampled = coverage(count, 300, seed=4)
    assert abs(of_few - 0.95) < abs(resampled - 0.95)
    assert 0.88 < of_few < 0.98
