import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from geoloc.images import resize_nearest
from geoloc.weighting import DATASETS, apply_factor, dataset_factor


@pytest.mark.parametrize(
    ("score", "factor"),
    [(0, 0.1), (9, 0.1), (10, 0.2), (40, 0.6), (70, 1.0), (71, 1.0), (100, 1.0)],
)
def test_custom_factor_is_eqn_1(score, factor):
    assert dataset_factor("weighted_custom")[score] == pytest.approx(factor)


def test_base_factor_is_the_score_in_percent():
    np.testing.assert_allclose(dataset_factor("weighted_base")[:101], np.arange(101) / 100)


def test_products_are_truncated_and_not_rounded():
    image, score = np.full((1, 1, 3), 255, np.uint8), np.full((1, 1), 1, np.uint8)
    assert apply_factor(image, score, dataset_factor("weighted_base")).max() == 2  # 2.55
    assert apply_factor(image, score, dataset_factor("weighted_custom")).max() == 25  # 25.5


def test_unknown_dataset_is_refused_with_the_known_names():
    with pytest.raises(ValueError, match="original, weighted_base, weighted_custom"):
        dataset_factor("weighted")


@given(
    st.sampled_from(DATASETS),
    arrays(np.uint8, (13, 17, 3)),
    arrays(np.uint8, (13, 17), elements=st.integers(0, 100)),
    st.integers(1, 30),
)
def test_weighting_commutes_with_nearest_resizing(dataset, image, score, size):
    factor = dataset_factor(dataset)
    weighted_first = resize_nearest(apply_factor(image, score, factor), size)
    resized_first = apply_factor(resize_nearest(image, size), resize_nearest(score, size), factor)
    np.testing.assert_array_equal(weighted_first, resized_first)


@given(
    st.sampled_from(DATASETS),
    arrays(np.uint8, (2, 5, 7, 3)),
    arrays(np.uint8, (2, 5, 7), elements=st.integers(0, 100)),
)
def test_images_one_by_one_equal_the_product_of_the_whole_batch(dataset, image, score):
    factor = dataset_factor(dataset)
    expected = (image * factor[score][..., None]).astype(np.uint8)
    np.testing.assert_array_equal(apply_factor(image, score, factor), expected)


def test_a_dataset_without_a_full_factor_dims_every_pixel():
    factor = dataset_factor("weighted_custom", {"maximum_factor": 0.9})
    image, score = np.full((1, 2, 3), 100, np.uint8), np.array([[0, 90]], np.uint8)
    assert apply_factor(image, score, factor)[0, :, 0].tolist() == [10, 90]
