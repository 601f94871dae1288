"""SAM 2 as a segmenter: all masks of an image, from a grid of points.

Ravi et al. 2024, "SAM 2: Segment Anything in Images and Videos". The network comes from
transformers. Unlike SAM, SAM 2 stretches every image to a square, so the point grid is stretched
with it, as in the published SAM2AutomaticMaskGenerator. (The mask-generation pipeline of
transformers keeps the aspect ratio of the points only, and so misses a part of every image that is
not square.) transformers has no MobileSAM.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import Sam2ImageProcessor, Sam2Model

from geoloc.errors import FileError
from geoloc.pytorch.device import autocast
from geoloc.pytorch.model_folder import NEEDED, check_files, load_network, unusable
from geoloc.segmentation.segmenters.sam.decoder import Decoded
from geoloc.segmentation.segmenters.sam.point_grid import PointGridSegmenter

REMEDY = "give the folder of a SAM 2 or SAM 2.1 that transformers can load, or retrieve it again"
FILES = (*NEEDED, (("preprocessor_config.json",), ("processor_config.json",)))
# Public folders hold the video model; its memory of earlier frames is not used.
VIDEO_ONLY = (
    "memory_*",
    "mask_downsample*",
    "object_pointer_proj*",
    "no_object_pointer",
    "temporal_positional_encoding_projection_layer*",
    "no_memory_positional_encoding",
    "occlusion_spatial_embedding_parameter",
)
MASK_THRESHOLD = 0.0
LARGEST_PIXEL = 10  # of normalized pixels; those of SAM 2 are at most 2.7


class Sam2Segmenter(PointGridSegmenter):
    """Finds the masks of whole images with SAM 2.

    The settings are those of PointGridSegmenter; `pred_iou_thresh` has a lower default, as in
    SAM2AutomaticMaskGenerator. `min_mask_region_area` works as in SAM: holes and islands with fewer
    pixels are removed, then duplicates.
    """

    title = "SAM 2"

    def __init__(
        self,
        network: Sam2Model,
        processor: Sam2ImageProcessor,
        *,
        pred_iou_thresh: float = 0.8,
        **settings: Any,
    ) -> None:
        self.side = network.config.prompt_encoder_config.image_size
        self.processor = processor
        super().__init__(network, pred_iou_thresh=pred_iou_thresh, **settings)
        if self.compile:
            self.model.vision_encoder = torch.compile(self.model.vision_encoder)

    def _keys(self) -> int:
        height, width = self.model.backbone_feature_sizes[-1]
        return height * width * self.model.hidden_dim

    def _mask_threshold(self) -> float:
        return MASK_THRESHOLD

    def _prepare(self, image: np.ndarray) -> np.ndarray:
        return image

    def _encode(self, prepared: list[np.ndarray]) -> list[list[Tensor]]:
        """Return three feature maps (1, C, h, w) per image, the coarsest last."""
        with self._timed("encoder"), autocast(self.device, self.precision):
            pixels = self.processor(
                prepared, input_data_format="channels_last", return_tensors="pt"
            )["pixel_values"]
            maps = self.model.get_image_embeddings(pixels.to(self.device))
            return [[level[row : row + 1] for level in maps] for row in range(len(prepared))]

    def _decode(self, embedding: list[Tensor], size: tuple[int, int]) -> Decoded:
        points = torch.as_tensor(self.grid * self.side, dtype=torch.float32, device=self.device)
        parts = self.prompts.map(lambda rows: self._passing(embedding, points[rows]), len(points))
        return Decoded.joined(parts)

    def _passing(self, embedding: list[Tensor], points: Tensor) -> Decoded:
        """Return the masks of points (n, 2), three each, whose predicted IoU passes.

        A threshold of 0 keeps all masks. Values that are not finite pass, so that the caller sees
        them.
        """
        masks, predicted_iou = self.predict(embedding, points)
        threshold = self.pred_iou_thresh if self.pred_iou_thresh > 0 else -torch.inf
        passes = (predicted_iou > threshold) | ~predicted_iou.isfinite()
        return Decoded(masks[passes], predicted_iou[passes])

    def predict(self, embedding: list[Tensor], points: Tensor) -> tuple[Tensor, Tensor]:
        """Prompt the decoder.

        Args:
            embedding: feature maps of one image.
            points: float32 (n, 2), x and y in pixels of the network's square input.

        Returns:
            Low-resolution logits (n, 3, h, w) and predicted IoU (n, 3), float32.
        """
        output = self.model(
            image_embeddings=embedding,
            input_points=points[None, :, None],
            input_labels=torch.ones(1, len(points), 1, dtype=torch.int, device=points.device),
            multimask_output=True,
        )
        return output.pred_masks[0].float(), output.iou_scores[0].float()

    def _frame(
        self, decoded: Decoded, prepared_size: tuple[int, int]
    ) -> tuple[int, tuple[int, int]]:
        height, width = decoded.low_resolution.shape[1:]
        return height, (height, width)  # upsampled once, straight to the image

    def _predictor(self) -> Predictor:
        return Predictor(self)


class Predictor:
    """Presents a Sam2Segmenter as a SamPredictor to SamAutomaticMaskGenerator."""

    def __init__(self, segmenter: Sam2Segmenter) -> None:
        self.segmenter = segmenter
        self.device = segmenter.device
        self.transform = self
        self.model = SimpleNamespace(  # the attributes of a SAM that the generator reads
            mask_threshold=MASK_THRESHOLD, image_encoder=SimpleNamespace(img_size=segmenter.side)
        )

    def set_image(self, image: np.ndarray) -> None:
        self.size = image.shape[:2]
        (self.embedding,) = self.segmenter._encode([image])

    def reset_image(self) -> None:
        self.embedding = None

    def apply_coords(self, points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """Scale points (n, 2) from image pixels to pixels of the network's input."""
        return (points / np.array(size)[::-1] * self.segmenter.side).astype(np.float32)

    def predict_torch(self, points: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits (n, 3, H, W), predicted IoU (n, 3) and low-resolution logits.

        `points` is (n, 1, 2).
        """
        low, predicted_iou = self.segmenter.predict(self.embedding, points[:, 0])
        self.segmenter._check(low, predicted_iou)
        masks = F.interpolate(low, self.size, mode="bilinear", align_corners=False)
        return masks, predicted_iou, low


def load_sam2(folder: str | Path) -> tuple[Sam2Model, Sam2ImageProcessor]:
    """Load SAM 2 or SAM 2.1 and its image processor from a folder of transformers.

    Args:
        folder: what `save_pretrained` wrote for Sam2Model or Sam2VideoModel.

    Raises:
        OSError: if the network can't be loaded (see `load_network`), or the image processor doesn't
            match it.
    """
    folder = Path(folder)
    check_files(folder, FILES, "SAM 2", REMEDY)
    network = load_network(Sam2Model, folder, REMEDY, unused=VIDEO_ONLY)
    try:
        processor = Sam2ImageProcessor.from_pretrained(folder, local_files_only=True)
        pixels = processor(
            [np.full((40, 60, 3), 255, np.uint8)],
            input_data_format="channels_last",
            return_tensors="pt",
        )["pixel_values"]
    except PermissionError:
        raise
    except Exception as error:  # a damaged file can make the library raise anything
        raise unusable(folder, "its image processor does not work", error, REMEDY) from error
    side = network.config.prompt_encoder_config.image_size
    if pixels.shape[1:] != (3, side, side) or not pixels.isfinite().all():
        raise FileError(
            f"{folder}: its image processor makes {tuple(pixels.shape[1:])} of an image, its model "
            f"sees (3, {side}, {side}), finite: the processor is of another model; {REMEDY}"
        )
    if (largest := float(pixels.abs().max())) > LARGEST_PIXEL:
        raise FileError(
            f"{folder}: its image processor turns white into {largest:.0f}, so it does not scale "
            f"pixels to 0–1 before it normalizes them: it is of another model; {REMEDY}"
        )
    return network, processor


def build(folder: str | Path, **settings: Any) -> Sam2Segmenter:
    """Build a segmenter from a folder (see `load_sam2`), with the settings of Sam2Segmenter."""
    return Sam2Segmenter(*load_sam2(folder), **settings)
