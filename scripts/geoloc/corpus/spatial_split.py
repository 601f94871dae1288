"""A split by place: images taken near each other never fall on both sides of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from geoloc.corpus.split import SPLITS

EARTH_RADIUS = 6371.0  # km


def grid_cells(latitude: np.ndarray, longitude: np.ndarray, size: float) -> np.ndarray:
    """The cell of each place (n,) in degrees, int64 (n,), in a grid of the earth whose cells are
    about `size` km wide and high: bands of equal height, each cut into cells of equal width.

    Neighbours on both sides of a border between cells are in different ones, so `size` is the
    scale of a place and no smallest distance.
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
    """The split of each of n images, by whole cells: text (n,), `train`, `val` or `test`.

    cells (n,): see `grid_cells`; countries (n,): so that each country is divided by `ratio` as
    nearly as its cells allow. Cells are taken in an order drawn by `seed`, each to the split that
    its countries lack most.
    """
    cell_names, cell = np.unique(cells, return_inverse=True)
    country_names, country = np.unique(countries, return_inverse=True)
    pairs, counts = np.unique(cell * len(country_names) + country, return_counts=True)
    cell_of_pair, country_of_pair = np.divmod(pairs, len(country_names))
    starts = np.searchsorted(cell_of_pair, np.arange(len(cell_names) + 1))
    totals = np.bincount(country, minlength=len(country_names))
    missing = np.outer(ratio, totals)  # images that each split still lacks, by country
    chosen = np.empty(len(cell_names), np.int64)
    for number in np.random.default_rng(seed).permutation(len(cell_names)):
        part = slice(starts[number], starts[number + 1])
        here, count = country_of_pair[part], counts[part]
        need = (missing[:, here] * (count / totals[here])).sum(axis=1)
        chosen[number] = need.argmax()
        missing[chosen[number], here] -= count
    return np.array(SPLITS)[chosen[cell]]
