"""How far a named country is from where an image was taken, to stand beside geolocation results.

A country is placed where its training images are: at their median position. Shares within 1, 25,
200, 750 and 2,500 km are those of Im2GPS (Hays and Efros, 2008); the GeoScore is that of
OpenStreetView-5M (Astruc et al., 2024).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

import numpy as np
import pandas as pd
from sklearn.metrics import DistanceMetric

from geoloc.corpus.spatial_split import EARTH_RADIUS

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
    known = images[(images["split"] == "train") & images["latitude"].notna()]
    latitude, longitude = np.radians(known[["latitude", "longitude"]].to_numpy().T)
    vectors = pd.DataFrame(
        {
            "x": np.cos(latitude) * np.cos(longitude),
            "y": np.cos(latitude) * np.sin(longitude),
            "z": np.sin(latitude),
        },
        index=known.index,
    )
    median = vectors.groupby(known["country"].to_numpy()).median()
    return pd.DataFrame(
        {
            "latitude": np.degrees(np.arctan2(median.z, np.hypot(median.x, median.y))),
            "longitude": np.degrees(np.arctan2(median.y, median.x)),
        }
    )


def warn_of_unplaced(classes: Iterable[str], positions: pd.DataFrame) -> None:
    """Say which of the classes (ISO alpha-2) have no position, as for them no distance is known."""
    if unplaced := sorted(set(classes) - set(positions.index)):
        log.warning(
            "%s: no training image with coordinates, so no position; an answer that names one of "
            "them counts as infinitely far away (n_unplaced)",
            ", ".join(unplaced),
        )


def distances(frame: pd.DataFrame, positions: pd.DataFrame) -> np.ndarray:
    """Great-circle distance in km, float64 (n,), from each image of a predictions table that has
    coordinates to the position of its likeliest country; infinite for a country without one."""
    frame = frame[frame["latitude"].notna()]
    answers = positions.reindex(frame["country_1"])
    metric = DistanceMetric.get_metric("haversine")
    result = np.full(len(frame), np.inf)
    placed = answers["latitude"].notna().to_numpy()
    here = np.radians(frame[["latitude", "longitude"]].to_numpy()[placed])
    there = np.radians(answers.to_numpy()[placed])
    pairs = zip(here, there, strict=True)
    result[placed] = [EARTH_RADIUS * metric.pairwise([a], [b])[0, 0] for a, b in pairs]
    return result


def distance_metrics(frame: pd.DataFrame, positions: pd.DataFrame) -> dict[str, float]:
    """Shares (0–1) within `THRESHOLDS`, median distance in km and mean GeoScore (0–5000).

    Over the images with coordinates, `n_located` of them; NaN where there is none. The answers to
    `n_unplaced` of these are countries without a position: they are within no threshold, infinitely
    far in the median, and have a GeoScore of 0.
    """
    found = distances(frame, positions)
    result: dict[str, float] = {"n_located": len(found), "n_unplaced": int(np.isinf(found).sum())}
    if not len(found):
        found = np.array([np.nan])
    for limit in THRESHOLDS:
        share = np.mean(found <= limit) if result["n_located"] else np.nan
        result[f"within_{limit}_km"] = float(share)
    result["median_km"] = float(np.median(found))
    result["geoscore"] = float(np.mean(5000 * np.exp(-found / GEOSCORE_SCALE)))
    return result
