"""The demo's world: scenes with masks, marks that are ambiguous alone, complete raw layouts."""

import csv
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from geoloc.countries.geocoding import country_of_coordinates
from geoloc.countries.names import country_of_name
from scenes import marks, world
from scenes.draw import draw_scene
from scenes.ground import make_road

MULTIPLE_CHOICE = [mark for mark in marks.TABLE if mark != "side"]


def draw(country="FR", seed=0, size=(160, 200)):
    return draw_scene(country, np.random.default_rng([seed, 1]), size)


@given(country=st.sampled_from(marks.COUNTRIES), seed=st.integers(0, 10**6))
@settings(max_examples=25)
def test_every_pixel_shows_one_known_object(country, seed):
    scene = draw(country, seed)
    assert scene.image.shape == (160, 200, 3)
    assert scene.image.dtype == np.uint8
    assert scene.instances.shape == (160, 200)
    assert set(np.unique(scene.instances)) == set(scene.kinds)
    assert {"sky", "ground", "road"} <= set(scene.kinds.values())


def test_the_same_state_draws_the_same_scene():
    first, again, other = draw(seed=3), draw(seed=3), draw(seed=4)
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.instances, again.instances)
    assert first.kinds == again.kinds
    assert not np.array_equal(first.image, other.image)


def test_masks_lie_where_the_object_is_seen():
    """The color changes where the mask of a pole ends."""
    contrasts = []
    for seed in range(12):
        scene = draw("FI", seed, (320, 320))
        for number, kind in scene.kinds.items():
            rows, columns = np.nonzero(scene.instances == number)
            if kind != "pole" or len(rows) < 60 or np.ptp(rows) < 60:
                continue
            row = int(np.median(rows))
            inside = columns[rows == row]
            left = scene.image[row, max(inside.min() - 4, 0)].astype(int)
            middle = scene.image[row, int(np.median(inside))].astype(int)
            contrasts.append(abs(left - middle).max())
    assert len(contrasts) >= 5
    assert np.median(contrasts) > 25


@pytest.mark.parametrize("country", marks.COUNTRIES)
def test_the_camera_drives_on_the_side_of_the_country(country):
    """The middle of the road is to the right of who keeps left."""
    rng = np.random.default_rng(0)
    middles = [make_road(marks.draw_marks(country, rng), rng).middle for _ in range(20)]
    keeps_left = country in marks.LEFT_HAND_TRAFFIC
    assert all(middle > 0 for middle in middles) == keeps_left
    assert all(middle < 0 for middle in middles) != keeps_left


def test_every_value_of_a_mark_occurs_in_several_countries():
    for mark, countries in marks.TABLE.items():
        assert set(countries) == set(marks.COUNTRIES)
        for value in {value for weights in countries.values() for value in weights}:
            owners = [country for country, weights in countries.items() if weights.get(value)]
            assert len(owners) >= 2, f"{mark} {value} gives {owners} away"


def shares(mark):
    """P(value | country) of the kept countries, (countries, values)."""
    table = marks.TABLE[mark]
    values = sorted({value for weights in table.values() for value in weights})
    rows = np.array([[table[c].get(value, 0.0) for value in values] for c in marks.KEPT])
    return rows / rows.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("mark", marks.TABLE)
def test_one_mark_alone_seldom_tells_the_country(mark):
    """Even the best guess from one mark is wrong more often than right."""
    best_guess = shares(mark).max(axis=0).sum() / len(marks.KEPT)
    assert best_guess < 0.5


@pytest.mark.parametrize("mark", MULTIPLE_CHOICE)
def test_no_kept_country_always_shows_the_same_value(mark):
    assert shares(mark).max() < 1


def test_all_marks_together_tell_the_country():
    rng = np.random.default_rng(0)
    likelihood = {mark: shares(mark) for mark in marks.TABLE}
    right = 0
    for truth in np.repeat(np.arange(len(marks.KEPT)), 60):
        score = np.zeros(len(marks.KEPT))
        for table in likelihood.values():
            value = rng.choice(table.shape[1], p=table[truth])
            score += np.log(table[:, value] + 1e-6)
        right += score.argmax() == truth
    assert right / (60 * len(marks.KEPT)) > 0.9


def test_an_unknown_country_is_refused_by_name():
    with pytest.raises(ValueError, match="'XX'"):
        draw("XX")


@pytest.fixture(scope="module")
def small_world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    world.write_world(folder, seed=5, images_per_country=2, test_set_images=6)
    return folder


def test_country_folders_hold_panoramas(small_world):
    folders = sorted((small_world / "geoguessr" / "compressed_dataset").iterdir())
    assert {country_of_name(folder.name) for folder in folders} <= set(marks.KEPT + marks.RARE)
    sizes = []
    for file in sorted((small_world / "geoguessr").rglob("canvas_*.jpg")):
        try:
            with Image.open(file) as image:
                image.load()
                sizes.append(image.size)
        except OSError:
            continue
    assert set(sizes) == {(1536, 662)}


def test_row_i_of_the_coordinates_belongs_to_picture_i(small_world):
    folder = small_world / "streetview"
    with (folder / "coordinates.csv").open() as file:
        rows = list(csv.DictReader(file))
    files = sorted(folder.glob("*.png"), key=lambda path: int(path.stem))
    assert [path.stem for path in files] == [str(number) for number in range(len(rows))]
    with Image.open(files[0]) as image:
        assert image.size == (640, 640)
    found = country_of_coordinates(
        np.array([float(row["latitude"]) for row in rows]),
        np.array([float(row["longitude"]) for row in rows]),
    )
    counts = world.street_counts(world.World(images_per_country=2))
    expected = {country: squares for country, (_, squares) in counts.items() if squares}
    unreadable = country_of_coordinates(
        np.array([float(rows[-1]["latitude"])]), np.array([float(rows[-1]["longitude"])])
    )[0]
    expected[unreadable] += 1
    assert {str(c): int((found == c).sum()) for c in set(found)} == expected


def test_test_set_photographs_have_many_sizes_and_one_is_rotated(small_world):
    folder = small_world / "im2gps3k"
    with (folder / "im2gps3k_places365.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    assert list(rows[0])[:4] == ["IMG_ID", "AUTHOR", "LAT", "LON"]
    stored, seen = set(), set()
    for row in rows:
        with Image.open(folder / "images" / row["IMG_ID"]) as image:
            stored.add(image.size)
            seen.add(ImageOps.exif_transpose(image).size)
    assert len(stored) >= 5
    assert stored != seen
    found = country_of_coordinates(
        np.array([float(row["LAT"]) for row in rows]), np.array([float(row["LON"]) for row in rows])
    )
    assert set(found) - set(marks.KEPT)


def test_authors_of_the_test_set_have_several_photographs_each(tmp_path):
    photographs = world.plan_world(tmp_path, world.World()).photographs
    world._write_test_set_table(tmp_path / "table.csv", photographs)
    with (tmp_path / "table.csv").open() as file:
        counts = sorted(Counter(row["AUTHOR"] for row in csv.DictReader(file)).values())
    assert 5 <= len(counts) <= 20
    assert counts[-1] >= 5


def test_some_files_cannot_be_read(small_world):
    unreadable = []
    for file in small_world.rglob("*.*g"):
        try:
            with Image.open(file) as image:
                image.load()
        except OSError:
            unreadable.append(file.suffix)
    assert sorted(unreadable) == [".jpg", ".jpg", ".png"]


def test_a_larger_world_holds_the_smaller_one(tmp_path):
    small, large = (
        world.plan_world(tmp_path, world.World(5, images_per_country=n, test_set_images=n))
        for n in (10, 14)
    )
    for name in ("panoramas", "squares", "photographs"):
        states = {picture.seed for picture in getattr(small, name)}
        assert len(states) == len(getattr(small, name))
        assert states < {picture.seed for picture in getattr(large, name)}


def test_the_largest_country_is_no_more_than_a_fifth():
    totals = [
        sum(count) for c, count in world.street_counts(world.World()).items() if c in marks.KEPT
    ]
    assert max(totals) / sum(totals) <= 0.2
    assert len(set(totals)) > 1
