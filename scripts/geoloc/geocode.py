"""Countries: from coordinates, from folder names, and their names for reading."""

from __future__ import annotations

import csv
import logging
import unicodedata
from functools import cache
from pathlib import Path

import numpy as np

DISPLAY_NAMES = Path(__file__).parent / "data" / "display_names.csv"
NOT_FOUND = "not found"


@cache
def _converter():
    import country_converter

    logging.getLogger("country_converter").setLevel(logging.CRITICAL)
    return country_converter.CountryConverter()


@cache
def _spelling() -> dict[str, str]:
    """Names that the study spells otherwise than country_converter, by ISO code."""
    with DISPLAY_NAMES.open(encoding="utf-8", newline="") as file:
        return {row["country"]: row["name"] for row in csv.DictReader(file)}


@cache
def display_name(country: str) -> str:
    """The English name of an ISO 3166-1 alpha-2 code, as the study spells it (these names are
    also the texts of the CLIP models). Raises ValueError for what is no code."""
    if country in _spelling():
        return _spelling()[country]
    name = _converter().convert(country, src="ISO2", to="name_short", not_found=NOT_FOUND)
    if name == NOT_FOUND or len(country) != 2:
        raise ValueError(f"{country!r} is no ISO 3166-1 alpha-2 country code")
    return name


@cache
def country_of_name(name: str) -> str:
    """ISO 3166-1 alpha-2 code of an English country name or of a code, `NA` being Namibia.

    Accents may be composed or not, as macOS writes them. Raises ValueError for a name of no
    country or of several.
    """
    name = unicodedata.normalize("NFC", name)
    found = {code for code, spelled in _spelling().items() if spelled == name}
    if not found:
        source = "ISO2" if len(name) == 2 else "regex"
        code = _converter().convert(name, src=source, to="ISO2", not_found=NOT_FOUND)
        found = set() if code == NOT_FOUND or not isinstance(code, str) else {code}
    if len(found) != 1:
        raise ValueError(
            f"{name!r} is not the name of one country; rename the folder to an English country "
            "name or an ISO 3166-1 alpha-2 code"
        )
    return found.pop()


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


def _nearest_city(latitude: np.ndarray, longitude: np.ndarray) -> np.ndarray:
    """Country of the nearest city of more than 1,000 people, as in the study. The city table is
    that of the package reverse_geocoder; it needs no network."""
    import reverse_geocoder

    places = list(zip(latitude.tolist(), longitude.tolist(), strict=True))
    found = reverse_geocoder.search(places, mode=1, verbose=False)
    return np.array([place["cc"] for place in found])


def _country_polygon(latitude: np.ndarray, longitude: np.ndarray) -> np.ndarray:
    """Country whose area holds the place, or the nearest one near its coast."""
    from geoloc.country_polygons import country_of_area

    return country_of_area(latitude, longitude)


GEOCODERS = {"nearest_city": _nearest_city, "country_polygon": _country_polygon}
