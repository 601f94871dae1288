"""From SAM's low-resolution logits to masks: upsampling, stability score, box NMS, run lengths.

The result equals that of SamAutomaticMaskGenerator (Kirillov et al. 2023, "Segment Anything",
section 5 and appendix B) on the whole image, up to float rounding at the thresholds. One exception:
masks without a stability score, because no logit comes near the threshold, are always dropped. The
work that is saved:

* SAM upsamples twice (to its input size, cropped, then to the image). Both steps are linear in
  rows and in columns, so together they are one matrix for rows and one for columns.
* An interpolated pixel lies between its sources. Where the largest logits of rows and columns,
  interpolated the same way, do not exceed `threshold - offset`, no pixel can count. Only the
  window within is upsampled.
* Masks are judged by falling predicted IoU. A mask that the kept ones suppress is dropped before
  its stability is computed, and before it is upsampled if its box is certain enough.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from geoloc.segmentation import rle

ROUNDING = 1e-5  # of interpolated logits, relative to the largest; float32 has 6e-8 per product
BLOCK = 128  # rows per product: few enough that they depend on few sources


@dataclass
class Thresholds:
    """The settings of SamAutomaticMaskGenerator that judge a mask."""

    stability_score_thresh: float
    stability_score_offset: float
    box_nms_thresh: float
    mask_threshold: float = 0.0


class Axis:
    """Two bilinear interpolations along one axis, as one matrix.

    Attributes:
        matrix: (target, source) float32. Target pixel i depends on sources first[i] … last[i].
    """

    def __init__(self, source: int, middle: int, cut: int, target: int) -> None:
        size = {"mode": "bilinear", "align_corners": False}
        once = F.interpolate(torch.eye(source)[None, None], (middle, source), **size)[:, :, :cut]
        self.matrix = F.interpolate(once, (target, source), **size)[0, 0]
        used = self.matrix.numpy() != 0
        self.source, self.target = source, target
        self.first = used.argmax(1)
        self.last = source - 1 - used[:, ::-1].argmax(1)
        start, stop = self.near(np.arange(source))
        self.dense = bool((stop > start).all())  # every source has targets near it

    def reach(self, peaks: Tensor, level: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the first and last target of each mask that may exceed `level`; 0, −1 if none can.

        Args:
            peaks: (m, source), the largest logit of each source's line across the axis. A target is
                a mean of its sources, so the same mean of the peaks bounds it, except for rounding.
            level: the logit to exceed.
        """
        slack = ROUNDING * peaks.abs().amax(1, keepdim=True)
        return span((peaks @ self.matrix.T > level - slack).numpy())

    def near(self, source: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the targets [start, stop) that depend at most on `source` and its neighbors."""
        first, last = np.maximum(source - 1, 0), np.minimum(source + 1, self.source - 1)
        return np.searchsorted(self.first, first), np.searchsorted(self.last, last, "right")

    def sources(self, start: int, stop: int) -> tuple[int, int]:
        """Return the sources [low, high) that targets start … stop − 1 depend on."""
        return (self.first[start], self.last[stop - 1] + 1) if stop > start else (0, 0)

    def enlarge(self, x: Tensor, start: int, stop: int, base: int = 0) -> Tensor:
        """Upsample x, (…, k), the sources from `base` on, to (stop − start, k).

        The result holds targets start … stop − 1.
        """
        out = x.new_empty(stop - start, x.shape[1])
        for begin in range(start, stop, BLOCK):
            end = min(begin + BLOCK, stop)
            low, high = self.sources(begin, end)
            rows = out[begin - start : end - start]
            torch.mm(self.matrix[begin:end, low:high], x[low - base : high - base], out=rows)
        return out


@dataclass
class Kept:
    """The masks kept so far, best predicted IoU first."""

    candidate: list[int] = field(default_factory=list)
    stability_score: list[float] = field(default_factory=list)
    counts: list[np.ndarray] = field(default_factory=list)
    boxes: np.ndarray = field(default_factory=lambda: np.empty((0, 4), np.float32))

    def add(self, candidate: int, stability: float, counts: np.ndarray, box: np.ndarray) -> None:
        self.candidate.append(candidate)
        self.stability_score.append(stability)
        self.counts.append(counts)
        self.boxes = np.concatenate([self.boxes, box[None]])


def judge(
    low_resolution: Tensor,
    predicted_iou: Tensor,
    img_size: int,
    input_size: tuple[int, int],
    size: tuple[int, int],
    thresholds: Thresholds,
) -> Kept:
    """Return the masks that are stable and not duplicates.

    Args:
        low_resolution: (m, h, w) float32 logits on the CPU.
        predicted_iou: (m,) float32.
        img_size: side of SAM's square input.
        input_size: the part (h, w) of it that the image fills.
        size: (height, width) of the image.
        thresholds: what a mask has to pass.

    Returns:
        The kept masks; `candidate` indexes the m masks.
    """
    kept = Kept()
    if not len(low_resolution):
        return kept
    low_h, low_w = low_resolution.shape[1:]
    rows = Axis(low_h, img_size, input_size[0], size[0])
    columns = Axis(low_w, img_size, input_size[1], size[1])
    level, lowest = thresholds.mask_threshold, thresholds.stability_score_thresh
    peaks = low_resolution.amax(2), low_resolution.amax(1)
    windows = boxes_around(*peaks, rows, columns, level - thresholds.stability_score_offset)
    outer = boxes_around(*peaks, rows, columns, level).astype(np.float32)
    inner = boxes_inside(low_resolution > level, rows, columns)
    open_cases = np.ones(len(low_resolution), bool)
    for i in torch.argsort(predicted_iou, descending=True, stable=True).tolist():
        if not open_cases[i]:
            continue
        left, top = windows[i, :2]
        logits = enlarge_window(low_resolution[i], windows[i], rows, columns)
        mask = logits > level
        box = box_of(mask, left, top)
        if suppressed(box, kept.boxes, thresholds.box_nms_thresh):
            continue
        stability = stability_score(logits, thresholds)
        if not stability >= lowest:  # NaN if no pixel comes near the threshold
            continue
        kept.add(i, stability, rle.encode(mask, left, top, size), box)
        open_cases &= ~surely_suppressed(inner, outer, box, thresholds.box_nms_thresh)
    return kept


def enlarge_window(low: Tensor, window: np.ndarray, rows: Axis, columns: Axis) -> np.ndarray:
    """Upsample a window of a mask, transposed: float32 (width, height) logits.

    Args:
        low: (h, w) logits.
        window: x0, y0, x1, y1, with the last pixel included.
        rows: the interpolation along rows.
        columns: the interpolation along columns.
    """
    left, top, right, bottom = window + np.array([0, 0, 1, 1])
    base, end = rows.sources(top, bottom)
    higher = rows.enlarge(low[base:end], top, bottom, base)  # (height, w)
    return columns.enlarge(higher.T, left, right).numpy()


def span(present: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first and last True of each row of (m, n); 0 and −1 if a row has none."""
    some = present.any(1)
    last = present.shape[1] - 1 - present[:, ::-1].argmax(1)
    return np.where(some, present.argmax(1), 0), np.where(some, last, -1)


def boxes_around(
    row_peaks: Tensor, column_peaks: Tensor, rows: Axis, columns: Axis, level: float
) -> np.ndarray:
    """Return boxes (m, 4) int that hold all pixels above `level` of the upsampled masks.

    Args:
        row_peaks: (m, h), the largest logit of each row.
        column_peaks: (m, w), the largest logit of each column.
        rows: the interpolation along rows.
        columns: the interpolation along columns.
        level: the logit to exceed.

    Returns:
        x0, y0, x1, y1 as SAM counts them, with the last pixel included; 0, 0, −1, −1 if there is no
        such pixel.
    """
    (left, right), (top, bottom) = columns.reach(column_peaks, level), rows.reach(row_peaks, level)
    empty = (right < left) | (bottom < top)
    around = np.stack([left, top, right, bottom], axis=1)
    return np.where(empty[:, None], np.array([0, 0, -1, -1]), around)


def boxes_inside(positive: Tensor, rows: Axis, columns: Axis) -> np.ndarray:
    """Return boxes (m, 4) float32 that lie inside those of the upsampled masks; −1 if uncertain.

    Args:
        positive: (m, h, w) bool, low-resolution pixels of the masks.
        rows: the interpolation along rows.
        columns: the interpolation along columns.

    Returns:
        Boxes as in `boxes_around`.
    """
    core = eroded(positive)  # a pixel whose sources are all positive is in the mask
    (left, right), (top, bottom) = span(core.any(1).numpy()), span(core.any(2).numpy())
    x0, y0 = columns.near(left)[0], rows.near(top)[0]
    x1, y1 = columns.near(right)[1], rows.near(bottom)[1]
    found = (right >= 0) & rows.dense & columns.dense
    inner = np.stack([x0, y0, x1 - 1, y1 - 1], axis=1)
    return np.where(found[:, None], inner, -1).astype(np.float32)


def eroded(present: Tensor) -> Tensor:
    """Erode bool (m, h, w) by 3×3; pixels outside count as present."""
    rows = present.clone()
    rows[:, 1:] &= present[:, :-1]
    rows[:, :-1] &= present[:, 1:]
    both = rows.clone()
    both[..., 1:] &= rows[..., :-1]
    both[..., :-1] &= rows[..., 1:]
    return both


def surely_suppressed(
    inner: np.ndarray, outer: np.ndarray, box: np.ndarray, threshold: float
) -> np.ndarray:
    """Return whether any box between `inner` and `outer` (m, 4) overlaps `box` too much, bool (m,).

    Too much is an IoU with the box (4,) above the threshold.
    """
    shared = intersection(box, inner)
    union = area(outer) + area(box) - shared
    return (shared > (threshold + 1e-5) * union) & (inner[:, 2] >= 0)


def suppressed(box: np.ndarray, boxes: np.ndarray, threshold: float) -> bool:
    """Return whether the IoU of a box with any of `boxes` (k, 4) exceeds the threshold."""
    shared = intersection(box, boxes)
    with np.errstate(invalid="ignore"):
        return bool((shared / (area(box) + area(boxes) - shared) > threshold).any())


def intersection(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return the common area of a box (4,) with each of (k, 4)."""
    sides = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    return np.maximum(sides, 0).prod(-1)


def area(boxes: np.ndarray) -> np.ndarray:
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def box_of(mask: np.ndarray, left: int, top: int) -> np.ndarray:
    """Return a transposed window's x0, y0, x1, y1 float32, last pixel included; zeros if empty."""
    x, y = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(x):
        return np.zeros(4, np.float32)
    return np.array([left + x[0], top + y[0], left + x[-1], top + y[-1]], np.float32)


def stability_score(logits: np.ndarray, thresholds: Thresholds) -> float:
    """Return the IoU of the masks at threshold ± offset; NaN if both are empty."""
    level, offset = thresholds.mask_threshold, thresholds.stability_score_offset
    union = np.count_nonzero(logits > level - offset)
    inside = np.count_nonzero(logits > level + offset)
    return float(np.float32(inside) / np.float32(union)) if union else float("nan")
