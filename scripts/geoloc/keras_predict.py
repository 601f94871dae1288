"""Predictions of trained Keras models."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from geoloc.progress import Progress
from geoloc.stores import Arrays
from geoloc.weighting import apply_factor, dataset_factor


@dataclass(frozen=True)
class TrainedModel:
    """A model, the ISO codes of its outputs in their order, and the dataset it was trained on."""

    model: keras.Model
    classes: list[str]
    dataset: str


def load_trained(folder: str | Path, classes: Sequence[str] | None = None) -> TrainedModel:
    """Load what `geoloc.training.train` wrote.

    Args:
        folder: with `model.keras` and `classes.json`.
        classes: the ISO codes that the model is expected to tell apart, in their order.

    Raises:
        OSError: if the folder holds no complete model.
        ValueError: if the model was trained on other classes than expected.
    """
    folder = Path(folder)
    try:
        record = json.loads((folder / "classes.json").read_text(encoding="utf-8"))
        trained_on, dataset = record["classes"], record["dataset"]
        model = keras.models.load_model(folder / "model.keras", compile=False, safe_mode=True)
    except (OSError, ValueError, KeyError) as error:
        raise OSError(f"{folder}: no complete model ({error}); train it again") from error
    if classes is not None and trained_on != list(classes):
        different = sorted(set(trained_on) ^ set(classes)) or ["their order"]
        raise ValueError(
            f"{folder}: trained on other classes ({', '.join(different)} differ); train it again"
        )
    return TrainedModel(model, trained_on, dataset)


def predict(
    trained: TrainedModel,
    arrays: Arrays,
    dataset: str,
    weighting_parameters: Mapping[str, float] | None = None,
    batch_size: int = 64,
) -> np.ndarray:
    """Probabilities of every image of a test set, in its order.

    Args:
        trained: from `load_trained`.
        arrays: n images; their labels are not looked at.
        dataset: the dataset that the test images are seen as, see `geoloc.weighting`.
        weighting_parameters: see `geoloc.weighting.dataset_factor`.
        batch_size: images a batch; memory does not depend on n but for the result.

    Returns:
        Probabilities (n, classes), float32; columns in the order of `trained.classes`.
    """
    factor = dataset_factor(dataset, weighting_parameters)
    probabilities = np.empty((len(arrays), len(trained.classes)), np.float32)
    starts = range(0, len(arrays), batch_size)
    for start in Progress(starts, unit="batches", description=f"predict {dataset}"):
        rows = np.arange(start, min(start + batch_size, len(arrays)))
        image, score = arrays.read(rows)
        probabilities[rows] = trained.model.predict_on_batch(apply_factor(image, score, factor))
    return probabilities
