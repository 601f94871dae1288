"""What parts of an image a model's answer rests on, one map for each method of explanation."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geoloc.errors import InputError
from geoloc.stores.base import create_store, open_store
from geoloc.stores.values import relevance_problem
from geoloc.types import ARRAY_SIZE


@dataclass(frozen=True)
class Explanation:
    """How a model came to its answer on an image.

    label, predicted: ISO codes of the right country and of the model's answer; relevance: a map
    float32 (224, 224) by method, non-negative, with a sum of 1, or of 0 where a method finds
    nothing that speaks for the answer.
    """

    image_id: str
    label: str
    predicted: str
    relevance: Mapping[str, np.ndarray]


def write_explanations(
    path: str | Path, explanations: Iterable[Explanation], config: object = None
) -> int:
    """Write the `explanations` layout, image by image. Returns the number of images.

    Raises ValueError for maps of another shape or with other values, OSError if the disk is full.
    """
    found, offsets = [], [0]
    with create_store(path, "explanations", config) as writer:
        writer.grow()
        for each in explanations:
            maps = np.array(list(each.relevance.values()), np.float32)
            maps = maps.reshape(len(each.relevance), *maps.shape[1:])
            if maps.shape[1:] != (ARRAY_SIZE, ARRAY_SIZE):
                raise InputError(f"{path}: image {each.image_id}: maps of shape {maps.shape}")
            if problem := relevance_problem(maps):
                raise InputError(f"{path}: image {each.image_id}: {problem}")
            writer.add({"relevance": maps})
            found.append(each)
            offsets.append(offsets[-1] + len(maps))
        writer.finish(
            {
                **{n: [getattr(e, n) for e in found] for n in ("image_id", "label", "predicted")},
                "offsets": offsets,
                "method": [method for each in found for method in each.relevance],
            }
        )
    return len(found)


def explained_images(path: str | Path) -> list[str]:
    """Return the ids of the images of an `explanations` store, without reading their maps.

    Raises:
        StoreError: if the store is not what was written.
    """
    with open_store(path, "explanations") as store:
        return store.columns["image_id"].tolist()


def read_explanations(
    path: str | Path, image_ids: Container[str] | None = None
) -> Iterator[Explanation]:
    """Yield the Explanation of each image of an `explanations` store, in order.

    Args:
        path: the store.
        image_ids: if given, only these images are read.

    Raises:
        StoreError: if the store is not what was written.
    """
    with open_store(path, "explanations") as store:
        columns = store.columns
        texts = (columns[name].tolist() for name in ("image_id", "label", "predicted"))
        for row, (image_id, label, predicted) in enumerate(zip(*texts, strict=True)):
            if image_ids is not None and image_id not in image_ids:
                continue
            start, stop = columns["offsets"][row : row + 2]
            maps = store.read("relevance", start, stop)
            store.check_row(row, [maps], relevance_problem(maps))
            methods = columns["method"][start:stop].tolist()
            yield Explanation(image_id, label, predicted, dict(zip(methods, maps, strict=True)))
