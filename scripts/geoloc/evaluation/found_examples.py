"""Figure: segments of each class that score, with the highest and the lowest probabilities."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from matplotlib.figure import Figure

from geoloc.evaluation.figures import GRAY, STYLE, shorten
from geoloc.images import decode
from geoloc.segmentation import rle
from geoloc.stores import read_images
from geoloc.types import Segments

SIDE = 110  # pixels of a crop in the figure
GAP, WIDE_GAP = 6, 40
MARGIN = 0.15  # around an object, as a share of its longer side
DIM = 0.35  # brightness around the object


@dataclass(frozen=True)
class Crop:
    """A segment that scores: its probability 0–1, its image and the `images` store of that, its
    row in the image, its box (x, y, width, height) in pixels and its run lengths."""

    probability: float
    image_id: str
    row: int
    store: Path
    box: tuple[int, ...]
    counts: np.ndarray
    size: tuple[int, int]

    @property
    def rank(self) -> tuple[float, str, int]:
        """Orders crops in a way that does not depend on the order of shards."""
        return self.probability, self.image_id, self.row


class Examples:
    """The segments with the highest and the lowest probabilities of each class, among those that
    score; at most one of an image on either side.

    Args:
        count: segments on either side.
    """

    def __init__(self, count: int = 10) -> None:
        self.count = count
        self.highest: dict[int, list[Crop]] = defaultdict(list)
        self.lowest: dict[int, list[Crop]] = defaultdict(list)
        self.number: dict[int, int] = defaultdict(int)

    def add(
        self,
        store: Path,
        segments: Segments,
        classes: np.ndarray,
        probability: np.ndarray,
        scores: np.ndarray,
    ) -> None:
        """Keep the segments of an image that are among the extremes of their class.

        Args:
            store: the `images` store of the image.
            segments: its m segments.
            classes: int (m,), the class of each.
            probability: float (m,) in 0–1, of that class.
            scores: uint8 (m,); only segments above 0 are kept.
        """
        for class_index in np.unique(classes[scores > 0]).tolist():
            rows = np.flatnonzero((classes == class_index) & (scores > 0))
            self.number[class_index] += len(rows)
            order = rows[np.argsort(probability[rows], kind="stable")]
            for kept, row, sign in (
                (self.highest[class_index], order[-1], -1),
                (self.lowest[class_index], order[0], 1),
            ):
                value = float(probability[row])
                if len(kept) == self.count and sign * value > sign * kept[-1].probability:
                    continue
                kept.append(
                    Crop(
                        value,
                        segments.image_id,
                        int(row),
                        store,
                        tuple(map(int, segments.bbox[row])),
                        segments.counts[row],
                        segments.size,
                    )
                )
                kept.sort(key=lambda crop: (sign * crop.probability, crop.image_id, crop.row))
                del kept[self.count :]

    def most_frequent(self, count: int) -> list[int]:
        """Return the classes with most segments that score."""
        return sorted(self.number, key=lambda name: (-self.number[name], name))[:count]


def examples_figure(
    examples: Examples, names: Sequence[str], classes: int = 12, index: str | Path | None = None
) -> Figure:
    """Return the extremes of the most frequent classes, one row a class: highest probabilities on
    the left, lowest on the right. What is not the segment is dimmed.

    Args:
        examples: from the segments of all images.
        names: the vocabulary.
        classes: number of rows.
        index: folder of the index to compare the stores with; not compared if None.

    Raises:
        StoreError: for a damaged store.
    """
    chosen = examples.most_frequent(classes)
    wanted = [c for name in chosen for c in examples.highest[name] + examples.lowest[name]]
    drawn = _draw(wanted, index)
    across = 2 * examples.count * (SIDE + GAP) + WIDE_GAP
    down = max(len(chosen), 1) * (SIDE + 34)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=((across + 190) / 150, (down + 60) / 150))
        axis = figure.add_axes((180 / (across + 190), 0, across / (across + 190), 1))
        axis.set(xlim=(0, across), ylim=(down + 10, -50))
        axis.axis("off")
        if not chosen:
            axis.text(across / 2, down / 2, "no segment scores", ha="center", fontsize=9)
            return figure
        right = examples.count * (SIDE + GAP) + WIDE_GAP
        for left, title in ((0, "highest probability"), (right, "lowest probability that scores")):
            axis.text(left, -22, title, fontsize=8, weight="bold")
        for line, class_index in enumerate(chosen):
            top = line * (SIDE + 34)
            number = f"{examples.number[class_index]:,} segments"
            name = shorten(names[class_index], 22)
            axis.text(-12, top + SIDE / 2 - 9, name, fontsize=8, ha="right")
            axis.text(-12, top + SIDE / 2 + 13, number, fontsize=6, ha="right", color=GRAY)
            for left, crops in (
                (0, examples.highest[class_index]),
                (right, examples.lowest[class_index]),
            ):
                _row_of_crops(axis, left, top, [(c, drawn[c.rank]) for c in crops])
    return figure


def _row_of_crops(axis, left: int, top: int, crops: Sequence[tuple[Crop, np.ndarray]]) -> None:
    for number, (crop, pixels) in enumerate(crops):
        x = left + number * (SIDE + GAP)
        axis.imshow(pixels, extent=(x, x + SIDE, top + SIDE, top), interpolation="nearest")
        label = f"{100 * crop.probability:.0f} %"
        axis.text(x + SIDE / 2, top + SIDE + 16, label, fontsize=6, ha="center")


def _draw(crops: Sequence[Crop], index: str | Path | None) -> dict[tuple, np.ndarray]:
    """Pixels uint8 (SIDE, SIDE, 3) of each crop by its rank; every store is opened once."""
    by_store: dict[Path, list[Crop]] = defaultdict(list)
    for crop in crops:
        by_store[crop.store].append(crop)
    drawn = {}
    for store, own in by_store.items():
        ids = {crop.image_id for crop in own}
        for image_id, data in read_images(store, image_ids=ids, index=index):
            image = decode(data)
            drawn |= {c.rank: cut_out(image, c) for c in own if c.image_id == image_id}
    return drawn


def cut_out(image: np.ndarray, crop: Crop) -> np.ndarray:
    """Return a segment in a square with what is around it dimmed, uint8 (SIDE, SIDE, 3).

    image: uint8 (H, W, 3). What lies outside of it is white.
    """
    mask = rle.decode(crop.counts, crop.size)
    shown = np.where(mask[..., None], image, (image * DIM).astype(np.uint8))
    x, y, width, height = crop.box
    half = max(round(max(width, height) * (0.5 + MARGIN)), 4)
    padded = cv2.copyMakeBorder(shown, half, half, half, half, cv2.BORDER_CONSTANT, value=[255] * 3)
    middle_x, middle_y = x + width // 2 + half, y + height // 2 + half
    square = padded[middle_y - half : middle_y + half, middle_x - half : middle_x + half]
    smaller = square.shape[0] > SIDE
    way = cv2.INTER_AREA if smaller else cv2.INTER_CUBIC
    return cv2.resize(square, (SIDE, SIDE), interpolation=way)
