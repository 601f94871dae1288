"""Statistics of the population make inference the same as training without dropout."""

import keras
import numpy as np
import pytest
from keras import layers

from geoloc.keras_models import runtime
from geoloc.keras_models.batch_norm import PreciseBatchNorm


@pytest.fixture
def model() -> keras.Model:
    return make_model()


def make_model() -> keras.Model:
    """Convolution and dense blocks as in the study, and a frozen normalization."""
    keras.utils.set_random_seed(3)
    pixels = keras.Input((12, 12, 3))
    x = layers.BatchNormalization(name="frozen", trainable=False)(pixels)
    for filters in (8, 4):
        x = layers.Conv2D(filters, 3)(x)
        x = layers.BatchNormalization()(x)
        x = layers.ReLU()(x)
        x = layers.Dropout(0.25)(x)
    x = layers.Flatten()(x)
    x = layers.BatchNormalization()(layers.Dense(16)(x))
    x = layers.Dropout(0.5)(layers.ReLU()(x))
    model = keras.Model(pixels, layers.Dense(3, activation="softmax")(x))
    model.compile(optimizer=keras.optimizers.SGD(1e-9), loss="categorical_crossentropy")
    return model


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (24, 12, 12, 3)).astype(np.uint8)


def measured(model, images, batch_size):
    callback = PreciseBatchNorm(images, batch_size)
    callback.set_model(model)
    callback.on_test_begin()
    return model


def without_dropout(model, images):
    for layer in model.layers:
        if isinstance(layer, layers.Dropout):
            layer.rate = 0.0
    return np.asarray(model(images, training=True))


def test_inference_equals_training_without_dropout_on_the_same_images(model, images):
    """Up to float32: the sums are formed in another order."""
    probabilities = np.asarray(measured(model, images, 24)(images, training=False))
    assert np.allclose(probabilities, without_dropout(model, images), atol=1e-5)


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_statistics_of_a_model_in_lower_precision_are_those_of_float32(precision, images, model):
    """But for the rounding of activations: bfloat16 has 8 significant bits."""
    with runtime.precision(precision):
        half = make_model()
    measured(model, images, 8)
    for a, b in zip(measured(half, images, 8).layers, model.layers, strict=True):
        if isinstance(a, layers.BatchNormalization):
            assert a.moving_mean.dtype == "float32"
            assert np.allclose(a.moving_mean, b.moving_mean, rtol=0.03, atol=0.03)
            assert np.allclose(a.moving_variance, b.moving_variance, rtol=0.05, atol=0.01)


def test_batches_of_unequal_size_give_the_statistics_of_all_images(model, images):
    """Of the first normalization, whose input does not depend on how images are batched."""
    first = measured(model, images, 24).layers[3]
    whole = np.asarray(first.moving_mean), np.asarray(first.moving_variance)
    first = measured(model, images, 7).layers[3]
    assert isinstance(first, layers.BatchNormalization)
    assert np.allclose(first.moving_mean, whole[0], rtol=1e-4, atol=1e-5)
    assert np.allclose(first.moving_variance, whole[1], rtol=1e-4)


def test_training_goes_on_as_without_it(model, images):
    """Weights, rates, momenta and frozen layers stay; only the moving averages are measured."""
    before = [np.asarray(weight) for weight in model.trainable_weights]
    settings = [(getattr(a, "rate", 0), getattr(a, "momentum", 0)) for a in model.layers]
    measured(model, images, 8)
    assert [(getattr(a, "rate", 0), getattr(a, "momentum", 0)) for a in model.layers] == settings
    for weight, old in zip(model.trainable_weights, before, strict=True):
        assert np.array_equal(weight, old)
    assert np.array_equal(model.get_layer("frozen").moving_mean, np.zeros(3))


def test_validation_sees_the_measured_statistics(model, images):
    labels = np.eye(3, dtype=np.float32)[np.arange(24) % 3]
    history = model.fit(
        images, labels, validation_data=(images, labels), batch_size=24, verbose=0,
        callbacks=[PreciseBatchNorm(images, 24)],
    ).history  # fmt: skip
    probabilities = without_dropout(model, images)
    loss = -np.mean(np.log(probabilities[labels > 0]))
    assert history["val_loss"][0] == pytest.approx(loss, rel=1e-4)
