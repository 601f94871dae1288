"""Segment Anything as a segmenter: every mask of an image, from a grid of points.

Kirillov et al. 2023, "Segment Anything"; equal to SamAutomaticMaskGenerator of the package
segment_anything up to float rounding, see `sam_decoder` and `sam_postprocess` for what is saved.
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
from segment_anything.modeling import Sam
from segment_anything.utils.amg import MaskData, build_point_grid
from segment_anything.utils.transforms import ResizeLongestSide
from torch import Tensor

from geoloc.errors import InputError
from geoloc.pytorch.device import AdaptiveBatches, autocast, choose_device
from geoloc.pytorch.finite import NotFinite, finite, not_finite
from geoloc.segmentation import rle
from geoloc.segmentation.segmenters.sam import postprocess, postprocess_gpu
from geoloc.segmentation.segmenters.sam.decoder import Decoded, decode, project_keys
from geoloc.segmentation.segmenters.sam.models import build_sam
from geoloc.segmentation.segmenters.sam.postprocess import Thresholds
from geoloc.types import BEST_CLASSES, Segments


class SamSegmenter:
    """Masks of whole images.

    The settings from `points_per_side` to `min_mask_region_area` are those of
    SamAutomaticMaskGenerator, with its defaults; with `crop_n_layers` or `min_mask_region_area`
    above 0 the work is left to it. `points_per_batch` and `image_batch` do not change the result
    and are chosen from the device when None; both halve when its memory runs out. precision:
    float32, bfloat16 or float16, of the models only.
    """

    def __init__(
        self,
        sam: Sam,
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
        self.sam = sam.eval().requires_grad_(False).to(self.device)
        self.transform = ResizeLongestSide(sam.image_encoder.img_size)
        on_gpu = self.device.type == "cuda"
        if points_per_batch is None:
            points_per_batch = 256 if on_gpu else prompts_in_cache(sam)
        self.images = AdaptiveBatches(image_batch or (4 if on_gpu else 1), "image")
        self.prompts = AdaptiveBatches(points_per_batch, "points")
        self.masks = AdaptiveBatches(128, "mask")
        self.encoder = torch.compile(sam.image_encoder) if compile else sam.image_encoder
        self.pred_iou_thresh = pred_iou_thresh
        self.grid = point_grids[0] if point_grids else build_point_grid(points_per_side)
        self.thresholds = Thresholds(
            stability_score_thresh, stability_score_offset, box_nms_thresh, sam.mask_threshold
        )
        self.seconds: dict[str, float] = defaultdict(float)
        self.generator = None
        for layer in range(1, crop_n_layers + 1):
            if points_per_side and points_per_side < crop_n_points_downscale_factor**layer:
                raise InputError(
                    f"crop_n_points_downscale_factor {crop_n_points_downscale_factor} leaves no "
                    f"point of {points_per_side} a side for the crops of layer {layer}: lower it, "
                    "or crop_n_layers"
                )
        if crop_n_layers > 0 or min_mask_region_area > 0:
            self.generator = CropGenerator(
                self.sam, points_per_side, points_per_batch, pred_iou_thresh,
                stability_score_thresh, stability_score_offset, box_nms_thresh, crop_n_layers,
                crop_nms_thresh, crop_overlap_ratio, crop_n_points_downscale_factor, point_grids,
                min_mask_region_area, output_mode="uncompressed_rle",
            )  # fmt: skip

    @property
    def image_batch(self) -> int:
        return self.images.size

    @torch.inference_mode()
    def segment(self, images: Sequence[np.ndarray]) -> list[Segments]:
        """Masks of each image, uint8 (H, W, 3) RGB of any size, by falling predicted IoU.

        `bbox` and `area` count pixels (SAM's own boxes are a pixel narrower); `image_id` is empty
        and `class_id` −1 for the caller to fill. Raises NotFinite, with the number of the image,
        where SAM gives NaN or infinity.
        """
        if self.generator:
            return [self._generate(image, number) for number, image in enumerate(images)]
        resized = [self.transform.apply_image(image) for image in images]
        embeddings = self.images.map(lambda rows: self._encode(resized[rows]), len(images))
        found = []
        for image, small, embedding in zip(images, resized, torch.cat(embeddings), strict=True):
            with numbered(len(found)):
                found.append(self._segment_one(embedding, small.shape[:2], image.shape[:2]))
        return found

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.seconds[stage] += time.perf_counter() - start

    def _encode(self, resized: list[np.ndarray]) -> Tensor:
        """Images whose longer side is SAM's input size -> embeddings (b, C, h, w)."""
        with self._timed("encoder"), autocast(self.device, self.precision):
            pixels = [torch.from_numpy(image).to(self.device).permute(2, 0, 1) for image in resized]
            return self.encoder(torch.stack([self.sam.preprocess(image) for image in pixels]))

    def _segment_one(
        self, embedding: Tensor, input_size: tuple[int, int], size: tuple[int, int]
    ) -> Segments:
        with self._timed("decoder"), autocast(self.device, self.precision):
            decoded = self._decode(embedding, size)
        self._check(decoded.low_resolution, decoded.predicted_iou)
        arguments = (
            decoded.low_resolution, decoded.predicted_iou, self.sam.image_encoder.img_size,
            input_size, size, self.thresholds,
        )  # fmt: skip
        if self.device.type == "cpu":
            kept = postprocess.judge(*arguments)
        else:
            kept = postprocess_gpu.judge(*arguments, self.masks)
        predicted_iou = decoded.predicted_iou.cpu().numpy()[kept.candidate]
        return to_segments(size, kept.counts, predicted_iou, kept.stability_score)

    def _decode(self, embedding: Tensor, size: tuple[int, int]) -> Decoded:
        """Every mask of the grid of points that passes by its predicted IoU."""
        points = self.transform.apply_coords(self.grid * np.array(size)[None, ::-1], size)
        coordinates = torch.as_tensor(points, device=self.device)[:, None]
        labels = torch.ones(len(points), 1, dtype=torch.int, device=self.device)
        prompts, _ = self.sam.prompt_encoder((coordinates, labels), boxes=None, masks=None)
        image = project_keys(self.sam, embedding)
        parts = self.prompts.map(
            lambda rows: decode(self.sam, image, prompts[rows], self.pred_iou_thresh), len(prompts)
        )
        return Decoded(
            low_resolution=torch.cat([part.low_resolution for part in parts]),
            predicted_iou=torch.cat([part.predicted_iou for part in parts]),
        )

    def _generate(self, image: np.ndarray, number: int) -> Segments:
        """As SamAutomaticMaskGenerator has it; masks without a stability score are dropped."""

        def checked(_module: Any, _inputs: Any, outputs: tuple[Tensor, Tensor]) -> tuple:
            self._check(*outputs)
            return tuple(output.float() for output in outputs)

        hook = self.sam.mask_decoder.register_forward_hook(checked)
        try:
            with numbered(number), autocast(self.device, self.precision):
                masks = self.generator.generate(image)
        finally:
            hook.remove()
        masks = [mask for mask in masks if np.isfinite(mask["stability_score"])]
        counts = [np.array(mask["segmentation"]["counts"], np.uint32) for mask in masks]
        predicted_iou, stability_score = (
            [mask[key] for mask in masks] for key in ("predicted_iou", "stability_score")
        )
        return to_segments(image.shape[:2], counts, predicted_iou, stability_score)

    def _check(self, masks: Tensor, predicted_iou: Tensor) -> None:
        for what, numbers in (("predicted IoU", predicted_iou), ("masks", masks)):
            if not finite(numbers):
                raise not_finite(f"{what} of SAM", self.precision)


class CropGenerator(SamAutomaticMaskGenerator):
    """Also for images in which no crop has a mask, and for those too small for their crops."""

    def _process_crop(
        self, image: np.ndarray, crop_box: list[int], layer: int, size: tuple[int, ...]
    ) -> MaskData:
        left, top, right, bottom = crop_box
        if left >= right or top >= bottom:
            none = torch.empty(0, device=self.predictor.device)
            return MaskData(
                iou_preds=none, stability_score=none, boxes=none.reshape(0, 4),
                points=none.reshape(0, 2), crop_boxes=torch.empty(0, 4), rles=[],
            )  # fmt: skip
        data = super()._process_crop(image, crop_box, layer, size)
        data["crop_boxes"] = data["crop_boxes"].reshape(-1, 4)
        return data


@contextmanager
def numbered(image: int) -> Iterator[None]:
    """Give the number of the image to a NotFinite."""
    try:
        yield
    except NotFinite as error:
        error.image = image
        raise


def prompts_in_cache(sam: Sam) -> int:
    """Prompts of which a CPU's cache holds the keys, the decoder's largest arrays (8 MiB here)."""
    height, width = sam.prompt_encoder.image_embedding_size
    return max(2**21 // (height * width * sam.mask_decoder.transformer_dim), 1)


def to_segments(
    size: tuple[int, int],
    counts: list[np.ndarray],
    predicted_iou: Sequence[float],
    stability_score: Sequence[float],
) -> Segments:
    """Masks that are not yet named or classified, of an image of `size` (height, width)."""
    boxes = [rle.bounding_box(runs, size) for runs in counts]
    return Segments(
        image_id="",
        size=(int(size[0]), int(size[1])),
        bbox=np.array(boxes, np.int32).reshape(-1, 4),
        area=np.array([rle.area(runs) for runs in counts], np.int32),
        predicted_iou=np.asarray(predicted_iou, np.float32),
        stability_score=np.asarray(stability_score, np.float32),
        counts=counts,
        class_id=np.full((len(counts), BEST_CLASSES), -1, np.int16),
        class_probability=np.zeros((len(counts), BEST_CLASSES), np.float32),
    )


def build(name: str, checkpoint: str, **settings: Any) -> SamSegmenter:
    """The SAM of that name (`vit_h`, `vit_l`, `vit_b`, `demo`) with settings of SamSegmenter."""
    return SamSegmenter(build_sam(name, checkpoint), **settings)
