"""Choose the example images of a figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from geoloc.evaluation.figures import Example
from geoloc.images import decode
from geoloc.stores import read_images, read_scores


def choose_examples(
    shards: Sequence[tuple[str, Path, Path]],
    count: int,
    seed: int,
    index: str | Path | None = None,
) -> list[Example]:
    """Choose one image from each of `count` countries that are drawn by `seed`.

    The images of each country's first shard are ranked by mean score. The first country shows its
    median image, the last one its highest, those between follow in equal steps. So the figure shows
    the typical case and the best one, and nobody picked them.

    Args:
        shards: (country, images store, scores store).
        count: number of images.
        seed: draws the countries.
        index: folder of the index to compare the stores with; not compared if None.
    """
    first = {country: (images, scores) for country, images, scores in reversed(shards)}
    drawn = np.random.default_rng(seed).permutation(sorted(first))[:count]
    ranks = np.linspace(0.5, 1, len(drawn))
    return [
        _example_at(rank, country, *first[country], index)
        for rank, country in zip(ranks, sorted(drawn), strict=True)
    ]


def _example_at(
    rank: float, country: str, images: Path, scores: Path, index: str | Path | None
) -> Example:
    """Return the image of a shard at a rank by mean score: 0 the lowest, 1 the highest."""
    means = {name: float(score.mean()) for name, score in read_scores(scores, index=index)}
    image_id = sorted(means, key=means.get)[round(rank * (len(means) - 1))]
    ((_, data),) = read_images(images, image_ids={image_id}, index=index)
    ((_, score),) = read_scores(scores, image_ids={image_id})
    return Example(image_id, country, decode(data), score)
