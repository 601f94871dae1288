"""The Keras models, by their names in the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from geoloc.registry import Registry

if TYPE_CHECKING:
    import keras

KERAS_MODELS = Registry(
    "Keras model",
    {
        "cnn": "geoloc.keras_models.cnn",
        "transfer": "geoloc.keras_models.transfer",
        "keras": "geoloc.keras_models.user_network",
    },
)
"""Modules with a function `build(classes, **options)`."""


def build_model(name: str, classes: int, parameters: Mapping[str, Any]) -> keras.Model:
    """Build an untrained Keras classifier.

    Args:
        name: a key of `KERAS_MODELS`.
        classes: number of countries.
        parameters: the options of this model, see the `build` function of its module.

    Returns:
        A model from pixels (n, 224, 224, 3), uint8 or float in 0–255, to probabilities
        (n, classes), float32. Scaling the pixels is part of the model.

    Raises:
        InputError: if the name or an option does not exist.
    """
    return KERAS_MODELS[name].build(classes, **parameters)
