"""The base class of crop classifiers: normalization, batches and the ten best classes."""

from __future__ import annotations

import copy
from itertools import pairwise

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from geoloc.errors import InputError
from geoloc.pytorch.device import AdaptiveBatches, autocast
from geoloc.pytorch.finite import not_finite

BEST = 10  # classes stored per crop


def fold_normalization(model: nn.Module) -> nn.Module:
    """Return a copy whose convolutions absorb the batch normalizations that follow them.

    In evaluation mode both are linear, so one convolution with other weights and a bias gives the
    same numbers, up to float rounding (Jacob et al. 2018, section 3.2).

    Args:
        model: a network in evaluation mode. Each normalization must be registered right after the
            convolution whose output it normalizes.
    """
    model = copy.deepcopy(model)
    for module in list(model.modules()):
        children = list(module.named_children())
        for (name, convolution), (after, normalization) in pairwise(children):
            if isinstance(convolution, nn.Conv2d) and isinstance(normalization, nn.BatchNorm2d):
                setattr(module, name, fuse_conv_bn_eval(convolution, normalization))
                setattr(module, after, nn.Identity())
    return model


class CropClassifier:
    """A classifier of square RGB crops.

    Attributes:
        resize: the shorter side of a crop is resized to this many pixels.
        input_size: side in pixels of the center that is classified.
        mean: mean of RGB in 0–1.
        std: standard deviation of RGB in 0–1.
        batch_size: number of crops per batch. None chooses by device (larger batches don't pay off
            on a CPU).
    """

    resize = 256
    input_size = 224
    mean = (0.485, 0.456, 0.406)
    std = (0.229, 0.224, 0.225)

    def __init__(
        self,
        model: nn.Module,
        device: torch.device,
        batch_size: int | None = None,
        precision: str = "float32",
        compile: bool = False,
    ) -> None:
        model = fold_normalization(model.eval().requires_grad_(False))
        model = model.to(device, memory_format=torch.channels_last)
        self.model = torch.compile(model) if compile else model
        self.device = device
        self.precision = precision
        self.batches = AdaptiveBatches(batch_size or (128 if device.type == "cuda" else 8), "crop")
        self._mean = torch.tensor(self.mean, device=device).view(1, 3, 1, 1)
        self._std = torch.tensor(self.std, device=device).view(1, 3, 1, 1)

    def classify(self, crops: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Return the ten best classes of each crop, best first.

        Args:
            crops: uint8 (k, S, S, 3), S = `input_size`, on any device; k may be 0.

        Returns:
            class_id (k, 10) int16, index in the classifier's vocabulary, and probability (k, 10)
            float32 in 0–1, the softmax over all classes. If the network has fewer than ten classes,
            the last columns are -1 and 0.

        Raises:
            InputError: if the crops have another shape or dtype.
            NotFinite: if the network outputs NaN or infinity.
        """
        size = self.input_size
        if crops.dtype != torch.uint8 or tuple(crops.shape[1:]) != (size, size, 3):
            raise InputError(
                f"crops must be uint8 (k, {size}, {size}, 3), "
                f"are {crops.dtype} {tuple(crops.shape)}"
            )
        found = self.batches.map(lambda rows: self._best(crops[rows]), len(crops))
        if not found:
            return np.empty((0, BEST), np.int16), np.empty((0, BEST), np.float32)
        class_id, probability, finite = (
            torch.cat(x).cpu().numpy() for x in zip(*found, strict=True)
        )
        if not finite.all():
            raise not_finite("output of the classifier", self.precision)
        return class_id.astype(np.int16), probability

    @torch.inference_mode()
    def _best(self, crops: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return each crop's best classes, their probabilities and if its logits are finite."""
        # Permuting (k, S, S, 3) to (k, 3, S, S) already gives the channels-last memory format.
        pixels = crops.to(self.device).permute(0, 3, 1, 2).float()
        with autocast(self.device, self.precision):
            logits = self.model((pixels / 255 - self._mean) / self._std)
        count = min(BEST, logits.shape[1])
        probability, index = logits.float().softmax(dim=1).topk(count, dim=1)
        missing = (0, BEST - count)
        index, probability = F.pad(index, missing, value=-1), F.pad(probability, missing)
        return index, probability, logits.isfinite().all(dim=1)
