"""Layers shared by the Keras models."""

from __future__ import annotations

from keras import layers


def dense_block(x, units: int, name: str):
    """Build Dense – BatchNorm – ReLU – Dropout 0.5, the block at the end of both models."""
    x = layers.Dense(units, name=name)(x)
    x = layers.BatchNormalization(name=f"{name}_normalization")(x)
    x = layers.ReLU(name=f"{name}_relu")(x)
    return layers.Dropout(0.5, name=f"{name}_dropout")(x)


def output(x, classes: int):
    """Return probabilities (n, classes), float32 even if the model computes in lower precision."""
    dense = layers.Dense(classes, activation="softmax", dtype="float32", name="probabilities")
    return dense(x)
