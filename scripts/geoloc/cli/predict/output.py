"""The output of `geoloc predict`: a table, JSON or CSV."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geoloc.countries.names import display_name
from geoloc.files import on_one_line, utf8_name

Place = tuple[float, float]
"""Latitude and longitude in degrees."""


@dataclass(frozen=True)
class Row:
    """The output for a photo.

    Attributes:
        countries: what `likeliest` returns.
        place: the place predicted by a model of places.
        taken: where its EXIF data says it was taken.
        distance: distance in km from there to the prediction.
        score_map: the picture of its score map.
    """

    photograph: Path
    countries: list[dict]
    place: Place | None = None
    taken: Place | None = None
    distance: float | None = None
    score_map: Path | None = None

    @property
    def known(self) -> dict[str, float | str]:
        """Return what is known in addition to the countries, by the names of the output."""
        found = {}
        for prefix, place in (("", self.place), ("exif_", self.taken)):
            if place is not None:
                found |= {f"{prefix}latitude": place[0], f"{prefix}longitude": place[1]}
        if self.distance is not None:
            found["distance_km"] = round(self.distance, 3)
        if self.score_map is not None:
            found["score_map"] = str(self.score_map)
        return found


def likeliest(probabilities: np.ndarray, classes: Sequence[str], top: int) -> list[dict]:
    """Return the `top` most probable of k countries.

    Each has country (ISO alpha-2), name and probability (0–1). Ties keep the order of the classes.
    """
    order = np.argsort(-probabilities, kind="stable")[:top]
    return [
        {
            "country": classes[column],
            "name": display_name(classes[column]),
            "probability": float(probabilities[column]),
        }
        for column in order
    ]


def print_json(rows: Iterable[Row], paths: Sequence[Path], classes: Sequence[str]) -> None:
    """Print a list with one object per photo, in ASCII, which any terminal can display."""
    photographs = [
        {"photograph": str(row.photograph), "countries": row.countries, **row.known} for row in rows
    ]
    json.dump(photographs, sys.stdout, indent=2)
    print()


COLUMNS = (
    "photograph",
    "rank",
    "country",
    "name",
    "probability",
    "latitude",
    "longitude",
    "exif_latitude",
    "exif_longitude",
    "distance_km",
    "score_map",
)


def print_csv(rows: Iterable[Row], paths: Sequence[Path], classes: Sequence[str]) -> None:
    """Print one line per photo and country as soon as it is known; unknown fields are empty."""
    writer = csv.DictWriter(sys.stdout, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        of_photograph = {"photograph": utf8_name(str(row.photograph)), **row.known}
        for rank, country in enumerate(row.countries, start=1):
            writer.writerow(of_photograph | {"rank": rank} | country)
        sys.stdout.flush()


def print_table(rows: Iterable[Row], paths: Sequence[Path], classes: Sequence[str]) -> None:
    """Print one line per photo and country as soon as it is known.

    A photo's first line has its place. Column widths fit all `paths` and all `classes`.
    """
    width = max(len(on_one_line(path)) for path in [Path("Photograph"), *paths])
    name_width = max(len(name) for name in ["Country", *map(display_name, classes)])
    print(f"{'Photograph':<{width}}  {'Country':<{name_width}}  Probability")
    for row in rows:
        for rank, country in enumerate(row.countries):
            photograph = "" if rank else on_one_line(row.photograph)
            percent = f"{100 * country['probability']:.1f} %"
            line = f"{photograph:<{width}}  {country['name']:<{name_width}}  {percent:>11}"
            print(line + ("" if rank else _places(row)), flush=True)


def _places(row: Row) -> str:
    """Return the end of a photo's first line."""
    text = "" if row.place is None else f"  at {row.place[0]:.4f}, {row.place[1]:.4f}"
    if row.taken is not None:
        text += f"  taken at {row.taken[0]:.4f}, {row.taken[1]:.4f}"
    if row.distance is not None:
        text += f", {row.distance:,.0f} km from the answer"
    return text


FORMATS: dict[str, Callable[[Iterable[Row], Sequence[Path], Sequence[str]], None]] = {
    "table": print_table,
    "json": print_json,
    "csv": print_csv,
}
"""Functions that print rows; they are given all `paths` and all `classes`."""
