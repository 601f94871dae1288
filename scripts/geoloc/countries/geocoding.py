"""Find the country of coordinates."""

from __future__ import annotations

import numpy as np

from geoloc.registry import Registry

GEOCODERS = Registry(
    "geocoder",
    {
        "nearest_city": "geoloc.countries.geocoding:nearest_city",
        "country_polygon": "geoloc.countries.polygons:country_of_area",
    },
)


def country_of_coordinates(
    latitude: np.ndarray, longitude: np.ndarray, geocoder: str = "nearest_city"
) -> np.ndarray:
    """Find the country of each place.

    Args:
        latitude: float64 (n,) in −90…90 degrees.
        longitude: float64 (n,) in −180…180 degrees.
        geocoder: a key of `GEOCODERS`.

    Returns:
        (n,) ISO codes, "" for a place in no country.
    """
    if len(latitude) == 0:
        return np.empty(0, dtype="<U2")
    return GEOCODERS[geocoder](np.asarray(latitude, float), np.asarray(longitude, float))


def nearest_city(latitude: np.ndarray, longitude: np.ndarray) -> np.ndarray:
    """Find the country of the nearest city with more than 1,000 people, as in the study.

    The city table comes with the package reverse_geocoder and needs no network.

    Args:
        latitude: float64 (n,) in −90…90 degrees.
        longitude: float64 (n,) in −180…180 degrees.

    Returns:
        (n,) ISO codes.
    """
    import reverse_geocoder

    places = list(zip(latitude.tolist(), longitude.tolist(), strict=True))
    found = reverse_geocoder.search(places, mode=1, verbose=False)
    return np.array([place["cc"] for place in found])
