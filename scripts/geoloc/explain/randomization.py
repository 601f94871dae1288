"""The sanity check of maps: they must change with the weights of the model.

A map that stays the same when the model forgets what it learned shows the image and not the model
(Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from geoloc.explain.methods import Layer

STAGES = (25, 50, 75, 100)
"""Percent of the layers with weights that are randomized, counted from the output."""


def cascade(layers: Sequence[Layer], seed: int) -> Iterator[int]:
    """Randomize a model's layers from its output to its input; restore them in the end.

    The values of each array of weights are put in random order. So a layer keeps the distribution
    of its weights, and the scale of its output, but nothing of what they meant.

    Args:
        layers: the layers with weights, from input to output; they change.
        seed: of the orders.

    Yields:
        Each of STAGES, when that share of the layers is randomized.
    """
    layers = list(layers)[::-1]
    trained = [layer.get_weights() for layer in layers]
    rng, done = np.random.default_rng(seed), 0
    try:
        for stage in STAGES:
            upto = math.ceil(len(layers) * stage / 100)
            for layer in layers[done:upto]:
                layer.set_weights([_shuffled(values, rng) for values in layer.get_weights()])
            done = upto
            yield stage
    finally:
        for layer, values in zip(layers, trained, strict=True):
            layer.set_weights(values)


def _shuffled(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rng.permutation(values.ravel()).reshape(values.shape)


def randomized_maps(
    layers: Sequence[Layer], explain: Callable[[], np.ndarray], seed: int
) -> dict[int, np.ndarray]:
    """Explain a model at each stage of the randomization of its weights.

    Args:
        layers: see `cascade`.
        explain: returns the maps of the model as it is at the moment.
        seed: see `cascade`.

    Returns:
        What `explain` returned, by stage.
    """
    return {stage: explain() for stage in cascade(layers, seed)}
