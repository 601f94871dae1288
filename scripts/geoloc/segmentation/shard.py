"""Segment every image of a shard and classify every mask."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from geoloc.errors import InputError
from geoloc.images import decode
from geoloc.prefetch import map_ahead
from geoloc.progress import Progress
from geoloc.pytorch.finite import NotFinite
from geoloc.segmentation.classifiers import Classifier
from geoloc.segmentation.crops import cut_crops
from geoloc.segmentation.journal import Journal
from geoloc.segmentation.segmenters import Segmenter
from geoloc.stores import config_hash, read_digest, read_image_columns, read_images, write_segments
from geoloc.types import Segments

log = logging.getLogger(__name__)


def segment_shard(
    images_path: str | Path,
    output_path: str | Path,
    segmenter: Segmenter,
    classifier: Classifier | None,
    config: object = None,
    index: str | Path | None = None,
) -> int:
    """Write the `segments` of an `images` store.

    A killed run with the same images and the same `config` resumes from its journal next to the
    output. Memory use does not grow with the number of images.

    Args:
        images_path: the `images` store.
        output_path: the `segments` store to write.
        segmenter: finds the masks.
        classifier: names them; None if the segmenter does.
        config: the settings that the masks depend on.
        index: folder of the index to compare the store with; not compared if None.

    Returns:
        The number of images.

    Raises:
        OSError: if a store is damaged.
        ValueError: if an image can't be decoded, a model outputs NaN, or the masks would be named
            by neither or both of segmenter and classifier.
        BlockingIOError: if another process is segmenting the same shard.
    """
    if (classifier is None) == (segmenter.vocabulary is None):
        raise InputError(
            "this segmenter names no masks: give it a classifier"
            if classifier is None
            else "this segmenter names its masks itself: set its classifier to null"
        )
    image_ids = read_image_columns(images_path, index)["image_id"].tolist()
    output = Path(output_path)
    settings = config_hash([config, read_digest(images_path, "images")])
    with Journal(output.with_name(f".{output.stem}.journal"), settings, image_ids) as journal:
        fill_journal(journal, images_path, len(image_ids), segmenter, classifier)
        write_segments(output, journal, config)
        journal.delete()
    return len(image_ids)


def fill_journal(
    journal: Journal,
    images_path: str | Path,
    count: int,
    segmenter: Segmenter,
    classifier: Classifier | None,
) -> None:
    """Segment those of a store's `count` images that are not in the journal yet."""
    done, start = len(journal), time.perf_counter()
    if done:
        log.info("%d of %d images were segmented before", done, count)
    seconds: dict[str, float] = {"classifier": 0.0}
    masks = 0
    todo = segment_images(images_path, done, segmenter, classifier, seconds)
    progress = Progress(todo, total=count - done, description="segment", unit="images")
    for number, segments in enumerate(progress, start=1):
        journal.append(segments)
        masks += len(segments)
        progress.note = f"{masks / number:.1f} masks an image" + device_memory()
    log_shares(seconds | dict(segmenter.seconds), time.perf_counter() - start)


def segment_images(
    path: str | Path,
    first: int,
    segmenter: Segmenter,
    classifier: Classifier | None,
    seconds: dict[str, float],
) -> Iterator[Segments]:
    """Yield segments with classes for the images of a store, from row `first` on.

    The time of the classifier is added to `seconds`.
    """
    decoded = decode_ahead(path, first, ahead=2 * segmenter.image_batch)
    while batch := list(islice(decoded, segmenter.image_batch)):
        with named(path, [image_id for image_id, _ in batch]):
            found = segmenter.segment([image for _, image in batch])
        for (image_id, image), segments in zip(batch, found, strict=True):
            segments.image_id = image_id
            if classifier:
                with named(path, [image_id]):
                    classify_segments(image, segments, classifier, seconds)
            yield segments


@contextmanager
def named(path: str | Path, image_ids: Sequence[str]) -> Iterator[None]:
    """Add the image id to a NotFinite error of a batch."""
    try:
        yield
    except NotFinite as error:
        raise NotFinite(f"{path}: image {image_ids[error.image]}: {error}") from error


def decode_ahead(path: str | Path, first: int, ahead: int) -> Iterator[tuple[str, np.ndarray]]:
    """Yield decoded images (image_id, uint8 (H, W, 3)), with up to `ahead` of them prefetched."""

    def decode_one(row: tuple[str, bytes]) -> tuple[str, np.ndarray]:
        image_id, data = row
        try:
            return image_id, decode(data)
        except ValueError as error:
            raise InputError(f"{path}: image {image_id} cannot be decoded ({error})") from error

    return map_ahead(decode_one, read_images(path, first), ahead)


def classify_segments(
    image: np.ndarray, segments: Segments, classifier: Classifier, seconds: dict[str, float]
) -> None:
    """Fill class_id and class_probability; masks without a crop keep −1 and 0."""
    crops, rows = cut_crops(image, segments, classifier.resize, classifier.input_size)
    start = time.perf_counter()
    class_id, probability = classifier.classify(torch.from_numpy(crops))
    seconds["classifier"] += time.perf_counter() - start
    segments.class_id[rows], segments.class_probability[rows] = class_id, probability


def device_memory() -> str:
    """Return the peak GPU memory for a line of progress; empty on a CPU."""
    if not torch.cuda.is_available():
        return ""
    return f", {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB on the GPU"


def log_shares(seconds: dict[str, float], total: float) -> None:
    """Log the share of time that each stage took."""
    stages: Sequence[str] = ("encoder", "decoder", "classifier")
    shares = {stage: seconds.get(stage, 0.0) for stage in stages}
    shares["everything else"] = max(total - sum(shares.values()), 0.0)
    text = ", ".join(f"{name} {100 * value / total:.0f} %" for name, value in shares.items())
    log.info("time: %s of %.1f s", text, total)
