"""Layers that the Keras models share."""

from __future__ import annotations

from keras import layers


def dense_block(x, units: int, name: str):
    """Dense – BatchNorm – ReLU – Dropout 0.5, the block that both models end with."""
    x = layers.Dense(units, name=name)(x)
    x = layers.BatchNormalization(name=f"{name}_normalization")(x)
    x = layers.ReLU(name=f"{name}_relu")(x)
    return layers.Dropout(0.5, name=f"{name}_dropout")(x)


def output(x, classes: int):
    """Probabilities (n, classes), float32 also where the model computes in lower precision."""
    dense = layers.Dense(classes, activation="softmax", dtype="float32", name="probabilities")
    return dense(x)
