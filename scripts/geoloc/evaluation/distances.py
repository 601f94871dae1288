"""How far an answer is from where an image was taken, to stand beside geolocation results.

The answer of a model of places is the place that it predicts. A model of countries names none: its
answer is placed where the training images of the country are, at their median position.

Shares within 1, 25, 200, 750 and 2,500 km are those of Im2GPS (Hays and Efros, 2008); the GeoScore
is that of OpenStreetView-5M (Astruc et al., 2024).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

import numpy as np
import pandas as pd
from sklearn.metrics import DistanceMetric

from geoloc.corpus.spatial_split import EARTH_RADIUS
from geoloc.countries.places import median_places

log = logging.getLogger(__name__)

THRESHOLDS = (1, 25, 200, 750, 2500)  # km
GEOSCORE_SCALE = 1492.7  # km


def median_positions(images: pd.DataFrame) -> pd.DataFrame:
    """The median position of the training images of each country.

    `images` is the table of the index; images without coordinates do not count. Returns latitude
    and longitude in degrees by country. The median is that of each component of the unit vectors,
    so that a country on both sides of the 180th meridian is not placed on the other side of the
    earth.
    """
    train = images[images["split"] == "train"]
    median = median_places(train[["latitude", "longitude"]].to_numpy(), train["country"])
    return pd.DataFrame.from_dict(median, "index", columns=["latitude", "longitude"], dtype=float)


def warn_of_unplaced(classes: Iterable[str], positions: pd.DataFrame) -> None:
    """Say which of the classes (ISO alpha-2) have no position, as for them no distance is known."""
    if unplaced := sorted(set(classes) - set(positions.index)):
        log.warning(
            "%s: no training image with coordinates, so no position; an answer that names one of "
            "them counts as infinitely far away (n_unplaced)",
            ", ".join(unplaced),
        )


def answers_are_places(frame: pd.DataFrame) -> bool:
    """Whether a predictions table is that of a model of places."""
    return bool(len(frame)) and bool(frame["predicted_latitude"].notna().all())


def distances(frame: pd.DataFrame, positions: pd.DataFrame) -> np.ndarray:
    """Great-circle distance in km, float64 (n,), from each image of a predictions table that has
    coordinates to its predicted place. For a model of countries that is the position of the
    likeliest country, infinitely far away for a country without one."""
    frame = frame[frame["latitude"].notna()]
    if answers_are_places(frame):
        answers = frame[["predicted_latitude", "predicted_longitude"]].to_numpy()
    else:
        answers = positions.reindex(frame["country_1"])[["latitude", "longitude"]].to_numpy()
    metric = DistanceMetric.get_metric("haversine")
    result = np.full(len(frame), np.inf)
    placed = ~np.isnan(answers).any(axis=1)
    here = np.radians(frame[["latitude", "longitude"]].to_numpy()[placed])
    there = np.radians(answers[placed])
    pairs = zip(here, there, strict=True)
    result[placed] = [EARTH_RADIUS * metric.pairwise([a], [b])[0, 0] for a, b in pairs]
    return result


def distance_metrics(frame: pd.DataFrame, positions: pd.DataFrame) -> dict[str, float | str]:
    """Shares (0–1) within `THRESHOLDS`, median distance in km and mean GeoScore (0–5000).

    `distances_to` says what the answers are: `places`, or `country_medians` for a model of
    countries. Over the images with coordinates, `n_located` of them; NaN where there is none. The
    answers to
    `n_unplaced` of these are countries without a position: they are within no threshold, infinitely
    far in the median, and have a GeoScore of 0.
    """
    found = distances(frame, positions)
    result: dict[str, float | str] = {
        "distances_to": "places" if answers_are_places(frame) else "country_medians",
        "n_located": len(found),
        "n_unplaced": int(np.isinf(found).sum()),
    }
    if not len(found):
        found = np.array([np.nan])
    for limit in THRESHOLDS:
        share = np.mean(found <= limit) if result["n_located"] else np.nan
        result[f"within_{limit}_km"] = float(share)
    result["median_km"] = float(np.median(found))
    result["geoscore"] = float(np.mean(5000 * np.exp(-found / GEOSCORE_SCALE)))
    return result
