"""A map of the world's countries as paths of an SVG, in the Equal Earth projection."""

from __future__ import annotations

from functools import cache

import numpy as np
import shapely

from geoloc.countries.polygons import land, place_within

WIDTH = 960  # pixels
DETAIL = 0.7  # pixels: smaller bends are omitted
SMALLEST = 3.0  # square pixels: smaller islands are omitted
A1, A2, A3, A4 = 1.340264, -0.081106, 0.000893, 0.003796
NORTH, SOUTH = 84.0, -58.0  # degrees; nobody takes street images south of that


def equal_earth(coordinates: np.ndarray) -> np.ndarray:
    """Project places with the Equal Earth projection (Šavrič, Patterson and Jenny 2018), in which
    areas keep their proportions.

    Args:
        coordinates: longitude and latitude in degrees, (n, 2).

    Returns:
        x to the east and y to the north, (n, 2), for a sphere of radius 1.
    """
    longitude, latitude = np.radians(coordinates).T
    theta = np.arcsin(np.sqrt(3) / 2 * np.sin(latitude))
    slope = 9 * A4 * theta**8 + 7 * A3 * theta**6 + 3 * A2 * theta**2 + A1
    x = 2 * np.sqrt(3) * longitude * np.cos(theta) / (3 * slope)
    y = A4 * theta**9 + A3 * theta**7 + A2 * theta**3 + A1 * theta
    return np.column_stack([x, y])


def _scale() -> tuple[float, float, float]:
    """Pixels by unit, the largest x and the largest y."""
    right = equal_earth(np.array([[180.0, 0.0]]))[0, 0]
    top = equal_earth(np.array([[0.0, NORTH]]))[0, 1]
    return WIDTH / (2 * right), right, top


def pixels(coordinates: np.ndarray) -> np.ndarray:
    """Return places (longitude, latitude) in degrees as positions on the map, x and y in pixels."""
    scale, right, top = _scale()
    x, y = equal_earth(coordinates).T
    return np.column_stack([(x + right) * scale, (top - y) * scale])


def height() -> int:
    """Return the height of the map in pixels."""
    return int(np.ceil(pixels(np.array([[0.0, SOUTH]]))[0, 1]))


@cache
def world() -> dict[str, str]:
    """Return the path of the land of each country by ISO code, "" for one that is too small to be
    drawn."""
    frame = shapely.box(-180, SOUTH, 180, NORTH)
    found = {}
    for code, shape in land().items():
        parts = shapely.get_parts(shapely.intersection(shape, frame))
        parts = parts[shapely.get_dimensions(parts) == 2]
        drawn = [shapely.transform(shapely.segmentize(part, 5.0), pixels) for part in parts]
        found[code] = "".join(_path(part) for part in drawn if part.area >= SMALLEST)
    return found


def dot(country: str) -> tuple[float, float]:
    """Return where a dot stands for a country without a path, x and y in pixels."""
    latitude, longitude = place_within(country)
    x, y = pixels(np.array([[longitude, latitude]]))[0]
    return round(float(x), 1), round(float(y), 1)


def _path(polygon: shapely.Polygon) -> str:
    simple = shapely.simplify(polygon, DETAIL)
    rings = [simple.exterior, *(r for r in simple.interiors if shapely.Polygon(r).area > SMALLEST)]
    return "".join(
        "M" + "L".join(f"{x:.0f},{y:.0f}" for x, y in list(ring.coords)[:-1]) + "Z"
        for ring in rings
        if len(ring.coords) > 3
    )
