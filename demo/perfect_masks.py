"""The generator's own masks of a demo world, as a segmentation of kind `python`.

They bound what a better segmenter could give: the visible part of every object is one segment, with
its kind as class and probability 1. `make calibrate` compares them with SAM's. Options: the world's
folder and the settings it was drawn with.
"""

from __future__ import annotations

import csv
import fcntl
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path

import numpy as np

from geoloc.files import atomic_path
from geoloc.images import Preparation, decode, prepare
from geoloc.segmentation.vocabularies import vocabulary
from scenes.world import Picture, World, plan_world, scene_of

NAMES = vocabulary("demo")
SIDE = 640
SMALLEST = 80  # pixels; smaller objects give no mask
DIGESTS = "pixel_digests.csv"  # in the world's folder
Segment = tuple[np.ndarray, int, float]
Version = tuple[str, str, str]
"""A file's name in the world's folder, its size in bytes and its time in nanoseconds."""


def load(folder: str, **settings) -> PerfectMasks:
    """Return the segmenter of the world in `folder`, drawn with these settings of `World`."""
    return PerfectMasks(Path(folder), World(**settings))


class PerfectMasks:
    """Identifies the pictures of a world by their pixels and redraws their objects."""

    def __init__(self, folder: Path, world: World) -> None:
        plan = plan_world(folder, world)
        self.folder = folder
        self._known = pictures_by_pixels(folder, [*plan.panoramas, *plan.squares])

    def segment(self, images: Sequence[np.ndarray]) -> list[list[Segment]]:
        """Return the segments of street images uint8 (640, 640, 3), as stored by `prepare`.

        Raises:
            ValueError: if an image is not of this world.
        """
        return [true_masks(self._picture(image)) for image in images]

    def _picture(self, image: np.ndarray) -> Picture:
        try:
            return self._known[pixel_digest(image)]
        except KeyError:
            raise ValueError(
                f"an image is not of the world in {self.folder}; draw it again"
            ) from None


def pictures_by_pixels(folder: Path, pictures: Sequence[Picture]) -> dict[str, Picture]:
    """Return pictures of a world by the digest of their pixels, those without a file left out.

    Reading them takes long, and every shard is segmented by a job of its own. So the first job
    writes the digests to the world's folder, and the others wait for them. A file that was written
    again is read again.
    """
    files = [(p, version(p.path, folder)) for p in pictures if p.path.exists()]
    with alone(folder / f"{DIGESTS}.lock"):
        known = read_digests(folder / DIGESTS)
        found = {
            each: known.get(each) or pixel_digest(stored(picture.path)) for picture, each in files
        }
        if found != known:
            write_digests(folder / DIGESTS, found)
    return {found[each]: picture for picture, each in files}


def version(path: Path, folder: Path) -> Version:
    status = path.stat()
    return path.relative_to(folder).as_posix(), str(status.st_size), str(status.st_mtime_ns)


def read_digests(path: Path) -> dict[Version, str]:
    if not path.exists():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        return {(name, size, time): digest for name, size, time, digest in csv.reader(file)}


def write_digests(path: Path, digests: dict[Version, str]) -> None:
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([*each, digest] for each, digest in digests.items())


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Wait until no other process is in this block with the same lock file."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def stored(path: Path) -> np.ndarray:
    """Return a street image as `prepare` stores it, uint8 (640, 640, 3)."""
    return decode(prepare(path.read_bytes(), Preparation("center", SIDE)))


def pixel_digest(image: np.ndarray) -> str:
    return blake2b(np.ascontiguousarray(image), digest_size=16).hexdigest()


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
