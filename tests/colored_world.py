"""Arrays of images that a classifier learns in a few steps: a patch in the country's color."""

from pathlib import Path

import numpy as np

from geoloc.stores import Arrays, write_arrays, write_score_arrays
from geoloc.weighting import View

CLASSES = ["DE", "FR", "NA"]
COLORS = {"DE": (200, 60, 60), "FR": (60, 200, 60), "NA": (60, 60, 200)}
SIZES = {"train": 42, "val": 12, "test": 7}
LINEAR, PIECEWISE = View("linear", scores="objects"), View("piecewise", scores="objects")


def write_stores(folder: Path) -> list[Path]:
    """Three stores: 42 images to train with, 12 to validate and 7 to test with."""
    paths = [folder / f"{split}.h5" for split in SIZES]
    for seed, (path, (split, n)) in enumerate(zip(paths, SIZES.items(), strict=True)):
        write_world(path, [CLASSES[i % 3] for i in range(n)], split, seed)
    return paths


def scores_of(path: Path) -> Path:
    """The store of the score maps of a store's images."""
    return Path(path).parent / "scores" / Path(path).name


def open_world(paths: list[Path], split: str | None = None) -> Arrays:
    """Images of stores that `write_world` made, with their score maps."""
    return Arrays(paths, split, scores=[scores_of(path) for path in paths])


def write_world(path: Path, labels: list[str], split: str, seed: int) -> None:
    """Noisy images with a patch in the color of their country; the patch has a high score."""
    rng = np.random.default_rng(seed)

    n = len(labels)
    images = rng.integers(0, 256, (n, 224, 224, 3), np.uint8)
    scores = rng.integers(0, 30, (n, 224, 224), np.uint8)
    for label, image, score in zip(labels, images, scores, strict=True):
        y, x = rng.integers(0, 112, 2)
        image[y : y + 112, x : x + 112] //= 4
        image[y : y + 112, x : x + 112] += np.array(COLORS[label], np.uint8) // 4 * 3
        score[y : y + 112, x : x + 112] = 90
    columns = {
        "image_id": [f"{split}{seed}_{i}" for i in range(n)],
        "label": labels,
        "split": [split] * n,
        "source": ["street"] * n,
        "latitude": np.zeros(n),
        "longitude": np.zeros(n),
    }
    write_arrays(path, columns, images)
    write_score_arrays(scores_of(path), columns["image_id"], scores)
