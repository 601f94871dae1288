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
NO_COUNTRY = ""  # the answer of a model of places to an image, where its place is in no class
BATCH = 1000  # resamples that are drawn at once


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
        batch=BATCH,  # memory stays flat as authors grow
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
        answer = frame["country_1"].fillna(NO_COUNTRY)
        return float(balanced_accuracy_score(frame["label"], answer))


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
    label, answer = frame["label"], frame["country_1"].fillna(NO_COUNTRY)
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


Predictions = Sequence[tuple[str, str, str, pd.DataFrame]]
"""(model, dataset it was trained on, seed of the training, predictions table of all test sets)"""


def metrics_table(
    predictions: Predictions,
    majority_label: str,
    positions: pd.DataFrame,
    authors: Mapping[str, str] | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Measures by model, dataset and test set.

    If a model was trained with several seeds, a measure is the mean over them, `accuracy_sd` is the
    standard deviation of their accuracies, and the intervals are those of `interval_over_seeds`.

    Args:
        predictions: of every row and seed.
        majority_label: most frequent country of the training images.
        positions: where countries are placed, see `geoloc.evaluation.distances`.
        authors: author by image id, for intervals over authors.
        seed: of the bootstrap.

    Returns:
        Columns model, dataset, test_set, seeds (their number), accuracy_sd, then those of
        `metrics`.

    Raises:
        ValueError: with model and test set, for a measure that can't be computed, or is not finite
            and must be.
    """
    groups: dict[tuple[str, str, str], list[pd.DataFrame]] = {}
    for model, dataset, _, frame in predictions:
        for test_set, part in frame.groupby("test_set", sort=False):
            groups.setdefault((model, dataset, test_set), []).append(part)
    rows = []
    for (model, dataset, test_set), parts in groups.items():
        try:
            measured = [metrics(part, majority_label, positions, authors, seed) for part in parts]
            if broken := [name for row in measured for name in not_finite(row)]:
                raise InputError(f"not finite: {', '.join(dict.fromkeys(broken))}")
        except ValueError as error:
            raise InputError(
                f"{model} trained on {dataset} has no metrics on {test_set} ({error}); delete "
                "its predictions and run snakemake again"
            ) from error
        keys = {"model": model, "dataset": dataset, "test_set": test_set, "seeds": len(parts)}
        rows.append(keys | _over_seeds(measured, parts, authors or {}, seed))
    return pd.DataFrame(rows)


def _over_seeds(
    measured: Sequence[dict], parts: Sequence[pd.DataFrame], authors: Mapping[str, str], seed: int
) -> dict[str, object]:
    """The measures of several seeds as one row."""
    accuracies = [row["accuracy"] for row in measured]
    spread = {"accuracy_sd": float(np.std(accuracies, ddof=1)) if len(parts) > 1 else np.nan}
    if len(parts) == 1:
        return spread | measured[0]
    row = {
        name: value if isinstance(value, str | int) else float(np.mean([r[name] for r in measured]))
        for name, value in measured[0].items()
    }
    right = [(part["country_1"] == part["label"]).set_axis(part["image_id"]) for part in parts]
    correct = pd.concat(right, axis=1, join="inner").astype(int)
    author = correct.index.to_series().map(authors).fillna("")
    for suffix, known in (("", None), ("_by_author", author if author.any() else author[:0])):
        low, high = interval_over_seeds(correct.to_numpy(), known, seed)
        row |= {f"accuracy_low{suffix}": low, f"accuracy_high{suffix}": high}
    return spread | row


def interval_over_seeds(
    correct: np.ndarray, author: pd.Series | None = None, seed: int = 0, confidence: float = 0.95
) -> tuple[float, float]:
    """Interval of a mean over seeds and images, by a bootstrap of both (`resampled_means`).

    Args:
        correct: 0 or 1, or a difference of them, (images, seeds).
        author: author of each image, "" where unknown; None draws images; empty gives NaN.
        seed: of the resamples.
        confidence: of the interval.

    Returns:
        Low and high.
    """
    if author is not None and author.empty:
        return np.nan, np.nan
    tail = (1 - confidence) / 2
    low, high = np.quantile(resampled_means(correct, author, seed), [tail, 1 - tail])
    return float(low), float(high)


def resampled_means(
    correct: np.ndarray, author: pd.Series | None = None, seed: int | np.random.SeedSequence = 0
) -> np.ndarray:
    """Bootstrap the mean over seeds and images.

    Seeds and images are crossed: every seed answers for every image. So each resample draws seeds
    and, independently, images (or authors with all of their images), both with replacement (Owen
    2007, "The pigeonhole bootstrap"). It is conservative where one of the two varies little. With
    few seeds it is rough: five seeds have only 126 distinct resamples.

    Args:
        correct: 0 or 1, or a difference of them, (images, seeds).
        author: author of each image, "" where unknown, by image id; None draws images.
        seed: of the resamples.

    Returns:
        The mean of each resample, float64 (RESAMPLES,).
    """
    count = correct.shape[1]
    sums, sizes = correct.astype(float), np.ones(len(correct))
    if author is not None:
        known = np.where(author != "", author, "\0" + author.index.to_series())
        _, groups = np.unique(known, return_inverse=True)
        sizes = np.bincount(groups).astype(float)
        sums = np.stack([np.bincount(groups, column) for column in correct.T], axis=1)
    # Images or authors with the same answers are drawn together: few numbers instead of thousands.
    kinds, numbers = np.unique(np.column_stack([sums, sizes]), axis=0, return_counts=True)
    sums, sizes = kinds[:, :-1], kinds[:, -1]
    total = numbers.sum()
    rng = np.random.default_rng(seed)
    means = np.empty(RESAMPLES)
    for start in range(0, RESAMPLES, BATCH):  # memory stays flat as images grow
        number = min(BATCH, RESAMPLES - start)
        drawn = rng.multinomial(total, numbers / total, number)
        seeds = rng.multinomial(count, np.full(count, 1 / count), number) / count
        shares = (drawn @ sums) / (drawn @ sizes)[:, None]
        means[start : start + number] = (shares * seeds).sum(axis=1)
    return means


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
    """Accuracy by model, dataset, seed, test set and source of images, with its 95 % interval."""
    rows = []
    for model, dataset, seed, frame in predictions:
        for (test_set, source), part in frame.groupby(["test_set", "source"], sort=False):
            correct = int((part["label"] == part["country_1"]).sum())
            low, high = wilson_interval(correct, len(part))
            rows.append(
                {
                    "model": model,
                    "dataset": dataset,
                    "seed": seed,
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
    """Exact McNemar tests between the datasets that a model was trained on with the same seed, on
    each test set.

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
    for (model, first, run, a), (other, second, other_run, b) in combinations(predictions, 2):
        if (model, run) != (other, other_run):
            continue
        shared = set(a.test_set) & set(b.test_set)  # a row may have a dataset of its own
        a, b = (frame[frame.test_set.isin(shared)] for frame in (a, b))
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
                    "seed": run,
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
