"""The earth is divided where images are dense, and a model's folder says how."""

import json

import numpy as np
import pytest
import s2cell
from hypothesis import given
from hypothesis import strategies as st

from geoloc.countries.cells import CellsRecord, adaptive_cells, read_cells, write_cells
from geoloc.countries.places import OUTSIDE
from geoloc.errors import InputError


def scattered(n: int, seed: int = 0) -> np.ndarray:
    """Places (n, 2), half of them in a town near the antimeridian and the rest all over the
    earth."""
    rng = np.random.default_rng(seed)
    earth = np.column_stack([rng.uniform(-90, 90, n), rng.uniform(-180, 180, n)])
    longitude = 180 + rng.normal(0, 0.5, n)
    town = np.column_stack([rng.normal(-16, 0.5, n), (longitude + 180) % 360 - 180])
    return np.where(rng.random((n, 1)) < 0.5, earth, town)


def by_the_rule(places: list[tuple], maximum: int, minimum: int, level: int = 0) -> dict[str, list]:
    """Places by token, as PlaNet describes it, one cell at a time."""
    cells: dict[str, list] = {}
    for place in places:
        cells.setdefault(s2cell.lat_lon_to_token(*place, level), []).append(place)
    found = {}
    for token, inside in cells.items():
        if len(inside) > maximum:
            found |= by_the_rule(inside, maximum, minimum, level + 1)
        elif len(inside) >= minimum:
            found[token] = inside
    return found


def test_cells_are_those_of_the_published_rule():
    places = scattered(2000)
    cells = adaptive_cells(places, 60, 15)
    expected = by_the_rule([tuple(place) for place in places.tolist()], 60, 15)
    assert cells.tokens == sorted(expected)
    assert cells.images.tolist() == [len(expected[token]) for token in cells.tokens]
    for token, mean in zip(cells.tokens, cells.coordinates, strict=True):
        assert s2cell.lat_lon_to_token(*mean, s2cell.token_to_level(token)) == token


def test_each_image_is_in_the_cell_that_counts_it_and_in_none_where_that_was_dropped():
    places = scattered(3000, 1)
    cells = adaptive_cells(places, 100, 30)
    index = cells.index_of(places)
    assert np.bincount(index[index != OUTSIDE]).tolist() == cells.images.tolist()
    for place, cell in zip(places[:300], index[:300], strict=True):
        ancestors = {s2cell.lat_lon_to_token(*place, level) for level in range(31)}
        assert ancestors & set(cells.tokens) == ({cells.tokens[cell]} if cell >= 0 else set())
    assert 0 < (index == OUTSIDE).sum() == 3000 - cells.images.sum()


def test_images_at_one_place_are_not_divided():
    places = np.array([(48.8, 2.3)] * 50 + [(48.9, 2.4)] * 3)
    cells = adaptive_cells(places, 10, 1)
    assert sorted(cells.images) == [3, 50]
    assert max(map(s2cell.token_to_level, cells.tokens)) < 12  # some kilometers
    np.testing.assert_allclose(np.sort(cells.coordinates, axis=0), [(48.8, 2.3), (48.9, 2.4)])


def test_mean_place_of_a_cell_across_the_antimeridian_is_in_it():
    places = np.array([(-16.5, 179.9), (-16.5, -179.9), (50, 8), (50, 9)])
    cells = adaptive_cells(places, 2, 2)
    latitude, longitude = cells.coordinates[cells.index_of(places)[0]]
    assert (round(latitude, 2), abs(round(longitude, 6))) == (-16.5, 180)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ((5, 6), "minimum_images is 6 and maximum_images 5"),
        ((5, 0), "at least 1"),
        ((1000, 900), r"1 cells have at least 900 of 1000 images.*lower minimum_images"),
    ],
)
def test_numbers_that_leave_no_cells_are_refused(numbers, message):
    with pytest.raises(InputError, match=message):
        adaptive_cells(np.array([(48.8, 2.3)] * 960 + [(0.0, 0.0)] * 40), *numbers)


@given(st.lists(st.tuples(st.floats(-90, 90), st.floats(-180, 180)), min_size=2, max_size=40))
def test_no_cell_holds_more_than_the_maximum_but_of_one_place(places):
    places = np.array(places)
    try:
        cells = adaptive_cells(places, 3, 1)
    except InputError:  # all at one place
        return
    index = cells.index_of(places)
    assert (index != OUTSIDE).all()
    for cell in np.flatnonzero(cells.images > 3):
        leaves = {s2cell.lat_lon_to_token(*place, 30) for place in places[index == cell]}
        assert len(leaves) == 1


@pytest.fixture
def record() -> CellsRecord:
    return CellsRecord(adaptive_cells(scattered(500), 60, 20), ["FJ", "FR"], "country_polygon")


def test_record_comes_back_as_it_was_written(record, tmp_path):
    write_cells(tmp_path, record)
    found = read_cells(tmp_path)
    assert (found.countries, found.geocoder) == (record.countries, record.geocoder)
    assert found.cells.tokens == record.cells.tokens
    assert np.array_equal(found.cells.coordinates, record.cells.coordinates)
    assert np.array_equal(found.cells.images, record.cells.images)


def swap(content: dict) -> None:
    content["cells"][:2] = content["cells"][1::-1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(cells=c["cells"][:1]), "1 cells"),
        (swap, "out of order or overlaps"),
        (lambda c: c["cells"][1].update(token=c["cells"][0]["token"]), "overlaps"),
        (lambda c: c["cells"][0].update(token="xyz"), "'xyz' is not an S2 cell"),
        (lambda c: c["cells"][0].update(latitude=91), "latitude 91"),
        (lambda c: c["cells"][0].update(latitude=None), "latitude nan"),
        (lambda c: c["cells"][0].update(images=0), "a cell without images"),
        (lambda c: c.update(countries=["FR", "FJ"]), "countries are not sorted"),
        (lambda c: c.update(geocoder="guess"), "unknown geocoder 'guess'"),
        (lambda c: c.pop("cells"), "KeyError"),
    ],
)
def test_damaged_record_is_refused_with_its_file_and_the_remedy(record, change, message, tmp_path):
    write_cells(tmp_path, record)
    content = json.loads((tmp_path / "cells.json").read_text())
    change(content)
    (tmp_path / "cells.json").write_text(json.dumps(content))
    with pytest.raises(OSError, match=rf"cells\.json.*{message}.*train it again"):
        read_cells(tmp_path)


def test_missing_record_is_named(tmp_path):
    with pytest.raises(OSError, match=r"cells\.json.*train it again"):
        read_cells(tmp_path)
