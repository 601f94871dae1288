"""A user's own model from a Python file: `kind: python`.

The file has a function `load(**options)` that returns an object with one of two methods:

    predict(images, countries): probabilities, float (n, k), each row adding up to 1
    places(images): latitude in −90…90 and longitude in −180…180 degrees, float (n, 2)

A table with named columns, such as one of pandas, is accepted if the names are the countries, or
`latitude` and `longitude`, in this order.

`images` are uint8 (n, height, width, 3), RGB, at full size. `countries` are the k ISO 3166-1
alpha-2 codes of the columns. The configured geocoder finds the countries of places
(`geoloc.countries.places`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from geoloc.countries.places import Answers, answers_of_one_place
from geoloc.errors import InputError
from geoloc.probabilities import SUM_TOLERANCE
from geoloc.user_file import load_user_object, user_errors

METHODS = ("predict", "places")
PLACE = ["latitude", "longitude"]


class UserModel:
    """Runs a user's model and checks everything that it returns.

    Args:
        path: the Python file.
        classes: k ISO codes.
        geocoder: a key of `geoloc.countries.geocoding.GEOCODERS`, for a model of places.
        options: keyword arguments of the file's `load`.

    Attributes:
        name: the path, for messages.

    Raises:
        OSError: if the file does not exist.
        InputError: if the file can't be run, or `load` returns an object with neither or both of
            the methods.
    """

    def __init__(
        self,
        path: str | Path,
        classes: Sequence[str],
        geocoder: str = "nearest_city",
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.name, self.classes, self.geocoder = str(path), list(classes), geocoder
        self._model = load_user_object(path, options or {})
        found = [name for name in METHODS if callable(getattr(self._model, name, None))]
        if len(found) != 1:
            raise InputError(
                f"{path}: load() must return an object with either predict(images, countries) or "
                f"places(images), but the {type(self._model).__name__} that it returned has "
                f"{' and '.join(found) or 'neither'}"
            )
        self._method = found[0]

    def answer(self, images: Sequence[np.ndarray]) -> Answers:
        """Return the model's answers for n images uint8 (H, W, 3), RGB.

        Images of the same size are passed in one call.

        Raises:
            InputError: if the model raises an error, or returns anything but probabilities or
                places of these images. The message names the file.
        """
        sizes = [image.shape for image in images]
        shape = (len(images), len(self.classes) if self._method == "predict" else 2)
        found = np.empty(shape, np.float64)
        for size in dict.fromkeys(sizes):
            rows = [row for row, other in enumerate(sizes) if other == size]
            found[rows] = self._call(np.stack([images[row] for row in rows]))
        if self._method == "places":
            return answers_of_one_place(found, self.classes, self.geocoder)
        return Answers(found.astype(np.float32))

    def _call(self, images: np.ndarray) -> np.ndarray:
        arguments = [images, list(self.classes)] if self._method == "predict" else [images]
        columns = self.classes if self._method == "predict" else PLACE
        with user_errors(self.name):
            answer = getattr(self._model, self._method)(*arguments)
            found = np.asarray(answer)
            fault = _lost_fault(answer, columns)
        if fault := fault or _fault(found, (len(images), len(columns)), self._method):
            raise InputError(
                f"{self.name}: {self._method}() returned {fault}, for {len(images)} images of "
                f"{images.shape[1]} × {images.shape[2]} pixels; correct the file"
            )
        return found


def _lost_fault(answer: Any, columns: list[str]) -> str:
    """Return what would be lost by taking only the numbers of an answer, or ""."""
    if np.ma.is_masked(answer):
        return "masked values"
    names = getattr(answer, "columns", None)
    if names is not None and list(names) != columns:
        return f"the columns {', '.join(map(str, names))} instead of {', '.join(columns)}"
    return ""


def _fault(found: np.ndarray, shape: tuple[int, int], method: str) -> str:
    """Return what is wrong with the values that a user's model returned, or ""."""
    if found.dtype.kind != "f" or found.shape != shape:
        return f"{found.dtype} {found.shape} instead of float {shape}"
    if not np.isfinite(found).all():
        return "values that are not finite"
    if method == "places":
        outside = (np.abs(found) > (90, 180)).any(axis=1)
        what = "latitude {:g}, longitude {:g} (degrees, in this order)"
        return what.format(*found[outside][0]) if outside.any() else ""
    if (found < 0).any():
        return f"a negative probability ({found.min():.3g})"
    sums = found.sum(axis=1, dtype=np.float64)
    wrong = np.abs(sums - 1) > SUM_TOLERANCE
    return f"probabilities that add up to {sums[wrong][0]:.6g}, not to 1" if wrong.any() else ""
