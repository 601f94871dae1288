"""Batches for Keras out of `arrays`, made ahead of the model in a thread."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np

from geoloc.augmentation import Augmentation, augment, draw_transforms
from geoloc.stores import Arrays
from geoloc.weighting import apply_factor

QUEUED_BATCHES = 4


class Batches(keras.utils.PyDataset):
    """Batches of one dataset: uint8 (b, 224, 224, 3) and one-hot labels float32 (b, classes).

    Order and augmentation depend on nothing but the seed, the epoch and the number of the batch,
    so training may stop after any epoch and go on with the same batches.

    Args:
        arrays: images and labels, n of them.
        classes: ISO codes in the order of the columns of a label.
        factor: float32 (256,), the dataset as a lookup table.
        batch_size: images a batch.
        seed: of order and augmentation.
        epoch: the epoch that the first pass belongs to.
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
        factor: np.ndarray,
        batch_size: int,
        seed: int,
        epoch: int = 0,
        shuffle: bool = True,
        augmentation: Augmentation | None = None,
    ) -> None:
        super().__init__(workers=1, max_queue_size=QUEUED_BATCHES)
        if len(arrays) == 0:
            raise ValueError("no image to train or validate with; lower min_images or add images")
        self.arrays, self.factor, self.batch_size = arrays, factor, batch_size
        self.classes, self.class_index = classes, class_index(arrays.label, classes)
        self.seed, self.epoch, self.shuffle = seed, epoch, shuffle
        self.augmentation = augmentation
        self.order = self._draw_order()

    def __len__(self) -> int:
        return max(len(self.arrays) // self.batch_size, 1)

    def __getitem__(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        rows = self.order[number * self.batch_size :][: self.batch_size]
        image = self.weighted(rows)
        if self.augmentation is not None:
            rng = np.random.default_rng([self.seed, self.epoch, number, 1])
            image = augment(image, draw_transforms(rng, len(rows), self.augmentation))
        return image, np.eye(len(self.classes), dtype=np.float32)[self.class_index[rows]]

    def weighted(self, rows: np.ndarray) -> np.ndarray:
        """Images of some rows as the dataset shows them, not augmented: uint8 (n, 224, 224, 3)."""
        return apply_factor(*self.arrays.read(rows), self.factor)

    def on_epoch_end(self) -> None:
        self.epoch += 1
        self.order = self._draw_order()

    def _draw_order(self) -> np.ndarray:
        epoch = self.epoch if self.shuffle else 0
        return np.random.default_rng([self.seed, epoch]).permutation(len(self.arrays))


def class_index(labels: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """Columns int16 (n,) of labels (n,) str among the classes; ValueError if one is not there.

    A batch makes its one-hot labels of them: those of all images would be most of the memory.
    """
    index = {label: column for column, label in enumerate(classes)}
    unknown = sorted({str(label) for label in labels} - set(index))
    if unknown:
        raise ValueError(
            f"images of {', '.join(unknown)}, which are not among the model's {len(index)} classes;"
            " train it again on the present index"
        )
    return np.array([index[str(label)] for label in labels], np.int16)
