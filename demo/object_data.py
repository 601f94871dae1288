"""Crops of generated scenes with the kind of object that each one shows.

Scenes reach the classifier as the workflow stores them: half are squares, half are the centers of
panoramas after JPEG compression, and all have 640 x 640 pixels.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import torch
from perfect_masks import SIDE, SMALLEST, prepared_ids

from geoloc.files import atomic_path
from geoloc.images import Preparation, decode, prepare
from geoloc.progress import Progress
from geoloc.segmentation import rle
from geoloc.segmentation.classifiers import efficientnet_lite0
from geoloc.segmentation.classifiers.base import fold_normalization
from geoloc.segmentation.classifiers.demo_objects import CLASSES
from geoloc.segmentation.crops import cut_crops
from geoloc.segmentation.segmenters import build_segmenter
from geoloc.segmentation.vocabularies import vocabulary
from geoloc.types import BEST_CLASSES, Segments
from scenes.draw import draw_scene
from scenes.marks import COUNTRIES
from scenes.world import PANORAMA, SQUARE

ROOT = Path(__file__).resolve().parent.parent
NAMES = vocabulary("demo")
OTHER = NAMES.index("other")
PURE = 0.70  # share of a mask's pixels of one kind that gives the mask its name
SETTINGS = {"points_per_side": 10, "pred_iou_thresh": 0.6}  # of the segmenter, as in the demo
BATCH = 8


@dataclass(frozen=True)
class LabeledScene:
    """A scene as the workflow stores it.

    Attributes:
        image: uint8 (640, 640, 3) RGB.
        ids: int32 (640, 640), the object of each pixel.
        kind: int64 (largest id + 1,), the row in `NAMES` of each object.
    """

    image: np.ndarray
    ids: np.ndarray
    kind: np.ndarray

    @property
    def kinds(self) -> np.ndarray:
        """Return the row in `NAMES` of each pixel, int64 (640, 640)."""
        return self.kind[self.ids]


def draw(seed: int, number: int) -> LabeledScene:
    """Draw scene `number` of a seed as the workflow would store it; countries take turns."""
    cv2.setNumThreads(1)
    rng = np.random.default_rng([seed, number])
    size = (SQUARE, PANORAMA)[number // len(COUNTRIES) % 2]
    scene = draw_scene(COUNTRIES[number % len(COUNTRIES)], rng, size)
    image, ids = scene.image, scene.instances
    if size == PANORAMA:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(82, 95))]
        data = cv2.imencode(".jpg", image[..., ::-1], quality)[1].tobytes()
        image = decode(prepare(data, Preparation("center", SIDE)))
        ids = prepared_ids(ids)
    kind = np.zeros(max(scene.kinds) + 1, np.int64)
    for instance, name in scene.kinds.items():
        kind[instance] = NAMES.index(name.replace("_", " "))
    return LabeledScene(image, ids, kind)


@cache
def segmenter():
    """Return the demo's SAM with the demo's settings, one per process."""
    return build_segmenter("demo", str(ROOT / "demo/sam.safetensors"), **SETTINGS)


def true_segments(scene: LabeledScene) -> Segments:
    """Return the visible part of every object of at least `SMALLEST` pixels as a mask."""
    area = np.bincount(scene.ids.ravel())
    numbers = np.flatnonzero(area >= SMALLEST)
    numbers = numbers[numbers > 0]
    counts = [rle.encode((scene.ids == n).T, 0, 0, scene.ids.shape) for n in numbers]
    boxes = [rle.bounding_box(c, scene.ids.shape) for c in counts]
    count = len(numbers)
    return Segments(
        image_id="",
        size=scene.ids.shape,
        bbox=np.array(boxes, np.int32).reshape(count, 4),
        area=area[numbers].astype(np.int32),
        predicted_iou=np.ones(count, np.float32),
        stability_score=np.ones(count, np.float32),
        counts=counts,
        class_id=np.full((count, BEST_CLASSES), -1, np.int16),
        class_probability=np.zeros((count, BEST_CLASSES), np.float32),
    )


def labels(scene: LabeledScene, segments: Segments) -> np.ndarray:
    """Return the row in `NAMES` of each mask, int64 (m,).

    It is the kind with at least 70 % of the mask's pixels, else `other`.
    """
    found = np.full(len(segments), OTHER)
    kinds = scene.kinds
    for row, counts in enumerate(segments.counts):
        shares = np.bincount(kinds[rle.decode(counts, segments.size)], minlength=CLASSES)
        if shares.max() >= PURE * max(shares.sum(), 1):
            found[row] = shares.argmax()
    return found


@cache
def backbone() -> torch.nn.Module:
    return fold_normalization(efficientnet_lite0.load_model().eval().requires_grad_(False))


@torch.inference_mode()
def features(crops: np.ndarray) -> np.ndarray:
    """Return pooled features float32 (k, 1280) of crops uint8 (k, 224, 224, 3)."""
    found = [np.empty((0, efficientnet_lite0.FEATURES), np.float32)]
    for start in range(0, len(crops), BATCH):
        pixels = torch.from_numpy(crops[start : start + BATCH]).permute(0, 3, 1, 2).float()
        found.append(backbone().features((pixels - 127) / 128).numpy())
    return np.concatenate(found)


def write_features(folder: Path, count: int, seed: int, workers: int) -> None:
    """Write features and labels of scenes 0 … count-1 to `folder`; existing files are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [i for i in range(count) if not feature_path(folder, i).exists()]
    with ProcessPoolExecutor(workers) as pool:
        jobs = pool.map(_write_features, [folder] * len(missing), [seed] * len(missing), missing)
        for _ in Progress(jobs, total=len(missing), description="segment", unit="scenes"):
            pass


def feature_path(folder: Path, number: int) -> Path:
    return folder / f"{number:05d}.npz"


def _write_features(folder: Path, seed: int, number: int) -> None:
    """Write features, labels and origin (0 SAM, 1 true mask) of crops of a scene and its mirror."""
    torch.set_num_threads(1)
    scene = draw(seed, number)
    found: dict[str, list[np.ndarray]] = {"features": [], "label": [], "true": []}
    for true, segments in enumerate((segmenter().segment([scene.image])[0], true_segments(scene))):
        crops, rows = cut_crops(scene.image, segments)
        both = np.concatenate([crops, crops[:, :, ::-1]])
        found["features"].append(features(both))
        found["label"].append(np.tile(labels(scene, segments)[rows], 2))
        found["true"].append(np.full(2 * len(rows), true))
    with atomic_path(feature_path(folder, number)) as temporary, temporary.open("wb") as file:
        np.savez(file, **{name: np.concatenate(parts) for name, parts in found.items()})
