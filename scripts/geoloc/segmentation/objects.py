"""The best object of an image, for datasets that crop images to it (Yuan 2022)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from geoloc.images import decode, resize_nearest
from geoloc.segmentation.scoring import segment_scores
from geoloc.stores import (
    StoreError,
    read_image_columns,
    read_images,
    read_segments,
    write_arrays,
    write_boxes,
)
from geoloc.types import ARRAY_SIZE, Box, Segments


def best_object(segments: Segments, selected: Iterable[int], minimum: float = 0.10) -> Box | None:
    """Return the bounding box of the segment with the highest score.

    Ties go to the larger segment, then to the first.

    Args:
        segments: the segments of an image.
        selected: indices of the classes that score.
        minimum: a class counts only above this probability.

    Returns:
        The box in pixels; None if no segment scores.
    """
    scores = segment_scores(segments.class_id, segments.class_probability, selected, minimum)
    if not len(scores) or not scores.max():
        return None
    best = np.lexsort((-np.arange(len(scores)), segments.area, scores))[-1]
    left, top, width, height = map(int, segments.bbox[best])
    wanted = np.isin(segments.class_id[best], np.asarray(selected))
    class_id = int(segments.class_id[best][wanted.argmax()])
    return Box(left, top, width, height, int(scores[best]), class_id)


def pack_crops(
    images: Path,
    segments: Path,
    label: str,
    selected: np.ndarray,
    minimum: float,
    arrays: Path,
    boxes: Path,
    index: str | Path | None = None,
) -> None:
    """Crop each image to its best object, squash it to 224×224 and write the `arrays` layout.

    Args:
        images: `images` store of a shard.
        segments: `segments` store of the same images.
        label: ISO code of its country.
        selected: indices of the classes that score.
        minimum: a class counts only above this probability.
        arrays: the store to write.
        boxes: the table to write, see `geoloc.stores.write_boxes`.
        index: folder of the index to compare the stores with; not compared if None.

    Raises:
        StoreError: if a store is damaged, or the segments belong to other images.
    """
    columns = read_image_columns(images, index)
    columns["label"] = np.full(len(columns["image_id"]), label)
    found = {
        each.image_id: best_object(each, selected, minimum)
        for each in read_segments(segments, index=index)
    }
    if list(found) != columns["image_id"].tolist():
        raise StoreError(
            f"{segments} belongs to other images than {images}; delete {segments} and run "
            "snakemake again"
        )
    write_arrays(arrays, columns, _crops(images, found), {"size": ARRAY_SIZE, "crop": True})
    write_boxes(boxes, found)


def _crops(images: Path, boxes: dict[str, Box | None]) -> Iterator[np.ndarray]:
    for image_id, data in read_images(images):
        image, box = decode(data), boxes[image_id]
        yield resize_nearest(box.crop(image) if box else image, ARRAY_SIZE)
