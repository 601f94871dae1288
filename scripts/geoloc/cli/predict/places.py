"""Where a photo was taken, by its EXIF, and how far that is from the answer of a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from geoloc.cli.predict.runs import Run
from geoloc.errors import InputError


def taken_at(path: Path) -> tuple[float, float] | None:
    """Latitude and longitude of a photo's EXIF in degrees; None without valid ones."""
    from geoloc.corpus.sources.exif_folder import exif_coordinates

    try:
        return tuple(map(float, exif_coordinates(path)))
    except InputError:
        return None


def distance_to_answer(
    taken: tuple[float, float], country: str, place: np.ndarray | None, run: Run | None
) -> float | None:
    """Distance in km from where a photo was taken to the answer, as `metrics.csv` counts it.

    Args:
        taken: latitude and longitude in degrees.
        country: the likeliest one. Its training images in the run say where it is.
        place: the answer (2,) of a model of places, which counts instead.
        run: the run of the model.

    Returns:
        None where the place of the answer is unknown.
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
