"""Pictures of one image, read when they are asked for: as datasets show it, and its scores."""

from __future__ import annotations

import io
from functools import lru_cache

import cv2
import numpy as np
from PIL import Image

from geoloc.errors import FileError
from geoloc.explore.images import STREET, Images
from geoloc.explore.open_images import OpenImages
from geoloc.explore.requests import Refused
from geoloc.explore.run import FinishedRun
from geoloc.images import KEPT_AS_THEY_ARE, decode
from geoloc.rgb import to_rgb
from geoloc.stores import read_boxes, read_scores, read_segments
from geoloc.types import Box, Segments
from geoloc.weighting import View, make_view, other_rows

THUMBNAIL = 224  # longer side in pixels
LARGEST = 1280
KEPT_THUMBNAILS = 512
ROUGH = 1.0  # pixels by which an outline may differ from its mask


class Pictures:
    """Makes pictures of the images of a run. Keeps the last thumbnails in memory, nothing else.

    Args:
        run: the run.
    """

    def __init__(self, run: FinishedRun) -> None:
        self._run, self._images, self._stores = run, run.images, OpenImages()
        self.views = {name: make_view(run.settings[name]) for name in run.shown_datasets}
        self.thumbnail = lru_cache(KEPT_THUMBNAILS)(self._thumbnail)
        self._others = lru_cache(2)(self._other_images)

    def picture(self, n: int, dataset: str, side: int = LARGEST) -> bytes:
        """Return image n as a dataset shows it, as JPEG with a longer side of at most `side`
        pixels. Photos of test sets are shown unchanged, as models see them.

        Raises:
            Refused: for an image or a dataset that does not exist.
            StoreError: for a store that is missing or damaged.
        """
        if dataset not in self.views:
            raise Refused(404, f"the page does not show the dataset {dataset[:60]!r}")
        if self.views[dataset].unchanged or not self._images.is_street(n):
            return jpeg(_smaller(decode_small(self._data(n), side), side))
        return jpeg(_smaller(self.seen(n, dataset), side))

    def seen(self, n: int, dataset: str) -> np.ndarray:
        """Return image n as a dataset shows it, uint8 (H, W, 3), RGB. Raises as `picture`."""
        if dataset not in self.views:
            raise Refused(404, f"the page does not show the dataset {dataset[:60]!r}")
        image = decode(self._data(n))
        return self._shown(n, image, self.views[dataset]) if self._images.is_street(n) else image

    def _thumbnail(self, n: int, dataset: str) -> bytes:
        return self.picture(n, dataset, THUMBNAIL)

    def _data(self, n: int) -> bytes:
        wanted = self._images.id_of(n)
        return self._stores.read(self._images.store(n, "images"), wanted)

    def _shown(self, n: int, image: np.ndarray, view: View) -> np.ndarray:
        if view.is_crop:
            box = self._box(n, view.scores)
            return box.crop(image) if box else image
        if not view.needs_scores:
            return image
        other = self._other(n) if view.scores_of == "other_image" else n
        return view(image, self.score(other, view.scores))

    def score(self, n: int, scores: str) -> np.ndarray:
        """Return the score map of image n, uint8 (640, 640) in 0–100."""
        wanted = self._images.id_of(n)
        path = self._images.store(n, f"scores/{scores}")
        for _, score in read_scores(path, image_ids={wanted}):
            return score
        raise FileError(f"{path} has no score map of {wanted}; run snakemake again")

    def score_picture(self, n: int, scores: str) -> bytes:
        """Return the score map of image n in the colors of Fig. 2, as PNG."""
        self._check_street(n)
        scaled = (self.score(n, scores).astype(np.uint16) * 255 // 100).astype(np.uint8)
        return encode_png(cv2.applyColorMap(scaled, cv2.COLORMAP_VIRIDIS))

    def segments(self, n: int, segmentation: str) -> Segments:
        """Return the segments of image n."""
        self._check_street(n)
        wanted = self._images.id_of(n)
        path = self._images.store(n, f"segments/{segmentation}")
        for found in read_segments(path, image_ids={wanted}):
            return found
        raise FileError(f"{path} has no segments of {wanted}; run snakemake again")

    def _check_street(self, n: int) -> None:
        self._images.id_of(n)
        if not self._images.is_street(n):
            raise Refused(404, "photos of test sets are not segmented")

    def _box(self, n: int, scores: str) -> Box | None:
        path = self._images.store(n, f"arrays/crops/{scores}").with_suffix(".csv")
        if not path.exists():
            raise FileError(f"{path} is missing; run snakemake again")
        return read_boxes([path]).get(self._images.id_of(n))

    def _other(self, n: int) -> int:
        """The image whose score map stands for that of image n."""
        return self._others(self._images.value("split", n))[n]

    def _other_images(self, split: str) -> dict[int, int]:
        order = street_order(self._images, split)
        other = other_rows(len(order), self._run.config["seed"])
        return dict(zip(order.tolist(), order[other].tolist(), strict=True))


def street_order(images: Images, split: str) -> np.ndarray:
    """Return the positions of the street images of a split in the order of their stores, int64."""
    wanted = np.flatnonzero(images.mask("collection", STREET) & images.mask("split", split))
    names = [
        np.array(images.names[name])[images.codes[name][wanted]] for name in ("shard", "country")
    ]
    return wanted[np.lexsort(names)]


def outline(mask: np.ndarray) -> str:
    """Return the outline of a mask bool (H, W) as the data of an SVG path in pixels, holes
    included."""
    found, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    parts = []
    for contour in found:
        points = cv2.approxPolyDP(contour, ROUGH, closed=True)[:, 0]
        if len(points) > 2:
            parts.append("M" + "L".join(f"{x} {y}" for x, y in points.tolist()) + "Z")
    return "".join(parts)


def decode_small(data: bytes, side: int) -> np.ndarray:
    """Decode an image to uint8 (H, W, 3), RGB, smaller than it is if that is faster, but not
    smaller than `side` pixels. Raises UnreadableImage."""
    with Image.open(io.BytesIO(data), formats=KEPT_AS_THEY_ARE) as image:
        image.draft("RGB", (side, side))  # a JPEG can leave out details
        return np.asarray(to_rgb(image))


def jpeg(image: np.ndarray) -> bytes:
    """Return an image uint8 (H, W, 3), RGB, as JPEG."""
    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])
    return data.tobytes()


def encode_png(image: np.ndarray) -> bytes:
    """Return an image uint8 (H, W, 3), BGR as OpenCV has it, as PNG."""
    _, data = cv2.imencode(".png", image)
    return data.tobytes()


def _smaller(image: np.ndarray, side: int) -> np.ndarray:
    scale = side / max(image.shape[:2])
    if scale >= 1:
        return image
    height, width = (max(1, round(scale * length)) for length in image.shape[:2])
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
