"""Which images stand for the others in a figure."""

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
    """One image of each of `count` countries that are drawn by `seed`.

    shards: (country, images store, scores store); index: folder of the index to compare the stores
    with, not compared if None. Of each country's first shard the images are
    ranked by mean score; the first country shows its median image, the last the one with the
    highest, those between in equal steps. So the figure has the ordinary case and the best one,
    and nobody picked them.
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
    """The image of a shard at a rank by mean score: 0 the lowest, 1 the highest."""
    means = {name: float(score.mean()) for name, score in read_scores(scores, index=index)}
    image_id = sorted(means, key=means.get)[round(rank * (len(means) - 1))]
    ((_, data),) = read_images(images, image_ids={image_id}, index=index)
    ((_, score),) = read_scores(scores, image_ids={image_id})
    return Example(image_id, country, decode(data), score)
