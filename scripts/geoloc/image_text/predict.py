"""Predictions of a zero-shot CLIP for images in every dataset's view of them."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path

import numpy as np

from geoloc import images, stores
from geoloc.errors import InputError
from geoloc.image_text.zero_shot import ClipZeroShot
from geoloc.probabilities import check_probabilities
from geoloc.progress import Progress
from geoloc.stores import ScoreMaps
from geoloc.weighting import View

FullSize = tuple[str, np.ndarray, Mapping[str, np.ndarray]]
"""Image id, image uint8 (H, W, 3), and its score maps uint8 (H, W) by key."""


def predict_images(
    model: ClipZeroShot,
    items: Iterable[FullSize],
    views: Mapping[str, tuple[View, str | None]],
    batch_size: int = 32,
) -> tuple[list[str], dict[str, np.ndarray]]:
    """Probabilities of n images, as every dataset shows them.

    Images are weighted at full size, before the model's processor, and memory grows with
    `batch_size`, not with n.

    Args:
        model: the zero-shot model.
        items: images with their score maps by key.
        views: for each test set how its dataset shows images, and the key of the score maps that
            this needs, None if it needs none.
        batch_size: images embedded at once.

    Returns:
        The image ids in the order of `items`, and for each test set probabilities (n, k) float32.

    Raises:
        ValueError: for an image without the score map that a view needs, and for probabilities
            that are no distribution.
    """
    image_ids: list[str] = []
    parts: dict[str, list[np.ndarray]] = {test_set: [] for test_set in views}
    for batch in _batched(Progress(items, description="predict"), batch_size):
        image_ids += [image_id for image_id, _, _ in batch]
        for test_set, (view, key) in views.items():
            if key and (missing := [i for i, _, scores in batch if key not in scores]):
                raise InputError(f"{missing[0]} has no score map; give the scores of its shard")
            shown = [view(image, scores.get(key)) for _, image, scores in batch]
            probabilities = model.probabilities(shown)
            check_probabilities(probabilities, image_ids[-len(batch) :], model.name, test_set)
            parts[test_set].append(probabilities)
    empty = np.zeros((0, len(model.texts)), np.float32)
    return image_ids, {key: np.concatenate([empty, *part]) for key, part in parts.items()}


def _batched(items: Iterable[FullSize], size: int) -> Iterator[list[FullSize]]:
    """Lists of `size` items, the last one possibly shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def read_full_size(
    images_paths: Iterable[str | Path],
    image_ids: Container[str],
    index: str | Path | None = None,
    scores: Mapping[str, ScoreMaps] | None = None,
) -> Iterator[FullSize]:
    """Yield those images of the `images` stores whose ids are among `image_ids`, one at a time.

    Args:
        images_paths: `images` stores.
        image_ids: ids of the images.
        index: folder of the index to compare the stores with; not compared if None.
        scores: score maps by key.

    Raises:
        StoreError: for a damaged store, or an image without a score map.
    """
    for path in images_paths:
        for image_id, data in stores.read_images(path, image_ids=image_ids, index=index):
            maps = {key: found[image_id] for key, found in (scores or {}).items()}
            yield image_id, images.decode(data), maps
