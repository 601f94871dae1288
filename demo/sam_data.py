"""Scenes and prompts for training the demo's SAM.

All coordinates are pixels of the *frame*: the picture, resized until its longer side is 640, at the
top left of a square. SAM's input is half as large.

A prompt is one point. It may mean several objects, and SAM answers with three masks, so a prompt
has up to three targets, in this order: the object under the point, then the two nearest small
objects within `REACH` (a pole just missed by the point). Without these, a grid of 16 x 16 points
would miss most poles: its columns are 40 pixels apart, and a pole is a dozen pixels wide.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from geoloc.files import atomic_path
from geoloc.progress import Progress
from scenes.draw import draw_scene
from scenes.marks import COUNTRIES
from scenes.world import PANORAMA, SQUARE

FRAME = 640
INPUT = 320
PIXELS = 512  # stored per object
SMALL = 0.015  # share of the picture; smaller objects count as small
TINY = 80  # pixels; smaller objects are never prompted
REACH = 22  # pixels, slightly more than half the spacing of a 16 x 16 grid
TARGETS = 3

KINDS = ("sky", "hill", "ground", "road", "pavement", "curb", "road_line", "house", "roof", "pole",
         "bollard", "sign", "vegetation", "car")  # fmt: skip

# How much more often than others an object of the kind is prompted. The workflow classifies the
# kinds that stand on the ground; lines and curbs only need to be separated from them.
KIND_WEIGHT = {"pole": 4.0, "sign": 4.0, "bollard": 1.3, "house": 1.3, "road_line": 0.5,
               "curb": 0.5, "pavement": 0.8}  # fmt: skip
NEVER_NEAR = ("sky", "hill", "ground", "road", "pavement", "curb", "road_line")


@dataclass(frozen=True)
class TrainingScene:
    """A scene in the frame.

    Attributes:
        image: uint8 (h, w, 3), longer side 320, as SAM resizes it.
        ids: uint8 (640, 640), 0 outside the picture.
        shape: int64 (2,), height and width of the picture in the frame.
        pixels: int16 (objects, 512, 2), random columns and rows of objects 1, 2, ….
        area: int64 (objects,).
        kind: str (objects,).
    """

    image: np.ndarray
    ids: np.ndarray
    shape: np.ndarray
    pixels: np.ndarray
    area: np.ndarray
    kind: np.ndarray


@dataclass(frozen=True)
class Prompts:
    """Points and their targets.

    Attributes:
        points: float32 (P, 2), column and row.
        targets: int64 (P, 3), ids, 0 for no target.
    """

    points: np.ndarray
    targets: np.ndarray


def write_scenes(folder: Path, count: int, seed: int, workers: int) -> None:
    """Draw scenes 0 … count-1 into folder/00000.npz …; existing files are kept."""
    missing = [i for i in range(count) if not scene_path(folder, i).exists()]
    folder.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(workers) as pool:
        jobs = pool.map(
            _write_scene, [folder] * len(missing), missing, [seed] * len(missing), chunksize=8
        )
        for _ in Progress(jobs, total=len(missing), description="draw", unit="scenes"):
            pass


def scene_path(folder: Path, number: int) -> Path:
    return folder / f"{number:05d}.npz"


def read_scene(path: Path) -> TrainingScene:
    with np.load(path) as arrays:
        return TrainingScene(**arrays)


def _write_scene(folder: Path, number: int, seed: int) -> None:
    cv2.setNumThreads(1)
    rng = np.random.default_rng([seed, number])
    country = COUNTRIES[number % len(COUNTRIES)]
    size = PANORAMA if rng.random() < 0.4 else SQUARE
    scene = draw_scene(country, rng, size, zoom=rng.uniform(0.85, 1.25))
    image, instances = (center_square(array) for array in (scene.image, scene.instances))
    image = jpeg(image, rng) if rng.random() < 0.5 else image
    with atomic_path(scene_path(folder, number)) as temporary:
        np.savez(temporary, **vars(prepare(image, instances, scene.kinds, rng)))


def center_square(array: np.ndarray) -> np.ndarray:
    """Return the largest centered square of (H, W, …), which the workflow segments."""
    side = min(array.shape[:2])
    top, left = ((length - side) // 2 for length in array.shape[:2])
    return np.ascontiguousarray(array[top : top + side, left : left + side])


def jpeg(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Compress the image as JPEG with a random quality and decode it."""
    quality = int(rng.integers(60, 96))
    data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]


def prepare(
    image: np.ndarray, instances: np.ndarray, kinds: dict[int, str], rng: np.random.Generator
) -> TrainingScene:
    """Put a picture into the frame, number visible objects from 1, and sample pixels of each."""
    from segment_anything.utils.transforms import ResizeLongestSide

    small = ResizeLongestSide(INPUT).apply_image(np.ascontiguousarray(image))
    height, width = ResizeLongestSide.get_preprocess_shape(*instances.shape, FRAME)
    framed = cv2.resize(
        instances.astype(np.int32), (width, height), interpolation=cv2.INTER_NEAREST
    )
    names = np.unique(framed[framed > 0])
    if len(names) > 255:
        raise ValueError(f"{len(names)} objects in one scene: ids are stored as uint8")
    table = np.zeros(names.max() + 1, np.uint8)
    table[names] = np.arange(1, len(names) + 1)
    ids = np.zeros((FRAME, FRAME), np.uint8)
    ids[:height, :width] = table[framed]
    order = np.argsort(ids, axis=None, kind="stable")
    area = np.bincount(ids.ravel(), minlength=len(names) + 1)
    start = np.cumsum(area) - area
    chosen = order[start[1:, None] + rng.integers(0, area[1:, None], (len(names), PIXELS))]
    pixels = np.stack([chosen % FRAME, chosen // FRAME], axis=-1).astype(np.int16)
    kind = np.array([kinds[name] for name in names])
    return TrainingScene(small, ids, np.array([height, width]), pixels, area[1:], kind)


def draw_prompts(scene: TrainingScene, count: int, rng: np.random.Generator) -> Prompts:
    """Draw points on objects; each object has one chance (times `KIND_WEIGHT`), at any size."""
    weight = np.array([KIND_WEIGHT.get(kind, 1.0) for kind in scene.kind]) * (scene.area >= TINY)
    objects = rng.choice(len(weight), count, p=weight / weight.sum())
    points = scene.pixels[objects, rng.integers(0, PIXELS, count)].astype(np.float32)
    beside = is_small(scene)[objects] & (rng.random(count) < 0.5)
    points[beside] += rng.uniform(-REACH, REACH, (int(beside.sum()), 2))
    points = np.clip(np.round(points), 0, scene.shape[::-1] - 1)
    targets = np.stack([_targets(scene, *point) for point in points.astype(int)])
    return Prompts(points.astype(np.float32) + 0.5, targets)


def is_small(scene: TrainingScene) -> np.ndarray:
    """Return which objects count as small, bool (objects,)."""
    standing = ~np.isin(scene.kind, NEVER_NEAR)
    return standing & (scene.area >= TINY) & (scene.area < SMALL * scene.shape.prod())


def _targets(scene: TrainingScene, column: int, row: int) -> np.ndarray:
    """Return the targets of a point, int64 (3,); see the module's docstring."""
    here = int(scene.ids[row, column])
    near = _nearest_small(scene, column, row, here)[: TARGETS - 1]
    return np.array([here, *near, *[0] * (TARGETS - 1 - len(near))])


def _nearest_small(scene: TrainingScene, column: int, row: int, here: int) -> list[int]:
    """Return the ids of small objects within REACH of a point, nearest first, except `here`."""
    top, left = max(row - REACH, 0), max(column - REACH, 0)
    window = scene.ids[top : row + REACH + 1, left : column + REACH + 1]
    rows, columns = np.mgrid[: window.shape[0], : window.shape[1]]
    distance = np.hypot(rows + top - row, columns + left - column)
    small = is_small(scene)
    found = []
    for number in np.unique(window):
        if number not in (0, here) and small[number - 1]:
            nearest = distance[window == number].min()
            if nearest <= REACH:
                found.append((nearest, int(number)))
    return [number for _, number in sorted(found)]


def dense_targets(scene: TrainingScene, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return what side x side cells show, row by row.

    Returns:
        Index of the kind, int64 (n,), -1 for nothing; corners of the object's box, float32 (n, 4),
        relative to the frame; the object's share of the frame, float32 (n,).
    """
    index = ((np.arange(side) + 0.5) * FRAME / side).astype(int)
    ids = scene.ids[index][:, index].ravel().astype(int)
    kind = np.array([-1, *map(KINDS.index, scene.kind)])[ids]
    corners = np.concatenate([scene.pixels.min(1), scene.pixels.max(1)], axis=1)
    corners = np.concatenate([np.zeros((1, 4)), corners])[ids] / FRAME
    share = np.concatenate([[FRAME**2], scene.area])[ids] / FRAME**2
    return kind, corners.astype(np.float32), share.astype(np.float32)


def flip(scene: TrainingScene) -> TrainingScene:
    """Return the scene mirrored left to right."""
    width = scene.shape[1]
    pixels, ids = scene.pixels.copy(), scene.ids.copy()
    pixels[..., 0] = width - 1 - pixels[..., 0]
    ids[:, :width] = scene.ids[:, :width][:, ::-1]
    image = np.ascontiguousarray(scene.image[:, ::-1])
    return TrainingScene(image, ids, scene.shape, pixels, scene.area, scene.kind)
