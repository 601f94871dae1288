"""Classifiers of crops, by the name in the configuration. A new one is a new file and an entry."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from geoloc.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import torch

# name in the configuration -> module with `load_model(weights)`, and its class
CLASSIFIERS = {
    "resnet50": ("geoloc.segmentation.classifiers.resnet50", "ResNet50"),
    "efficientnet_lite0": (
        "geoloc.segmentation.classifiers.efficientnet_lite0",
        "EfficientNetLite0",
    ),
}


class Classifier(Protocol):
    """Anything that names the ten likeliest ImageNet-1k classes of a crop."""

    resize: int
    """Pixels of the shorter side before the centre is cut."""

    input_size: int
    """Pixels of the side of the centre, S."""

    def classify(self, crops: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """uint8 (k, S, S, 3) RGB -> class_id (k, 10) int16, probability (k, 10) float32 in 0–1."""


def build_classifier(
    name: str, weights: str | None = None, device: str | None = None, **settings: Any
) -> Classifier:
    """The classifier of that name, with weights from a local file.

    weights: None for the weights that come with a package (`efficientnet_lite0` only); settings:
    batch_size, precision and compile, see CropClassifier. Raises ValueError for an unknown name,
    OSError for a file that is missing, unreadable or does not hold exactly the model's weights.
    """
    if name not in CLASSIFIERS:
        raise InputError(f"classifier {name!r} is unknown: use one of {', '.join(CLASSIFIERS)}")
    from geoloc.pytorch.device import choose_device

    module_name, class_name = CLASSIFIERS[name]
    module = import_module(module_name)
    return getattr(module, class_name)(
        module.load_model(weights), choose_device(device), **settings
    )
