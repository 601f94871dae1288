"""Training of the Keras models as in "Beyond the Image", section Models."""

from __future__ import annotations

import csv
import dataclasses
import itertools
import json
import logging
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from sklearn.utils.class_weight import compute_class_weight

from geoloc.augmentation import Augmentation
from geoloc.batches import Batches
from geoloc.files import atomic_path, write_text
from geoloc.fused_normalization import fuse
from geoloc.keras_setup import precision, setup
from geoloc.models import build_model
from geoloc.population_statistics import PopulationStatistics
from geoloc.progress import duration
from geoloc.replicas import MeanOfReplicas, replicated
from geoloc.stores import Arrays, config_hash
from geoloc.training_state import TrainingState
from geoloc.weighting import dataset_factor

log = logging.getLogger(__name__)

HISTORY_COLUMNS = (
    "epoch",
    "seconds",
    "loss",
    "accuracy",
    "val_loss",
    "val_accuracy",
    "learning_rate",
)


@dataclass(frozen=True)
class TrainingParameters:
    """The settings of a training; the defaults are the published ones.

    population_statistics: so many training images give batch normalization its statistics after
    every epoch, see `geoloc.population_statistics`; 0 keeps the moving averages.
    class_weights: `balanced` weighs the training loss of an image by `balanced_class_weights`; None
    weighs all alike.
    precision: that of the model's computations, see `geoloc.keras_setup.precision`.
    gpus: that share every batch, see `geoloc.replicas`; one GPU, or none, for 1.
    """

    batch_size: int = 64
    epochs: int = 25
    learning_rate: float = 1e-3
    early_stopping_patience: int = 10
    plateau_factor: float = 0.5
    plateau_patience: int = 3
    minimum_learning_rate: float = 1e-5
    population_statistics: int = 0
    class_weights: str | None = None
    precision: str = "float32"
    gpus: int = 1
    augmentation: Augmentation = Augmentation()


def train(
    model_name: str,
    dataset: str,
    train_arrays: Arrays,
    val_arrays: Arrays,
    classes: Sequence[str],
    folder: str | Path,
    seed: int,
    parameters: TrainingParameters | None = None,
    model_parameters: Mapping[str, Any] | None = None,
    weighting_parameters: Mapping[str, float] | None = None,
    threads: int = 0,
) -> list[dict[str, float]]:
    """Train a model on a dataset and keep the epoch with the best validation accuracy.

    A job that was killed goes on after its last finished epoch when it is called again with the
    same arguments and content of the arrays, and ends with the same model as one that was not.

    Args:
        model_name: a key of `geoloc.models.KERAS_MODELS`.
        dataset: `original`, `weighted_base` or `weighted_custom`; for training and validation.
        train_arrays, val_arrays: images and labels.
        classes: sorted ISO codes; their order becomes that of the model's outputs.
        folder: gets `model.keras`, `classes.json` and `history.csv`; while training runs, its
            subfolder `state` holds what is needed to go on.
        seed: of weights, dropout, order and augmentation.
        parameters: published ones if None.
        model_parameters: options of the model, see `geoloc.models.build_model`.
        weighting_parameters: see `geoloc.weighting.dataset_factor`.
        threads: CPU threads of TensorFlow, and one less of feeding; 0 leaves the number to
            TensorFlow and feeds in one.

    Returns:
        One row an epoch with the columns of history.csv: epoch (from 1), seconds, loss, accuracy,
        val_loss, val_accuracy, learning_rate.

    Raises:
        ValueError: for classes that are not sorted, labels that are not among them, no images, an
            unknown option, fewer GPUs than asked for.

    Source: Beyond the Image, section Models, and its training notebook.
    """
    if list(classes) != sorted(set(classes)):
        raise ValueError(f"classes must be sorted ISO codes, each once, got {list(classes)}")
    parameters, folder = parameters or TrainingParameters(), Path(folder)
    class_weight = _class_weight(parameters.class_weights, train_arrays.label, classes)
    record = {
        "classes": list(classes),
        "model": model_name,
        "dataset": dataset,
        "seed": seed,
        "parameters": dataclasses.asdict(parameters),
        "model_parameters": _plain(model_parameters or {}),
        "weighting_parameters": dict(weighting_parameters or {}),
    }

    setup(seed, threads)
    callbacks = _published_callbacks(parameters)
    fingerprint = config_hash([record, train_arrays.digest, val_arrays.digest])
    state = TrainingState(folder / "state", callbacks, fingerprint)
    with replicated(parameters.gpus, parameters.batch_size, parameters.precision):
        with precision(parameters.precision):
            model = build_model(model_name, len(classes), model_parameters or {})
        fuse(model)
        compile_model(model, parameters.learning_rate)
        state.restore(model)

    factor = dataset_factor(dataset, weighting_parameters)
    train_batches = Batches(
        train_arrays,
        classes,
        factor,
        parameters.batch_size,
        seed,
        augmentation=parameters.augmentation,
    )
    val_batches = Batches(val_arrays, classes, factor, parameters.batch_size, seed, shuffle=False)
    others = [EpochLog(state.history, train_batches, parameters.epochs)]
    if parameters.gpus > 1:
        others.append(MeanOfReplicas())
    if parameters.population_statistics:
        order = np.random.default_rng(seed).permutation(len(train_arrays))
        rows = np.sort(order[: parameters.population_statistics])
        others.append(PopulationStatistics(train_batches.weighted(rows)))
    if not state.finished and state.epoch < parameters.epochs:
        workers = max(threads - 1, 1)  # one is left to the model, or to what feeds its GPU
        model.fit(
            train_batches.dataset(range(state.epoch, parameters.epochs), workers),
            steps_per_epoch=len(train_batches),
            validation_data=val_batches.dataset(itertools.repeat(0)),
            validation_steps=len(val_batches),
            epochs=parameters.epochs,
            initial_epoch=state.epoch,
            callbacks=[*callbacks.values(), *others, state],
            class_weight=class_weight,
            shuffle=False,  # Batches does it
            verbose=0,
        )
    _write_results(folder, state.best_model, record, state.history)
    state.delete()
    return state.history


def balanced_class_weights(labels: Sequence[str], classes: Sequence[str]) -> dict[int, float]:
    """Weight of each class with images, by its column: n / (k · its images), of n images of k
    classes. Every class then has the same part in the loss, and the mean weight is 1.

    Source: King and Zeng, "Logistic Regression in Rare Events Data", 2001, as in scikit-learn.
    """
    present = np.unique(np.asarray(labels, str))
    weights = compute_class_weight("balanced", classes=present, y=np.asarray(labels, str))
    columns = {label: column for column, label in enumerate(classes)}
    return {columns[str(label)]: float(w) for label, w in zip(present, weights, strict=True)}


def _class_weight(
    option: str | None, labels: Sequence[str], classes: Sequence[str]
) -> dict[int, float] | None:
    if option not in (None, "balanced"):
        raise ValueError(f"class_weights is null or balanced, not {option!r}")
    return balanced_class_weights(labels, classes) if option else None


def compile_model(model: keras.Model, learning_rate: float) -> None:
    """Adam, categorical cross-entropy and accuracy."""
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate),
        loss=keras.losses.CategoricalCrossentropy(),
        metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
    )


def _published_callbacks(parameters: TrainingParameters) -> dict[str, keras.callbacks.Callback]:
    """EarlyStopping and ReduceLROnPlateau; the best epoch is kept by `TrainingState`."""
    return {
        "early_stopping": keras.callbacks.EarlyStopping(
            monitor="val_loss", mode="min", patience=parameters.early_stopping_patience
        ),
        "plateau": keras.callbacks.ReduceLROnPlateau(
            monitor="val_accuracy",
            mode="max",
            factor=parameters.plateau_factor,
            patience=parameters.plateau_patience,
            min_lr=parameters.minimum_learning_rate,
        ),
    }


class EpochLog(keras.callbacks.Callback):
    """Appends a row to the history after every epoch, and logs it with the speed and time left."""

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


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options for JSON; a file of weights is known by its name, wherever it lies."""
    return {
        name: Path(value).name if name == "weights" and value else value
        for name, value in options.items()
    }


def _write_results(
    folder: Path, best: Path, record: Mapping[str, Any], history: Sequence[Mapping[str, float]]
) -> None:
    """Write the two small files, then the model: where it is, all is there."""
    write_text(folder / "classes.json", json.dumps(record, indent=2) + "\n")
    with atomic_path(folder / "history.csv") as path, path.open("w", newline="") as file:
        writer = csv.DictWriter(file, HISTORY_COLUMNS)
        writer.writeheader()
        writer.writerows(history)
    with atomic_path(folder / "model.keras") as path:
        shutil.copyfile(best, path)
