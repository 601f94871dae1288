"""A segmenter that runs a semantic network and names its segments itself."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from geoloc.pytorch.device import AdaptiveBatches, autocast, choose_device
from geoloc.pytorch.finite import finite, not_finite
from geoloc.segmentation.segmenters.semantic.networks import (
    SemanticNetwork,
    label_probabilities,
    load_semantic,
)
from geoloc.segmentation.segmenters.semantic.regions import label_regions
from geoloc.types import SCORE_SIZE, Segments

MULTIPLE = 32  # input sides are multiples of it: the coarsest features are 32 times smaller


class SemanticSegmenter:
    """Segments an image into the connected regions of its labels.

    Args:
        loaded: the network, see `load_semantic`.
        image_size: longer side in pixels of the network's input. Both sides are rounded to
            multiples of 32.
        min_mask_region_area: regions with fewer image pixels are dropped.
        image_batch: number of images of one size per batch; does not change the result. None
            chooses by device. It halves when memory runs out.
        device: name of a torch device; None or `auto` takes the GPU if one is available.
        precision: float32, bfloat16 or float16, of the network only.
        compile: whether to compile the network.
    """

    def __init__(
        self,
        loaded: SemanticNetwork,
        *,
        image_size: int = SCORE_SIZE,
        min_mask_region_area: int = 100,
        image_batch: int | None = None,
        device: str | None = None,
        precision: str = "float32",
        compile: bool = False,
    ) -> None:
        self.device = choose_device(device)
        self.precision = precision
        self.vocabulary = loaded.vocabulary
        network = loaded.network.to(self.device)
        self.network = torch.compile(network) if compile else network
        self.image_size = image_size
        self.min_mask_region_area = min_mask_region_area
        on_gpu = self.device.type == "cuda"
        self.images = AdaptiveBatches(image_batch or (4 if on_gpu else 1), "image")
        self.seconds: dict[str, float] = defaultdict(float)
        self._mean, self._std = (
            torch.from_numpy(x).to(self.device).view(1, 3, 1, 1) for x in (loaded.mean, loaded.std)
        )
        self._inputs = {name: x.to(self.device) for name, x in loaded.inputs.items()}

    @property
    def image_batch(self) -> int:
        return self.images.size

    @torch.inference_mode()
    def segment(self, images: Sequence[np.ndarray]) -> list[Segments]:
        """Find and name the regions of each image, sorted by falling probability.

        Args:
            images: uint8 (H, W, 3) RGB of any size.

        Returns:
            One Segments per image, see `label_regions`; `image_id` is empty.

        Raises:
            NotFinite: if the network outputs NaN or infinity; it has the index of the image.
        """
        found = []
        for _, group in groupby(images, key=lambda image: image.shape[:2]):
            batch, first = list(group), len(found)

            def regions(rows: slice, batch: list = batch, first: int = first) -> list[Segments]:
                return self._regions(batch[rows], first + rows.start)

            for part in self.images.map(regions, len(batch)):
                found += part
        return found

    def _regions(self, images: list[np.ndarray], first: int) -> list[Segments]:
        """Find the regions of images of one size; `first` is the index of the first one."""
        size = images[0].shape[:2]
        with self._timed("encoder"), autocast(self.device, self.precision):
            output = self.network(
                pixel_values=self._pixels(images),
                **{name: x.expand(len(images), -1) for name, x in self._inputs.items()},
            )
        found = []
        for row in range(len(images)):
            with self._timed("decoder"):
                probabilities = label_probabilities(output, row, size)
                if not finite(probabilities):
                    error = not_finite("output of the semantic network", self.precision)
                    error.image = first + row
                    raise error
                probability, labels = (x.cpu().numpy() for x in probabilities.max(0))
                found.append(label_regions(labels, probability, self.min_mask_region_area))
        return found

    def _pixels(self, images: list[np.ndarray]) -> Tensor:
        """Return images of one size as input of the network, float32 (b, 3, h, w)."""
        height, width = seen_size(images[0].shape[:2], self.image_size)
        resized = [
            np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
            for image in images
        ]
        pixels = torch.from_numpy(np.stack(resized)).to(self.device).permute(0, 3, 1, 2)
        return (pixels.float() / 255 - self._mean) / self._std

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.seconds[stage] += time.perf_counter() - start


def seen_size(size: tuple[int, int], longer: int) -> tuple[int, int]:
    """Return the input height and width: the longer side about `longer`, multiples of 32."""
    scale = longer / max(size)
    height, width = (max(round(side * scale / MULTIPLE), 1) * MULTIPLE for side in size)
    return height, width


def build(folder: str | Path, *, vocabulary: str, **settings: Any) -> SemanticSegmenter:
    """Build a segmenter from a folder with the given vocabulary (see `load_semantic`).

    `settings` are those of SemanticSegmenter.
    """
    return SemanticSegmenter(load_semantic(folder, vocabulary), **settings)
