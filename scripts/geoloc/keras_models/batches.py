"""Batches for Keras out of `arrays`, made ahead of the model in threads."""

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

QUEUED_BATCHES = 4  # ready, beside those that are being made


class Batches:
    """Batches of one dataset: uint8 (b, 224, 224, 3) and one-hot labels float32 (b, classes).

    Order and augmentation depend on nothing but the seed, the epoch and the number of the batch,
    so training may stop after any epoch and go on with the same batches.

    Args:
        arrays: images and labels, n of them.
        classes: ISO codes in the order of the columns of a label.
        view: how the dataset shows an image.
        batch_size: images a batch.
        seed: of order and augmentation.
        shuffle: a new order every epoch; otherwise one order, drawn once.
        augmentation: ranges to draw from, or None for images as they are.

    Raises:
        ValueError: if there is no image, or one with a label that is not among the classes.

    As published, an epoch has ⌊n / batch_size⌋ batches and so leaves out less than a batch, other
    images every time; fewer images than a batch are one smaller batch.
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
        """The batches of some epochs (from 0), one after the other, made ahead in threads."""
        return map_ahead(self._batch, self._rows_of(epochs), QUEUED_BATCHES + workers, workers)

    def _remember_error(self, batches: Iterator) -> Iterator:
        try:
            yield from batches
        except Exception as error:
            self.error = error
            raise

    def _rows_of(self, epochs: Iterable[int]) -> Iterator[tuple[int, int, np.ndarray]]:
        """Epoch, number and rows of each batch."""
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
        """Rows of the images in the order of an epoch: int64 (n,)."""
        rng = np.random.default_rng([self.seed, epoch if self.shuffle else 0])
        return rng.permutation(len(self.arrays))

    def weighted(self, rows: np.ndarray) -> np.ndarray:
        """Images of some rows as the dataset shows them, not augmented: uint8 (n, 224, 224, 3)."""
        return self.view(*self.arrays.read(rows))

    def dataset(self, epochs: Iterable[int], workers: int = 1) -> tf.data.Dataset:
        """The batches of `of_epochs` without a gap between epochs, for Keras.

        `Model.fit` takes `len(self)` of them an epoch, and keeps one iterator for all; it asks for
        more than those of a validation, so that epochs must be without end there. Autotuning is
        off: there is nothing to tune, and its thread, which sleeps for twice as long every time,
        would hold up the end of an iterator for up to a minute.
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
    """Raise the error that ended one of the feeds, such as a damaged store, instead of the one that
    TensorFlow makes of it."""
    try:
        yield
    except tf.errors.OpError:
        for feed in feeds:
            if feed.error is not None:
                raise feed.error from None
        raise


def class_index(labels: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """Columns int32 (n,) of labels (n,) str among the classes; ValueError if one is not there.

    A batch makes its one-hot labels of them: those of all images would be most of the memory.
    """
    index = {label: column for column, label in enumerate(classes)}
    unknown = sorted({str(label) for label in labels} - set(index))
    if unknown:
        raise InputError(
            f"images of {', '.join(unknown)}, which are not among the model's {len(index)} classes;"
            " train it again on the present index"
        )
    return np.array([index[str(label)] for label in labels], np.int32)
