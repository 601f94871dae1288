"""Metrics of predictions, with what is needed to judge an accuracy.

This is an interval, the accuracy without the weight of frequent countries, and the score of always
giving the same answer.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from scipy.stats import binomtest
from sklearn.calibration import calibration_curve
from sklearn.metrics import balanced_accuracy_score, f1_score, log_loss

from geoloc.errors import InputError
from geoloc.evaluation.distances import THRESHOLDS, distance_metrics
from geoloc.evaluation.intervals import (
    author_interval,
    interval_over_seeds,
    mean_interval_by_author,
    wilson_interval,
)

NO_COUNTRY = ""  # country of a prediction whose place is in no class


def accuracy(frame: pd.DataFrame) -> float:
    """Return the share (0–1) of rows of a predictions table whose top country is the label."""
    return float(np.mean(frame["country_1"] == frame["label"]))


def majority_accuracy(frame: pd.DataFrame, majority_label: str) -> float:
    """Return the accuracy (0–1) of always predicting `majority_label` (ISO alpha-2)."""
    return float(np.mean(frame["label"] == majority_label))


def top_accuracy(frame: pd.DataFrame, top: int = 5) -> float:
    """Return the share (0–1) of rows whose label is among the `top` most probable countries."""
    columns = [f"country_{rank}" for rank in range(1, top + 1)]
    return float(np.mean(frame[columns].eq(frame["label"], axis=0).any(axis=1)))


def balanced_accuracy(frame: pd.DataFrame) -> float:
    """Return the mean recall (0–1) over the countries that occur among the labels."""
    with warnings.catch_warnings():
        # Predictions may name a country that is missing from this test set (a plain error), and a
        # small test set may have only one country.
        warnings.filterwarnings("ignore", message="y_pred contains classes not in y_true")
        warnings.filterwarnings("ignore", message="A single label was found")
        answer = frame["country_1"].fillna(NO_COUNTRY)
        return float(balanced_accuracy_score(frame["label"], answer))


def mean_log_loss(frame: pd.DataFrame) -> float:
    """Return the mean −ln(probability of the label), in nats.

    The table keeps the probability of the label but not of every country. Cross-entropy needs no
    more: as a two-class problem (label or not) it has the same value.
    """
    p = frame["label_probability"].to_numpy(dtype=np.float64)
    return float(log_loss(np.ones(len(p)), np.column_stack([1 - p, p]), labels=[0, 1]))


def calibration_error(frame: pd.DataFrame, bins: int = 10) -> float:
    """Return the expected calibration error (Naeini et al., 2015), 0–1.

    It is the mean, over images, of the gap between mean probability and accuracy in their bin.
    """
    correct = frame["country_1"] == frame["label"]
    confidence = frame["probability_1"].to_numpy(np.float64)
    share, mean = calibration_curve(correct, confidence, n_bins=bins)
    bin_of = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], confidence)  # as in scikit-learn
    return float(np.average(np.abs(share - mean), weights=np.unique_counts(bin_of).counts))


def metrics(
    frame: pd.DataFrame,
    majority_label: str,
    positions: pd.DataFrame,
    authors: Mapping[str, str] | None = None,
    seed: int = 0,
) -> dict[str, object]:
    """Compute the metrics of one model on one test set.

    Shares are 0–1. Balanced accuracy and macro F1 average over the countries that occur among the
    labels, so countries missing from this test set change nothing.

    Args:
        frame: predictions table (geoloc.evaluation.predictions) of one test set, with at least one
            row.
        majority_label: most frequent country of the *training* images.
        positions: where countries are placed (geoloc.evaluation.distances).
        authors: as for `author_interval`.
        seed: as for `author_interval`.

    Raises:
        InputError: if the table is empty.
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
    """Compute metrics by model, dataset and test set.

    If a model was trained with several seeds, metrics are means over them, `accuracy_sd` is the
    standard deviation of their accuracies, and intervals are those of `interval_over_seeds`.

    Args:
        predictions: predictions of every row and seed.
        majority_label: most frequent country of the training images.
        positions: where countries are placed, see `geoloc.evaluation.distances`.
        authors: author by image id, for intervals over authors.
        seed: seed of the bootstrap.

    Returns:
        Columns model, dataset, test_set, seeds (their number), accuracy_sd, then those of
        `metrics`.

    Raises:
        InputError: names model and test set if a metric can't be computed, or is not finite but
            must be.
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
    """Combine the metrics of several seeds into one row."""
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


def not_finite(row: Mapping[str, object]) -> list[str]:
    """Return the metrics of a row that are not finite but must be.

    There is no interval over authors if none are known or all are alike, there are no distances
    without coordinates, and countries without a position are infinitely far away.
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
    """Compute accuracy and its 95 % interval by model, dataset, seed, test set and image source."""
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
    """Compare the datasets that a model was trained on, with the same seed, on each test set.

    The tests are exact McNemar tests (McNemar 1947, in the exact binomial form), which treat images
    as independent; images of one author are not.

    Args:
        predictions: predictions of every row and seed.
        authors: as for `author_interval`.
        seed: as for `author_interval`.

    Returns:
        `only_first` images were right with the first dataset only, `only_second` with the second
        only. `p_value` is for both being equally likely. `difference` is the accuracy with the
        first dataset minus that with the second (−1…1). `difference_low_by_author` and
        `difference_high_by_author` are its 95 % interval by the bootstrap of `author_interval`; NaN
        if no author is known, or the difference is the same for all authors.

    Raises:
        InputError: if compared tables have different images.
    """
    rows = []
    for (model, first, run, a), (other, second, other_run, b) in combinations(predictions, 2):
        if (model, run) != (other, other_run):
            continue
        shared = set(a.test_set) & set(b.test_set)  # a row may have its own dataset
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
            low, high = mean_interval_by_author(
                gain, part["image_id"], authors or {}, seed, (-1, 1)
            )
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
