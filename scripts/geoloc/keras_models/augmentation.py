"""Augmentation as published: that of Keras' legacy `ImageDataGenerator`.

Shear, zoom and flip of an image are one affine transform, so one interpolation does them all.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class Augmentation:
    """The ranges of random transforms; the defaults are the published ones.

    Attributes:
        shear_range: shear angle in degrees, uniform in ±shear_range. (The published 0.2 may have
            been meant as a fraction, but `ImageDataGenerator` takes degrees.)
        zoom_range: scale of each axis, drawn separately, uniform in 1 ± zoom_range.
        horizontal_flip: whether to flip images with probability 1/2.
    """

    shear_range: float = 0.2
    zoom_range: float = 0.2
    horizontal_flip: bool = True


@dataclass(frozen=True)
class Transforms:
    """Random parameters of n images: shear (n,) in degrees, zoom (n, 2) as x, y, flip (n,) bool."""

    shear: np.ndarray
    zoom: np.ndarray
    flip: np.ndarray


def draw_transforms(rng: np.random.Generator, n: int, ranges: Augmentation) -> Transforms:
    """Draw the parameters of n images with the distribution of `ImageDataGenerator`."""
    return Transforms(
        shear=rng.uniform(-ranges.shear_range, ranges.shear_range, n),
        zoom=rng.uniform(1 - ranges.zoom_range, 1 + ranges.zoom_range, (n, 2)),
        flip=(rng.random(n) < 0.5) & ranges.horizontal_flip,
    )


def affine_matrices(transforms: Transforms, height: int, width: int) -> np.ndarray:
    """Return matrices (n, 2, 3), float64, from output pixels (x, y, 1) to input positions.

    A zoom of 0.8 shows 0.8 of the image and so enlarges it, as in `ImageDataGenerator`. Shear and
    zoom are about the center, and the flip comes last.
    """
    shear = np.deg2rad(transforms.shear)
    zoom_x, zoom_y = transforms.zoom.T
    mirror = np.where(transforms.flip, -1.0, 1.0)
    linear = np.zeros((len(shear), 2, 2))
    linear[:, 0, 0] = zoom_x * mirror
    linear[:, 0, 1] = -np.sin(shear) * zoom_y
    linear[:, 1, 1] = np.cos(shear) * zoom_y
    center = np.array([(width - 1) / 2, (height - 1) / 2])
    return np.concatenate([linear, (center - linear @ center)[:, :, None]], axis=2)


def augment(images: np.ndarray, transforms: Transforms) -> np.ndarray:
    """Transform images (n, height, width, 3), uint8; linear interpolation, nearest border.

    Equals `ImageDataGenerator.apply_transform` except for rounding to whole gray levels.
    """
    height, width = images.shape[1:3]
    result = np.empty_like(images)
    for image, matrix, target in zip(
        images, affine_matrices(transforms, height, width), result, strict=True
    ):
        cv2.warpAffine(
            image,
            matrix,
            (width, height),
            dst=target,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
    return result
