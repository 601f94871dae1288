"""A user's own segmenter from a Python file: the kind `python`.

The file has a function `load(**options)` that returns an object with a method `segment(images)`.
The method gets uint8 (H, W, 3) RGB images. It returns a list per image, with a tuple per segment:
mask bool (H, W), index of its class in the vocabulary, probability in 0–1.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np

from geoloc.errors import InputError
from geoloc.segmentation import rle
from geoloc.segmentation.segmenters.semantic.regions import window_of
from geoloc.segmentation.segments import to_segments
from geoloc.segmentation.vocabularies import vocabulary
from geoloc.types import Segments
from geoloc.user_file import load_user_object, user_errors


class UserSegmenter:
    """Runs a user's segmenter and checks everything that it returns.

    Args:
        file: the Python file.
        classes: text file of its vocabulary, see `geoloc.segmentation.vocabularies.vocabulary`.
        options: keyword arguments of the file's `load`.
        image_batch: number of images per call.

    Raises:
        OSError: if a file is missing.
        InputError: if the file can't be run or returns an object without `segment`, or the
            vocabulary is invalid.
    """

    def __init__(
        self,
        file: str | Path,
        classes: str,
        options: Mapping[str, Any] | None = None,
        image_batch: int = 1,
    ) -> None:
        self.file, self.vocabulary, self.image_batch = str(file), classes, image_batch
        self.seconds = {"encoder": 0.0}
        self._classes = len(vocabulary(classes))
        self._model = load_user_object(file, options or {})
        if not callable(getattr(self._model, "segment", None)):
            raise InputError(
                f"{file}: load() must return an object with segment(images), but it returned "
                f"{type(self._model).__name__}; correct the file"
            )

    def segment(self, images: Sequence[np.ndarray]) -> list[Segments]:
        """Return the segments of each image in the order of the file, with one class each.

        The probability of the class also serves as predicted IoU and stability score.

        Raises:
            InputError: if the file raises an error, or returns anything but segments of these
                images. The message names the file.
        """
        start = time.perf_counter()
        sizes, found = [image.shape[:2] for image in images], []
        with user_errors(self.file):
            for number, segments in enumerate(self._model.segment(list(images))):
                found.append(self._segments(sizes[number], segments) if number < len(sizes) else [])
        self.seconds["encoder"] += time.perf_counter() - start
        if len(found) != len(images):
            raise InputError(
                f"{self.file}: segment() returned {len(found)} lists for {len(images)} images; "
                "correct the file"
            )
        return found

    def _segments(self, size: tuple[int, int], found: Iterable[Any]) -> Segments:
        """Check and encode the segments of an image, each before the next is asked for: a generator
        may use the array of a mask again."""
        counts, classes, probabilities = [], [], []
        for number, segment in enumerate(found):
            if fault := self._fault(segment, size):
                raise InputError(
                    f"{self.file}: segment() returned {fault}, as segment {number} of an image of "
                    f"{size[0]} × {size[1]} pixels; correct the file"
                )
            mask, class_id, probability = segment
            counts.append(_run_lengths(mask, size))
            classes.append(class_id)
            probabilities.append(probability)
        shares = np.array(probabilities, np.float32)
        segments = to_segments(size, counts, shares, shares)
        segments.class_id[:, 0], segments.class_probability[:, 0] = classes, shares
        return segments

    def _fault(self, segment: Any, size: tuple[int, int]) -> str:
        """Return what is wrong with a segment of an image of the given size, or ""."""
        if not isinstance(segment, tuple) or len(segment) != 3:
            return f"{type(segment).__name__}, not (mask, class index, probability)"
        mask, class_id, probability = segment
        if not isinstance(mask, np.ndarray) or mask.dtype != bool or mask.shape != size:
            found = f"{mask.dtype} {mask.shape}" if hasattr(mask, "dtype") else f"{mask!r:.80}"
            return f"the mask {found} instead of an array bool {size}"
        if not mask.any():
            return "an empty mask"
        if not _is(Integral, class_id) or not 0 <= class_id < self._classes:
            last = self._classes - 1
            return f"the class {class_id!r}, not an index in 0–{last} of {self.vocabulary}"
        if not _is(Real, probability) or not 0 <= probability <= 1:
            return f"the probability {probability!r}, not a number in 0–1"
        return ""


def _is(kind: type, value: Any) -> bool:
    """Return whether a value is a number of a kind; a truth value is none."""
    return isinstance(value, kind) and not isinstance(value, bool)


def _run_lengths(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Encode a mask bool (H, W) with at least one pixel."""
    rows, columns = window_of(mask)
    return rle.encode(mask[rows, columns].T, columns.start, rows.start, size)
