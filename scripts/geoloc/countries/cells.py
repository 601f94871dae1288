"""Divide the earth into cells with similar numbers of images: the outputs of a model of places.

Cells are those of S2, as in PlaNet (Weyand et al., 2016) and in the hierarchical models of
Müller-Budack et al. (2018). Starting from the six faces of the cube around the earth, a cell with
more than `maximum_images` is split into four, again and again; then, cells with fewer than
`minimum_images` are dropped. PlaNet used 10,000 and 50 for 91 million images, Müller-Budack et al.
1,000 to 5,000 and 50 for 4.7 million.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import s2cell

from geoloc.countries.geocoding import GEOCODERS
from geoloc.countries.places import OUTSIDE, check_coordinates, places_of_vectors, unit_vectors
from geoloc.errors import FileError, InputError
from geoloc.files import write_text

FILE = "cells.json"
LEAF_LEVEL = 30  # of the smallest cells, about a centimeter wide


@dataclass(frozen=True)
class Cells:
    """c cells that do not overlap, in the order of a model's outputs.

    Attributes:
        tokens: sorted S2 tokens, which is also their order along S2's curve.
        coordinates: (c, 2) float64, mean latitude and longitude of each cell's images in degrees.
        images: (c,) int64, number of training images in each cell.
    """

    tokens: list[str]
    coordinates: np.ndarray
    images: np.ndarray

    def __len__(self) -> int:
        return len(self.tokens)

    def index_of(self, coordinates: np.ndarray) -> np.ndarray:
        """Find the cell of each place.

        Args:
            coordinates: (n, 2) latitude and longitude in degrees.

        Returns:
            int64 (n,), the index of the cell, or OUTSIDE.
        """
        first, last = _spans(self.tokens)
        return _cell_of(_leaves(coordinates), first, last)


def adaptive_cells(coordinates: np.ndarray, maximum_images: int, minimum_images: int) -> Cells:
    """Divide the earth by where images were taken.

    A cell whose images were all taken at the same place is not split, however many they are.

    Args:
        coordinates: (n, 2) latitude and longitude of the training images in degrees.
        maximum_images: a cell with more images is split into four.
        minimum_images: a cell with fewer images is dropped; its images are outside all cells.

    Raises:
        InputError: if the two numbers contradict each other, coordinates are invalid, or fewer than
            two cells are left.
    """
    if not 1 <= minimum_images <= maximum_images:
        raise InputError(
            f"minimum_images is {minimum_images} and maximum_images {maximum_images}; the minimum "
            "must be at least 1 and at most the maximum"
        )
    coordinates, leaves = check_coordinates(coordinates), _leaves(coordinates)
    ids, counts = _split(leaves, maximum_images)
    kept = np.argsort(ids[counts >= minimum_images])
    ids, counts = (values[counts >= minimum_images][kept] for values in (ids, counts))
    if len(ids) < 2:
        raise InputError(
            f"{len(ids)} cells have at least {minimum_images} of {len(coordinates)} images, but a "
            "model needs two; lower minimum_images or maximum_images, or add images with "
            "coordinates"
        )
    tokens = [s2cell.cell_id_to_token(int(cell)) for cell in ids]
    means = _means(coordinates, _cell_of(leaves, *_spans(tokens)))
    return Cells(tokens, means, counts.astype(np.int64))


def _leaves(coordinates: np.ndarray) -> np.ndarray:
    """Return the id, uint64 (n,), of the leaf cell of each place."""
    places = check_coordinates(coordinates).tolist()
    return np.array([s2cell.lat_lon_to_cell_id(*place, LEAF_LEVEL) for place in places], np.uint64)


def _spans(tokens: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return the ids, uint64 (c,), of the first and last leaf of each cell: its own id minus and
    plus (its lowest set bit − 1)."""
    ids = np.array([s2cell.token_to_cell_id(token) for token in tokens], np.uint64)
    reach = (ids & ~(ids - np.uint64(1))) - np.uint64(1)
    return ids - reach, ids + reach


def _cell_of(leaves: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Return the index, int64 (n,), of the cell of each leaf, or OUTSIDE."""
    found = np.searchsorted(first, leaves, side="right") - 1
    return np.where((found >= 0) & (leaves <= last[found]), found, OUTSIDE)


def _split(leaves: np.ndarray, maximum_images: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the ids, uint64, of the cells, unsorted, and the number of leaves in each."""
    ids, counts, rest = [], [], np.sort(leaves)
    for level in range(LEAF_LEVEL + 1):
        lowest_bit = 1 << 2 * (LEAF_LEVEL - level)
        cells = rest & np.uint64(2**64 - lowest_bit) | np.uint64(lowest_bit)
        cells, starts, sizes = np.unique(cells, return_index=True, return_counts=True)
        one_place = rest[starts] == rest[starts + sizes - 1]
        whole = (sizes <= maximum_images) | one_place
        ids.append(cells[whole])
        counts.append(sizes[whole])
        rest = rest[np.repeat(~whole, sizes)]
    return np.concatenate(ids), np.concatenate(counts)


def _means(coordinates: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Return the mean place (c, 2) of each cell, as the mean of unit vectors. Places whose `cell`
    (n,) is OUTSIDE are skipped."""
    vectors = unit_vectors(coordinates[cell != OUTSIDE])
    sums = [np.bincount(cell[cell != OUTSIDE], weights=part) for part in vectors.T]
    return places_of_vectors(np.column_stack(sums))


@dataclass(frozen=True)
class CellsRecord:
    """The content of `cells.json` in a model's folder: its outputs, and how they become countries.

    Attributes:
        cells: the outputs of the model.
        countries: sorted ISO codes of the countries that the model distinguishes.
        geocoder: key of `GEOCODERS`, which finds the country of each cell.
    """

    cells: Cells
    countries: list[str]
    geocoder: str


def write_cells(folder: str | Path, record: CellsRecord) -> None:
    """Write `cells.json` to a model's folder, completely or not at all."""
    rows = zip(
        record.cells.tokens,
        record.cells.coordinates.tolist(),
        record.cells.images.tolist(),
        strict=True,
    )
    content = {
        "countries": record.countries,
        "geocoder": record.geocoder,
        "cells": [
            {"token": token, "latitude": latitude, "longitude": longitude, "images": images}
            for token, (latitude, longitude), images in rows
        ],
    }
    write_text(Path(folder, FILE), json.dumps(content, indent=1) + "\n")


def read_cells(folder: str | Path) -> CellsRecord:
    """Read the `cells.json` of a model's folder.

    Raises:
        OSError: if the file is missing, damaged or invalid: unknown S2 cells, cells that are not
            sorted or overlap, or invalid coordinates.
    """
    path = Path(folder, FILE)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        rows = content["cells"]
        coordinates = [[row["latitude"], row["longitude"]] for row in rows]
        cells = Cells(
            [str(row["token"]) for row in rows],
            check_coordinates(np.array(coordinates, np.float64).reshape(-1, 2)),
            np.array([int(row["images"]) for row in rows], np.int64),
        )
        record = CellsRecord(cells, list(content["countries"]), str(content["geocoder"]))
        fault = _fault(record)
    except PermissionError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FileError(
            f"{path} does not describe the cells of a model ({error!r}); train it again"
        ) from error
    if fault:
        raise FileError(f"{path} does not describe the cells of a model ({fault}); train it again")
    return record


def _fault(record: CellsRecord) -> str:
    """Return what is wrong with cells that were read, or ""."""
    tokens, countries = record.cells.tokens, record.countries
    if not countries or countries != sorted(set(map(str, countries))):
        return "its countries are not sorted or not unique"
    if record.geocoder not in GEOCODERS:
        return f"unknown geocoder {record.geocoder!r}"
    if len(tokens) < 2:
        return f"{len(tokens)} cells"
    for token in tokens:
        if not s2cell.token_is_valid(token) or s2cell.token_to_canonical_token(token) != token:
            return f"{token!r} is not an S2 cell"
    first, last = _spans(tokens)
    if len(wrong := np.flatnonzero(last[:-1] >= first[1:])):
        return f"{tokens[wrong[0] + 1]} is out of order or overlaps another cell"
    return "a cell without images" if (record.cells.images < 1).any() else ""
