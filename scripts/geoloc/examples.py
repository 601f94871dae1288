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

    shards: (country, images store, masks store). Of each country's first shard the images are
    ranked by mean score; the first country shows its median image, the last the one with the
    highest, those between in equal steps. So the figure has the ordinary case and the best one,
    and nobody picked them.
    """
    first = {country: (images, masks) for country, images, masks in reversed(shards)}
    drawn = np.random.default_rng(seed).permutation(sorted(first))[:count]
    ranks = np.linspace(0.5, 1, len(drawn))
    return [
        _example_at(rank, country, *first[country])
        for rank, country in zip(ranks, sorted(drawn), strict=True)
    ]


def _example_at(rank: float, country: str, images: Path, masks: Path) -> Example:
    """The image of a shard at a rank by mean score: 0 the lowest, 1 the highest."""
    means = [float(score.mean()) for _, score in read_masks(masks)]
    row = int(np.argsort(means, kind="stable")[round(rank * (len(means) - 1))])
    image_id, data = next(read_images(images, start=row))
    score = next(score for number, (_, score) in enumerate(read_masks(masks)) if number == row)
    return Example(image_id, country, decode(data), score)
