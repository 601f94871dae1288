"""The models by their names in the configuration; a new one is a new module and an entry here."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from geoloc.errors import InputError

if TYPE_CHECKING:
    import keras

KERAS_MODELS = {"cnn": "geoloc.keras_models.cnn", "transfer": "geoloc.keras_models.transfer"}


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
        ValueError: for a name or an option that does not exist.
    """
    if name not in KERAS_MODELS:
        raise InputError(f"no Keras model is named {name!r}; choose from {sorted(KERAS_MODELS)}")
    return import_module(KERAS_MODELS[name]).build(classes, **parameters)
