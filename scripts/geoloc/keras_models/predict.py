"""Predictions of trained Keras models."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from geoloc.countries.places import Answers, Places
from geoloc.errors import FileError, InputError
from geoloc.keras_models.fused_batch_norm import fuse
from geoloc.keras_models.weights import check_saved_model
from geoloc.model_record import read_record
from geoloc.probabilities import check_probabilities
from geoloc.progress import Progress
from geoloc.stores import Arrays
from geoloc.types import ARRAY_SIZE
from geoloc.user_file import code_digest, run_user_file
from geoloc.weighting import UNCHANGED, View


@dataclass(frozen=True)
class TrainedModel:
    """A trained model.

    Attributes:
        name: its folder.
        model: the Keras model.
        classes: ISO codes of its outputs, in order.
        dataset: the dataset it was trained on.
        view: how that dataset shows images.
    """

    name: str
    model: keras.Model
    classes: list[str]
    dataset: str
    view: View


def load_trained(
    folder: str | Path, classes: Sequence[str] | None = None, file: str | Path | None = None
) -> TrainedModel:
    """Load what `geoloc.keras_models.training.train` wrote.

    Args:
        folder: has `model.keras` and `classes.json`.
        classes: ISO codes that the model is expected to distinguish, in order; not compared if
            None.
        file: the Python file that built a model of the kind `keras`. It runs before the model is
            loaded; only models with custom layers need it.

    Raises:
        OSError: if the folder holds no complete model: a file is missing, damaged or written by a
            newer Keras; weights are missing, left over or not finite; or the model does not map
            pixels to probabilities of as many classes as `classes.json` names.
        InputError: if the model was trained on other classes than expected, or with another `file`.
    """
    folder = Path(folder)
    record = read_record(folder)
    if file:
        if code_digest(file) != record.code:
            raise InputError(
                f"{folder}: was not trained with this {file}; give the file as it was then, or "
                "train it again"
            )
        run_user_file(file)
    remedy = "train it again"
    if record.file and not file:
        remedy = f"if its layers are those of {record.file}, give that file (--file)"
    model = _load_model(folder, len(record.classes), remedy)
    if classes is not None and record.classes != list(classes):
        different = sorted(set(record.classes) ^ set(classes)) or ["their order"]
        raise InputError(
            f"{folder}: trained on other classes ({', '.join(different)} differ); train it again"
        )
    return TrainedModel(str(folder), model, record.classes, record.dataset, record.view)


def _load_model(folder: Path, classes: int, remedy: str) -> keras.Model:
    path = folder / "model.keras"
    try:
        with warnings.catch_warnings():
            # Keras only warns when it leaves weights at their random initial values.
            warnings.filterwarnings("error", "Skipping")
            model = keras.models.load_model(path, compile=False, safe_mode=True)
        check_saved_model(model, path)
        shapes = model.input_shape, model.output_shape
    except PermissionError:
        raise
    except Exception as error:  # Keras raises anything for a file that is damaged or newer
        first_line = str(error).strip().partition("\n")[0]
        raise FileError(f"{path}: no complete model ({first_line}); {remedy}") from error
    if shapes != ((None, ARRAY_SIZE, ARRAY_SIZE, 3), (None, classes)):
        raise FileError(
            f"{folder}: no complete model: model.keras goes from {shapes[0]} to {shapes[1]}, but "
            f"classes.json names {classes} classes of images {ARRAY_SIZE}×{ARRAY_SIZE}; train it "
            "again"
        )
    fuse(model)
    return model


def predict(
    trained: TrainedModel,
    arrays: Arrays,
    dataset: str,
    view: View = UNCHANGED,
    batch_size: int = 64,
) -> np.ndarray:
    """Predict probabilities for every image of a test set, in order.

    Args:
        trained: from `load_trained`.
        arrays: n images; their labels are ignored.
        dataset: name of the dataset that shows the test images, for messages.
        view: how it shows them.
        batch_size: images per batch; apart from the result, memory use does not depend on n.

    Returns:
        Probabilities (n, classes), float32; columns in the order of `trained.classes`.

    Raises:
        InputError: if the probabilities of an image are not a distribution.
    """
    probabilities = np.empty((len(arrays), len(trained.classes)), np.float32)
    for rows, found in _batches(trained, arrays, dataset, view, batch_size):
        probabilities[rows] = found
    return probabilities


def predict_places(
    trained: TrainedModel,
    places: Places,
    arrays: Arrays,
    dataset: str,
    view: View = UNCHANGED,
    batch_size: int = 64,
) -> Answers:
    """Predict answers for every image of a test set, in order; the model's outputs are places.

    Memory use beyond a batch does not depend on the number of places. Arguments and errors are
    those of `predict`; `places` are the places of the outputs, see
    `geoloc.keras_models.cells.load_places`.
    """
    probabilities = np.empty((len(arrays), len(places.classes)), np.float32)
    coordinates = np.empty((len(arrays), 2))
    for rows, found in _batches(trained, arrays, dataset, view, batch_size):
        answers = places.answer(found)
        probabilities[rows], coordinates[rows] = answers.probabilities, answers.places
    return Answers(probabilities, coordinates)


def _batches(
    trained: TrainedModel, arrays: Arrays, dataset: str, view: View, batch_size: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the rows of the images of each batch, and the model's probabilities."""
    forward = _forward(trained.model)
    starts = range(0, len(arrays), batch_size)
    for start in Progress(starts, unit="batches", description=f"predict {dataset}"):
        rows = np.arange(start, min(start + batch_size, len(arrays)))
        found = forward(view(*arrays.read(rows))).numpy()
        check_probabilities(found, arrays.image_id[rows], trained.name, dataset)
        yield rows, found


def _forward(model: keras.Model):
    """Return the model in inference mode, traced once for batches of any size.

    Keras would trace it again for the last batch, which takes as long as dozens of images.
    """
    pixels = tf.TensorSpec((None, ARRAY_SIZE, ARRAY_SIZE, 3), tf.uint8)
    return tf.function(lambda batch: model(batch, training=False), input_signature=[pixels])
