"""Where a photo was taken, by its EXIF data, and how far that is from a model's prediction."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from geoloc.cli.predict.runs import Run
from geoloc.errors import InputError


def taken_at(path: Path) -> tuple[float, float] | None:
    """Return latitude and longitude from a photo's EXIF data, in degrees; None if invalid."""
    from geoloc.corpus.sources.exif_folder import exif_coordinates

    try:
        return tuple(map(float, exif_coordinates(path)))
    except InputError:
        return None


def distance_to_answer(
    taken: tuple[float, float], country: str, place: np.ndarray | None, run: Run | None
) -> float | None:
    """Return the distance in km from where a photo was taken to the prediction.

    It is computed as in `metrics.csv`.

    Args:
        taken: latitude and longitude in degrees.
        country: the predicted country. Its training images in the run say where it is.
        place: the place (2,) predicted by a model of places, which takes precedence.
        run: the run of the model.

    Returns:
        The distance; None if the place of the prediction is unknown.
    """
    positions = run.positions if run and place is None else None
    if place is None and (positions is None or country not in positions.index):
        return None
    import pandas as pd

    from geoloc.evaluation.distances import distances

    latitude, longitude = (None, None) if place is None else place
    frame = pd.DataFrame(
        {
            "latitude": taken[:1],
            "longitude": taken[1:],
            "country_1": [country],
            "predicted_latitude": [latitude],
            "predicted_longitude": [longitude],
        }
    )
    return float(distances(frame, positions)[0])
