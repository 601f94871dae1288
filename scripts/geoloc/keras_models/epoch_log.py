"""History of a training: one row per epoch, logged as soon as it is known."""

from __future__ import annotations

import logging
import time

import keras

from geoloc.keras_models.batches import Batches
from geoloc.model_record import HISTORY_COLUMNS
from geoloc.progress import duration

log = logging.getLogger(__name__)


class EpochLog(keras.callbacks.Callback):
    """Appends a row to the history after every epoch and logs it with speed and time left."""

    INTERVAL = 30.0  # seconds between lines within an epoch

    def __init__(self, history: list[dict[str, float]], batches: Batches, epochs: int) -> None:
        super().__init__()
        self.history, self.batches, self.epochs = history, batches, epochs
        self.seconds: list[float] = []

    def on_epoch_begin(self, epoch: int, logs=None) -> None:
        self.start = self.last_line = time.monotonic()

    def on_train_batch_end(self, batch: int, logs=None) -> None:
        now = time.monotonic()
        if now - self.last_line >= self.INTERVAL:
            self.last_line = now
            rate = (batch + 1) * self.batches.batch_size / (now - self.start)
            log.info("batch %d/%d, %.1f images/s", batch + 1, len(self.batches), rate)

    def on_test_begin(self, logs=None) -> None:
        self.training_seconds = time.monotonic() - self.start

    def on_epoch_end(self, epoch: int, logs=None) -> None:
        seconds = time.monotonic() - self.start
        self.seconds.append(seconds)
        row = {"epoch": epoch + 1, "seconds": seconds}
        row |= {name: float(logs[name]) for name in HISTORY_COLUMNS if name in logs}
        self.history.append(row)
        images = min(len(self.batches) * self.batches.batch_size, len(self.batches.arrays))
        left = (self.epochs - epoch - 1) * sum(self.seconds) / len(self.seconds)
        log.info(
            "epoch %d/%d: loss %.4f, accuracy %.4f, val_loss %.4f, val_accuracy %.4f, "
            "learning rate %.1e, %.1f images/s, at most %s left",
            epoch + 1,
            self.epochs,
            *(row[name] for name in HISTORY_COLUMNS[2:]),
            images / self.training_seconds,
            duration(left),
        )
