"""Tables of crop boxes: one CSV per shard, with one row per image."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import astuple, fields
from pathlib import Path

from geoloc.errors import FileError
from geoloc.files import atomic_path
from geoloc.types import SCORE_SIZE, Box

COLUMNS = ("image_id", *(field.name for field in fields(Box)))


def write_boxes(path: str | Path, boxes: Mapping[str, Box | None]) -> None:
    """Write the box of each image, by image id; the fields of uncropped images are empty."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for image_id, box in boxes.items():
            values = astuple(box) if box else [""] * (len(COLUMNS) - 1)
            writer.writerow([image_id, *values])


def read_boxes(paths: Iterable[str | Path]) -> dict[str, Box | None]:
    """Read what `write_boxes` wrote.

    Raises:
        FileError: if a file is missing or damaged, or a box exceeds its image.
    """
    found: dict[str, Box | None] = {}
    for path in map(Path, paths):
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
        try:
            if tuple(rows[0]) != COLUMNS:
                raise ValueError(f"its columns are {', '.join(rows[0])}")
            for image_id, *values in rows[1:]:
                if image_id in found:
                    raise ValueError(f"{image_id} has two boxes")
                found[image_id] = _box(values)
        except (ValueError, IndexError, TypeError) as error:
            raise FileError(
                f"{path} is damaged ({error}); delete it and run snakemake again"
            ) from error
    return found


def _box(values: list[str]) -> Box | None:
    if len(values) == len(COLUMNS) - 1 and not any(values):
        return None
    box = Box(*map(int, values))
    right, bottom = box.left + box.width, box.top + box.height
    inside = min(box.left, box.top) >= 0 and max(right, bottom) <= SCORE_SIZE
    drawn = inside and min(box.width, box.height) >= 1
    if not drawn or not 1 <= box.score <= 100 or box.class_id < 0:
        raise ValueError(f"a box {box}")
    return box
