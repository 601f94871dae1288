"""Predictions of a zero-shot CLIP for images in every dataset's view of them."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path

import numpy as np

from geoloc import images, stores, weighting
from geoloc.errors import InputError
from geoloc.image_text.zero_shot import ClipZeroShot
from geoloc.probabilities import check_probabilities
from geoloc.progress import Progress

FullSize = tuple[str, np.ndarray, np.ndarray | None]  # image id, image, score map


def predict_images(
    model: ClipZeroShot,
    items: Iterable[FullSize],
    factors: Mapping[str, np.ndarray | None],
    batch_size: int = 32,
) -> tuple[list[str], dict[str, np.ndarray]]:
    """Probabilities of n images in every dataset's view of them.

    `items`: image id, image uint8 (H, W, 3) and score map uint8 (H, W), None where nothing is
    weighted. `factors`: for each test set its dataset's factor (256,) of geoloc.weighting, or None
    for the image as it is. Images are weighted at full size, before the model's processor, and
    memory grows with `batch_size`, not with n.

    Returns the image ids in the order of `items` and for each test set (n, k) float32. Raises
    ValueError for an image to be weighted that has no score map, and for probabilities that are
    no distribution.
    """
    image_ids: list[str] = []
    parts: dict[str, list[np.ndarray]] = {test_set: [] for test_set in factors}
    for batch in _batched(Progress(items, description="predict"), batch_size):
        image_ids += [image_id for image_id, _, _ in batch]
        for test_set, factor in factors.items():
            views = [_view(*item, factor) for item in batch]
            probabilities = model.probabilities(views)
            check_probabilities(probabilities, image_ids[-len(batch) :], model.name, test_set)
            parts[test_set].append(probabilities)
    empty = np.zeros((0, len(model.texts)), np.float32)
    return image_ids, {key: np.concatenate([empty, *part]) for key, part in parts.items()}


def _view(
    image_id: str, image: np.ndarray, score: np.ndarray | None, factor: np.ndarray | None
) -> np.ndarray:
    if factor is None:
        return image
    if score is None:
        raise InputError(f"{image_id} has no score map; give the masks file of its shard")
    return weighting.apply_factor(image, score, factor)


def _batched(items: Iterable[FullSize], size: int) -> Iterator[list[FullSize]]:
    """Lists of `size` items, the last one possibly shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def read_full_size(
    shards: Iterable[tuple[str | Path, str | Path | None]],
    image_ids: Container[str],
    index: str | Path | None = None,
) -> Iterator[FullSize]:
    """Yield those images of the shards whose ids are among `image_ids`, one at a time.

    `shards`: pairs of an `images` file and its `scores` file, the latter None where nothing is
    weighted. `index`: folder of the index to compare the stores with; not compared if None. Raises
    StoreError for a damaged store, or when the two files of a pair are not of the same images.
    """
    for images_path, scores_path in shards:
        rows = stores.read_images_and_scores(images_path, scores_path, image_ids, index)
        for image_id, data, score in rows:
            yield image_id, images.decode(data), score
