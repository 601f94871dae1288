"""Scenes and prompts to train the demo's SAM on.

A prompt is one point. It may mean several objects, and SAM answers with three masks, so a prompt
carries up to three targets, in this order:

1. the object under the point,
2. the nearest small object within `REACH` pixels (a pole that the point has just missed),
3. the whole building if the point is on a wall or a roof, else the next nearest small object.

Without the second target a grid of 16 x 16 points would miss most poles: its columns are 40 pixels
apart at 640 pixels, and a pole is a dozen pixels wide.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from geoloc.files import atomic_path
from geoloc.progress import Progress
from geoloc.scenes.draw import draw_scene
from geoloc.scenes.marks import COUNTRIES

SIDE = 640  # pixels of a scene
INPUT = 512  # pixels of SAM's input
PIXELS = 512  # remembered of every object
SMALL = 0.015  # share of the picture; smaller objects count as small
TINY = 80  # pixels; smaller objects are never prompted
REACH = 22  # pixels; a little more than half the spacing of a 16 x 16 grid
TARGETS = 3

KINDS = ("sky", "hill", "ground", "road", "pavement", "kerb", "road_line", "house", "roof", "pole",
         "bollard", "sign", "vegetation", "car")  # fmt: skip

# How much more often than others an object of the kind is prompted. The workflow later classifies
# the kinds that stand on the ground; lines and kerbs only have to be separated from them.
KIND_WEIGHT = {"pole": 2.0, "sign": 2.0, "bollard": 1.5, "house": 1.3, "road_line": 0.6,
               "kerb": 0.6, "pavement": 0.8}  # fmt: skip
NEVER_NEAR = ("sky", "hill", "ground", "road", "pavement", "kerb", "road_line")


@dataclass(frozen=True)
class TrainingScene:
    """image: uint8 (512, 512, 3), as SAM resizes it. ids: uint8 (640, 640).

    pixels: int16 (objects, 512, 2), columns and rows drawn from object 1, 2, …; area: int64
    (objects,); kind: str (objects,); building: uint8 (objects,), the other part's id or 0.
    """

    image: np.ndarray
    ids: np.ndarray
    pixels: np.ndarray
    area: np.ndarray
    kind: np.ndarray
    building: np.ndarray


@dataclass(frozen=True)
class Prompts:
    """points: float32 (P, 2), column and row in a scene; targets: uint8 (P, 3, 2), the ids whose
    union is the target, 0 where there is none."""

    points: np.ndarray
    targets: np.ndarray


def write_scenes(folder: Path, count: int, seed: int, workers: int) -> None:
    """Draw scenes 0 … count-1 into folder/00000.npz …, those that are not there yet."""
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
    scene = draw_scene(country, rng, (SIDE, SIDE), zoom=rng.uniform(0.85, 1.3))
    image = jpeg(scene.image, rng) if rng.random() < 0.5 else scene.image
    with atomic_path(scene_path(folder, number)) as temporary:
        np.savez(temporary, **vars(prepare(image, scene.instances, scene.kinds, rng)))


def jpeg(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The image after JPEG compression of a random quality."""
    quality = int(rng.integers(60, 96))
    data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]


def prepare(
    image: np.ndarray, instances: np.ndarray, kinds: dict[int, str], rng: np.random.Generator
) -> TrainingScene:
    """Number the visible objects from 1 and remember pixels of each."""
    from segment_anything.utils.transforms import ResizeLongestSide

    names = sorted(kinds)
    if len(names) > 255:
        raise ValueError(f"{len(names)} objects in one scene: ids are stored as uint8")
    table = np.zeros(max(names) + 1, np.uint8)
    table[names] = np.arange(1, len(names) + 1)
    ids = table[instances]
    order = np.argsort(ids, axis=None, kind="stable")
    area = np.bincount(ids.ravel(), minlength=len(names) + 1)
    pixels = np.zeros((len(names), PIXELS, 2), np.int16)
    start = np.cumsum(area) - area
    for number in range(1, len(names) + 1):
        chosen = order[start[number] + rng.integers(0, area[number], PIXELS)]
        pixels[number - 1] = np.stack([chosen % ids.shape[1], chosen // ids.shape[1]], axis=1)
    kind = np.array([kinds[name] for name in names])
    building = np.zeros(len(names), np.uint8)
    for index, name in enumerate(names):  # a roof is numbered right after its walls
        if kinds[name] == "house" and kinds.get(name + 1) == "roof":
            building[index], building[index + 1] = index + 2, index + 1
    small = ResizeLongestSide(INPUT).apply_image(np.ascontiguousarray(image))
    return TrainingScene(small, ids, pixels, area[1:], kind, building)


def draw_prompts(scene: TrainingScene, count: int, rng: np.random.Generator) -> Prompts:
    """Points on objects drawn one object, one chance (times `KIND_WEIGHT`), whatever its size."""
    weight = np.array([KIND_WEIGHT.get(kind, 1.0) for kind in scene.kind]) * (scene.area >= TINY)
    objects = rng.choice(len(weight), count, p=weight / weight.sum())
    points = scene.pixels[objects, rng.integers(0, PIXELS, count)].astype(np.float32)
    small = scene.area[objects] < SMALL * scene.ids.size
    beside = small & (rng.random(count) < 0.5)
    points[beside] += rng.uniform(-REACH, REACH, (int(beside.sum()), 2))
    points = np.clip(np.round(points), 0, SIDE - 1)
    targets = np.stack([_targets(scene, *point) for point in points.astype(int)])
    return Prompts(points.astype(np.float32) + 0.5, targets)


def _targets(scene: TrainingScene, column: int, row: int) -> np.ndarray:
    """The targets (3, 2) of a point; see the module's text."""
    result = np.zeros((TARGETS, 2), np.uint8)
    here = int(scene.ids[row, column])
    result[0] = here
    near = _nearest_small(scene, column, row, here)
    if near:
        result[1] = near[0]
    if here and scene.building[here - 1]:
        result[2] = here, scene.building[here - 1]
    elif len(near) > 1:
        result[2] = near[1]
    return result


def _nearest_small(scene: TrainingScene, column: int, row: int, here: int) -> list[int]:
    """Ids of small objects within REACH of a point, nearest first, without `here`."""
    top, left = max(row - REACH, 0), max(column - REACH, 0)
    window = scene.ids[top : row + REACH + 1, left : column + REACH + 1]
    rows, columns = np.mgrid[: window.shape[0], : window.shape[1]]
    distance = np.hypot(rows + top - row, columns + left - column)
    found = []
    for number in np.unique(window):
        if number in (0, here) or scene.kind[number - 1] in NEVER_NEAR:
            continue
        if TINY <= scene.area[number - 1] < SMALL * scene.ids.size:
            nearest = distance[window == number].min()
            if nearest <= REACH:
                found.append((nearest, int(number)))
    return [number for _, number in sorted(found)]


def draw_samples(
    scene: TrainingScene,
    prompts: Prompts,
    count: int,
    spread: tuple[float, ...],
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Places at which masks are compared: float32 (P, 3, count, 2), columns and rows, and whether
    each lies on its target: bool (P, 3, count).

    Half lie near the target's own pixels, at distances drawn from `spread` (pixels, normal
    deviation), a sixth in the box around it and a third anywhere: thin objects cover too little
    of a picture for uniform samples (PointRend, Kirillov et al. 2020, has the same remedy).
    """
    first, second = _indices(prompts.targets)
    half, boxed = count // 2, count // 6
    owner = np.where(rng.random((*first.shape, half)) < 0.5, first[..., None], second[..., None])
    near = scene.pixels[owner, rng.integers(0, PIXELS, owner.shape)].astype(np.float32)
    near += rng.normal(0, 1, near.shape) * rng.choice(spread, (*owner.shape, 1))
    low, high = (corner[:, :, None] for corner in _boxes(scene, prompts.targets))
    margin = 30 + 0.5 * (high - low)
    box = rng.uniform(low - margin, high + margin, (*first.shape, boxed, 2))
    anywhere = rng.uniform(0, SIDE, (*first.shape, count - half - boxed, 2))
    places = np.concatenate([near + 0.5, box, anywhere], axis=2)
    places = np.clip(places, 0, SIDE - 0.01).astype(np.float32)
    ids = scene.ids[places[..., 1].astype(int), places[..., 0].astype(int)]
    return places, on_target(ids, prompts.targets)


def draw_cells(
    scene: TrainingScene, prompts: Prompts, grid: int, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Patches of the image, a grid x grid, that stand for the whole picture.

    Half of them touch a target or lie beside it or beside the point (if there are so many), the
    others are drawn from the rest. Returns the patches, int64 (P, count); whether each of their
    4 x 4 cells shows the target at a random place in it, bool (P, 3, 4 * count, 4); how many
    patches each one stands for, float32 (P, count).
    """
    near = _near_patches(scene, prompts, grid)
    order = np.argsort(rng.random(near.shape) + 10 * ~near, axis=1)
    available = near.sum(1)
    taken = np.minimum(available, count // 2)
    chosen = np.empty((len(near), count), np.int64)
    for row, (first, start) in enumerate(zip(taken, available, strict=True)):
        rest = order[row, start:]
        if len(rest) < count - first:
            rest = order[row, first:]
        chosen[row] = np.concatenate([order[row, :first], rest[: count - first]])
    is_near = np.take_along_axis(near, chosen, 1)
    stands = np.where(
        is_near,
        available[:, None] / np.maximum(is_near.sum(1), 1)[:, None],
        (~near).sum(1)[:, None] / np.maximum((~is_near).sum(1), 1)[:, None],
    )
    return chosen, _cell_labels(scene, prompts, chosen, grid, rng), stands.astype(np.float32)


def _near_patches(scene: TrainingScene, prompts: Prompts, grid: int) -> np.ndarray:
    """Whether a patch touches a target or is beside such a patch or the point, (P, grid²)."""
    index = ((np.arange(4 * grid) + 0.5) * SIDE / (4 * grid)).astype(int)
    cells = scene.ids[index][:, index]
    wanted = np.zeros((len(prompts.points), 256), bool)
    np.put_along_axis(wanted, prompts.targets.reshape(len(wanted), -1).astype(int), True, 1)
    wanted[:, 0] = False
    touched = wanted[:, cells].reshape(len(wanted), grid, 4, grid, 4).any((2, 4))
    columns, rows = (prompts.points * grid / SIDE).astype(int).T
    touched[np.arange(len(wanted)), rows, columns] = True
    padded = np.pad(touched, ((0, 0), (1, 1), (1, 1)))
    shifts = [(y, x) for y in range(3) for x in range(3)]
    near = np.any([padded[:, y : y + grid, x : x + grid] for y, x in shifts], axis=0)
    return near.reshape(len(wanted), -1)


def _cell_labels(
    scene: TrainingScene, prompts: Prompts, patches: np.ndarray, grid: int, rng: np.random.Generator
) -> np.ndarray:
    side = SIDE / (4 * grid)
    cell = np.arange(4)
    shape = (*patches.shape, 4, 4)
    rows = (patches // grid * 4)[..., None, None] + cell[:, None] + rng.random(shape)
    columns = (patches % grid * 4)[..., None, None] + cell + rng.random(shape)
    ids = scene.ids[(rows * side).astype(int), (columns * side).astype(int)]
    inside = on_target(ids.reshape(len(ids), 1, -1), prompts.targets)
    return inside.reshape(len(ids), TARGETS, -1, 4)


def on_target(ids: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Whether ids (P, 3, K) belong to the targets (P, 3, 2)."""
    return (ids[..., None] == targets[:, :, None, :]).any(-1) & (ids > 0)


def target_area(scene: TrainingScene, targets: np.ndarray) -> np.ndarray:
    """Pixels of each target, float32 (P, 3)."""
    area = np.concatenate([[0], scene.area])[targets].astype(np.float32)
    return area[..., 0] + np.where(targets[..., 0] != targets[..., 1], area[..., 1], 0)


def box_grids(
    scene: TrainingScene, targets: np.ndarray, steps: int
) -> tuple[np.ndarray, np.ndarray]:
    """Regular places over the box of each target, float32 (P, 3, steps * steps, 2), and the
    area of the box, float32 (P, 3)."""
    low, high = _boxes(scene, targets)
    size = np.maximum(high - low, 1.0)
    share = (np.arange(steps) + 0.5) / steps
    cells = np.stack(np.meshgrid(share, share), axis=-1).reshape(-1, 2)
    places = low[:, :, None] + cells * size[:, :, None]
    return places.astype(np.float32), size.prod(-1).astype(np.float32)


def _indices(targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the scene's tables of both parts of each target; no part counts as the first."""
    first = np.maximum(targets[..., 0].astype(int) - 1, 0)
    second = targets[..., 1].astype(int) - 1
    return first, np.where(second < 0, first, second)


def _boxes(scene: TrainingScene, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Corners of the box around the remembered pixels of each target, two of float (P, 3, 2)."""
    low, high = scene.pixels.min(1), scene.pixels.max(1) + 1.0
    first, second = _indices(targets)
    return np.minimum(low[first], low[second]), np.maximum(high[first], high[second])


def dense_targets(scene: TrainingScene, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What side x side cells show, row by row: number of the kind, int64 (n,), -1 for nothing;
    the corners of the object's box seen from the cell, float32 (n, 4), as signed square roots of
    shares of the picture; the object's share of the picture, float32 (n,)."""
    places = (np.arange(side) + 0.5) * SIDE / side
    index = places.astype(int)
    ids = scene.ids[index][:, index].ravel().astype(int)
    kind = np.array([-1, *map(KINDS.index, scene.kind)])[ids]
    corners = np.concatenate([scene.pixels.min(1), scene.pixels.max(1)], axis=1)
    corners = np.concatenate([np.zeros((1, 4)), corners])[ids]
    columns, rows = np.meshgrid(places, places)
    distance = (corners - np.stack([columns, rows, columns, rows], -1).reshape(-1, 4)) / SIDE
    box = np.sign(distance) * np.sqrt(np.abs(distance))
    share = np.concatenate([[1], scene.area])[ids] / scene.ids.size
    return kind, box.astype(np.float32), share.astype(np.float32)


def flip(scene: TrainingScene) -> TrainingScene:
    """The scene seen in a mirror."""
    pixels = scene.pixels.copy()
    pixels[..., 0] = SIDE - 1 - pixels[..., 0]
    return TrainingScene(
        np.ascontiguousarray(scene.image[:, ::-1]), scene.ids[:, ::-1], pixels, scene.area,
        scene.kind, scene.building,
    )  # fmt: skip
