"""The generator's own masks of a demo world, as a segmentation of kind `python`.

They bound what a better segmenter could give: the visible part of every object is one segment, with
its kind as class and probability 1. `make calibrate` compares them with SAM's. Options: the world's
folder and the settings it was drawn with.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np

from geoloc.images import Preparation, decode, prepare
from geoloc.segmentation.vocabularies import vocabulary
from scenes.world import Picture, World, plan_world, scene_of

NAMES = vocabulary("demo")
SIDE = 640
SMALLEST = 80  # pixels; smaller objects give no mask
Segment = tuple[np.ndarray, int, float]


def load(folder: str, **settings) -> PerfectMasks:
    """Return the segmenter of the world in `folder`, drawn with these settings of `World`."""
    return PerfectMasks(Path(folder), World(**settings))


class PerfectMasks:
    """Identifies the pictures of a world by their pixels and redraws their objects."""

    def __init__(self, folder: Path, world: World) -> None:
        plan = plan_world(folder, world)
        self.folder = folder
        self._known: dict[bytes, Picture] = {}
        self._unread: Iterator[Picture] = iter([*plan.panoramas, *plan.squares])

    def segment(self, images: Sequence[np.ndarray]) -> list[list[Segment]]:
        """Return the segments of street images uint8 (640, 640, 3), as stored by `prepare`.

        Raises:
            ValueError: if an image is not of this world.
        """
        return [true_masks(self._picture(image)) for image in images]

    def _picture(self, image: np.ndarray) -> Picture:
        """Read pictures of the world until one has these pixels."""
        digest = pixel_digest(image)
        while digest not in self._known:
            picture = next(self._unread, None)
            if picture is None:
                raise ValueError(f"an image is not of the world in {self.folder}; draw it again")
            if picture.path.exists():
                self._known[pixel_digest(stored(picture.path))] = picture
        return self._known[digest]


def stored(path: Path) -> np.ndarray:
    """Return a street image as `prepare` stores it, uint8 (640, 640, 3)."""
    return decode(prepare(path.read_bytes(), Preparation("center", SIDE)))


def pixel_digest(image: np.ndarray) -> bytes:
    return blake2b(np.ascontiguousarray(image)).digest()


def true_masks(picture: Picture) -> list[Segment]:
    """Return the visible part of each object of a picture, in its prepared form."""
    scene = scene_of(picture)
    ids = prepared_ids(scene.instances)
    area = np.bincount(ids.ravel())
    numbers = (int(n) for n in np.flatnonzero(area >= SMALLEST) if n > 0)
    return [(ids == n, NAMES.index(scene.kinds[n].replace("_", " ")), 1.0) for n in numbers]


def prepared_ids(ids: np.ndarray) -> np.ndarray:
    """Crop and resize ids, int32 (H, W), as `prepare` does: the center square, nearest pixels."""
    height, width = ids.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    nearest = ((np.arange(SIDE) + 0.5) * side / SIDE).astype(int)
    return ids[top + nearest[:, None], left + nearest]
