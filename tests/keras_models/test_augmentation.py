"""Augmentation equals that of Keras' legacy ImageDataGenerator."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras.src.legacy.preprocessing.image import ImageDataGenerator
from scipy import ndimage, stats

from geoloc.keras_models.augmentation import Augmentation, Transforms, augment, draw_transforms

SIZE = 224
PUBLISHED = Augmentation()
LEGACY = ImageDataGenerator(shear_range=0.2, zoom_range=0.2, horizontal_flip=True)


def transforms(shear: float, zoom_x: float, zoom_y: float, flip: bool) -> Transforms:
    return Transforms(np.array([shear]), np.array([[zoom_x, zoom_y]]), np.array([flip]))


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    """Noise in one half, where interpolation shows most, and soft shapes in the other."""
    noise = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3)).astype(np.uint8)
    noise[:, SIZE // 2 :] = ndimage.gaussian_filter(noise[:, SIZE // 2 :], (3, 3, 0))
    return noise


@given(
    shear=st.floats(-0.2, 0.2),
    zoom_x=st.floats(0.8, 1.2),
    zoom_y=st.floats(0.8, 1.2),
    flip=st.booleans(),
)
@settings(max_examples=25)
def test_same_parameters_give_the_image_of_keras_within_one_gray_level(
    image, shear, zoom_x, zoom_y, flip
):
    drawn = {"shear": shear, "zx": zoom_x, "zy": zoom_y, "flip_horizontal": flip}
    expected = LEGACY.apply_transform(image.astype(np.float32), drawn)
    result = augment(image[None], transforms(shear, zoom_x, zoom_y, flip))[0]
    assert np.abs(result - expected).max() <= 1


def test_wide_shear_is_that_of_keras_too(image):
    drawn = {"shear": 20.0, "zx": 1.1, "zy": 0.9, "flip_horizontal": True}
    expected = LEGACY.apply_transform(image.astype(np.float32), drawn)
    assert np.abs(augment(image[None], transforms(20.0, 1.1, 0.9, True))[0] - expected).max() <= 1


def test_each_image_of_a_batch_gets_its_own_transform(image):
    batch = np.stack([image, image[::-1], image.transpose(1, 0, 2)])
    drawn = draw_transforms(np.random.default_rng(1), 3, PUBLISHED)
    alone = [
        augment(batch[[i]], Transforms(drawn.shear[[i]], drawn.zoom[[i]], drawn.flip[[i]]))[0]
        for i in range(3)
    ]
    assert np.array_equal(augment(batch, drawn), np.stack(alone))


def test_parameters_are_distributed_as_those_of_keras():
    n = 4000
    np.random.seed(0)  # noqa: NPY002  the generator that the legacy code draws from
    legacy = [LEGACY.get_random_transform((SIZE, SIZE, 3)) for _ in range(n)]
    drawn = draw_transforms(np.random.default_rng(0), n, PUBLISHED)
    for name, values in (
        ("shear", drawn.shear),
        ("zx", drawn.zoom[:, 0]),
        ("zy", drawn.zoom[:, 1]),
    ):
        assert stats.ks_2samp(values, [parameters[name] for parameters in legacy]).pvalue > 0.01
    assert abs(np.corrcoef(drawn.zoom.T)[0, 1]) < 0.05  # each axis by itself
    flips = [parameters["flip_horizontal"] for parameters in legacy]
    assert abs(drawn.flip.mean() - np.mean(flips)) < 0.04


def test_ranges_of_zero_leave_images_as_they_are(image):
    none = draw_transforms(np.random.default_rng(0), 2, Augmentation(0.0, 0.0, False))
    assert np.array_equal(augment(np.stack([image, image]), none), np.stack([image, image]))
