"""The images of a split as a dataset shows them, with the score maps of its view, if any."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from geoloc.errors import InputError
from geoloc.stores.arrays import Arrays
from geoloc.stores.boxes import read_boxes
from geoloc.stores.errors import StoreError
from geoloc.stores.images import read_image_columns
from geoloc.stores.scores import ScoreMaps
from geoloc.types import Box
from geoloc.weighting import View, other_rows

Paths = Sequence[str | Path]


def by_name(names: Sequence[str], paths: Paths) -> dict[str, list[str | Path]]:
    """Divide paths into equal parts, one per name, in order.

    Raises:
        InputError: if the paths don't divide evenly, so a part would belong to another name.
    """
    size, rest = divmod(len(paths), max(len(names), 1))
    if rest or (paths and not names):
        raise InputError(f"{len(paths)} files for {len(names)} names: not as many for each")
    return {name: list(paths[n * size : (n + 1) * size]) for n, name in enumerate(names)}


def dataset_arrays(
    images: Paths,
    scores: Mapping[str, Paths],
    view: View,
    split: str,
    index: str | Path | None,
    seed: int,
    crops: Mapping[str, Paths] | None = None,
) -> Arrays:
    """Return the arrays of a split that a view needs: images with its score maps, or its crops.

    Args:
        images: `arrays` stores of street images.
        scores: `score_arrays` stores of the same shards, by the name of the score maps.
        view: how the dataset shows images.
        split: train, val or test.
        index: folder of the index to compare the stores with; not compared if None.
        seed: draws the other image if the view uses another image's score map.
        crops: `arrays` stores of crops, by the name of the score maps that choose them.

    Raises:
        StoreError: if a store differs from what was written.
    """
    if view.is_crop:
        return Arrays((crops or {})[view.scores], split, index)
    if view.unchanged:
        return Arrays(images, split, index)
    other = seed if view.scores_of == "other_image" else None
    return Arrays(images, split, index, scores[view.scores], other)


def open_score_maps(
    stack: ExitStack,
    images: Paths,
    scores: Mapping[str, Paths],
    views: Iterable[View],
    index: str | Path | None,
    seed: int,
    boxes: Mapping[str, Paths] | None = None,
) -> dict[str, ScoreMaps | Mapping[str, Box | None]]:
    """Open what views of the test split need at full size: score maps or boxes.

    Args:
        stack: closes the stores.
        images: `images` stores of street images.
        scores: `scores` stores of the same shards, by the name of the score maps.
        views: how datasets show images.
        index: folder of the index to compare the stores with; not compared if None.
        seed: as for `dataset_arrays`; it draws the same other image.
        boxes: tables of boxes of the same shards, by the name of the score maps that choose them.

    Returns:
        By `score_key` of each view, its score maps or boxes by image id.

    Raises:
        StoreError: if a store differs from what was written.
    """
    found: dict[str, ScoreMaps | Mapping[str, Box | None]] = {}
    for view in views:
        key = score_key(view)
        if key is None or key in found:
            continue
        if view.is_crop:
            found[key] = read_boxes((boxes or {})[view.scores])
            if missing := [i for i in _test_images(images) if i not in found[key]]:
                raise StoreError(
                    f"the boxes of {view.scores} have no row for {missing[0]}; delete the files "
                    f"below arrays/crops/{view.scores} and run snakemake again"
                )
        else:
            others = _other_images(images, seed) if view.scores_of == "other_image" else None
            found[key] = stack.enter_context(ScoreMaps(scores[view.scores], index, others))
    return found


def score_key(view: View) -> str | None:
    """Return a key of the score maps or boxes that a view needs, or None if it needs none."""
    if view.is_crop:
        return f"boxes of {view.scores}"
    return f"{view.scores} of {view.scores_of}" if view.needs_scores else None


def _test_images(images: Paths) -> list[str]:
    """Return the ids of the test split, in the order of the stores."""
    ids = []
    for path in images:
        columns = read_image_columns(path)
        ids += columns["image_id"][columns["split"] == "test"].tolist()
    return ids


def _other_images(images: Paths, seed: int) -> dict[str, str]:
    """Return the other image of each test image, as `Arrays` draws it."""
    ids = _test_images(images)
    return dict(zip(ids, (ids[row] for row in other_rows(len(ids), seed)), strict=True))
