"""The sanity check of maps: they must change with the weights of the model.

A map that stays the same when the model forgets what it learned shows the image and not the model
(Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import geoloc.keras_models  # noqa: F401  sets the environment of TensorFlow before its import

import keras  # isort: skip
import numpy as np

from geoloc.explain.keras_probe import leaves

STAGES = (25, 50, 75, 100)
"""Percent of the layers with weights that are randomized, counted from the output."""


def cascade(model: keras.Model, seed: int) -> Iterator[int]:
    """Randomize a model's layers from its output to its input; restore it in the end.

    Each variable's values are put in random order. So a layer keeps the distribution of its
    weights, and the scale of its output, but nothing of what they meant.

    Args:
        model: the model, whose variables change.
        seed: of the orders.

    Yields:
        Each of STAGES, when that share of the layers is randomized.
    """
    layers = [layer for layer in leaves(model) if layer.weights][::-1]
    trained = [[np.asarray(v) for v in layer.weights] for layer in layers]
    rng, done = np.random.default_rng(seed), 0
    try:
        for stage in STAGES:
            upto = math.ceil(len(layers) * stage / 100)
            for layer in layers[done:upto]:
                for variable in layer.weights:
                    values = np.asarray(variable)
                    variable.assign(rng.permutation(values.ravel()).reshape(values.shape))
            done = upto
            yield stage
    finally:
        for layer, values in zip(layers, trained, strict=True):
            for variable, value in zip(layer.weights, values, strict=True):
                variable.assign(value)


def randomized_maps(
    model: keras.Model, explain: Callable[[], np.ndarray], seed: int
) -> dict[int, np.ndarray]:
    """Return what `explain` returns at each stage of the `cascade`, by stage."""
    return {stage: explain() for stage in cascade(model, seed)}
