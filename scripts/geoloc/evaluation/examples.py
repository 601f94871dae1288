"""Choose the example images of a figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geoloc.errors import InputError
from geoloc.evaluation.figures import Example, Region
from geoloc.images import decode
from geoloc.segmentation import rle
from geoloc.segmentation.scoring import segment_classes, segment_scores
from geoloc.stores import read_images, read_scores, read_segments
from geoloc.types import Segments

Shard = tuple[str, Path, Path, Path]
"""Country, and its `images`, `segments` and `scores` stores of the same images."""
SCORED, OTHERS = 12, 4  # segments that are drawn of an image


@dataclass(frozen=True)
class Naming:
    """What the classes of segments are called, and which of them score: the vocabulary, the indices
    of the selected classes, and the probability above which a class counts."""

    names: Sequence[str]
    selected: np.ndarray
    minimum: float

    def of(self, segments: Segments) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return the class, int64 (m,), of each segment (-1: none), its probability 0–1 float64
        (m,), and the score of the segment uint8 (m,) in 0–100.

        Raises:
            InputError: for a class that is not in the vocabulary.
        """
        own = segments.class_id, segments.class_probability, self.selected, self.minimum
        scores, (classes, probability) = segment_scores(*own), segment_classes(*own)
        if len(classes) and not -1 <= classes.min() <= classes.max() < len(self.names):
            raise InputError(
                f"{segments.image_id}: a segment has the class {classes.max()}, but the vocabulary "
                f"has {len(self.names)} classes; correct the vocabulary and run snakemake again"
            )
        return classes, probability, scores


def choose_examples(
    shards: Sequence[Shard],
    naming: Naming,
    count: int,
    seed: int,
    index: str | Path | None = None,
) -> list[Example]:
    """Choose one image from each of `count` countries that are drawn by `seed`.

    The images of each country's first shard are ranked by mean score. The first country shows its
    median image, the last one its highest, those between follow in equal steps. So the figure shows
    the typical case and the best one, and nobody picked them.

    Args:
        shards: stores by country.
        naming: names of the segments that are drawn.
        count: number of images.
        seed: draws the countries.
        index: folder of the index to compare the stores with; not compared if None.
    """
    first = {country: stores for country, *stores in reversed(shards)}
    drawn = np.random.default_rng(seed).permutation(sorted(first))[:count]
    ranks = np.linspace(0.5, 1, len(drawn))
    return [
        _example_at(rank, country, *first[country], naming, index)
        for rank, country in zip(ranks, sorted(drawn), strict=True)
    ]


def _example_at(
    rank: float,
    country: str,
    images: Path,
    segments: Path,
    scores: Path,
    naming: Naming,
    index: str | Path | None,
) -> Example:
    """Return the image of a shard at a rank by mean score: 0 the lowest, 1 the highest."""
    means = {name: float(score.mean()) for name, score in read_scores(scores, index=index)}
    image_id = sorted(means, key=means.get)[round(rank * (len(means) - 1))]
    ((_, data),) = read_images(images, image_ids={image_id}, index=index)
    ((_, score),) = read_scores(scores, image_ids={image_id})
    (found,) = read_segments(segments, image_ids={image_id}, index=index)
    return Example(image_id, country, decode(data), score, shown_regions(found, naming))


def shown_regions(
    segments: Segments, naming: Naming, scored: int = SCORED, others: int = OTHERS
) -> list[Region]:
    """Return the segments with the highest scores, and the largest of those without one.

    Args:
        segments: of one image.
        naming: names of their classes.
        scored: at most so many segments that score.
        others: at most so many of the others.

    Returns:
        Those without a score first, then by rising score, so that the best is drawn last.
    """
    classes, probability, scores = naming.of(segments)
    best = np.lexsort((segments.area, scores))[::-1][: min(scored, int((scores > 0).sum()))]
    largest = np.argsort(np.where(scores > 0, -1, segments.area), kind="stable")[::-1]
    largest = largest[: min(others, int((scores == 0).sum()))]
    return [
        Region(
            rle.decode(segments.counts[row], segments.size),
            naming.names[classes[row]] if classes[row] >= 0 else "",
            float(probability[row]),
            int(scores[row]),
        )
        for row in [*largest[::-1], *best[::-1]]
    ]
