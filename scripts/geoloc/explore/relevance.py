"""Maps of what a model's answer rests on, where the run has some."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from geoloc.corpus.index_tables import read_rows
from geoloc.explain.methods import TITLES
from geoloc.explain.tables import LABELS, SIMILARITIES, why_not_shown
from geoloc.explore.pictures import Pictures, encode_png
from geoloc.explore.requests import Refused
from geoloc.explore.run import FinishedRun
from geoloc.matrix import explained_test_set
from geoloc.stores import read_explanations
from geoloc.types import ARRAY_SIZE

CLIPPED = 99.5  # percentile of a map that is drawn as its maximum, as in the figure of the run


class Relevance:
    """Reads and draws the maps of images of a run.

    Args:
        run: the run.
        pictures: shows the images below the maps.
    """

    def __init__(self, run: FinishedRun, pictures: Pictures) -> None:
        self._run, self._pictures = run, pictures

    def methods(self, n: int, row: str) -> list[dict[str, Any]]:
        """Return the methods that explained a row's answer to image n, with their titles, and why
        a map must not be shown: the check that it failed, or "" if it passed all."""
        return [
            {"method": name, "title": TITLES.get(name, name), "failed": self._failed(row, name)}
            for name in self._maps(n, row)
        ]

    def picture(self, n: int, row: str, method: str) -> bytes:
        """Return a map over its image in gray, as PNG of 224×224 pixels.

        Raises:
            Refused: if there is no such map, or it did not pass its checks.
        """
        found = self._maps(n, row)
        if method not in found or self._failed(row, method):
            raise Refused(404, f"no map of {method[:60]!r} is shown for this image and model")
        relevance = found[method]
        dataset = explained_test_set(self._run.config, self._run.rows[row].dataset)
        image = self._pictures.seen(n, dataset)
        image = cv2.resize(image, (ARRAY_SIZE, ARRAY_SIZE), interpolation=cv2.INTER_AREA)
        strength = np.clip(relevance / (np.percentile(relevance, CLIPPED) or 1), 0, 1)
        colored = cv2.applyColorMap((255 * strength).astype(np.uint8), cv2.COLORMAP_INFERNO)
        opacity = (0.25 + 0.7 * strength)[..., None]
        gray = image.mean(axis=-1, keepdims=True)
        return encode_png(np.rint(gray * (1 - opacity) + colored * opacity).astype(np.uint8))

    def _maps(self, n: int, row: str) -> dict[str, np.ndarray]:
        """Maps float32 (224, 224) by method; none where the image was not explained."""
        image_id = self._run.images.id_of(n)
        path = self._run.explanations_of(row)
        if row and path.exists():
            for found in read_explanations(path, {image_id}):
                return dict(found.relevance)
        return {}

    def _failed(self, row: str, method: str) -> str:
        """Return which check the maps of a row and method failed, as a clause; "" if none."""
        path = self._run.folder / "explanations/faithfulness.csv"
        names = ("model", "dataset", "seed")
        own = dict(zip(names, row.split("/"), strict=True)) | {"method": method}
        for each in read_rows(path) if path.exists() else ():
            if all(each[name] == own[name] for name in own):
                measured = (SIMILARITIES[-1], LABELS, "completeness_error")
                return why_not_shown(*(float(each[name] or "nan") for name in measured))
        return "it was not checked"
