"""Score maps of users' photos as pictures, with a run's segmentation and classes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from matplotlib.figure import Figure

from geoloc.cli.predict.photographs import Photograph
from geoloc.cli.predict.runs import Run
from geoloc.errors import InputError
from geoloc.evaluation.figures import STYLE, save
from geoloc.images import middle
from geoloc.segmentation.classifiers import Classifier
from geoloc.segmentation.kinds import build_segmentation
from geoloc.segmentation.scoring import read_selected, score_map
from geoloc.segmentation.segmenters import Segmenter
from geoloc.segmentation.shard import classify_segments
from geoloc.segmentation.vocabularies import vocabulary_of

LARGEST_SIDE = 1024  # pixels; SAM sees no more of an image


class ScoreMaps:
    """Draws the score maps of photos into a folder.

    Args:
        run: the run whose segmentation and classes are used.
        scores: name of the score maps in its configuration; empty for the first ones.
        folder: where the pictures go.

    Attributes:
        paths: picture of each drawn photo.

    Raises:
        InputError: if the run has no such score maps.
        OSError: if weights are missing or damaged.
    """

    def __init__(self, run: Run, scores: str, folder: Path) -> None:
        known = {name: entry for name, entry in run.config["scores"].items() if entry}
        if not known or (scores and scores not in known):
            raise InputError(f"{run.folder} has no score maps {scores}; remove --score-maps")
        self.settings = known[scores or next(iter(known))]
        entry = dict(run.config["segmentations"][self.settings["segmentation"]])
        self.classes = read_selected(
            self.settings["classes"], self.settings["ambiguous_classes"], vocabulary_of(entry)
        )
        self.segmenter: Segmenter
        self.classifier: Classifier | None
        self.segmenter, self.classifier = build_segmentation(entry, entry.pop("engine"))
        self.folder, self.paths = folder, {}

    def score(self, image: np.ndarray) -> np.ndarray:
        """Return the score map, uint8 (H, W) in 0–100, of an image uint8 (H, W, 3)."""
        (segments,) = self.segmenter.segment([image])
        if self.classifier:
            classify_segments(image, segments, self.classifier, {"classifier": 0.0})
        return score_map(segments, self.classes, self.settings["minimum"], self.settings["merge"])

    def drawn(self, photographs: Iterable[Photograph]) -> Iterator[Photograph]:
        """Yield each photo after drawing its score map."""
        for path, image in photographs:
            small = reduced(image)
            self.paths[path] = self._free_name(path.stem)
            save(score_figure(small, self.score(small), path.name), self.paths[path])
            yield path, image

    def _free_name(self, stem: str) -> Path:
        """Return a path in the folder that no other photo of this call has."""
        taken, number, name = set(self.paths.values()), 1, self.folder / f"{stem}.png"
        while name in taken:
            number += 1
            name = self.folder / f"{stem}-{number}.png"
        return name


def reduced(image: np.ndarray) -> np.ndarray:
    """Return the middle of an image, uint8 (H, W, 3), reduced to at most `LARGEST_SIDE` pixels."""
    image = middle(image)
    share = LARGEST_SIDE / max(image.shape[:2])
    if share >= 1:
        return image
    height, width = (max(1, round(share * side)) for side in image.shape[:2])
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def score_figure(image: np.ndarray, score: np.ndarray, title: str) -> Figure:
    """Draw a photo, uint8 (H, W, 3), next to its score map, uint8 (H, W) in 0–100."""
    ratio = min(max(image.shape[1] / image.shape[0], 0.3), 3)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8 * ratio + 1.2, 4.4), layout="constrained")
        for axis, pixels, name in zip(
            figure.subplots(1, 2), (image, score), (title, "Score map"), strict=True
        ):
            drawn = axis.imshow(pixels, cmap="viridis", vmin=0, vmax=100)
            axis.set_title(name, parse_math=False)
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
        bar = figure.colorbar(drawn, ax=figure.axes, aspect=24, pad=0.01)
        bar.set_label("score (probability of a selected class, %)")
        bar.outline.set_visible(False)
    return figure
