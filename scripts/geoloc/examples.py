"""Which images stand for the others in a figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from geoloc.figures import Example
from geoloc.images import decode
from geoloc.stores import read_images, read_masks


def choose_examples(
    shards: Sequence[tuple[str, Path, Path]], count: int, seed: int
) -> list[Example]:
    """One image of each of `count` countries that are drawn by `seed`.

    shards: (country, images store, masks store). Of a country's first shard the image with the
    median share of pixels that score is taken, so that the figure is neither the best nor the
    worst case.
    """
    first = {country: (images, masks) for country, images, masks in reversed(shards)}
    drawn = np.random.default_rng(seed).permutation(sorted(first))[:count]
    return [_median_example(country, *first[country]) for country in sorted(drawn)]


def _median_example(country: str, images: Path, masks: Path) -> Example:
    shares = [float(np.mean(score > 0)) for _, score in read_masks(masks)]
    row = int(np.argsort(shares, kind="stable")[len(shares) // 2])
    image_id, data = next(read_images(images, start=row))
    score = next(score for number, (_, score) in enumerate(read_masks(masks)) if number == row)
    return Example(image_id, country, decode(data), score)
