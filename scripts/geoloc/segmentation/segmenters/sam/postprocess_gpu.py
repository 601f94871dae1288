"""`postprocess.judge` for a GPU: many masks at once, one transfer per image.

A GPU upsamples a mask faster than it decides whether to, so nothing is skipped here. Only masks
that survive become run lengths, from logits that are upsampled again instead of kept.
"""

from __future__ import annotations

import numpy as np
import torch
from segment_anything.utils.amg import batched_mask_to_box, calculate_stability_score
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import nms

from geoloc.pytorch.device import AdaptiveBatches
from geoloc.segmentation.segmenters.sam.postprocess import Kept, Thresholds


def judge(
    low_resolution: Tensor,
    predicted_iou: Tensor,
    img_size: int,
    input_size: tuple[int, int],
    size: tuple[int, int],
    thresholds: Thresholds,
    batches: AdaptiveBatches,
) -> Kept:
    """Return the masks that are stable and not duplicates; see `postprocess.judge`.

    `batches` sets how many masks are upsampled at once.
    """

    def enlarged(rows: Tensor) -> Tensor:
        options = {"mode": "bilinear", "align_corners": False}
        square = F.interpolate(low_resolution[rows][:, None], (img_size, img_size), **options)
        part = square[..., : input_size[0], : input_size[1]]
        return F.interpolate(part, size, **options)[:, 0]

    def stable_boxes(rows: slice) -> tuple[Tensor, Tensor, Tensor]:
        candidate = torch.arange(rows.start, rows.stop, device=low_resolution.device)
        logits = enlarged(candidate)
        stability = calculate_stability_score(
            logits, thresholds.mask_threshold, thresholds.stability_score_offset
        )
        keep = stability >= thresholds.stability_score_thresh
        boxes = batched_mask_to_box(logits[keep] > thresholds.mask_threshold)
        return candidate[keep], stability[keep], boxes.float()

    parts = batches.map(stable_boxes, len(low_resolution))
    if not parts:
        return Kept()
    candidate, stability, boxes = map(torch.cat, zip(*parts, strict=True))
    kept = nms(boxes, predicted_iou[candidate], thresholds.box_nms_thresh)
    candidate = candidate[kept]
    masks = batches.map(
        lambda rows: run_lengths_of(enlarged(candidate[rows]) > thresholds.mask_threshold),
        len(candidate),
    )
    return Kept(
        candidate=candidate.tolist(),
        stability_score=stability[kept].tolist(),
        counts=[counts for part in masks for counts in part],
        boxes=boxes[kept].cpu().numpy(),
    )


def run_lengths_of(masks: Tensor) -> list[np.ndarray]:
    """Return the run lengths, uint32, of each mask of bool (k, H, W)."""
    columns = masks.transpose(1, 2).flatten(1)
    changes = F.pad(columns, (1, 0)) != F.pad(columns, (0, 1))  # against a zero at both ends
    changes[:, -1] = False
    mask, position = changes.nonzero().cpu().numpy().T
    pixels = columns.shape[1]
    starts = np.searchsorted(mask, np.arange(len(masks) + 1))
    return [
        np.diff(np.r_[0, position[start:stop], pixels]).astype(np.uint32)
        for start, stop in zip(starts[:-1], starts[1:], strict=True)
    ]
