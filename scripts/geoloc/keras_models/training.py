"""Training of the Keras models as in "Beyond the Image", section Models."""

from __future__ import annotations

import csv
import dataclasses
import functools
import itertools
import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from geoloc.errors import InputError
from geoloc.files import atomic_path, file_hash, write_text
from geoloc.keras_models.augmentation import Augmentation
from geoloc.keras_models.batch_norm import PreciseBatchNorm
from geoloc.keras_models.batches import Batches, own_errors
from geoloc.keras_models.build import build_model
from geoloc.keras_models.checkpoint import TrainingState
from geoloc.keras_models.divergence import StopWhereDiverged
from geoloc.keras_models.epoch_log import EpochLog
from geoloc.keras_models.fused_batch_norm import fuse
from geoloc.keras_models.multi_gpu import MeanOfReplicas, replicated
from geoloc.keras_models.runtime import precision, setup
from geoloc.locks import only_one
from geoloc.model_record import HISTORY_COLUMNS
from geoloc.stores import Arrays, config_hash
from geoloc.user_file import code_digest
from geoloc.weighting import UNCHANGED, View

log = logging.getLogger(__name__)

NAMED = 20  # most classes without images that a warning names; there may be hundreds of cells


@dataclass(frozen=True)
class TrainingParameters:
    """The settings of a training; the defaults are the published ones.

    Attributes:
        precise_batch_norm: number of training images used to re-estimate batch-norm statistics
            after each epoch, see `geoloc.keras_models.batch_norm`; 0 keeps the moving averages.
        class_weights: `balanced` weights each image's training loss by `balanced_class_weights`;
            None weights all images equally.
        precision: precision of the model's computations, see
            `geoloc.keras_models.runtime.precision`.
        gpus: number of GPUs that share every batch, see `geoloc.keras_models.multi_gpu`; 1 uses one
            GPU, or none.
    """

    batch_size: int = 64
    epochs: int = 25
    learning_rate: float = 1e-3
    early_stopping_patience: int = 10
    plateau_factor: float = 0.5
    plateau_patience: int = 3
    minimum_learning_rate: float = 1e-5
    precise_batch_norm: int = 0
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
    view: View = UNCHANGED,
    threads: int = 0,
    entry: str | None = None,
    files: Sequence[str] = (),
) -> list[dict[str, float]]:
    """Train a model on a dataset and keep the epoch with the best validation accuracy.

    A killed job resumes after its last finished epoch if called again with the same arguments and
    arrays, and ends with the same model as an uninterrupted one.

    Source: Beyond the Image, section Models, and its training notebook.

    Args:
        model_name: a key of `geoloc.keras_models.build.KERAS_MODELS`.
        dataset: name of the dataset to train and validate on.
        train_arrays: training images and labels.
        val_arrays: validation images and labels.
        classes: sorted ISO codes, or tokens of cells, in the order of the model's outputs.
        folder: gets `model.keras`, `classes.json` and `history.csv`. During training, its subfolder
            `state` holds the checkpoint.
        seed: seed of weights, dropout, order and augmentation.
        parameters: None for the published ones.
        model_parameters: options of the model, see `geoloc.keras_models.build.build_model`.
        view: how the dataset shows images.
        threads: CPU threads of TensorFlow; one fewer prepares batches. With 0, TensorFlow decides,
            and one thread prepares batches.
        entry: name of the model's entry in the configuration, for the record.
        files: names of other files in `folder` that the model needs; the record has their digests.

    Returns:
        One row per epoch with the columns of history.csv: epoch (from 1), seconds, loss, accuracy,
        val_loss, val_accuracy, learning_rate.

    Raises:
        InputError: if classes are not sorted, labels are not among them, there are no images, an
            option is unknown, or there are fewer GPUs than requested.
        Diverged: at the first loss or weight that is not finite; then no `model.keras` is written.
        BlockingIOError: if another process is training in the folder.
    """
    if list(classes) != sorted(set(classes)):
        raise InputError(f"classes must be sorted, each once, got {list(classes)}")
    parameters, folder = parameters or TrainingParameters(), Path(folder)
    model_parameters = model_parameters or {}
    class_weight = _class_weight(parameters.class_weights, train_arrays.label, classes)
    record = _record(model_name, dataset, classes, seed, parameters, model_parameters, view)
    fingerprint = _fingerprint(record, model_parameters.get("weights"), train_arrays, val_arrays)
    feed = functools.partial(
        Batches,
        classes=classes,
        view=view,
        batch_size=parameters.batch_size,
        seed=seed,
    )
    with only_one(folder / ".lock", f"training in {folder}"):
        (folder / "model.keras").unlink(missing_ok=True)
        _warn_of_missing_images(classes, {"training": train_arrays, "validation": val_arrays})
        setup(seed, threads)
        state = TrainingState(folder / "state", _published_callbacks(parameters), fingerprint)
        model = _build(model_name, len(classes), parameters, model_parameters, state)
        train_batches = feed(train_arrays, augmentation=parameters.augmentation)
        val_batches = feed(val_arrays, shuffle=False)
        if not state.finished and state.epoch < parameters.epochs:
            callbacks = _callbacks(record, parameters, state, train_batches)
            epochs = range(state.epoch, parameters.epochs)
            _fit(model, train_batches, val_batches, epochs, callbacks, class_weight, threads)
        named = record | ({"entry": entry} if entry else {})
        named |= {"files": {name: file_hash(folder / name) for name in files}}
        _write_results(folder, state.best_model, named, state.history)
        state.delete()
    return state.history


def _record(
    model_name: str,
    dataset: str,
    classes: Sequence[str],
    seed: int,
    parameters: TrainingParameters,
    model_parameters: Mapping[str, Any],
    view: View,
) -> dict[str, Any]:
    """Return what `classes.json` says of a training."""
    return {
        "classes": list(classes),
        "model": model_name,
        "dataset": dataset,
        "seed": seed,
        "parameters": dataclasses.asdict(parameters),
        "model_parameters": _plain(model_parameters),
        "view": view.settings(),
    }


def _build(
    name: str,
    classes: int,
    parameters: TrainingParameters,
    options: Mapping[str, Any],
    state: TrainingState,
) -> keras.Model:
    """Build and compile the model, and restore the last finished epoch of its state."""
    with replicated(parameters.gpus, parameters.batch_size, parameters.precision):
        with precision(parameters.precision):
            model = build_model(name, classes, options)
        fuse(model)
        compile_model(model, parameters.learning_rate)
        state.restore(model)
    return model


def _callbacks(
    record: Mapping[str, Any],
    parameters: TrainingParameters,
    state: TrainingState,
    batches: Batches,
) -> list[keras.callbacks.Callback]:
    """Return all callbacks in order; the state comes last, so it saves what the others changed."""
    name = f"{record['model']} on {record['dataset']}"
    others: list[keras.callbacks.Callback] = [
        StopWhereDiverged(name, parameters.precision),
        EpochLog(state.history, batches, parameters.epochs),
    ]
    if parameters.gpus > 1:
        others.append(MeanOfReplicas())
    if parameters.precise_batch_norm:
        order = np.random.default_rng(record["seed"]).permutation(len(batches.arrays))
        rows = np.sort(order[: parameters.precise_batch_norm])
        others.append(PreciseBatchNorm(batches.weighted(rows)))
    return [*state.memory.values(), *others, state]


def _fit(
    model: keras.Model,
    train_batches: Batches,
    val_batches: Batches,
    epochs: range,
    callbacks: list[keras.callbacks.Callback],
    class_weight: Mapping[int, float] | None,
    threads: int,
) -> None:
    """Train the remaining epochs, numbered from 0."""
    workers = max(threads - 1, 1)  # leave one to the model, or to what feeds its GPU
    with own_errors(train_batches, val_batches):
        model.fit(
            train_batches.dataset(epochs, workers),
            steps_per_epoch=len(train_batches),
            validation_data=val_batches.dataset(itertools.repeat(0)),
            validation_steps=len(val_batches),
            epochs=epochs.stop,
            initial_epoch=epochs.start,
            callbacks=callbacks,
            class_weight=class_weight,
            shuffle=False,  # Batches shuffles
            verbose=0,
        )


def _fingerprint(record: Mapping[str, Any], weights: str | Path | None, *views: Arrays) -> str:
    """Hash everything a training depends on.

    This is its settings, the content of the backbone's weights, and all images with their split.
    """
    content = file_hash(weights) if weights and Path(weights).is_file() else None
    images = [[v.digest, v.image_id.tolist(), v.label.tolist()] for v in views]
    return config_hash([record, content, images])


def _warn_of_missing_images(classes: Sequence[str], views: Mapping[str, Arrays]) -> None:
    for name, arrays in views.items():
        if missing := sorted(set(classes) - set(arrays.label.tolist())):
            more = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
            log.warning(
                "no %s image of %s%s; raise index.min_images, or add images of them",
                name,
                ", ".join(missing[:NAMED]),
                more,
            )


def balanced_class_weights(labels: Sequence[str], classes: Sequence[str]) -> dict[int, float]:
    """Return the weight of each class that has images, by its column: n / (k · its images).

    n is the number of images and k that of their classes. Each class then has the same share in the
    loss, and the mean weight is 1.

    Source: King and Zeng, "Logistic Regression in Rare Events Data", 2001, as in scikit-learn.
    """
    # Only here: it would be a fifth of the start of each training.
    from sklearn.utils.class_weight import compute_class_weight

    present = np.unique(np.asarray(labels, str))
    weights = compute_class_weight("balanced", classes=present, y=np.asarray(labels, str))
    columns = {label: column for column, label in enumerate(classes)}
    return {columns[str(label)]: float(w) for label, w in zip(present, weights, strict=True)}


def _class_weight(
    option: str | None, labels: Sequence[str], classes: Sequence[str]
) -> dict[int, float] | None:
    if option not in (None, "balanced"):
        raise InputError(f"class_weights is null or balanced, not {option!r}")
    return balanced_class_weights(labels, classes) if option else None


def compile_model(model: keras.Model, learning_rate: float) -> None:
    """Compile with Adam, categorical cross-entropy and accuracy."""
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate),
        loss=keras.losses.CategoricalCrossentropy(),
        metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
    )


def _published_callbacks(parameters: TrainingParameters) -> dict[str, keras.callbacks.Callback]:
    """Return EarlyStopping and ReduceLROnPlateau; `TrainingState` keeps the best epoch."""
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


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options as JSON values.

    Files are identified by name, wherever they are, and a user's Python file by its digest, too.
    """
    plain = {
        name: Path(value).name if name in ("weights", "file") and value else value
        for name, value in options.items()
    }
    return plain | ({"code": code_digest(options["file"])} if "file" in options else {})


def _write_results(
    folder: Path, best: Path, record: Mapping[str, Any], history: Sequence[Mapping[str, float]]
) -> None:
    """Write the two small files, then the model: if it exists, everything does."""
    record = {**record, "files": record.get("files", {}) | {"model.keras": file_hash(best)}}
    write_text(folder / "classes.json", json.dumps(record, indent=2) + "\n")
    with atomic_path(folder / "history.csv") as path, path.open("w", newline="") as file:
        writer = csv.DictWriter(file, HISTORY_COLUMNS)
        writer.writeheader()
        writer.writerows(history)
    with atomic_path(folder / "model.keras") as path:
        shutil.copyfile(best, path)
