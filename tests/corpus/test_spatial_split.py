"""The split by place, against its laws."""

from __future__ import annotations

import logging
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics.pairwise import haversine_distances

from geoloc.corpus.index import assign_splits
from geoloc.corpus.spatial_split import EARTH_RADIUS, grid_cells, split_cells

RATIO = (0.8, 0.1, 0.1)
shapes = st.tuples(st.integers(1, 300), st.integers(1, 4), st.integers(0, 2**31))


def draw_images(count, countries, seed):
    """Images in clusters, as towns have them, of random countries."""
    rng = np.random.default_rng(seed)
    towns = np.column_stack([rng.uniform(-90, 90, 40), rng.uniform(-180, 180, 40)])
    places = towns[rng.integers(0, 40, count)] + rng.normal(0, 0.02, (count, 2))
    latitude, longitude = np.clip(places[:, 0], -90, 90), (places[:, 1] + 180) % 360 - 180
    return (
        latitude,
        longitude,
        np.array(["FR", "JP", "NA", "BR"])[rng.integers(0, countries, count)],
    )


@settings(max_examples=50)
@given(shapes, st.sampled_from([1, 5, 50, 1000, 30000]))
def test_no_cell_is_in_two_splits_and_the_seed_decides_alone(shape, size):
    latitude, longitude, countries = draw_images(*shape)
    cells = grid_cells(latitude, longitude, size)
    split = split_cells(cells, countries, 42, RATIO)
    assert set(split) <= {"train", "val", "test"}
    assert pd.Series(split).groupby(cells).nunique().max() == 1
    assert (split_cells(cells, countries, 42, RATIO) == split).all()
    order = np.random.default_rng(shape[2]).permutation(len(cells))
    assert (split_cells(cells[order], countries[order], 42, RATIO) == split[order]).all()


@settings(max_examples=30)
@given(shapes, st.integers(0, 100))
def test_where_cells_are_small_each_country_is_divided_by_the_ratio(shape, seed):
    _, _, countries = draw_images(*shape)
    split = split_cells(np.arange(len(countries)), countries, seed, RATIO)
    for country in set(countries):
        here = split[countries == country]
        for name, share in zip(("train", "val", "test"), RATIO, strict=True):
            assert abs((here == name).sum() - share * len(here)) <= 1


def test_another_seed_is_another_split():
    latitude, longitude, countries = draw_images(300, 2, 0)
    cells = grid_cells(latitude, longitude, 5)
    a, b = (split_cells(cells, countries, seed, RATIO) for seed in (1, 2))
    assert (a != b).any()


@settings(max_examples=50)
@given(st.floats(-85, 85), st.floats(-180, 180), st.sampled_from([1, 5, 100]), st.integers(0, 99))
def test_a_cell_holds_what_is_near_and_not_everything(latitude, longitude, size, seed):
    offsets = np.random.default_rng(seed).normal(0, size / 100, (50, 2))
    places = np.array([latitude, longitude]) + offsets / [1, np.cos(np.radians(latitude))]
    places[:, 1] = (places[:, 1] + 180) % 360 - 180
    cells = grid_cells(places[:, 0], places[:, 1], size)
    km = haversine_distances(np.radians(places)) * EARTH_RADIUS
    assert km[cells[:, None] == cells].max() <= 2 * size
    assert len(set(cells)) < 50


def test_the_ends_of_the_earth_have_cells():
    latitude, longitude = np.array([90.0, -90, 0, 0]), np.array([0.0, 0, 180, -180])
    cells = grid_cells(latitude, longitude, 5)
    assert len(set(cells)) == 3  # the last two are one place
    assert cells[2] == cells[3]


@pytest.fixture
def images():
    latitude, longitude, countries = draw_images(300, 2, 0)
    frame = pd.DataFrame({"latitude": latitude, "longitude": longitude, "country": countries})
    frame["source"], frame["collection"] = "streetview", "street"
    frame.loc[200:249, "source"] = "geoguessr"
    frame.loc[200:249, ["latitude", "longitude"]] = np.nan
    frame.loc[250:, ["source", "collection"]] = "im2gps3k"
    frame["path"] = [f"{i}.jpg" for i in range(300)]
    return frame


def test_images_without_coordinates_are_split_by_image_and_test_sets_only_tested(images, caplog):
    caplog.set_level(logging.INFO)
    split = assign_splits(images, 42, RATIO, place_km=5)
    assert set(split[250:]) == {"test"}
    alone = assign_splits(images[200:250], 42, RATIO)
    assert (split[200:250] == alone).all()
    cells = grid_cells(images.latitude[:200].to_numpy(), images.longitude[:200].to_numpy(), 5)
    assert split[:200].groupby(cells).nunique().max() == 1
    assert "geoguessr: 50 images without coordinates are split by image" in caplog.text


def test_the_split_by_image_knows_no_places(images):
    by_image = assign_splits(images, 42, RATIO)
    moved = images.assign(latitude=0.0, longitude=0.0)
    assert (assign_splits(moved, 42, RATIO) == by_image).all()
    assert (assign_splits(images, 42, RATIO, place_km=5) != by_image).any()


def plain_cell(latitude: float, longitude: float, size: float) -> tuple[int, int]:
    """Band and column: bands of equal height, each cut into cells as wide as they are high."""
    bands = max(1, round(math.pi * EARTH_RADIUS / size))
    band = min(math.floor((latitude + 90) / 180 * bands), bands - 1)
    middle = math.radians((band + 0.5) / bands * 180 - 90)
    columns = max(1, round(2 * math.pi * EARTH_RADIUS * math.cos(middle) / size))
    return band, math.floor((longitude + 180) / 360 * columns) % columns


@pytest.mark.parametrize("size", [1, 5, 333, 1000, 7000, 13000, 30000, 90000])
def test_cells_are_bands_cut_into_squares(size):
    rng = np.random.default_rng(size)
    corners = np.array([(a, b) for a in (-90, 0, 90) for b in (-180, 0, 180)], float)
    spread = np.column_stack([rng.uniform(-90, 90, 3000), rng.uniform(-180, 180, 3000)])
    near = np.column_stack([rng.normal(48, 0.05, 3000), rng.normal(2, 0.05, 3000)])
    places = np.concatenate([corners, spread, near])
    cells = grid_cells(*places.T, size)
    names = [plain_cell(*place, size) for place in places.tolist()]
    assert cells.dtype == np.int64
    pairs = set(zip(cells.tolist(), names, strict=True))
    assert len(pairs) == len(set(names)) == len(set(cells.tolist()))


@settings(max_examples=30)
@given(shapes, st.integers(0, 100))
def test_each_cell_goes_where_its_countries_lack_most(shape, seed):
    latitude, longitude, countries = draw_images(*shape)
    cells = grid_cells(latitude, longitude, 2000)
    totals = {code: (countries == code).sum() for code in countries.tolist()}
    missing = {(s, code): RATIO[s] * n for code, n in totals.items() for s in range(3)}
    expected = np.empty(len(cells), object)
    names = np.unique(cells)
    for name in names[np.random.default_rng(seed).permutation(len(names))]:
        here = countries[cells == name]
        counts = {code: (here == code).sum() for code in sorted(set(here.tolist()))}
        need = [
            sum(missing[s, code] * (n / totals[code]) for code, n in counts.items())
            for s in range(3)
        ]
        chosen = int(np.argmax(need))
        for code, n in counts.items():
            missing[chosen, code] -= n
        expected[cells == name] = ("train", "val", "test")[chosen]
    assert split_cells(cells, countries, seed, RATIO).tolist() == expected.tolist()
