"""Cause: how a model's answer changes if the scored pixels are taken away, kept or swapped.

A map of relevance says where a model looks; whether the answer needs what is there, only another
image can tell. Each change is compared with the same change at a place that means nothing to the
image: the scored pixels of another one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd

from geoloc.weighting import View, other_rows

Predict = Callable[[np.ndarray], np.ndarray]
"""Images uint8 (n, side, side, 3) to the probabilities of the classes, float32 (n, classes)."""

COLUMNS = ["image_id", "change", "fill", "probability_before", "probability_after",
           "right_before", "right_after"]  # fmt: skip


@dataclass(frozen=True)
class Pictures:
    """What is changed: n images as the model sees them.

    Attributes:
        image_id: their ids.
        image: uint8 (n, side, side, 3), at the size of the model's input.
        scored: bool (n, side, side), their scored pixels.
        label: int (n,), the class of each one's country.
    """

    image_id: Sequence[str]
    image: np.ndarray
    scored: np.ndarray
    label: np.ndarray

    def __len__(self) -> int:
        return len(self.image_id)

    def part(self, rows: np.ndarray) -> Pictures:
        """Return the images of some rows, int (m,)."""
        ids = np.asarray(self.image_id)[rows]
        return Pictures(ids, self.image[rows], self.scored[rows], self.label[rows])


def remove(image: np.ndarray, pixels: np.ndarray, fill: str) -> np.ndarray:
    """Replace pixels by what datasets fill with.

    Args:
        image: uint8 (…, H, W, 3).
        pixels: bool (…, H, W), those to replace.
        fill: `black`, `mean` (the image's mean color) or `blur` (a blurred copy of the image).

    Returns:
        uint8 (…, H, W, 3).
    """
    return View(curve="linear", fill=fill)(image, np.where(pixels, 0, 100).astype(np.uint8))


def resized(pixels: np.ndarray, count: int) -> np.ndarray:
    """Shrink or grow a region evenly from its outline to another number of pixels.

    Args:
        pixels: bool (H, W), at least one of them.
        count: pixels of the new region.

    Returns:
        bool (H, W): the `count` pixels that lie deepest inside, or nearest outside.
    """
    found = np.zeros(pixels.size, bool)
    found[by_depth(pixels)[:count]] = True
    return found.reshape(pixels.shape)


def by_depth(pixels: np.ndarray) -> np.ndarray:
    """Order all pixels of an image by their distance from the outline of a region.

    Args:
        pixels: bool (H, W), at least one of them: the region.

    Returns:
        int64 (H × W,): positions in the flattened image; first those that lie deepest inside, last
        those that are farthest outside.
    """
    inside, outside = pixels.astype(np.uint8), (~pixels).astype(np.uint8)
    depth = [
        cv2.distanceTransform(each, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        for each in (inside, outside)
    ]
    return np.argsort(-np.where(pixels, depth[0], -depth[1]).ravel(), kind="stable")


def foreign_rows(label: np.ndarray, seed: int) -> np.ndarray:
    """Draw an image of another country for each image.

    Args:
        label: class of each image's country, int (n,).
        seed: of the draw.

    Returns:
        Rows of the drawn images, int64 (n,); −1 where all images are of the same country.
    """
    rng = np.random.default_rng([seed, 1])
    found = np.full(len(label), -1)
    for row, country in enumerate(label):
        if len(others := np.flatnonzero(label != country)):
            found[row] = rng.choice(others)
    return found


def control_pixels(scored: np.ndarray, seed: int) -> np.ndarray:
    """Choose for each image as many pixels as it has scored ones, where another image has its own.

    Args:
        scored: bool (n, H, W).
        seed: draws the other images.

    Returns:
        bool (n, H, W). Images without a scored pixel neither give nor get any; if there is only one
        with some, it gets none either.
    """
    found, usable = np.zeros_like(scored), np.flatnonzero(scored.any(axis=(1, 2)))
    if len(usable) > 1:
        others = usable[other_rows(len(usable), seed)]
        for row, other in zip(usable, others, strict=True):
            found[row] = resized(scored[other], int(scored[row].sum()))
    return found


def measure_changes(
    predict: Predict, pictures: Pictures, fills: Sequence[str], seed: int
) -> pd.DataFrame:
    """Change images in each way and with each fill, and see what becomes of the answer.

    | change | what is done |
    |---|---|
    | `removed` | the scored pixels are filled |
    | `removed_control` | as many pixels are filled where another image's scored pixels are |
    | `kept` | everything but the scored pixels is filled |
    | `kept_control` | everything but as many pixels where another image has its scored ones |
    | `swapped` | the scored pixels are filled, and those of an image of another country put in |
    | `swapped_other` | the same images, asked for the other image's country |

    The control is the image's own change with another image's map, so that without any meaning of
    the maps both would have the same effect on average. Images without a scored pixel are not
    looked at: nothing of them could be removed.

    Args:
        predict: the model.
        pictures: the images.
        fills: see `remove`.
        seed: draws the other images.

    Returns:
        A row for each image, change and fill, see COLUMNS: the probability of the image's country,
        0–1, and whether it is the answer. `swapped` needs an image of another country.
    """
    usable = pictures.part(np.flatnonzero(pictures.scored.any(axis=(1, 2))))
    tables = [pd.DataFrame(columns=COLUMNS)]
    if len(usable) > 1:
        before = predict(usable.image)
        tables = [
            _outcome(before, predict(changed.image), changed, change, fill)
            for fill in fills
            for change, changed in _changed(usable, fill, seed)
        ]
    return pd.concat(tables, ignore_index=True)


def _changed(pictures: Pictures, fill: str, seed: int) -> Iterator[tuple[str, Pictures]]:
    """Yield each change and the changed images; `label` is the class that is asked for."""
    control = control_pixels(pictures.scored, seed)
    for change, pixels in {
        "removed": pictures.scored,
        "removed_control": control,
        "kept": ~pictures.scored,
        "kept_control": ~control,
    }.items():
        yield change, _with(pictures, remove(pictures.image, pixels, fill))
    foreign = foreign_rows(pictures.label, seed)
    if (foreign >= 0).all():
        image = remove(pictures.image, pictures.scored, fill)
        pixels = pictures.scored[foreign]
        image[pixels] = pictures.image[foreign][pixels]
        yield "swapped", _with(pictures, image)
        yield "swapped_other", _with(pictures, image, pictures.label[foreign])


def _with(pictures: Pictures, image: np.ndarray, label: np.ndarray | None = None) -> Pictures:
    asked = pictures.label if label is None else label
    return Pictures(pictures.image_id, image, pictures.scored, asked)


def _outcome(
    before: np.ndarray, after: np.ndarray, changed: Pictures, change: str, fill: str
) -> pd.DataFrame:
    rows, asked = np.arange(len(changed)), changed.label
    values = [changed.image_id, change, fill, before[rows, asked], after[rows, asked],
              before.argmax(axis=1) == asked, after.argmax(axis=1) == asked]  # fmt: skip
    return pd.DataFrame(dict(zip(COLUMNS, values, strict=True)))
