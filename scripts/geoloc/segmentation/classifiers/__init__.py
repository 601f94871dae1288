"""Classifiers of crops by the names that the configuration gives them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from geoloc.registry import Registry

if TYPE_CHECKING:
    import numpy as np
    import torch

CLASSIFIERS = Registry(
    "classifier",
    {
        "resnet50": "geoloc.segmentation.classifiers.resnet50",
        "efficientnet_lite0": "geoloc.segmentation.classifiers.efficientnet_lite0",
        "demo_objects": "geoloc.segmentation.classifiers.demo_objects",
    },
)
"""Modules with a function `build(weights, device, **settings)` that returns a Classifier."""


class Classifier(Protocol):
    """Anything that names the ten likeliest classes of a crop."""

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
    module = CLASSIFIERS[name]
    from geoloc.pytorch.device import choose_device

    return module.build(weights, choose_device(device), **settings)
