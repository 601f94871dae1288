"""The convolutional network of "Beyond the Image", trained from scratch."""

from __future__ import annotations

import keras
from keras import layers

from geoloc.keras_models.layers import dense_block, output
from geoloc.types import ARRAY_SIZE

FILTERS = (32, 64, 128, 64, 32)


def build(classes: int) -> keras.Model:
    """Build five convolution blocks, a dense block of 512 and a softmax over the countries.

    Pixels are multiplied by 1/255. With the study's 73 countries, the model has 636,393 parameters,
    634,729 of them trainable.

    Source: Beyond the Image, section Models, and its training notebook.
    """
    pixels = keras.Input((ARRAY_SIZE, ARRAY_SIZE, 3), name="pixels")
    x = layers.Rescaling(1 / 255, name="rescale")(pixels)
    for number, filters in enumerate(FILTERS, start=1):
        x = _convolution_block(x, filters, f"block{number}")
    x = layers.Flatten(name="flatten")(x)
    x = dense_block(x, 512, "dense")
    probabilities = output(x, classes)
    return keras.Model(pixels, probabilities, name="cnn")


def _convolution_block(x, filters: int, name: str):
    x = layers.Conv2D(filters, 3, name=f"{name}_convolution")(x)
    x = layers.BatchNormalization(name=f"{name}_normalization")(x)
    x = layers.ReLU(name=f"{name}_relu")(x)
    x = layers.MaxPooling2D(2, name=f"{name}_pool")(x)
    return layers.Dropout(0.25, name=f"{name}_dropout")(x)
