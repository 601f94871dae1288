"""`geoloc compare-geocoders`: list images of a table whose country depends on the geocoder.

The nearest city can be in another country for two reasons: the place is near a border, or it is far
from any city, for example at sea. Every image whose country changes is listed with its distances.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from geoloc.corpus.index_tables import kept_classes
from geoloc.corpus.sources import parse_coordinates
from geoloc.corpus.sources.tables import table_rows
from geoloc.countries.geocoding import GEOCODERS, country_of_coordinates
from geoloc.countries.polygons import areas_within, country_of_area
from geoloc.errors import InputError
from geoloc.files import atomic_path

NEAR_BORDER = 10.0  # km
REACH = 500.0  # km; how far to search for the area of the nearest city's country
CASES = ["border", "remote", "sea"]
EXAMPLES = """\
example:
  the photos of Im2GPS3k, and how many belong to the study's classes:
    geoloc compare-geocoders resources/im2gps3k/im2gps3k_places365.csv \\
        --countries results/study/index/countries.csv
"""


def compare(places: pd.DataFrame) -> pd.DataFrame:
    """Return the countries of places by both geocoders, one row per place.

    Args:
        places: columns image, latitude and longitude (degrees).

    Returns:
        `places` with nearest_city and country_polygon (ISO codes, "" if no country is near),
        changed, border_km and case. The last two are set if the country changes or the place is
        outside all areas: `border_km` is the distance to the area of the nearest city's country
        (infinite beyond REACH); `case` is `sea` outside all areas, `border` up to NEAR_BORDER km
        from that country, `remote` otherwise.
    """
    table = places.reset_index(drop=True)
    latitude, longitude = table.latitude.to_numpy(), table.longitude.to_numpy()
    for geocoder in GEOCODERS:
        table[geocoder] = country_of_coordinates(latitude, longitude, geocoder)
    inside = country_of_area(latitude, longitude, tolerance=0.0)
    table["changed"] = table.nearest_city != table.country_polygon
    table["border_km"], table["case"] = np.nan, ""
    for row in np.flatnonzero(table.changed | (inside == "")):
        near = areas_within(latitude[row], longitude[row], REACH)
        distance = near.get(table.nearest_city[row], np.inf)
        land = "border" if distance <= NEAR_BORDER else "remote"
        table.loc[row, "border_km"] = round(distance, 2)
        table.loc[row, "case"] = land if inside[row] else "sea"
    return table


def read_places(path: Path, columns: tuple[str, str, str]) -> tuple[pd.DataFrame, Counter]:
    """Read images and places from a CSV, and count the rows without a usable place by reason.

    Raises:
        ValueError: if a column is missing.
    """
    keys = ("image", "latitude", "longitude")
    rows, rejected = [], Counter()
    options = {key: f"--{key}-column" for key in keys}
    for row in table_rows(path, dict(zip(keys, columns, strict=True)), options):
        try:
            if row.problem:
                raise InputError(row.problem)
            place = parse_coordinates(row.cells["latitude"], row.cells["longitude"])
            rows.append((row.cells["image"], *place))
        except ValueError as error:
            rejected[str(error).split(":")[0]] += 1
    return pd.DataFrame(rows, columns=["image", "latitude", "longitude"]), rejected


def summary(table: pd.DataFrame, classes: list[str] | None) -> str:
    """Return the comparison as text: counts, then every case, by kind and distance."""
    changed = table[table.changed]
    lines = [f"{len(changed)} of {len(table)} images change country"]
    if classes:
        kept = {geocoder: table[geocoder].isin(classes).sum() for geocoder in GEOCODERS}
        lines.append(
            f"images of the {len(classes)} classes: "
            + ", ".join(f"{count} by {geocoder}" for geocoder, count in kept.items())
        )
    listed = table[table.case != ""].sort_values(["case", "border_km", "image"])
    for case in CASES:
        part = listed[listed.case == case]
        lines.append(f"\n{case}: {len(part)} images, {part.changed.sum()} of them change")
        lines += [
            f"  {row.nearest_city} -> {row.country_polygon or '--'}  {row.border_km:8.2f} km  "
            f"{row.latitude:10.5f} {row.longitude:10.5f}  {row.image}"
            for row in part.itertuples()
        ]
    return "\n".join(lines)


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="geoloc compare-geocoders",
        description="List the images of a table whose country differs between the nearest city and "
        "the country borders.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("table", type=Path, help="CSV with one row of coordinates per image")
    parser.add_argument("--image-column", default="IMG_ID", help="default: %(default)s")
    parser.add_argument("--latitude-column", default="LAT", help="default: %(default)s")
    parser.add_argument("--longitude-column", default="LON", help="default: %(default)s")
    parser.add_argument(
        "--countries", type=Path, help="index/countries.csv of a run, for its classes"
    )
    parser.add_argument("--output", type=Path, help="also write all rows to this CSV")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Print the comparison. Return 0, or 1 if the table can't be used."""
    given = parse_arguments(arguments)
    try:
        columns = (given.image_column, given.latitude_column, given.longitude_column)
        places, rejected = read_places(given.table, columns)
        classes = kept_classes(given.countries) if given.countries else None
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for reason, count in rejected.items():
        print(f"skipped {count} rows: {reason}")
    table = compare(places)
    print(summary(table, classes))
    if given.output:
        with atomic_path(given.output) as temporary:
            table.to_csv(temporary, index=False)
    return 0
