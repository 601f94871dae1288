"""Batch normalization re-estimation (precise BN), for training runs with few steps.

At inference, the published models normalize with moving averages. These are collected while dropout
is active, and they remember their initial values for some hundred steps. After few steps, inference
then differs so much from training that a model that has learned something predicts at chance:
dropout increases the variance of what follows it (Li et al., "Understanding the Disharmony between
Dropout and Batch Normalization by Variance Shift", CVPR 2019). Population statistics, measured
without dropout, fix this without a change of the training itself (Wu and Johnson, "Rethinking
'Batch' in BatchNorm", 2021).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf


class PreciseBatchNorm(keras.callbacks.Callback):
    """Re-estimates the statistics before every validation, and so before a model is saved.

    Args:
        images: uint8 (n, 224, 224, 3), training images as seen at inference.
        batch_size: number of images per forward pass.
    """

    def __init__(self, images: np.ndarray, batch_size: int = 32) -> None:
        super().__init__()
        self.images, self.batch_size = images, batch_size

    def set_model(self, model: keras.Model) -> None:
        super().set_model(model)
        self.forward = tf.function(lambda batch: model(batch, training=True), reduce_retracing=True)

    def on_test_begin(self, logs=None) -> None:
        measure(self.model, self.forward, self.images, self.batch_size)


def measure(model: keras.Model, forward, images: np.ndarray, batch_size: int) -> None:
    """Replace the moving averages of a model's trainable batch normalizations.

    The population variance is the mean of the batch variances plus the variance of the batch means,
    with each batch weighted by its number of images.

    Args:
        model: the model.
        forward: calls the model in training mode; it is traced here, without dropout.
        images: uint8 (n, 224, 224, 3).
        batch_size: number of images per forward pass.
    """
    layers = [
        layer
        for layer in model.layers
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
    ]
    means, squares, seen = [0.0] * len(layers), [0.0] * len(layers), 0
    with _as_is(model, layers):
        for start in range(0, len(images), batch_size):
            batch = images[start : start + batch_size]
            forward(tf.constant(batch))
            seen += len(batch)
            for number, layer in enumerate(layers):
                mean = np.asarray(layer.moving_mean, np.float64)
                square = np.asarray(layer.moving_variance, np.float64) + mean**2
                means[number] += (mean - means[number]) * len(batch) / seen
                squares[number] += (square - squares[number]) * len(batch) / seen
    for layer, mean, square in zip(layers, means, squares, strict=True):
        layer.moving_mean.assign(mean)
        layer.moving_variance.assign(np.maximum(square - mean**2, 0))


@contextlib.contextmanager
def _as_is(model: keras.Model, normalizations: list) -> Iterator[None]:
    """Turn dropout off and let moving averages hold the statistics of the last batch only."""
    dropouts = [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    rates = [layer.rate for layer in dropouts]
    momenta = [layer.momentum for layer in normalizations]
    try:
        for layer in dropouts:
            layer.rate = 0.0
        for layer in normalizations:
            layer.momentum = 0.0
        yield
    finally:
        for layer, rate in zip(dropouts, rates, strict=True):
            layer.rate = rate
        for layer, momentum in zip(normalizations, momenta, strict=True):
            layer.momentum = momentum
