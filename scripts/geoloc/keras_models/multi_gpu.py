"""Data-parallel training: each GPU holds a copy of the model and takes its part of every batch."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager

import keras
import numpy as np
import tensorflow as tf

from geoloc.errors import InputError


def visible_gpus() -> list[str]:
    """Return the names of the GPUs that TensorFlow sees."""
    return [device.name for device in tf.config.list_logical_devices("GPU")]


def replicated(gpus: int, batch_size: int, precision: str) -> AbstractContextManager:
    """Return the context in which to build, compile and restore a model for several GPUs.

    Batch normalization sees only its own GPU's part of a batch; the gradients of all parts are
    summed. One GPU, or none, needs no context.

    Raises:
        InputError: if there are fewer GPUs, they can't share a batch evenly, or the precision is
            `mixed_float16`, with which Keras checks only the first GPU's gradients for overflow.
    """
    if gpus == 1:
        return contextlib.nullcontext()
    if precision == "mixed_float16":
        raise InputError("several GPUs need train.precision mixed_bfloat16 or float32")
    if batch_size % gpus:
        raise InputError(f"train.batch_size {batch_size} is not a multiple of train.gpus {gpus}")
    found = visible_gpus()
    if len(found) < gpus:
        raise InputError(
            f"train.gpus is {gpus}, but TensorFlow sees {len(found)} GPUs here; lower it, or ask "
            "for a machine that has as many"
        )
    return tf.distribute.MirroredStrategy(found[:gpus]).scope()


class MeanOfReplicas(keras.callbacks.Callback):
    """Gives all copies of a model the mean of their moving averages before every validation.

    Each copy collects its own from different images. Without this, saved models and resumed
    training would use only those of the first copy.
    """

    def on_test_begin(self, logs=None) -> None:
        strategy = self.model.distribute_strategy
        for layer in self.model.layers:
            if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable:
                for moving in (layer.moving_mean, layer.moving_variance):
                    copies = strategy.experimental_local_results(moving.value)
                    moving.assign(np.mean([np.asarray(copy) for copy in copies], axis=0))
