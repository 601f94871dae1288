"""Measures of predictions against their definitions and against full probabilities."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss

from geoloc.metrics import majority_accuracy, metrics, metrics_table, wilson_interval
from geoloc.predictions import predictions_frame

CLASSES = ["BR", "FI", "FR", "GB", "JP", "NA", "US"]


def make_frame(probabilities, label, test_set="original"):
    n = len(label)
    ids = [str(row) for row in range(n)]
    return predictions_frame(
        probabilities, CLASSES, ids, ["s"] * n, label, [0.0] * n, [0.0] * n, test_set
    )


def one_hot(answers):
    return np.eye(7)[[CLASSES.index(country) for country in answers]]


def test_values_of_a_small_example():
    frame = make_frame(one_hot(["US", "US", "US", "BR"]), ["US", "US", "BR", "BR"])
    row = metrics(frame, "US")
    assert row["n"] == 4
    assert row["countries"] == 2
    assert row["accuracy"] == 0.75
    assert row["balanced_accuracy"] == pytest.approx((1 + 0.5) / 2)
    assert row["macro_f1"] == pytest.approx((4 / 5 + 2 / 3) / 2)
    assert row["majority_baseline"] == 0.5


def test_log_loss_equals_that_of_all_probabilities():
    generator = np.random.default_rng(0)
    probabilities = generator.dirichlet(np.ones(7), size=50)
    label = generator.choice(CLASSES, size=50)
    expected = log_loss(label, probabilities, labels=CLASSES)
    assert metrics(make_frame(probabilities, label), "US")["log_loss"] == pytest.approx(expected)


def test_top_five_counts_the_fifth_and_not_the_sixth():
    probabilities = np.tile(np.arange(7, 0, -1) / 28, (2, 1))
    frame = make_frame(probabilities, [CLASSES[4], CLASSES[5]])
    assert metrics(frame, "US")["top5_accuracy"] == 0.5


@settings(deadline=None)  # a busy machine is no fault of the code
@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_is_the_published_formula(counts):
    correct, n = counts
    z, p = 1.959963984540054, correct / n
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    low, high = wilson_interval(correct, n)
    assert (low, high) == pytest.approx((max(0, middle - half), min(1, middle + half)), abs=1e-9)


def test_always_answering_the_majority_scores_its_baseline_and_no_more():
    label = ["US"] * 5 + ["BR"] * 3 + ["NA"] * 2
    row = metrics(make_frame(one_hot(["US"] * 10), label), "US")
    assert row["accuracy"] == row["majority_baseline"] == 0.5
    assert row["balanced_accuracy"] == pytest.approx(1 / 3)


def test_majority_country_that_a_test_set_lacks_scores_nothing():
    assert majority_accuracy(make_frame(one_hot(["BR"]), ["BR"]), "US") == 0


def test_a_country_missing_from_a_test_set_changes_nothing():
    """The measures are those of a table that has never heard of the other five countries."""
    answers, label = ["US", "BR", "BR", "US"], ["US", "US", "BR", "BR"]
    row = metrics(make_frame(one_hot(answers), label), "US")
    assert row["balanced_accuracy"] == 0.5
    assert row["macro_f1"] == 0.5


def test_answers_outside_the_test_set_are_errors():
    row = metrics(make_frame(one_hot(["JP", "US"]), ["US", "US"]), "US")
    assert row["accuracy"] == row["balanced_accuracy"] == 0.5


def test_one_row_for_each_model_and_test_set():
    parts = [make_frame(one_hot(["US"]), ["US"], name) for name in ("original", "im2gps3k")]
    table = metrics_table([("cnn", "original", pd.concat(parts))], "US")
    assert list(table["test_set"]) == ["original", "im2gps3k"]
    assert set(table["model"]) == {"cnn"}


def test_empty_test_set_is_refused():
    with pytest.raises(ValueError, match="without images"):
        metrics(make_frame(np.zeros((0, 7)), []), "US")
