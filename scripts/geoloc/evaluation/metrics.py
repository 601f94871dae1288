"""How good predictions are, with what is needed to judge an accuracy: an interval, the accuracy
without the weight of frequent countries, and what always giving the same answer would score."""

import math
import warnings
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import binomtest, bootstrap
from sklearn.calibration import calibration_curve
from sklearn.metrics import balanced_accuracy_score, f1_score, log_loss

from geoloc.errors import InputError
from geoloc.evaluation.distances import THRESHOLDS, distance_metrics

RESAMPLES = 9999


def accuracy(frame: pd.DataFrame) -> float:
    """Share (0–1) of the rows of a predictions table whose likeliest country is the label."""
    return float(np.mean(frame["country_1"] == frame["label"]))


def majority_accuracy(frame: pd.DataFrame, majority_label: str) -> float:
    """Share (0–1) of rows that always answering `majority_label` (ISO alpha-2) gets right."""
    return float(np.mean(frame["label"] == majority_label))


def wilson_interval(correct: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of a share (Wilson 1927), low and high, 0–1; n must be positive."""
    interval = binomtest(correct, n).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def author_interval(
    frame: pd.DataFrame, authors: Mapping[str, str], seed: int, confidence: float = 0.95
) -> tuple[float, float]:
    """Interval of the accuracy where images of one author resemble each other, low and high, 0–1.

    `authors` names the author of each image id of the predictions table; an image without one
    counts as an author's only one. NaN where no author is known, and where all authors have the
    same accuracy (one author only, all answers right, all wrong), of which every resample would
    say the same.

    Authors are drawn with replacement, each with all of their images (bootstrap of clusters,
    Davison and Hinkley 1997, section 3.8). Wilson's interval takes the images for independent and
    is too narrow for that: with author sizes as in Im2GPS3k (198 authors, 1 to 235 images) and
    accuracies that differ by author, its 95 % intervals held the true accuracy in 27 to 51 of 100
    simulations. Quantiles of the resamples (`percentile`) held it in 92 to 94; BCa, whose
    acceleration rests on the few largest authors, did no better (91 to 92).
    """
    right = (frame["country_1"] == frame["label"]).astype(int)
    return _mean_interval_by_author(right, frame["image_id"], authors, seed, confidence)


def _mean_interval_by_author(
    values: pd.Series,
    image_ids: pd.Series,
    authors: Mapping[str, str],
    seed: int,
    confidence: float = 0.95,
) -> tuple[float, float]:
    """Interval of the mean of `values`, whole numbers (n,) of the images `image_ids` (n,) with the
    same rows, by the bootstrap of `author_interval`; NaN where no author is known and where all
    authors have the same mean, so that resamples cannot differ."""
    author = image_ids.map(authors).fillna("")
    if not author.any():
        return np.nan, np.nan
    author = author.where(author != "", "\0" + image_ids)  # no author's name has that
    by_author = values.groupby(author).agg(["sum", "size"])
    sums, sizes = by_author["sum"].to_numpy(), by_author["size"].to_numpy()
    if np.ptp(sums / sizes) == 0:
        return np.nan, np.nan
    interval = bootstrap(
        (sums, sizes),
        lambda sums, sizes, axis: sums.sum(axis=axis) / sizes.sum(axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=1000,  # memory stays flat as authors grow
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(interval.low), float(interval.high)


def top_accuracy(frame: pd.DataFrame, top: int = 5) -> float:
    """Share (0–1) of rows whose label is among the `top` likeliest countries."""
    columns = [f"country_{rank}" for rank in range(1, top + 1)]
    return float(np.mean(frame[columns].eq(frame["label"], axis=0).any(axis=1)))


def balanced_accuracy(frame: pd.DataFrame) -> float:
    """Mean share (0–1) of right answers of each country that occurs among the labels."""
    with warnings.catch_warnings():
        # Answers may well name a country that this test set lacks (those are plain errors), and
        # a small test set may hold one country only.
        warnings.filterwarnings("ignore", message="y_pred contains classes not in y_true")
        warnings.filterwarnings("ignore", message="A single label was found")
        return float(balanced_accuracy_score(frame["label"], frame["country_1"]))


def mean_log_loss(frame: pd.DataFrame) -> float:
    """Mean −ln(probability of the label), in nats.

    The table keeps the probability of the label but not of every country. Cross-entropy needs no
    more: as a two-class problem (label or not) it has the same value.
    """
    p = frame["label_probability"].to_numpy(dtype=np.float64)
    return float(log_loss(np.ones(len(p)), np.column_stack([1 - p, p]), labels=[0, 1]))


def calibration_error(frame: pd.DataFrame, bins: int = 10) -> float:
    """Expected calibration error (Naeini et al., 2015), 0–1: the mean distance, over the images,
    between the probability of the answers in a bin and the share of them that is right."""
    correct = frame["country_1"] == frame["label"]
    confidence = frame["probability_1"].to_numpy(np.float64)
    share, mean = calibration_curve(correct, confidence, n_bins=bins)
    bin_of = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], confidence)  # as scikit-learn's
    return float(np.average(np.abs(share - mean), weights=np.unique_counts(bin_of).counts))


def metrics(
    frame: pd.DataFrame,
    majority_label: str,
    positions: pd.DataFrame,
    authors: Mapping[str, str] | None = None,
    seed: int = 0,
) -> dict[str, object]:
    """Measures of one model on one test set.

    `frame` is a predictions table (geoloc.evaluation.predictions) of one test set with at least one
    row.
    `majority_label` is the most frequent country of the *training* images, `positions` is where
    countries are placed (geoloc.evaluation.distances). `authors` and `seed` are
    those of `author_interval`.
    Shares are 0–1.

    Balanced accuracy and macro F1 average over the countries that occur among the labels, so that
    a country which this test set lacks changes nothing.
    """
    if frame.empty:
        raise InputError("a test set without images has no metrics; leave it out")
    label, answer = frame["label"], frame["country_1"]
    correct = int((label == answer).sum())
    low, high = wilson_interval(correct, len(frame))
    low_by_author, high_by_author = author_interval(frame, authors or {}, seed)
    present = sorted(label.unique())
    return {
        "n": len(frame),
        "countries": len(present),
        "accuracy": correct / len(frame),
        "accuracy_low": low,
        "accuracy_high": high,
        "accuracy_low_by_author": low_by_author,
        "accuracy_high_by_author": high_by_author,
        "balanced_accuracy": balanced_accuracy(frame),
        "top5_accuracy": top_accuracy(frame, 5),
        "macro_f1": float(f1_score(label, answer, labels=present, average="macro")),
        "log_loss": mean_log_loss(frame),
        "calibration_error": calibration_error(frame),
        "majority_country": majority_label,
        "majority_baseline": majority_accuracy(frame, majority_label),
        **distance_metrics(frame, positions),
    }


Predictions = Sequence[tuple[str, str, pd.DataFrame]]
"""(model, dataset it was trained on, predictions table of all test sets)"""


def metrics_table(
    predictions: Predictions,
    majority_label: str,
    positions: pd.DataFrame,
    authors: Mapping[str, str] | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """One row a model × test set: `model`, `dataset`, `test_set` and the measures of `metrics`.

    Raises ValueError, with model and test set, for a measure that cannot be computed, or that is
    not finite and must be.
    """
    rows = []
    for model, dataset, frame in predictions:
        for test_set, part in frame.groupby("test_set", sort=False):
            keys = {"model": model, "dataset": dataset, "test_set": test_set}
            try:
                row = metrics(part, majority_label, positions, authors, seed)
                if broken := not_finite(row):
                    raise InputError(f"not finite: {', '.join(broken)}")
            except ValueError as error:
                raise InputError(
                    f"{model} trained on {dataset} has no metrics on {test_set} ({error}); delete "
                    "its predictions and run snakemake again"
                ) from error
            rows.append(keys | row)
    return pd.DataFrame(rows)


def not_finite(row: Mapping[str, object]) -> list[str]:
    """Measures of `metrics` that are not finite and must be.

    Without authors, or where all are alike, there is no interval over them; without coordinates
    there are no distances; countries without a position are infinitely far away.
    """
    names = {
        name
        for name, value in row.items()
        if isinstance(value, float) and not math.isfinite(value) and "by_author" not in name
    }
    if not row["n_located"]:
        names -= {"median_km", "geoscore", *(f"within_{limit}_km" for limit in THRESHOLDS)}
    elif row["median_km"] == math.inf and row["n_unplaced"]:
        names -= {"median_km"}
    return sorted(names)


def accuracy_by_source(predictions: Predictions) -> pd.DataFrame:
    """One row a model × test set × source of images: `n`, `accuracy` and its 95 % interval."""
    rows = []
    for model, dataset, frame in predictions:
        for (test_set, source), part in frame.groupby(["test_set", "source"], sort=False):
            correct = int((part["label"] == part["country_1"]).sum())
            low, high = wilson_interval(correct, len(part))
            rows.append(
                {
                    "model": model,
                    "dataset": dataset,
                    "test_set": test_set,
                    "source": source,
                    "n": len(part),
                    "accuracy": correct / len(part),
                    "accuracy_low": low,
                    "accuracy_high": high,
                }
            )
    return pd.DataFrame(rows)


def paired_tests(
    predictions: Predictions, authors: Mapping[str, str] | None = None, seed: int = 0
) -> pd.DataFrame:
    """Exact McNemar tests between the datasets that a model was trained on, on each test set.

    `only_first` images were right with the first dataset only, `only_second` with the second only;
    `p_value` is that of both being equally likely (McNemar 1947, in its exact binomial form). It
    takes the images for independent, which those of one author are not. `difference` is the
    accuracy with the first dataset less that with the second (−1…1), and
    `difference_low_by_author` and `difference_high_by_author` are its 95 % interval where images
    of one author resemble each other: `authors` and `seed` as for `author_interval`, whose
    bootstrap it is; NaN where no author is known and where the difference of all authors is the
    same.
    """
    rows = []
    for (model, first, a), (other, second, b) in combinations(predictions, 2):
        if model != other:
            continue
        keys = ["test_set", "image_id", "label"]
        both = a.merge(b, on=keys, suffixes=("_first", "_second"), validate="1:1")
        if not len(a) == len(b) == len(both):
            raise InputError(
                f"{model} trained on {first} and on {second}: their predictions are not of the "
                "same images; delete both and run snakemake again"
            )
        for test_set, part in both.groupby("test_set", sort=False):
            right_first = part["country_1_first"] == part["label"]
            right_second = part["country_1_second"] == part["label"]
            only_first = int((right_first & ~right_second).sum())
            only_second = int((right_second & ~right_first).sum())
            different = only_first + only_second
            gain = right_first.astype(int) - right_second.astype(int)
            low, high = _mean_interval_by_author(gain, part["image_id"], authors or {}, seed)
            rows.append(
                {
                    "model": model,
                    "first": first,
                    "second": second,
                    "test_set": test_set,
                    "only_first": only_first,
                    "only_second": only_second,
                    "p_value": binomtest(only_first, different).pvalue if different else 1.0,
                    "difference": float(gain.mean()),
                    "difference_low_by_author": low,
                    "difference_high_by_author": high,
                }
            )
    return pd.DataFrame(rows)
