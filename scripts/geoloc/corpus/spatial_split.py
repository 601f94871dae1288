"""Split by place: images from the same grid cell are always in the same split."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from geoloc.corpus.split import SPLITS

EARTH_RADIUS = 6371.0  # km


def grid_cells(latitude: np.ndarray, longitude: np.ndarray, size: float) -> np.ndarray:
    """Find the grid cell of each place.

    The grid divides the earth into bands of equal height, and each band into cells of equal width,
    so that cells are about `size` km wide and high. Neighbors on both sides of a border are in
    different cells: `size` is a scale, not a minimum distance between splits.

    Args:
        latitude: (n,) degrees.
        longitude: (n,) degrees.
        size: side of a cell in km.

    Returns:
        int64 (n,), the number of each cell.
    """
    bands = max(1, round(np.pi * EARTH_RADIUS / size))
    band = np.clip(np.floor((latitude + 90) / 180 * bands), 0, bands - 1).astype(np.int64)
    middle = np.radians((band + 0.5) / bands * 180 - 90)
    around = 2 * np.pi * EARTH_RADIUS * np.cos(middle) / size
    columns = np.maximum(1, np.round(around)).astype(np.int64)
    column = np.floor((longitude + 180) / 360 * columns).astype(np.int64) % columns
    return band * (4 * bands) + column  # no band has as many columns


def split_cells(
    cells: np.ndarray, countries: np.ndarray, seed: int, ratio: Sequence[float]
) -> np.ndarray:
    """Split n images by whole cells.

    Cells are taken in an order drawn by `seed`. Each goes to the split that misses most images of
    its countries, so that each country is divided by `ratio` as nearly as its cells allow.

    Args:
        cells: (n,) the cell of each image, see `grid_cells`.
        countries: (n,) the country of each image.
        seed: draws the order.
        ratio: shares of training, validation and test images.

    Returns:
        Text (n,): `train`, `val` or `test`.
    """
    cell_names, cell = np.unique(cells, return_inverse=True)
    country_names, country = np.unique(countries, return_inverse=True)
    pairs, counts = np.unique(cell * len(country_names) + country, return_counts=True)
    cell_of_pair, country_of_pair = np.divmod(pairs, len(country_names))
    starts = np.searchsorted(cell_of_pair, np.arange(len(cell_names) + 1))
    totals = np.bincount(country, minlength=len(country_names))
    missing = np.outer(ratio, totals)  # images that each split still needs, by country
    chosen = np.empty(len(cell_names), np.int64)
    for number in np.random.default_rng(seed).permutation(len(cell_names)):
        part = slice(starts[number], starts[number + 1])
        here, count = country_of_pair[part], counts[part]
        need = (missing[:, here] * (count / totals[here])).sum(axis=1)
        chosen[number] = need.argmax()
        missing[chosen[number], here] -= count
    return np.array(SPLITS)[chosen[cell]]
