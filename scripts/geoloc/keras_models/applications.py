"""The networks of keras.applications as backbones of the transfer model, by their Keras names."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import keras
import numpy as np

from geoloc.errors import InputError
from geoloc.keras_models.weights import load_weights_by_layer
from geoloc.types import ARRAY_SIZE


def application_names() -> list[str]:
    """Return the names of the networks, such as `EfficientNetV2S`."""
    found = vars(keras.applications).items()
    return sorted(name for name, value in found if name[0].isupper() and callable(value))


class Application:
    """A network of keras.applications, as used by `geoloc.keras_models.transfer`.

    Args:
        name: one of `application_names`.

    Attributes:
        LAST_BLOCK: None, because the networks name their blocks differently.
    """

    LAST_BLOCK = None

    def __init__(self, name: str) -> None:
        self.name = name
        self._build = getattr(keras.applications, name)
        # Keras defines it next to the network, but not always under a public name.
        self._preprocess = sys.modules[self._build.__module__].preprocess_input

    @property
    def scales_its_input(self) -> bool:
        """Whether the network starts with layers that scale pixels in 0–255."""
        pixels = np.arange(12, dtype=np.float32).reshape(1, 2, 2, 3)
        return bool(np.array_equal(self._preprocess(pixels.copy()), pixels))

    def imagenet_input(self, pixels):
        """Preprocess pixels in 0–255 as in the network's training."""
        return self._preprocess(pixels)

    def backbone(self, weights: str | Path | None) -> keras.Model:
        """Build the network without its top: (n, 224, 224, 3) to a feature map (n, h, w, c).

        Args:
            weights: Keras' own file without top (`…notop.h5`), a file written by
                `Model.save_weights` (`….weights.h5`), or None for random weights.

        Raises:
            OSError: if the file belongs to another model or holds values that are not finite.
        """
        shape = (ARRAY_SIZE, ARRAY_SIZE, 3)
        model = self._build(include_top=False, weights=None, input_shape=shape)
        if weights is not None:
            load_weights_by_layer(model, weights)
        return model


@cache
def application(name: str) -> Application:
    """Return a network by name.

    Raises:
        InputError: if Keras has no such network; the message lists those it has.
    """
    if name not in application_names():
        raise InputError(
            f"unknown backbone {name!r}; choose resnet50, efficientnet_lite0 or one of "
            f"keras.applications: {', '.join(application_names())}"
        )
    return Application(name)
