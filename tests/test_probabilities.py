"""What is no distribution over the countries is refused, with its model and image."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from geoloc.probabilities import check_probabilities


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ([np.nan, 0, 1], "not finite"),
        ([np.inf, 0, 0], "not finite"),
        ([1.2, -0.2, 0], r"negative \(-0\.2\)"),
        ([-1e-7, 0.5, 0.5], "negative"),
        ([0.5, 0.3, 0.198], r"add up to 0\.998"),
        ([0.5, 0.3, 0.202], r"add up to 1\.002"),
        ([0.5, 0.3, 0.19895], r"add up to 0\.99895"),
        ([0.5, 0.3, 0.20105], r"add up to 1\.00105"),
        ([0, 0, 0], "add up to 0, not to 1"),
        ([72.0, 20.0, 8.0], "add up to 100"),
    ],
)
def test_what_is_no_distribution_is_named_with_its_model_and_image(row, fault):
    probabilities = np.array([[1, 0, 0], row, [0, 1, 0]], np.float32)
    with pytest.raises(ValueError, match=rf"models/cnn.*b\.jpg \(weighted_base\).*{fault}"):
        check_probabilities(
            probabilities, ["a.jpg", "b.jpg", "c.jpg"], "models/cnn", "weighted_base"
        )


@given(arrays(np.float32, (3, 150), elements=st.floats(-60, 60, width=32)))
def test_every_softmax_in_float32_is_a_distribution(logits):
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = exponentials / exponentials.sum(axis=1, keepdims=True)
    check_probabilities(probabilities, "abc", "m", "original")
    check_probabilities(probabilities[:0], "", "m", "original")


def test_a_rounded_distribution_is_one():
    check_probabilities(np.array([[0.5, 0.3, 0.19905], [0.5, 0.5, 0.00095]]), "ab", "m", "original")


def test_probabilities_of_other_images_are_refused():
    with pytest.raises(ValueError, match=r"shape \(2, 7\) for 3 images"):
        check_probabilities(np.eye(7)[:2], ["a", "b", "c"], "m", "original")
    with pytest.raises(ValueError, match=r"shape \(3,\) for 3 images"):
        check_probabilities(np.eye(3)[0], ["a", "b", "c"], "m", "original")


def test_places_outside_the_countries_may_leave_less_than_one():
    check_probabilities(np.array([[0.4, 0.2], [1, 0]]), "ab", "m", "original", whole=False)
    with pytest.raises(ValueError, match=r"add up to 1\.2, not to at most 1"):
        check_probabilities(np.array([[0.4, 0.8]]), "a", "m", "original", whole=False)
