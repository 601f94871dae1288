"""Segment Anything as a segmenter: all masks of an image, from a grid of points.

Kirillov et al. 2023, "Segment Anything". The masks equal those of SamAutomaticMaskGenerator in the
package segment_anything, up to float rounding.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from segment_anything import SamPredictor
from segment_anything.modeling import Sam
from segment_anything.utils.transforms import ResizeLongestSide
from torch import Tensor

from geoloc.pytorch.device import autocast
from geoloc.segmentation.segmenters.sam.decoder import Decoded, decode, project_keys
from geoloc.segmentation.segmenters.sam.models import build_sam
from geoloc.segmentation.segmenters.sam.point_grid import PointGridSegmenter


class SamSegmenter(PointGridSegmenter):
    """Finds the masks of whole images with SAM; the settings are those of PointGridSegmenter."""

    def __init__(self, sam: Sam, **settings: Any) -> None:
        super().__init__(sam, **settings)
        self.sam = sam
        self.transform = ResizeLongestSide(sam.image_encoder.img_size)
        self.encoder = torch.compile(sam.image_encoder) if self.compile else sam.image_encoder

    def _keys(self) -> int:
        height, width = self.model.prompt_encoder.image_embedding_size
        return height * width * self.model.mask_decoder.transformer_dim

    def _mask_threshold(self) -> float:
        return self.model.mask_threshold

    def _prepare(self, image: np.ndarray) -> np.ndarray:
        return self.transform.apply_image(image)

    def _encode(self, prepared: list[np.ndarray]) -> Tensor:
        """Encode images whose longer side is SAM's input size to embeddings (b, C, h, w)."""
        with self._timed("encoder"), autocast(self.device, self.precision):
            pixels = [torch.from_numpy(x).to(self.device).permute(2, 0, 1) for x in prepared]
            return self.encoder(torch.stack([self.sam.preprocess(image) for image in pixels]))

    def _decode(self, embedding: Tensor, size: tuple[int, int]) -> Decoded:
        points = self.transform.apply_coords(self.grid * np.array(size)[None, ::-1], size)
        coordinates = torch.as_tensor(points, device=self.device)[:, None]
        labels = torch.ones(len(points), 1, dtype=torch.int, device=self.device)
        prompts, _ = self.sam.prompt_encoder((coordinates, labels), boxes=None, masks=None)
        image = project_keys(self.sam, embedding)
        parts = self.prompts.map(
            lambda rows: decode(self.sam, image, prompts[rows], self.pred_iou_thresh), len(prompts)
        )
        return Decoded.joined(parts)

    def _frame(
        self, decoded: Decoded, prepared_size: tuple[int, int]
    ) -> tuple[int, tuple[int, int]]:
        return self.sam.image_encoder.img_size, prepared_size

    def _predictor(self) -> SamPredictor:
        return SamPredictor(self.model)

    @contextmanager
    def _checked(self) -> Iterator[None]:
        def check(_module: Any, _inputs: Any, outputs: tuple[Tensor, Tensor]) -> tuple:
            self._check(*outputs)
            return tuple(output.float() for output in outputs)

        hook = self.sam.mask_decoder.register_forward_hook(check)
        try:
            yield
        finally:
            hook.remove()


def build(name: str, checkpoint: str, **settings: Any) -> SamSegmenter:
    """Build a SAM by name (`vit_h`, `vit_l`, `vit_b`, `demo`) with settings of SamSegmenter."""
    return SamSegmenter(build_sam(name, checkpoint), **settings)
