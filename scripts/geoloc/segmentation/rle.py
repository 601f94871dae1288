"""Uncompressed COCO run-length encoding: a mask column by column, starting with a run of zeros."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from geoloc.errors import InputError


def encode(window: np.ndarray, left: int, top: int, size: tuple[int, int]) -> np.ndarray:
    """Encode a mask that is zero outside a window.

    Args:
        window: bool (width, height), the transposed pixels.
        left: first column of the window in the mask.
        top: first row of the window in the mask.
        size: (height, width) of the mask.

    Returns:
        Run lengths uint32 (r,).
    """
    height, width = size
    columns, rows = window.shape
    # A zero before and after each column makes every run start and end within its column.
    padded = np.zeros((columns, rows + 2), bool)
    padded[:, 1:-1] = window
    changes = np.flatnonzero(padded[:, 1:] != padded[:, :-1])
    position = (left + changes // (rows + 1)) * height + top + changes % (rows + 1)
    starts, ends = position[0::2], position[1::2]
    # A run from the foot of a column to the head of the next one is a single run.
    apart = starts[1:] != ends[:-1]
    starts, ends = np.r_[starts[:1], starts[1:][apart]], np.r_[ends[:-1][apart], ends[-1:]]
    bounds = np.stack([starts, ends], axis=1).ravel()
    counts = np.diff(np.r_[0, bounds, height * width])
    return (counts[:-1] if counts[-1] == 0 else counts).astype(np.uint32)


def decode(counts: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Decode run lengths to a mask, bool (height, width).

    Raises:
        InputError: if the runs do not add up to the size.
    """
    height, width = size
    if int(counts.sum(dtype=np.int64)) != height * width:
        raise InputError(f"run lengths add up to {counts.sum()} pixels, not to {height}×{width}")
    values = np.arange(len(counts)) % 2 == 1
    return np.repeat(values, counts).reshape(width, height).T


def inner_point(mask: np.ndarray) -> tuple[int, int]:
    """Find the pixel (x, y) of a mask bool (H, W) that is farthest from its edge; 0, 0 for an
    empty mask."""
    import cv2  # nothing else here needs it

    padded = np.pad(mask, 1).astype(np.uint8)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1]
    y, x = np.unravel_index(distance.argmax(), distance.shape)
    return int(x), int(y)


def area(counts: np.ndarray) -> int:
    """Return the number of pixels of the mask."""
    return int(counts[1::2].sum(dtype=np.int64))


def bounding_box(counts: np.ndarray, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return x, y, width, height of the mask in pixels; all 0 for an empty mask."""
    height = size[0]
    bounds = np.cumsum(counts, dtype=np.int64)
    starts, ends = bounds[0:-1:2], bounds[1::2] - 1  # first and last pixel of each run
    full = counts[1::2] > 0
    starts, ends = starts[full], ends[full]
    if not len(starts):
        return 0, 0, 0, 0
    left, right = int(starts[0] // height), int(ends[-1] // height)
    if np.any(starts // height != ends // height):  # a run that passes the foot of a column
        top, bottom = 0, height - 1
    else:
        top, bottom = int((starts % height).min()), int((ends % height).max())
    return left, top, right - left + 1, bottom - top + 1


def union_areas(
    counts: Sequence[np.ndarray], groups: np.ndarray, number: int, size: tuple[int, int]
) -> np.ndarray:
    """Count the pixels that the masks of each group cover together, int64 (number,).

    A pixel in several masks of a group counts once. No mask is decoded.

    Args:
        counts: run lengths of m masks, each of the whole image.
        groups: int (m,), the group of each mask in 0 … number − 1.
        number: number of groups.
        size: height and width of the image in pixels.
    """
    if not len(counts):
        return np.zeros(number, np.int64)
    pixels, lengths = size[0] * size[1], [len(runs) for runs in counts]
    mask = np.repeat(np.arange(len(counts)), lengths)
    first = np.repeat(np.cumsum([0, *lengths[:-1]]), lengths)
    runs = np.concatenate(counts).astype(np.int64)
    # Each mask has its group's stretch of the number line, so that groups never overlap.
    ends = np.cumsum(runs) + (groups[mask] - mask) * pixels
    ones = (np.arange(len(runs)) - first) % 2 == 1
    starts, ends, owner = (ends - runs)[ones], ends[ones], groups[mask][ones]
    order = np.argsort(starts, kind="stable")
    starts, ends, owner = starts[order], ends[order], owner[order]
    before = np.r_[0, np.maximum.accumulate(ends)[:-1]] if len(ends) else ends
    new = np.maximum(ends - np.maximum(starts, before), 0)
    return np.bincount(owner, new, number).astype(np.int64)
