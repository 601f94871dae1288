"""Users' photos: find them in files and folders, read them, and feed them to a model in batches."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from geoloc.cli.predict.models import CountryModel
from geoloc.corpus.system_files import is_system_name
from geoloc.countries.places import Answers
from geoloc.files import on_one_line
from geoloc.images import (
    EXTENSIONS,
    MAX_MEGAPIXELS,
    Preparation,
    UnreadableImage,
    is_image,
    prepared_pixels,
    read_file,
)
from geoloc.probabilities import check_probabilities

BATCH_SIZE = 32
BATCH_PIXELS = BATCH_SIZE << 19  # a batch with more pixels ends; a single photo may have more

Failures = list[tuple[Path, str]]
Photograph = tuple[Path, np.ndarray]
"""A photo and its pixels, uint8 (H, W, 3), RGB."""
Prediction = tuple[Path, np.ndarray, np.ndarray | None]
"""A photo, its probabilities (k,), and the latitude and longitude (2,) in degrees that a model of
places answers with."""


def find_photographs(path: Path) -> list[Path]:
    """Return a file itself, or the image files of a folder and its subfolders, sorted by name.

    Hidden files and system files are skipped. A message counts the other files.

    Raises:
        UnreadableImage: if a folder contains no image file or can't be listed.
    """
    if not path.is_dir():
        return [path]
    found: list[Path] = []
    others: Counter[str] = Counter()
    for folder, subfolders, names in os.walk(path, onerror=_stop):
        subfolders[:] = sorted(filter(_is_shown, subfolders))
        for name in sorted(filter(_is_shown, names)):
            if is_image(name):
                found.append(Path(folder, name))
            else:
                others[Path(name).suffix.lower() or "no suffix"] += 1
    kinds = ", ".join(sorted(EXTENSIONS))
    if not found:
        raise UnreadableImage(f"no image file in this folder (looked for {kinds})")
    if others:
        counts = ", ".join(f"{kind} {count}" for kind, count in sorted(others.items()))
        print(f"note: {path}: other files are ignored ({counts})", file=sys.stderr)
    return found


def _is_shown(name: str) -> bool:
    return not name.startswith(".") and not is_system_name(name)


def _stop(error: OSError) -> None:
    raise UnreadableImage(f"{error.filename}: {error.strerror}") from error


def read_photograph(
    path: Path, preparation: Preparation, max_megapixels: float = MAX_MEGAPIXELS
) -> np.ndarray:
    """Read a photo and prepare it as the workflow does: upright, cropped, uint8 (H, W, 3), RGB.

    Raises:
        UnreadableImage: with the reason, also if the file does not exist.
    """
    try:
        return prepared_pixels(read_file(path), preparation, max_megapixels)
    except OSError as error:
        raise UnreadableImage(error.strerror or str(error)) from error


def read_photographs(
    paths: Iterable[Path],
    preparation: Preparation,
    failures: Failures,
    max_megapixels: float = MAX_MEGAPIXELS,
) -> Iterator[Photograph]:
    """Yield each readable photo.

    The others are reported on stderr and added to `failures` with the reason.
    """
    for path in paths:
        try:
            yield path, read_photograph(path, preparation, max_megapixels)
        except UnreadableImage as error:
            fail(path, error, failures)


def fail(path: Path, error: UnreadableImage, failures: Failures) -> None:
    """Report on stderr why a path has no prediction, and record it."""
    print(f"error: {on_one_line(path)}: {error}", file=sys.stderr)
    failures.append((path, str(error)))


def predict(model: CountryModel, photographs: Iterable[Photograph]) -> Iterator[Prediction]:
    """Yield each photo with its probabilities (k,), float32, and its place, in order.

    Memory use grows with the largest photo, not with their number.

    Raises:
        ValueError: if the probabilities are not a distribution.
    """
    for batch in _batches(photographs):
        names, images = zip(*batch, strict=True)
        probabilities = model.probabilities(images)
        check_probabilities(probabilities, names, model.name, "photographs")
        answers = model.places.answer(probabilities) if model.places else Answers(probabilities)
        places = [None] * len(names) if answers.places is None else answers.places
        yield from zip(names, answers.probabilities, places, strict=True)


def _batches(photographs: Iterable[Photograph]) -> Iterator[list[Photograph]]:
    batch: list[Photograph] = []
    for photograph in photographs:
        batch.append(photograph)
        pixels = sum(image.shape[0] * image.shape[1] for _, image in batch)
        if len(batch) == BATCH_SIZE or pixels > BATCH_PIXELS:
            yield batch
            batch = []
    if batch:
        yield batch
