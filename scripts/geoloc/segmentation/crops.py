"""Crops of masks for a classifier ("Beyond the Image", section on object classification).

Pixels outside the mask are black. The bounding box of the largest contour is centered in a black
square of its longer side; the square is resized and its center is cropped. Contours enclose pixels
with a gray value above 1, so the dark fringe of a mask does not count.
"""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image

from geoloc.segmentation import rle
from geoloc.types import Segments

DARKEST = 1  # gray values up to this one are background


def cut_crops(
    image: np.ndarray, segments: Segments, resize: int = 256, input_size: int = 224
) -> tuple[np.ndarray, np.ndarray]:
    """Cut a crop for each mask of an image.

    The result equals torchvision's Resize(resize) and CenterCrop(input_size) of the square, up to
    one gray level.

    Args:
        image: uint8 (H, W, 3) RGB.
        segments: the masks.
        resize: side in pixels to which the square is resized.
        input_size: side in pixels of the center crop.

    Returns:
        Crops uint8 (k, input_size, input_size, 3) and the indices int64 (k,) of their masks. Masks
        without a pixel brighter than `DARKEST` have no crop.
    """
    bright = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) > DARKEST
    crops, rows = [], []
    for row, (counts, box) in enumerate(zip(segments.counts, segments.bbox, strict=True)):
        square = cut_square(image, bright, rle.decode(counts, segments.size), box)
        if square is not None:
            crops.append(resize_center(square, resize, input_size))
            rows.append(row)
    shape = (len(crops), input_size, input_size, 3)
    return np.array(crops, np.uint8).reshape(shape), np.array(rows, np.int64)


def cut_square(
    image: np.ndarray, bright: np.ndarray, mask: np.ndarray, box: np.ndarray
) -> np.ndarray | None:
    """Center the largest part of a mask in a black square, uint8 (side, side, 3).

    Args:
        image: uint8 (H, W, 3) RGB.
        bright: bool (H, W), pixels brighter than `DARKEST`.
        mask: bool (H, W).
        box: x, y, width and height of the mask.

    Returns:
        The square; None if the mask has no bright pixel.
    """
    x, y, width, height = box
    window = np.s_[y : y + height, x : x + width]
    part = largest_contour(mask[window] & bright[window])
    if part is None:
        return None
    left, top, width, height = part
    window = np.s_[y + top : y + top + height, x + left : x + left + width]
    side = max(width, height)
    right, down = (side - width) // 2, (side - height) // 2
    square = np.zeros((side, side, 3), np.uint8)
    masked = cv2.copyTo(image[window], mask[window].astype(np.uint8))
    square[down : down + height, right : right + width] = masked
    return square


def largest_contour(present: np.ndarray) -> tuple[int, int, int, int] | None:
    """Return x, y, width, height of the largest outer contour in bool (h, w); None if empty."""
    outer, simple = cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    if not present.size:
        return None
    contours, _ = cv2.findContours(present.view(np.uint8), outer, simple)
    return cv2.boundingRect(max(contours, key=cv2.contourArea)) if contours else None


def resize_center(square: np.ndarray, resize: int, input_size: int) -> np.ndarray:
    """Resize a square uint8 (s, s, 3) to side `resize` and keep the central `input_size` pixels.

    Bilinear with antialiasing, as in Pillow; only the kept pixels are computed.
    """
    scale = len(square) / resize
    margin = round((resize - input_size) / 2)
    box = (margin * scale, margin * scale) + ((margin + input_size) * scale,) * 2
    side = (input_size, input_size)
    return np.asarray(Image.fromarray(square).resize(side, Image.Resampling.BILINEAR, box=box))
