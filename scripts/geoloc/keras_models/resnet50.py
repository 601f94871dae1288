"""ResNet50 as a backbone of the transfer model."""

from __future__ import annotations

from pathlib import Path

import keras
from keras import layers

from geoloc.keras_models.weights import load_legacy_weights
from geoloc.types import ARRAY_SIZE

LAST_BLOCK = ("conv5_block3_",)
"""Prefixes of the layer names of the last residual block."""


def backbone(weights: str | Path | None) -> keras.Model:
    """Build the network without its top: (n, 224, 224, 3) to (n, 7, 7, 2048).

    Source: He et al. 2016.

    Args:
        weights: Keras' own `resnet50_…_notop.h5`, or None for random weights.

    Raises:
        OSError: if the file belongs to another model or holds values that are not finite.
    """
    shape = (ARRAY_SIZE, ARRAY_SIZE, 3)
    model = keras.applications.ResNet50(
        include_top=False, weights=None, input_shape=shape, name="resnet50"
    )
    if weights is not None:
        load_legacy_weights(model, weights)
    return model


def imagenet_input(pixels):
    """Convert to BGR minus the ImageNet mean, the `caffe` mode of keras.applications."""
    x = keras.ops.flip(pixels, axis=-1)
    return layers.Rescaling(1.0, offset=[-103.939, -116.779, -123.68], name="imagenet_input")(x)
