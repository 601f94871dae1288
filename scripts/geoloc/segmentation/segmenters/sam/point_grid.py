"""Mask generation from a grid of point prompts, shared by SAM and SAM 2.

The masks are those of SamAutomaticMaskGenerator in the package segment_anything (Kirillov et al.
2023, "Segment Anything"), which SAM2AutomaticMaskGenerator repeats for SAM 2: three masks for each
point of a grid, filtered by predicted IoU, stability and box NMS. `decoder` and `postprocess`
describe the work that is saved.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from segment_anything import SamAutomaticMaskGenerator
from segment_anything.utils.amg import MaskData, build_point_grid
from torch import Tensor, nn

from geoloc.errors import InputError
from geoloc.pytorch.device import AdaptiveBatches, autocast, choose_device
from geoloc.pytorch.finite import NotFinite, finite, not_finite
from geoloc.segmentation.segmenters.sam import postprocess, postprocess_gpu
from geoloc.segmentation.segmenters.sam.decoder import Decoded
from geoloc.segmentation.segmenters.sam.postprocess import Thresholds
from geoloc.segmentation.segments import to_segments
from geoloc.types import Segments

KEYS_IN_CACHE = 2**21  # float32 numbers, 8 MiB


def check_crop_points(points_per_side: int, crop_n_layers: int, downscale_factor: int) -> None:
    """Check that every layer of crops has a point.

    Args:
        points_per_side: points per side of the whole image, at least 1.
        crop_n_layers: number of layers of crops.
        downscale_factor: by which each layer has fewer points per side than the one before.

    Raises:
        InputError: if a layer has none.
    """
    for layer in range(1, crop_n_layers + 1):
        if points_per_side < downscale_factor**layer:
            raise InputError(
                f"crop_n_points_downscale_factor {downscale_factor} leaves no point of "
                f"{points_per_side} a side for the crops of layer {layer}: lower it, or "
                "crop_n_layers"
            )


class PointGridSegmenter:
    """Finds the masks of whole images from a grid of points.

    The settings from `points_per_side` to `min_mask_region_area` and their defaults are those of
    SamAutomaticMaskGenerator. If `crop_n_layers` or `min_mask_region_area` is above 0,
    SamAutomaticMaskGenerator does the work. `points_per_batch` and `image_batch` do not change the
    result; None chooses by device, and both halve when memory runs out. `precision` is float32,
    bfloat16 or float16, of the models only.

    Subclasses say how the model prepares and encodes images and decodes points: they implement the
    methods that raise NotImplementedError.
    """

    title = "SAM"
    vocabulary = None

    def __init__(
        self,
        model: nn.Module,
        *,
        points_per_side: int | None = 32,
        points_per_batch: int | None = None,
        pred_iou_thresh: float = 0.88,
        stability_score_thresh: float = 0.95,
        stability_score_offset: float = 1.0,
        box_nms_thresh: float = 0.7,
        crop_n_layers: int = 0,
        crop_nms_thresh: float = 0.7,
        crop_overlap_ratio: float = 512 / 1500,
        crop_n_points_downscale_factor: int = 1,
        point_grids: list[np.ndarray] | None = None,
        min_mask_region_area: int = 0,
        image_batch: int | None = None,
        device: str | None = None,
        precision: str = "float32",
        compile: bool = False,
    ) -> None:
        if (points_per_side is None) == (point_grids is None):
            raise InputError("give either points_per_side or point_grids")
        self.device = choose_device(device)
        self.precision = precision
        self.model = model.eval().requires_grad_(False).to(self.device)
        self.compile = compile
        on_gpu = self.device.type == "cuda"
        if points_per_batch is None:
            # On a CPU, as many prompts as have their keys, the decoder's largest arrays, in cache.
            points_per_batch = 256 if on_gpu else max(KEYS_IN_CACHE // self._keys(), 1)
        self.images = AdaptiveBatches(image_batch or (4 if on_gpu else 1), "image")
        self.prompts = AdaptiveBatches(points_per_batch, "points")
        self.masks = AdaptiveBatches(128, "mask")
        self.pred_iou_thresh = pred_iou_thresh
        self.grid = point_grids[0] if point_grids else build_point_grid(points_per_side)
        self.thresholds = Thresholds(
            stability_score_thresh, stability_score_offset, box_nms_thresh, self._mask_threshold()
        )
        self.seconds: dict[str, float] = defaultdict(float)
        self.generator = None
        if points_per_side:
            check_crop_points(points_per_side, crop_n_layers, crop_n_points_downscale_factor)
        if crop_n_layers > 0 or min_mask_region_area > 0:
            self.generator = CropGenerator(
                self._predictor(), points_per_side, points_per_batch, pred_iou_thresh,
                stability_score_thresh, stability_score_offset, box_nms_thresh, crop_n_layers,
                crop_nms_thresh, crop_overlap_ratio, crop_n_points_downscale_factor, point_grids,
                min_mask_region_area, output_mode="uncompressed_rle",
            )  # fmt: skip

    @property
    def image_batch(self) -> int:
        return self.images.size

    @torch.inference_mode()
    def segment(self, images: Sequence[np.ndarray]) -> list[Segments]:
        """Find the masks of each image, sorted by falling predicted IoU.

        Args:
            images: uint8 (H, W, 3) RGB of any size.

        Returns:
            One Segments per image. `bbox` and `area` count pixels (SAM's own boxes are a pixel
            narrower). `image_id` is empty and `class_id` is −1; the caller fills them in.

        Raises:
            NotFinite: if the model outputs NaN or infinity; it has the index of the image.
        """
        if self.generator:
            return [self._generate(image, number) for number, image in enumerate(images)]
        prepared = [self._prepare(image) for image in images]
        batches = self.images.map(lambda rows: self._encode(prepared[rows]), len(images))
        embeddings = [embedding for batch in batches for embedding in batch]
        found = []
        for image, small, embedding in zip(images, prepared, embeddings, strict=True):
            with numbered(len(found)):
                found.append(self._segment_one(embedding, small.shape[:2], image.shape[:2]))
        return found

    def _keys(self) -> int:
        """Return how many numbers the keys of a prompt have."""
        raise NotImplementedError

    def _mask_threshold(self) -> float:
        """Return the logit above which a pixel belongs to a mask."""
        raise NotImplementedError

    def _prepare(self, image: np.ndarray) -> np.ndarray:
        """Return the image as `_encode` expects it, uint8 (h, w, 3)."""
        raise NotImplementedError

    def _encode(self, prepared: list[np.ndarray]) -> Sequence[Any]:
        """Return one embedding per image."""
        raise NotImplementedError

    def _decode(self, embedding: Any, size: tuple[int, int]) -> Decoded:
        """Return all masks of the point grid whose predicted IoU passes."""
        raise NotImplementedError

    def _frame(
        self, decoded: Decoded, prepared_size: tuple[int, int]
    ) -> tuple[int, tuple[int, int]]:
        """Return the square that masks are upsampled to first, and the part the image fills."""
        raise NotImplementedError

    def _predictor(self) -> Any:
        """Return what CropGenerator uses as its SamPredictor."""
        raise NotImplementedError

    @contextmanager
    def _checked(self) -> Iterator[None]:
        """Make `_predictor` raise NotFinite for outputs that are not finite."""
        yield

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.seconds[stage] += time.perf_counter() - start

    def _segment_one(
        self, embedding: Any, prepared_size: tuple[int, int], size: tuple[int, int]
    ) -> Segments:
        with self._timed("decoder"), autocast(self.device, self.precision):
            decoded = self._decode(embedding, size)
        self._check(decoded.low_resolution, decoded.predicted_iou)
        arguments = (
            decoded.low_resolution,
            decoded.predicted_iou,
            *self._frame(decoded, prepared_size),
            size,
            self.thresholds,
        )
        if self.device.type == "cpu":
            kept = postprocess.judge(*arguments)
        else:
            kept = postprocess_gpu.judge(*arguments, self.masks)
        predicted_iou = decoded.predicted_iou.cpu().numpy()[kept.candidate]
        return to_segments(size, kept.counts, predicted_iou, kept.stability_score)

    def _generate(self, image: np.ndarray, number: int) -> Segments:
        """Run SamAutomaticMaskGenerator; masks without a stability score are dropped."""
        with numbered(number), self._checked(), autocast(self.device, self.precision):
            masks = self.generator.generate(image)
        masks = [mask for mask in masks if np.isfinite(mask["stability_score"])]
        counts = [np.array(mask["segmentation"]["counts"], np.uint32) for mask in masks]
        predicted_iou, stability_score = (
            [mask[key] for mask in masks] for key in ("predicted_iou", "stability_score")
        )
        return to_segments(image.shape[:2], counts, predicted_iou, stability_score)

    def _check(self, masks: Tensor, predicted_iou: Tensor) -> None:
        for what, numbers in (("predicted IoU", predicted_iou), ("masks", masks)):
            if not finite(numbers):
                raise not_finite(f"{what} of {self.title}", self.precision)


class CropGenerator(SamAutomaticMaskGenerator):
    """Also handles images where no crop has a mask, and images too small for their crops."""

    def __init__(self, predictor: Any, *settings: Any, **more: Any) -> None:
        super().__init__(predictor.model, *settings, **more)
        self.predictor = predictor

    def _process_crop(
        self, image: np.ndarray, crop_box: list[int], layer: int, size: tuple[int, ...]
    ) -> MaskData:
        left, top, right, bottom = crop_box
        if left >= right or top >= bottom:
            none = torch.empty(0, device=self.predictor.device)
            return MaskData(
                iou_preds=none,
                stability_score=none,
                boxes=none.reshape(0, 4),
                points=none.reshape(0, 2),
                crop_boxes=torch.empty(0, 4),
                rles=[],
            )
        data = super()._process_crop(image, crop_box, layer, size)
        data["crop_boxes"] = data["crop_boxes"].reshape(-1, 4)
        return data


@contextmanager
def numbered(image: int) -> Iterator[None]:
    """Add the index of the image to a NotFinite error."""
    try:
        yield
    except NotFinite as error:
        error.image = image
        raise
