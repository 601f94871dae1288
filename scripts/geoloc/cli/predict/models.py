"""Models for `geoloc predict`: those that the workflow trained, and CLIPs.

A model's libraries are imported when it is loaded, so that `--help` responds at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geoloc.countries.names import display_name
from geoloc.countries.places import Places
from geoloc.errors import FileError, InputError
from geoloc.images import resize_nearest
from geoloc.model_record import read_record
from geoloc.types import ARRAY_SIZE

CELLS = "cells.json"  # in the folder of a model that predicts cells


@dataclass(frozen=True)
class CountryModel:
    """A model as `predict` uses it.

    Attributes:
        name: its folder.
        classes: k ISO codes in the order of the columns.
        probabilities: function from n images uint8 (H, W, 3), RGB, of any size, to (n, k) float32,
            or to (n, p) for p places.
        dataset: its training dataset if that weights images; otherwise empty.
        places: the places of the columns, if it predicts places.
        scores: name of the score maps that weight the images of its dataset; otherwise empty.
    """

    name: str
    classes: list[str]
    probabilities: Callable[[Sequence[np.ndarray]], np.ndarray]
    dataset: str = ""
    places: Places | None = None
    scores: str = ""


def load_model(
    folder: Path,
    countries: Path | None = None,
    prompt: str | None = None,
    file: Path | None = None,
) -> CountryModel:
    """Load a model that the rule `train` wrote, or a CLIP as transformers saves it.

    Args:
        folder: folder of the model.
        countries: an index/countries.csv; for a CLIP only.
        prompt: the prompt for a country; for a CLIP only.
        file: the Python file that built the model; for the kind `keras` only.

    Raises:
        OSError: if the folder does not contain a complete model.
        ValueError: if the options do not apply to the model.
    """
    if (folder / "model.keras").is_file():
        if countries or prompt:
            raise InputError(
                f"{folder} is not a CLIP and has its own countries; remove --countries and --prompt"
            )
        return _load_keras(folder, file)
    if (folder / "config.json").is_file():
        if file:
            raise InputError(f"{folder} is a CLIP and needs no Python file; remove --file")
        return _load_clip(folder, countries, prompt)
    raise FileError(
        f"{folder} does not contain a model: neither the model.keras of a trained model nor the "
        "config.json of a CLIP; give results/RUN/models/MODEL/DATASET/SEED"
    )


def _load_keras(folder: Path, file: Path | None = None) -> CountryModel:
    from geoloc.keras_models.predict import load_trained

    trained, classes, places = load_trained(folder, file=file), None, None
    if (folder / CELLS).is_file():
        from geoloc.keras_models.cells import load_places

        places = load_places(folder, trained.classes)
        classes = places.classes

    def probabilities(batch: Sequence[np.ndarray]) -> np.ndarray:
        pixels = np.stack([resize_nearest(image, ARRAY_SIZE) for image in batch])
        return trained.model.predict_on_batch(pixels)

    classes, view = classes or trained.classes, trained.view
    dataset = "" if view.unchanged else trained.dataset
    return CountryModel(str(folder), classes, probabilities, dataset, places, view.scores or "")


def _load_clip(folder: Path, countries: Path | None, prompt: str | None) -> CountryModel:
    """Load a CLIP. Only one that the workflow trained records its countries and its dataset."""
    record = read_record(folder) if (folder / "classes.json").is_file() else None
    if record is None and countries is None:
        raise InputError(
            f"{folder} is a CLIP that this workflow did not train; give the countries to choose "
            "from with --countries results/RUN/index/countries.csv"
        )
    classes = _read_classes(countries) if countries else record.classes
    from transformers.utils.logging import disable_progress_bar

    from geoloc.image_text.zero_shot import ClipZeroShot

    disable_progress_bar()  # while loading weights
    model = ClipZeroShot(folder, list(map(display_name, classes)), prompt or "{country}")
    view = record.view if record else None
    dataset = record.dataset if view and not view.unchanged else ""
    scores = (view.scores if view else None) or ""
    return CountryModel(str(folder), classes, model.probabilities, dataset, scores=scores)


def _read_classes(path: Path) -> list[str]:
    from geoloc.corpus.index_tables import kept_classes

    try:
        classes = kept_classes(path)
    except FileError as error:
        raise InputError(f"{error}, or give the countries.csv of another run") from None
    if not classes:
        raise InputError(f"{path} has no kept country; give the countries.csv of a run")
    return classes
