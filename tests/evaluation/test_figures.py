"""The figures show what their tables say, under the configured titles."""

import numpy as np
import pandas as pd
import pytest

from geoloc.evaluation.figures import accuracy_figure, training_curves

TITLES = {"cnn": "My network", "clip": "My CLIP"}
DATASETS = {"original": "Original", "weighted_base": "Weighted Base"}
TEST_SETS = DATASETS | {"im2gps3k": "Photographs"}


def metrics(**columns):
    """One row of the metrics of each of two test sets; authors are known in the second."""
    rows = {
        "model": "cnn",
        "dataset": "weighted_base",
        "test_set": ["original", "im2gps3k"],
        "n": 100,
        "accuracy": 0.5,
        "accuracy_low": 0.4,
        "accuracy_high": 0.6,
        "accuracy_low_by_author": [np.nan, 0.3],
        "accuracy_high_by_author": [np.nan, 0.8],
        "majority_country": "US",
        "majority_baseline": 0.2,
    }
    return pd.DataFrame(rows | columns)


def intervals(figure):
    """Low and high of the interval in each panel."""
    segments = [axis.collections[0].get_segments()[0] for axis in figure.axes]
    return [tuple(segment[:, 0].round(6)) for segment in segments]


def test_intervals_are_those_over_authors_where_authors_are_known():
    figure = accuracy_figure(metrics(), TITLES, DATASETS, TEST_SETS)
    assert intervals(figure) == [(0.4, 0.6), (0.3, 0.8)]
    assert "over authors where they are known" in figure.get_supxlabel()


def test_without_authors_no_interval_over_them_is_named():
    unknown = {"accuracy_low_by_author": np.nan, "accuracy_high_by_author": np.nan}
    figure = accuracy_figure(metrics(**unknown), TITLES, DATASETS, TEST_SETS)
    assert intervals(figure) == [(0.4, 0.6)] * 2
    assert "authors" not in figure.get_supxlabel()


def test_an_interval_that_leaves_the_accuracy_out_is_drawn():
    outside = metrics(accuracy_low_by_author=[np.nan, 0.55])
    figure = accuracy_figure(outside, TITLES, DATASETS, TEST_SETS)
    assert intervals(figure)[1] == (0.5, 0.8)


def test_no_metrics_are_refused():
    with pytest.raises(ValueError, match="no test set has images"):
        accuracy_figure(metrics().head(0), TITLES, DATASETS, TEST_SETS)


def test_accuracies_stand_under_the_configured_titles():
    figure = accuracy_figure(metrics(), TITLES, DATASETS, TEST_SETS)
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert labels == ["My network · Weighted Base"]


def test_training_curves_stand_under_the_configured_titles():
    epochs = {"epoch": [1, 2], "accuracy": 0.5, "val_accuracy": [0.4, 0.5], "loss": 1.0}
    table = pd.DataFrame(epochs | {"val_loss": 1.1})
    histories = [("My network", "trained on it", table), ("My CLIP", "seed 3", table)]
    figure = training_curves(histories, 0.2, captioned=["My CLIP"])
    network, clip = (part.get_suptitle() for part in figure.subfigs)
    assert network == "My network"
    assert clip.startswith("My CLIP\n(training: captions")
    assert [part.axes[0].get_title() for part in figure.subfigs] == ["trained on it", "seed 3"]
