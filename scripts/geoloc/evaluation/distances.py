"""Distances from predictions to where images were taken, as geolocation papers report them.

A model of places predicts a place. A model of countries predicts none, so its prediction is placed
at the median position of the country's training images.

Shares within 1, 25, 200, 750 and 2,500 km follow Im2GPS (Hays and Efros, 2008), the GeoScore
follows OpenStreetView-5M (Astruc et al., 2024).
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
    """Return the median position of the training images of each country.

    The median is taken for each component of the unit vectors, so that a country on both sides of
    the 180th meridian is not placed on the other side of the earth.

    Args:
        images: table of the index; images without coordinates don't count.

    Returns:
        Latitude and longitude in degrees by country.
    """
    train = images[images["split"] == "train"]
    median = median_places(train[["latitude", "longitude"]].to_numpy(), train["country"])
    return pd.DataFrame.from_dict(median, "index", columns=["latitude", "longitude"], dtype=float)


def warn_of_unplaced(classes: Iterable[str], positions: pd.DataFrame) -> None:
    """Warn of classes (ISO alpha-2) without a position, for which distances are unknown."""
    if unplaced := sorted(set(classes) - set(positions.index)):
        log.warning(
            "%s: no training image with coordinates, so no position; an answer that names one of "
            "them counts as infinitely far away (n_unplaced)",
            ", ".join(unplaced),
        )


def answers_are_places(frame: pd.DataFrame) -> bool:
    """Return whether a predictions table comes from a model of places."""
    return bool(len(frame)) and bool(frame["predicted_latitude"].notna().all())


def distances(frame: pd.DataFrame, positions: pd.DataFrame) -> np.ndarray:
    """Return the great-circle distances in km from images to their predicted places.

    Args:
        frame: predictions table; its n images with coordinates count.
        positions: position of each country, for models of countries.

    Returns:
        float64 (n,); infinity if the predicted country has no position.
    """
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
    """Return shares (0–1) within `THRESHOLDS`, median distance in km and mean GeoScore (0–5000).

    They cover the `n_located` images with coordinates; NaN if there are none. `distances_to` is
    `places`, or `country_medians` for a model of countries. `n_unplaced` counts predicted countries
    without a position: these are within no threshold, infinitely far in the median, and have a
    GeoScore of 0.
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
