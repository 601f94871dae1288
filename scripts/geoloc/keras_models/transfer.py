"""Transfer learning: an ImageNet backbone, frozen as in "Beyond the Image", with a new head."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
from keras import layers

from geoloc.errors import FileError, InputError
from geoloc.keras_models.applications import application
from geoloc.keras_models.layers import dense_block, output
from geoloc.registry import Registry
from geoloc.types import ARRAY_SIZE

BACKBONES = Registry(
    "backbone",
    {
        "resnet50": "geoloc.keras_models.resnet50",
        "efficientnet_lite0": "geoloc.keras_models.efficientnet_lite0",
    },
)
"""Modules with the functions `backbone(weights)` and `imagenet_input(pixels)`, its preprocessing,
and LAST_BLOCK, name prefixes of the last layers. Other names are those of
`geoloc.keras_models.applications`."""


def build(
    classes: int,
    backbone: str = "resnet50",
    weights: str | Path | None = None,
    preprocessing: str = "rescale",
    fine_tune: str = "none",
) -> keras.Model:
    """Build a frozen backbone, global average pooling, dense blocks of 1024 and 512, and a softmax.

    With ResNet50 and the study's 73 countries, the model has 26,254,281 parameters, 2,663,497 of
    them trainable. Batch normalization of the backbone stays in inference mode.

    Source: Beyond the Image, section Models, and its training notebook.

    Args:
        classes: number of countries.
        backbone: a key of `BACKBONES`, or the name of a network of keras.applications, such as
            `EfficientNetV2S`.
        weights: file with the backbone's ImageNet weights: Keras' own `…_notop.h5`, or the
            safetensors file written by `geoloc.segmentation.classifiers.efficientnet_lite0_export`.
            None leaves the backbone random.
        preprocessing: `rescale` multiplies pixels by 1/255, as published, whatever the backbone was
            trained on; `imagenet` preprocesses them as in the backbone's training. Networks that
            scale their input themselves need `imagenet`.
        fine_tune: `none` freezes the whole backbone, as published; `last_block` trains the
            convolutions of its last block and of what follows it. Batch normalization stays frozen,
            including scale and offset: few images would spoil its statistics (Keras' guide
            "Transfer learning & fine-tuning").

    Raises:
        InputError: if the backbone, the preprocessing or the part to fine-tune is unknown, or the
            backbone does not support the choice.
        OSError: if the weights file is missing, belongs to another model or holds values that are
            not finite.
    """
    module = BACKBONES[backbone] if backbone in BACKBONES else application(backbone)
    _check_options(module, backbone, preprocessing, fine_tune)
    if weights is not None and not Path(weights).is_file():
        raise FileError(f"{weights}: no such file; retrieve the backbone's ImageNet weights first")

    pixels = keras.Input((ARRAY_SIZE, ARRAY_SIZE, 3), name="pixels")
    if preprocessing == "imagenet":
        x = module.imagenet_input(pixels)
    else:
        x = layers.Rescaling(1 / 255, name="rescale")(pixels)
    pretrained = module.backbone(weights)
    _freeze(pretrained, but=module.LAST_BLOCK if fine_tune == "last_block" else ())
    x = pretrained(x, training=False)
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    x = dense_block(x, 1024, "dense1")
    x = dense_block(x, 512, "dense2")
    probabilities = output(x, classes)
    return keras.Model(pixels, probabilities, name=f"transfer_{backbone}")


def _check_options(module: Any, backbone: str, preprocessing: str, fine_tune: str) -> None:
    """Raise InputError if an option is unknown, or the backbone's module does not support it."""
    if preprocessing not in ("rescale", "imagenet"):
        raise InputError(f"preprocessing is rescale or imagenet, not {preprocessing!r}")
    if fine_tune not in ("none", "last_block"):
        raise InputError(f"fine_tune is none or last_block, not {fine_tune!r}")
    if preprocessing == "rescale" and getattr(module, "scales_its_input", False):
        raise InputError(f"{backbone} scales its input itself; set preprocessing to imagenet")
    if fine_tune == "last_block" and module.LAST_BLOCK is None:
        raise InputError(
            f"the last block of {backbone} is not known; set fine_tune to none, or backbone to one "
            f"of {', '.join(BACKBONES)}"
        )


def _freeze(backbone: keras.Model, but: tuple[str, ...]) -> None:
    """Freeze all layers except non-normalization layers whose names start with one of `but`.

    A layer trains only if both it and the model that holds it are trainable.
    """
    backbone.trainable = bool(but)
    for layer in backbone.layers:
        layer.trainable = layer.name.startswith(but) and not isinstance(
            layer, layers.BatchNormalization
        )
