"""Turn the answers of models of places into countries.

Such a model gives each of its places a probability, or names a single place. Like every other
model, it chooses among the classes, the countries of the study:

- The probability of a class is the sum over the places that the geocoder finds in it. Probability
  outside the classes (other countries, the sea) belongs to no class, so a row can add up to less
  than 1.
- The model's place is the most probable one in its most probable class. So country and place never
  contradict each other, although a place elsewhere may be more probable.
- If no class has any probability, the model names no country, and its place is the most probable of
  all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from geoloc.countries.geocoding import country_of_coordinates
from geoloc.errors import InputError

OUTSIDE = -1


@dataclass(frozen=True)
class Answers:
    """The answers of a model for n images.

    Attributes:
        probabilities: (n, k) float32 in 0–1, of the classes. Rows add up to 1; those of a model of
            places may add up to less.
        places: (n, 2) float64, latitude and longitude in degrees, of a model of places; None for a
            model of countries.
    """

    probabilities: np.ndarray
    places: np.ndarray | None = None


class Places:
    """The places that a model chooses among, with the class of each.

    Args:
        coordinates: (p, 2) latitude in −90…90 and longitude in −180…180 degrees.
        classes: k unique ISO codes, in the order of the columns of the result.
        geocoder: a key of `geoloc.countries.geocoding.GEOCODERS`.

    Raises:
        InputError: if coordinates are invalid, a class occurs twice, or no place is in a class.
    """

    def __init__(
        self, coordinates: np.ndarray, classes: Sequence[str], geocoder: str = "nearest_city"
    ) -> None:
        self.coordinates = check_coordinates(coordinates)
        self.classes = list(classes)
        self.column = _columns(self.coordinates, self.classes, geocoder)
        if (self.column == OUTSIDE).all():
            raise InputError(
                f"none of the model's {len(self.column)} places is in one of the "
                f"{len(self.classes)} countries of the index; use other places or another geocoder"
            )

    def __len__(self) -> int:
        return len(self.column)

    def answer(self, probabilities: np.ndarray) -> Answers:
        """Turn the probabilities of the places into classes and a place for each image.

        Args:
            probabilities: (n, p) float; each row is the distribution of an image over the places.

        Raises:
            InputError: if the number of columns is not the number of places.
        """
        probabilities = np.asarray(probabilities)
        if probabilities.ndim != 2 or probabilities.shape[1] != len(self):
            raise InputError(
                f"probabilities have the shape {probabilities.shape}, expected (n, {len(self)}): "
                "one column per place"
            )
        sums = np.zeros((len(probabilities), len(self.classes)))
        for column in range(len(self.classes)):
            inside = probabilities[:, self.column == column]
            sums[:, column] = inside.sum(axis=1, dtype=np.float64)
        # As in the table of predictions, which ranks float32: of equals the first.
        shares = np.minimum(sums, 1).astype(np.float32)
        best = np.where(shares.max(axis=1) > 0, shares.argmax(axis=1), OUTSIDE)
        allowed = (self.column == best[:, None]) | (best == OUTSIDE)[:, None]
        chosen = np.where(allowed, probabilities, -1).argmax(axis=1)
        return Answers(shares, self.coordinates[chosen])


def answers_of_one_place(
    places: np.ndarray, classes: Sequence[str], geocoder: str = "nearest_city"
) -> Answers:
    """Return the answers of a model that names one place per image.

    Args:
        places: (n, 2) latitude and longitude in degrees.
        classes: see `Places`.
        geocoder: see `Places`.

    Returns:
        Answers in which the class of each place has the probability 1. If a place is in no class,
        all classes have 0.

    Raises:
        InputError: if coordinates are invalid or a class occurs twice.
    """
    places = check_coordinates(places)
    column = _columns(places, list(classes), geocoder)
    shares = column[:, None] == np.arange(len(classes))
    return Answers(shares.astype(np.float32), places)


def check_coordinates(coordinates: np.ndarray) -> np.ndarray:
    """Return the coordinates (p, 2) as float64.

    Raises:
        InputError: if the shape differs, or a row is not a latitude in −90…90 and a longitude in
            −180…180 degrees; the message names the first such row.
    """
    coordinates = np.asarray(coordinates)
    if coordinates.ndim != 2 or coordinates.shape[1] != 2 or coordinates.dtype.kind not in "fiu":
        raise InputError(
            f"places must be numbers of shape (n, 2), latitude and longitude in degrees, got "
            f"{coordinates.dtype} {coordinates.shape}"
        )
    coordinates = coordinates.astype(np.float64)
    wrong = ~(np.abs(coordinates) <= (90, 180)).all(axis=1)
    if wrong.any():
        row = int(wrong.argmax())
        latitude, longitude = coordinates[row]
        raise InputError(
            f"place {row} is latitude {latitude:g}, longitude {longitude:g}; latitudes are in "
            "-90…90 and longitudes in -180…180 degrees, in this order"
        )
    return coordinates


def _columns(coordinates: np.ndarray, classes: list[str], geocoder: str) -> np.ndarray:
    """Return the column, int64 (p,), of the class of each place, or OUTSIDE."""
    if len(set(classes)) != len(classes):
        raise InputError("a class occurs twice; give each country once")
    index = {country: column for column, country in enumerate(classes)}
    countries = country_of_coordinates(*coordinates.T, geocoder)
    return np.array([index.get(str(country), OUTSIDE) for country in countries], np.int64)


def median_places(coordinates: np.ndarray, countries: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the median place of each country's images.

    The median is taken of each component of the unit vectors, so that a country on both sides of
    the 180th meridian is not placed on the other side of the earth.

    Args:
        coordinates: (n, 2) latitude and longitude in degrees; images with NaN are skipped.
        countries: (n,) their ISO codes.

    Returns:
        float64 (2,) latitude and longitude in degrees by country.
    """
    coordinates, countries = np.asarray(coordinates, np.float64), np.asarray(countries, str)
    known = ~np.isnan(coordinates).any(axis=1)
    vectors, countries = unit_vectors(coordinates[known]), countries[known]
    return {
        str(country): places_of_vectors(np.median(vectors[countries == country], axis=0)[None])[0]
        for country in np.unique(countries)
    }


def unit_vectors(coordinates: np.ndarray) -> np.ndarray:
    """Convert places (n, 2) in degrees to unit vectors (n, 3)."""
    latitude, longitude = np.radians(coordinates).T
    east, north = np.cos(latitude) * np.sin(longitude), np.sin(latitude)
    return np.column_stack([np.cos(latitude) * np.cos(longitude), east, north])


def places_of_vectors(vectors: np.ndarray) -> np.ndarray:
    """Convert vectors (n, 3) of any length to the places (n, 2) in degrees that they point to."""
    x, y, z = vectors.T
    return np.degrees(np.column_stack([np.arctan2(z, np.hypot(x, y)), np.arctan2(y, x)]))
