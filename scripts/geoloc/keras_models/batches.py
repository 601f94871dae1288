"""Batches for Keras from `arrays`, prefetched in threads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import tensorflow as tf

from geoloc.errors import InputError
from geoloc.keras_models.augmentation import Augmentation, augment, draw_transforms
from geoloc.prefetch import map_ahead
from geoloc.stores import Arrays
from geoloc.types import ARRAY_SIZE
from geoloc.weighting import View

QUEUED_BATCHES = 4  # ready batches, in addition to those in progress


class Batches:
    """Batches of one dataset: uint8 (b, 224, 224, 3) and one-hot labels float32 (b, classes).

    Order and augmentation depend only on the seed, the epoch and the number of the batch, so
    training may stop after any epoch and resume with the same batches.

    As published, an epoch has ⌊n / batch_size⌋ batches. It omits the remainder, different images
    each time. If there are fewer images than a batch, they are one smaller batch.

    Args:
        arrays: images and labels, n of them.
        classes: ISO codes in the order of the columns of a label.
        view: how the dataset shows an image.
        batch_size: images per batch.
        seed: draws order and augmentation.
        shuffle: whether each epoch has a new order; otherwise one order is drawn for all.
        augmentation: ranges to draw from, or None for no augmentation.

    Raises:
        InputError: if there are no images, or a label is not among the classes.
    """

    def __init__(
        self,
        arrays: Arrays,
        classes: Sequence[str],
        view: View,
        batch_size: int,
        seed: int,
        shuffle: bool = True,
        augmentation: Augmentation | None = None,
    ) -> None:
        if len(arrays) == 0:
            raise InputError("no image to train or validate with; lower min_images or add images")
        self.arrays, self.view, self.batch_size = arrays, view, batch_size
        self.classes, self.class_index = classes, class_index(arrays.label, classes)
        self.seed, self.shuffle, self.augmentation = seed, shuffle, augmentation
        self.error: Exception | None = None

    def __len__(self) -> int:
        return max(len(self.arrays) // self.batch_size, 1)

    def of_epochs(
        self, epochs: Iterable[int], workers: int = 1
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the batches of the given epochs (counted from 0), prefetched in threads."""
        return map_ahead(self._batch, self._rows_of(epochs), QUEUED_BATCHES + workers, workers)

    def _remember_error(self, batches: Iterator) -> Iterator:
        try:
            yield from batches
        except Exception as error:
            self.error = error
            raise

    def _rows_of(self, epochs: Iterable[int]) -> Iterator[tuple[int, int, np.ndarray]]:
        """Yield epoch, number and rows of each batch."""
        for epoch in epochs:
            order = self.order(epoch)
            for number in range(len(self)):
                yield epoch, number, order[number * self.batch_size :][: self.batch_size]

    def _batch(self, batch: tuple[int, int, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        epoch, number, rows = batch
        image = self.weighted(rows)
        if self.augmentation is not None:
            rng = np.random.default_rng([self.seed, epoch, number, 1])
            image = augment(image, draw_transforms(rng, len(rows), self.augmentation))
        label = np.zeros((len(rows), len(self.classes)), np.float32)
        label[np.arange(len(rows)), self.class_index[rows]] = 1
        return image, label

    def order(self, epoch: int) -> np.ndarray:
        """Return the rows of the images in the order of an epoch: int64 (n,)."""
        rng = np.random.default_rng([self.seed, epoch if self.shuffle else 0])
        return rng.permutation(len(self.arrays))

    def weighted(self, rows: np.ndarray) -> np.ndarray:
        """Return images as the dataset shows them, without augmentation: uint8 (n, 224, 224, 3)."""
        return self.view(*self.arrays.read(rows))

    def dataset(self, epochs: Iterable[int], workers: int = 1) -> tf.data.Dataset:
        """Return the batches of `of_epochs` for Keras, with no gap between epochs.

        `Model.fit` takes `len(self)` batches per epoch from a single iterator. For validation it
        asks for more than that, so validation needs endless epochs. Autotuning is off: there is
        nothing to tune, and its thread, whose sleep time doubles, can delay the end of an iterator
        by up to a minute.
        """
        signature = (
            tf.TensorSpec((None, ARRAY_SIZE, ARRAY_SIZE, 3), tf.uint8),
            tf.TensorSpec((None, len(self.classes)), tf.float32),
        )
        dataset = tf.data.Dataset.from_generator(
            lambda: self._remember_error(self.of_epochs(epochs, workers)),
            output_signature=signature,
        )
        options = tf.data.Options()
        options.autotune.enabled = False
        return dataset.prefetch(1).with_options(options)


@contextmanager
def own_errors(*feeds: Batches) -> Iterator[None]:
    """Raise the error that ended one of the feeds instead of the one TensorFlow makes of it.

    An example is a damaged store.
    """
    try:
        yield
    except tf.errors.OpError:
        for feed in feeds:
            if feed.error is not None:
                raise feed.error from None
        raise


def class_index(labels: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """Return the columns int32 (n,) of labels (n,) str among the classes.

    Each batch builds its one-hot labels from them: those of all images would take most of the
    memory.

    Raises:
        InputError: if a label is not among the classes.
    """
    index = {label: column for column, label in enumerate(classes)}
    unknown = sorted({str(label) for label in labels} - set(index))
    if unknown:
        raise InputError(
            f"images of {', '.join(unknown)}, which are not among the model's {len(index)} classes;"
            " train it again on the present index"
        )
    return np.array([index[str(label)] for label in labels], np.int32)
