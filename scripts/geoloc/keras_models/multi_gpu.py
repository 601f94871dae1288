"""A model on several GPUs: each holds a copy of it and takes its part of every batch."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager

import keras
import numpy as np
import tensorflow as tf

from geoloc.errors import InputError


def visible_gpus() -> list[str]:
    """Names of the GPUs that TensorFlow sees."""
    return [device.name for device in tf.config.list_logical_devices("GPU")]


def replicated(gpus: int, batch_size: int, precision: str) -> AbstractContextManager:
    """Context in which a model is built, compiled and restored to train on so many GPUs.

    Batch normalization sees the part of a batch that its own GPU has, and the gradients of all
    parts are summed. One GPU, or none, needs no context.

    Raises:
        ValueError: if there are fewer GPUs, if they cannot share a batch evenly, or with
            `mixed_float16`: Keras looks for an overflow in the gradients of the first GPU only.
    """
    if gpus == 1:
        return contextlib.nullcontext()
    if precision == "mixed_float16":
        raise InputError("several GPUs need train.precision mixed_bfloat16 or float32")
    if batch_size % gpus:
        raise InputError(f"train.batch_size {batch_size} is no multiple of train.gpus {gpus}")
    found = visible_gpus()
    if len(found) < gpus:
        raise InputError(
            f"train.gpus is {gpus}, but TensorFlow sees {len(found)} GPUs here; lower it, or ask "
            "for a machine that has as many"
        )
    return tf.distribute.MirroredStrategy(found[:gpus]).scope()


class MeanOfReplicas(keras.callbacks.Callback):
    """Gives all copies of a model the mean of their moving averages, before every validation.

    Each copy's come from other images; the model that is saved and a training that goes on would
    otherwise have those of the first copy alone.
    """

    def on_test_begin(self, logs=None) -> None:
        strategy = self.model.distribute_strategy
        for layer in self.model.layers:
            if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable:
                for moving in (layer.moving_mean, layer.moving_variance):
                    copies = strategy.experimental_local_results(moving.value)
                    moving.assign(np.mean([np.asarray(copy) for copy in copies], axis=0))
