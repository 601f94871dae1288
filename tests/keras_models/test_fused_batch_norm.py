"""Fused batch normalization trains and predicts as the plain one does, and leaves a plain model
behind."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from geoloc.keras_models import runtime
from geoloc.keras_models.fused_batch_norm import fuse


def make_model() -> keras.Model:
    keras.utils.set_random_seed(3)
    pixels = keras.Input((16, 16, 3))
    x = layers.BatchNormalization(trainable=False)(pixels)
    for filters in (8, 4):
        x = layers.Conv2D(filters, 3)(x)
        x = layers.BatchNormalization(momentum=0.9)(x)
        x = layers.ReLU()(x)
    x = layers.BatchNormalization()(layers.Dense(16)(layers.Flatten()(x)))
    model = keras.Model(pixels, layers.Dense(3, activation="softmax")(x))
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss="categorical_crossentropy")
    return model


def make_transfer_model() -> keras.Model:
    """A frozen backbone, as a nested model with statistics of its own, and a head."""
    keras.utils.set_random_seed(4)
    inside = keras.Input((16, 16, 3))
    x = layers.BatchNormalization(epsilon=0.1)(layers.Conv2D(8, 3)(inside))
    x = layers.BatchNormalization(scale=False, center=False)(layers.DepthwiseConv2D(3)(x))
    backbone = keras.Model(inside, layers.ReLU(max_value=6.0)(x))
    rng = np.random.default_rng(5)
    for layer in backbone.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 2, w.shape) for w in layer.get_weights()])
    backbone.trainable = False
    pixels = keras.Input((16, 16, 3))
    x = layers.GlobalAveragePooling2D()(backbone(pixels, training=False))
    model = keras.Model(pixels, layers.Dense(3, activation="softmax")(x))
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss="categorical_crossentropy")
    return model


def images() -> np.ndarray:
    return np.random.default_rng(0).normal(3, 2, (12, 16, 16, 3)).astype(np.float32)


def train(model: keras.Model, steps: int) -> list[np.ndarray]:
    labels = np.eye(3, dtype=np.float32)[np.arange(12) % 3]
    for _ in range(steps):
        model.train_on_batch(images(), labels)
    return model.get_weights()


def fused_layers(model: keras.Model) -> list[bool]:
    return [
        "call" in vars(layer)
        for layer in model._flatten_layers()
        if isinstance(layer, layers.BatchNormalization)
    ]


@pytest.mark.parametrize("make", [make_model, make_transfer_model])
def test_weights_and_moving_averages_after_some_steps_are_those_of_keras(make):
    """Sums of 12 x 14 x 14 float32 in another order: relative 1e-3 after three steps."""
    plain, fused = make(), make()
    fuse(fused)
    for a, b in zip(train(plain, 3), train(fused, 3), strict=True):
        assert np.allclose(a, b, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("make", [make_model, make_transfer_model])
def test_predictions_and_gradients_of_pixels_are_those_of_keras(make):
    model = make()
    train(model, 2)
    found = []
    for change in (lambda model: None, fuse):
        change(model)
        with tf.GradientTape() as tape:
            pixels = tf.constant(images())
            tape.watch(pixels)
            answers = model(pixels, training=False)
            score = tf.reduce_sum(answers[:, 0])
        found.append([answers, tape.gradient(score, pixels)])
    for plain, fused in zip(*found, strict=True):
        largest = np.abs(plain).max()
        assert largest > 0
        assert np.allclose(plain, fused, rtol=1e-3, atol=1e-3 * largest)


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_lower_precision_computes_as_keras_does_in_it(precision):
    """Within the rounding of activations and gradients, and with float32 moving averages."""
    with runtime.precision(precision):
        plain, fused = make_model(), make_model()
    fuse(fused)
    for a, b in zip(train(plain, 3), train(fused, 3), strict=True):
        assert b.dtype == np.float32
        assert np.allclose(a, b, rtol=0.02, atol=0.02)
    found = [model(images(), training=False) for model in (plain, fused)]
    assert np.allclose(*found, atol=0.02)


def test_one_step_on_few_pixels_gives_the_moving_averages_of_keras():
    """Where n and n - 1, and one epsilon and another, differ by much."""
    pixels = np.random.default_rng(1).normal(0, 0.1, (2, 3, 4, 2)).astype(np.float32)
    outputs = []
    for change in (lambda model: None, fuse):
        layer = layers.BatchNormalization(momentum=0.25, epsilon=0.05)
        given = keras.Input((3, 4, 2))
        model = keras.Model(given, layer(given))
        change(model)
        outputs.append([model(pixels, training=True), layer.moving_mean, layer.moving_variance])
    for plain, fused in zip(*outputs, strict=True):
        assert np.allclose(plain, fused, rtol=1e-5, atol=1e-6)


def test_fused_layers_are_those_of_images():
    model = make_model()
    fuse(model)
    assert fused_layers(model) == [True, True, True, False]
    model = make_transfer_model()
    fuse(model)
    assert fused_layers(model) == [True, True]


@pytest.mark.parametrize("options", [{"axis": 1}, {"axis": 2}, {"renorm": True}])
def test_layers_that_tensorflow_has_no_fused_operation_for_stay_plain(options):
    given = keras.Input((3, 4, 2))
    model = keras.Model(given, layers.BatchNormalization(**options)(given))
    fuse(model)
    assert fused_layers(model) == [False]


def test_saved_model_is_plain_and_predicts_the_same(tmp_path):
    model = make_model()
    fuse(model)
    train(model, 2)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert not any(fused_layers(loaded))
    found = [each.predict(images(), verbose=0) for each in (model, loaded)]
    assert np.allclose(*found, rtol=1e-4, atol=1e-6)
