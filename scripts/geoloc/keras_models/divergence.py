"""Stop a diverged training, and say what to change."""

from __future__ import annotations

import math

import keras
import numpy as np

from geoloc.errors import Diverged
from geoloc.tensors import all_finite


class StopWhereDiverged(keras.callbacks.Callback):
    """Stops a training at the first loss, weight or batch-norm statistic that is not finite.

    It reads the mean loss of the epoch so far, which Keras fetches after every step for any
    callback: once one loss is not finite, the mean isn't either. It ignores gradients, since
    `mixed_float16` expects overflows there and skips those steps. Place it before the callback that
    saves what it checks.

    Args:
        name: model and dataset, for the message.
        precision: see `geoloc.keras_models.runtime.precision`.

    Raises:
        Diverged: from `Model.fit`.
    """

    def __init__(self, name: str, precision: str) -> None:
        super().__init__()
        self.name, self.precision = name, precision
        self.epoch = 0

    def on_epoch_begin(self, epoch: int, logs=None) -> None:
        self.epoch = epoch + 1

    def on_train_batch_end(self, batch: int, logs=None) -> None:
        if not math.isfinite(logs["loss"]):
            raise Diverged(
                f"{self.name}: the loss of epoch {self.epoch}, step {batch + 1} is not finite "
                f"({logs['loss']}); {self._remedy(first_step=self.epoch == 1 and batch == 0)}"
            )

    def on_epoch_end(self, epoch: int, logs=None) -> None:
        for variable in self.model.variables:
            values = np.asarray(variable)
            if not all_finite(values):
                raise Diverged(
                    f"{self.name}: {variable.path} is not finite after epoch {self.epoch}; "
                    f"{self._remedy()}"
                )
        if not math.isfinite(logs["val_loss"]):
            raise Diverged(
                f"{self.name}: the validation loss of epoch {self.epoch} is not finite "
                f"({logs['val_loss']}); {self._remedy()}"
            )

    def _remedy(self, first_step: bool = False) -> str:
        changes = (
            []
            if self.precision == "float32"
            else [f"train.precision from {self.precision} to float32"]
        )
        if first_step:  # the learning rate has had no effect yet
            changes.append("the file of the backbone's weights, if the model has one")
        else:
            rate = float(np.asarray(self.model.optimizer.learning_rate))
            changes.insert(0, f"train.learning_rate to a lower value (it is {rate:g})")
        return f"change {', or '.join(changes)}, and run again"
