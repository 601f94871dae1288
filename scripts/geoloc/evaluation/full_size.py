"""Predictions of models that read images at full size, in every dataset's view."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd

from geoloc import images, stores
from geoloc.countries.places import Answers
from geoloc.errors import InputError
from geoloc.evaluation.predictions import frames_of_test_sets, predictions_frame, write_table
from geoloc.files import atomic_path
from geoloc.matrix import Row
from geoloc.probabilities import check_probabilities
from geoloc.progress import Progress
from geoloc.stores import ScoreMaps, open_score_maps, score_key
from geoloc.tables import read_table
from geoloc.types import Box
from geoloc.weighting import UNCHANGED, View, make_view

FullSize = tuple[str, np.ndarray, Mapping[str, np.ndarray | Box | None]]
"""Image id, image uint8 (H, W, 3), and its score maps uint8 (H, W) or boxes by key."""
Paths = Sequence[str | Path]


class FullSizeModel(Protocol):
    """A model that answers to images uint8 (H, W, 3), RGB, of any size; `name` is for messages."""

    name: str

    def answer(self, images: Sequence[np.ndarray]) -> Answers: ...


def predictions_at_full_size(
    model: FullSizeModel,
    classes: Sequence[str],
    index: pd.DataFrame,
    street: Paths,
    scores: Mapping[str, Paths],
    boxes: Mapping[str, Paths],
    views: Mapping[str, View],
    photographs: Paths,
    test_sets: Sequence[str],
    batch_size: int,
    index_folder: str | Path | None,
    seed: int,
) -> pd.DataFrame:
    """Predict the test images and return the table described in `predictions_frame`.

    Args:
        model: the model.
        classes: ISO codes of its columns.
        index: table of the index; only images of its test split are predicted.
        street: `images` stores of street images.
        scores: `scores` stores of the same shards, by the name of the score maps.
        boxes: tables of boxes of the same shards, by the name of the score maps.
        views: how each dataset shows the street images.
        photographs: `images` stores of the test sets, which are shown unchanged.
        test_sets: their names.
        batch_size: number of images per call of the model.
        index_folder: folder of the index to compare the stores with; not compared if None.
        seed: as for `geoloc.stores.open_score_maps`.
    """
    index = index[index.split == "test"].set_index("image_id", drop=False)

    def predict(paths: Paths, views: Mapping[str, View], maps: dict) -> tuple[dict, list]:
        """Return the answers by test set, and the columns of the images."""
        items = read_full_size(paths, set(index.image_id), index_folder, maps)
        keyed = {name: (view, score_key(view)) for name, view in views.items()}
        image_ids, answers = predict_images(model, items, keyed, len(classes), batch_size)
        rows = index.loc[np.array(image_ids, object)]
        names = ("image_id", "source", "country", "latitude", "longitude")
        return answers, [rows[name].to_numpy() for name in names]

    with ExitStack() as stack:
        maps = open_score_maps(stack, street, scores, views.values(), index_folder, seed, boxes)
        answers, columns = predict(street, views, maps)
    frames = [
        predictions_frame(found.probabilities, classes, *columns, name, places=found.places)
        for name, found in answers.items()
    ]
    answers, columns = predict(photographs, {"photographs": UNCHANGED}, {})
    found = answers["photographs"]
    frames += frames_of_test_sets(found.probabilities, classes, *columns, test_sets, found.places)
    return pd.concat(frames)


def write_predictions(
    model: FullSizeModel,
    classes: Sequence[str],
    inputs: Any,
    params: Any,
    path: str | Path,
    row: Row,
) -> None:
    """Write the predictions of a rule as Parquet (see `predictions_at_full_size`).

    Args:
        model: the model.
        classes: ISO codes of its columns.
        inputs: the rule's input: `index`, and lists of shards: `street`, `scores`, `boxes` and
            `test_sets`.
        params: the rule's params: `views`, `scores`, `crops`, `test_sets`, `batch_size`,
            `index_folder` and `seed`.
        path: the table to write.
        row: the row of Table 1 that they are of.
    """
    table = predictions_at_full_size(
        model,
        classes,
        read_table(inputs.index),
        stores.read_lists(inputs.street),
        stores.by_name(params.scores, stores.read_lists(inputs.scores)),
        stores.by_name(params.crops, stores.read_lists(inputs.boxes, ".csv")),
        {name: make_view(settings) for name, settings in params.views.items()},
        stores.read_lists(inputs.test_sets),
        params.test_sets,
        params.batch_size,
        params.index_folder,
        params.seed,
    )
    with atomic_path(path) as temporary:
        write_table(temporary, table, row)


def predict_images(
    model: FullSizeModel,
    items: Iterable[FullSize],
    views: Mapping[str, tuple[View, str | None]],
    classes: int,
    batch_size: int = 32,
) -> tuple[list[str], dict[str, Answers]]:
    """Predict n images as shown by every dataset.

    Images are weighted at full size, before the model's own preprocessing. Memory use grows with
    `batch_size`, not with n.

    Args:
        model: the model.
        items: images with their score maps by key.
        views: for each test set, how its dataset shows images, and the key of the score maps it
            needs, or None.
        classes: number of countries, k.
        batch_size: number of images per call of the model.

    Returns:
        The image ids in the order of `items`, and the answers by test set.

    Raises:
        InputError: if an image has no score map that a view needs, or probabilities are not a
            distribution.
    """
    image_ids: list[str] = []
    parts: dict[str, list[Answers]] = {test_set: [] for test_set in views}
    for batch in _batched(Progress(items, description="predict"), batch_size):
        image_ids += [image_id for image_id, _, _ in batch]
        for test_set, (view, key) in views.items():
            if key and (missing := [i for i, _, found in batch if key not in found]):
                raise InputError(f"{missing[0]} has no score map; give the scores of its shard")
            shown = [_shown(view, image, found.get(key)) for _, image, found in batch]
            answers = model.answer(shown)
            check_probabilities(
                answers.probabilities,
                image_ids[-len(batch) :],
                model.name,
                test_set,
                whole=answers.places is None,
            )
            parts[test_set].append(answers)
    return image_ids, {test_set: _joined(found, classes) for test_set, found in parts.items()}


def _shown(view: View, image: np.ndarray, found: np.ndarray | Box | None) -> np.ndarray:
    """Return an image as a view shows it, given its score map or its box."""
    if view.is_crop:
        return found.crop(image) if found else image
    return view(image, found)


def _joined(parts: Sequence[Answers], classes: int) -> Answers:
    if not parts:
        return Answers(np.zeros((0, classes), np.float32))
    places = [part.places for part in parts if part.places is not None]
    return Answers(
        np.concatenate([part.probabilities for part in parts]),
        np.concatenate(places) if places else None,
    )


def _batched(items: Iterable[FullSize], size: int) -> Iterator[list[FullSize]]:
    """Yield lists of `size` items; the last one may be shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def read_full_size(
    images_paths: Iterable[str | Path],
    image_ids: Container[str],
    index: str | Path | None = None,
    scores: Mapping[str, ScoreMaps | Mapping[str, Box | None]] | None = None,
) -> Iterator[FullSize]:
    """Yield the images of the `images` stores whose ids are in `image_ids`, one at a time.

    Args:
        images_paths: `images` stores.
        image_ids: ids of the images.
        index: folder of the index to compare the stores with; not compared if None.
        scores: score maps or boxes by key, from `geoloc.stores.open_score_maps`.

    Raises:
        StoreError: if a store is damaged, or an image has no score map.
    """
    for path in images_paths:
        for image_id, data in stores.read_images(path, image_ids=image_ids, index=index):
            maps = {key: found[image_id] for key, found in (scores or {}).items()}
            yield image_id, images.decode(data), maps
