"""Crop classifiers, by their names in the configuration."""

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
    """A model that returns the ten most probable classes of a crop."""

    resize: int
    """Shorter side in pixels before the center crop."""

    input_size: int
    """Side S of the center crop in pixels."""

    def classify(self, crops: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Return class_id (k, 10) int16 and probability (k, 10) float32 in 0–1, best first.

        `crops` is uint8 (k, S, S, 3) RGB.
        """


def build_classifier(
    name: str, weights: str | None = None, device: str | None = None, **settings: Any
) -> Classifier:
    """Build a classifier by name, with weights from a local file.

    Args:
        name: a key of `CLASSIFIERS`.
        weights: the file; None for weights that come with a package (`efficientnet_lite0` only).
        device: name of a torch device; None chooses one.
        **settings: batch_size, precision and compile, see CropClassifier.

    Raises:
        InputError: if the name is unknown.
        OSError: if the file is missing, unreadable or does not hold exactly the model's weights.
    """
    module = CLASSIFIERS[name]
    from geoloc.pytorch.device import choose_device

    return module.build(weights, choose_device(device), **settings)
