"""Kinds of segmentations: each pairs a segmenter with what names its masks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from geoloc.errors import InputError
from geoloc.segmentation.classifiers import Classifier, build_classifier
from geoloc.segmentation.segmenters import Segmenter, build_segmenter

Engine = Mapping[str, Any]
Pair = tuple[Segmenter, Classifier | None]
PROMPTED = ("points_per_batch", "image_batch", "compile")
"""Engine keys of segmenters that are prompted with points."""


def build_segmentation(
    entry: Mapping[str, Any], engine: Engine
) -> tuple[Segmenter, Classifier | None]:
    """Build the models of an entry of `segmentations` in the configuration.

    Args:
        entry: the entry without its engine.
        engine: how the models run.

    Returns:
        The segmenter and the classifier of its masks; None if the segmenter names them itself.

    Raises:
        InputError: if the kind is unknown, or a network has another vocabulary.
        OSError: if weights are missing, unreadable or not exactly the model's.
    """
    settings = dict(entry)
    kind = settings.pop("kind")
    if kind not in KINDS:
        raise InputError(f"unknown kind of segmentation {kind!r}; use one of {', '.join(KINDS)}")
    return KINDS[kind](settings, engine)


def _sam(settings: dict[str, Any], engine: Engine) -> Pair:
    model, weights, classifier = map(settings.pop, ("model", "weights", "classifier"))
    segmenter = build_segmenter(
        model, weights, **{name: engine[name] for name in PROMPTED}, **settings
    )
    return segmenter, _classifier(classifier, settings, engine)


def _classifier(entry: Mapping, settings: Mapping, engine: Engine) -> Classifier:
    return build_classifier(
        entry["kind"],
        entry["weights"],
        batch_size=engine["crop_batch"],
        precision=settings["precision"],
        compile=engine["compile"],
    )


def _sam2(settings: dict[str, Any], engine: Engine) -> Pair:
    from geoloc.segmentation.segmenters.sam.sam2 import build

    path, classifier = map(settings.pop, ("path", "classifier"))
    segmenter = build(path, **{name: engine[name] for name in PROMPTED}, **settings)
    return segmenter, _classifier(classifier, settings, engine)


def _semantic(settings: dict[str, Any], engine: Engine) -> Pair:
    from geoloc.segmentation.segmenters.semantic.segmenter import build

    return build(settings.pop("path"), **engine, **settings), None


def _python(settings: dict[str, Any], engine: Engine) -> Pair:
    from geoloc.segmentation.segmenters.user_segmenter import UserSegmenter

    return UserSegmenter(**settings, **engine), None


KINDS: dict[str, Callable[[dict[str, Any], Engine], Pair]] = {
    "sam": _sam,
    "sam2": _sam2,
    "semantic": _semantic,
    "python": _python,
}
