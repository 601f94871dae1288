"""ResNet50 with torchvision's IMAGENET1K_V1 weights, the study's crop classifier."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from torchvision.models import resnet50

from geoloc.errors import InputError
from geoloc.pytorch.weights import load_weights
from geoloc.segmentation.classifiers.base import CropClassifier

SOURCE = "torchvision, ResNet50_Weights.IMAGENET1K_V1 (resnet50-0676ba61.pth)"


class ResNet50(CropClassifier):
    """He et al. 2016, normalized with ImageNet's mean and standard deviation."""


def load_model(weights: str | Path | None) -> nn.Module:
    """Load the network's weights from a file; see `load_weights` for errors."""
    if weights is None:
        raise InputError(f"classifier resnet50 needs a checkpoint file: get it from {SOURCE}")
    return load_weights(resnet50(weights=None), weights, "ResNet50", f"get them from {SOURCE}")


def build(weights: str | Path | None, device: torch.device, **settings: Any) -> ResNet50:
    """Build the classifier with weights from a file; `settings` are those of CropClassifier."""
    return ResNet50(load_model(weights), device, **settings)
