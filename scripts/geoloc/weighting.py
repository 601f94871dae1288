"""Datasets are views of an image: what replaces a pixel, and how much, given its score."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from geoloc.errors import InputError
from geoloc.matrix import OF_CURVES, keys_of_other_curves
from geoloc.user_file import code_digest, load_user_object, user_errors

BLUR = 0.05  # standard deviation of the blur, as a fraction of the image's side


@dataclass(frozen=True)
class View:
    """How a dataset shows an image: `image · f + fill · (1 − f)`, f depending on the pixel's score.

    The defaults show images unchanged. The fields are the keys of `datasets` in the configuration.

    Args:
        curve: `none` (f = 1), `linear` (score / 100), `piecewise` (Eqn. 1, see `custom_factor`) or
            `python` (a user's function, see `user_factor`).
        no_score_factor: f below `lower_score` (Eqn. 1).
        minimum_factor: f at `lower_score` (Eqn. 1).
        maximum_factor: f at `upper_score` and above (Eqn. 1).
        lower_score: score where f starts to rise (Eqn. 1).
        upper_score: score where f stops rising (Eqn. 1).
        invert: whether f is that of 100 − score.
        fill: `black`, `mean` (the image's mean color) or `blur` (a blurred copy of it).
        scores: name of the score maps.
        scores_of: `self`, or `other_image`: the score map of another image, see `other_rows`.
        view: `whole`, or `object`: the crop of the segment with the highest score, see
            `geoloc.segmentation.objects`.
        file: Python file of the curve `python`.
        options: keyword arguments of its `load`.
        code: digest of that file, see `geoloc.user_file.code_digest`; `make_view` fills it in.
    """

    curve: str = "none"
    no_score_factor: float = 0.1
    minimum_factor: float = 0.2
    maximum_factor: float = 1.0
    lower_score: int = 10
    upper_score: int = 70
    invert: bool = False
    fill: str = "black"
    scores: str | None = None
    scores_of: str = "self"
    view: str = "whole"
    file: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    code: str = ""

    def __post_init__(self) -> None:
        for key, known in (
            ("view", VIEWS),
            ("curve", CURVES),
            ("fill", FILLS),
            ("scores_of", SCORES_OF),
        ):
            if (value := getattr(self, key)) not in known:
                raise InputError(f"unknown {key} {value!r}; write one of {', '.join(known)}")

    @property
    def needs_scores(self) -> bool:
        """Whether score maps decide how bright pixels are."""
        return self.curve != "none"

    @property
    def is_crop(self) -> bool:
        """Whether images are cropped to an object."""
        return self.view == "object"

    @property
    def unchanged(self) -> bool:
        """Whether images are shown unchanged."""
        return not self.needs_scores and not self.is_crop

    @cached_property
    def factor(self) -> np.ndarray:
        """The curve as a lookup table, float32 (256,): the factor of each score.

        Scores are 0–100; entries above 100 repeat the factor of 100, so that any uint8 is an index.
        """
        score = np.minimum(np.arange(256), 100)
        return CURVES[self.curve](100 - score if self.invert else score, self).astype(np.float32)

    def __call__(self, image: np.ndarray, score: np.ndarray | None = None) -> np.ndarray:
        """Show images as the dataset does.

        Args:
            image: uint8 (…, H, W, 3).
            score: uint8 (…, H, W) in 0–100; may be None unless the view `needs_scores`.

        Returns:
            uint8 (…, H, W, 3). With black, the product is truncated, not rounded, as in the study's
            code. Other fills are rounded, so that a pixel equal to its fill stays the same.

        Raises:
            InputError: if a score map is needed and missing.
        """
        if not self.needs_scores:
            return image
        if score is None:
            raise InputError("a weighted image needs a score map; give the scores of its shard")
        result = np.empty_like(image)
        height, width = score.shape[-2:]
        for pixels, scores, target in zip(
            image.reshape(-1, height, width, 3),
            score.reshape(-1, height, width),
            result.reshape(-1, height, width, 3),
            strict=True,
        ):  # single images stay in the cache: a third of the time of the whole batch at once
            factor = cv2.merge([cv2.LUT(scores, self.factor)] * 3)
            product = np.multiply(pixels, factor, out=None if self.fill != "black" else factor)
            if self.fill != "black":
                product = np.rint(product + FILLS[self.fill](pixels) * (1 - factor))
            target[...] = product
        return result

    def settings(self) -> dict[str, Any]:
        """Return what decides how images look, as stored in the model's record."""
        if self.is_crop:
            return {"view": self.view, "curve": "none", "scores": self.scores}
        if not self.needs_scores:
            return {"curve": "none"}
        others = keys_of_other_curves(self.curve, OWN_KEYS)
        found = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in others}
        del found["view"]
        if self.file:
            found |= {"file": Path(self.file).name, "options": dict(self.options)}
        return found


def custom_factor(score: np.ndarray, view: View) -> np.ndarray:
    """Compute Eqn. 1 of *Beyond the Image*: dim everything except what scores.

    Below `lower_score` the factor is `no_score_factor`, above `upper_score` it is
    `maximum_factor`, and between them it rises linearly from `minimum_factor` to `maximum_factor`.

    Args:
        score: values in 0–100.
        view: has the parameters.

    Returns:
        float64 of the same shape.
    """
    share = (score - view.lower_score) / (view.upper_score - view.lower_score)
    factor = view.minimum_factor + share * (view.maximum_factor - view.minimum_factor)
    factor = np.where(score < view.lower_score, view.no_score_factor, factor)
    return np.where(score > view.upper_score, view.maximum_factor, factor)


def user_factor(score: np.ndarray, view: View) -> np.ndarray:
    """Return the factor that a user's file gives each score.

    `load(**view.options)` of the file returns a function from the scores 0, 1, …, 100, int (101,),
    to their factors, float (101,) in 0–1.

    Args:
        score: int in 0–100.
        view: has the file and its options.

    Returns:
        float of the same shape.

    Raises:
        OSError: if the file does not exist.
        InputError: if the file can't be run, or its function returns anything else.
    """
    curve = load_user_object(view.file, view.options)
    if not callable(curve):
        raise InputError(
            f"{view.file}: load() must return a function from scores to factors, but it returned "
            f"{type(curve).__name__}; correct the file"
        )
    with user_errors(view.file):
        found, again = (np.asarray(curve(np.arange(101))) for _ in range(2))
    if found.dtype.kind != "f" or found.shape != (101,):
        fault = f"{found.dtype} {found.shape} instead of float (101,)"
    elif (wrong := ~((found >= 0) & (found <= 1))).any():
        first = int(wrong.argmax())
        fault = f"the factor {found[first]:g} for the score {first}, not one in 0–1"
    elif not np.array_equal(found, again):
        fault = "other factors when called again, so training and tests would differ"
    else:
        return found[score]
    raise InputError(f"{view.file}: the curve returned {fault}; correct the file")


def _mean(image: np.ndarray) -> np.ndarray:
    """Return the mean color of an image uint8 (H, W, 3): float64 (3,)."""
    return image.reshape(-1, 3).mean(axis=0)


def _blurred(image: np.ndarray) -> np.ndarray:
    """Return a blurred copy of an image, uint8 (H, W, 3)."""
    return cv2.GaussianBlur(image, (0, 0), BLUR * max(image.shape[:2]))


CURVES: dict[str, Callable[[np.ndarray, View], np.ndarray]] = {
    "none": lambda score, view: np.ones(len(score)),
    "linear": lambda score, view: score / 100,
    "piecewise": custom_factor,
    "python": user_factor,
}
OWN_KEYS = OF_CURVES | {"python": (*OF_CURVES["python"], "code")}
"""Fields of a View that only some curves use, by curve."""
FILLS: dict[str, Callable[[np.ndarray], np.ndarray] | None] = {
    "black": None,
    "mean": _mean,
    "blur": _blurred,
}
VIEWS = ("whole", "object")
SCORES_OF = ("self", "other_image")
UNCHANGED = View()


def make_view(settings: Mapping[str, Any]) -> View:
    """Create the view of an entry of `datasets`, or of what `View.settings` returned.

    The file of a curve `python` runs, unless the settings are those of `View.settings`.

    Raises:
        OSError: if the file does not exist.
        InputError: if a key or value is unknown, or the file has no curve.
    """
    known = {f.name for f in fields(View)}
    if unknown := sorted(set(settings) - known):
        raise InputError(f"unknown settings of a dataset: {', '.join(unknown)}")
    view = View(**settings)
    if view.curve == "python" and not view.code:
        if not view.file:
            raise InputError("the curve python needs a file; write the path of your Python file")
        view = replace(view, code=code_digest(view.file))
        _ = view.factor  # a mistake in the file shows now and not in the first batch
    return view


def other_rows(count: int, seed: int) -> np.ndarray:
    """Return another random image for each of `count` images: a permutation without fixed points.

    All images are in one cycle, so each gives its score map to exactly one other. A single image
    gets itself.

    Returns:
        int64 (count,): the row of the other image.
    """
    order = np.random.default_rng(seed).permutation(count)
    other = np.empty(count, np.int64)
    other[order] = np.roll(order, 1)
    return other
