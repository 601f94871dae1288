"""What test images share with training images."""

from __future__ import annotations

import io
import time

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image, ImageEnhance, ImageOps

from geoloc.evaluation import hash_search, leakage
from geoloc.evaluation.hash_search import all_pairs, multi_index, nearest_hashes
from geoloc.evaluation.leakage import (
    VIEWS,
    hash_stores,
    leakage_summary,
    leakage_table,
    nearest_places,
    nearest_views,
    perceptual_hash,
    perceptual_hashes,
)
from geoloc.images import Preparation, prepare
from geoloc.stores import write_images
from scenes.draw import draw_scene


def picture(seed):
    """A smooth picture with something on it, another one for each seed."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    return small.resize((320, 240), Image.Resampling.BICUBIC)


def encoded(image, quality=95):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def bits_between(a, b):
    return int(np.bitwise_count(perceptual_hash(a) ^ perceptual_hash(b)))


@pytest.mark.parametrize("seed", range(5))
def test_copies_of_a_picture_are_near_and_other_pictures_are_not(seed):
    image = picture(seed)
    recompressed = Image.open(io.BytesIO(encoded(image, quality=30)))
    for copy in (
        recompressed,
        image.resize((224, 224)),
        ImageEnhance.Brightness(image).enhance(1.1),
    ):
        assert bits_between(image, copy) <= 6
    assert min(bits_between(image, picture(other)) for other in range(5, 25)) > 10


def test_a_picture_is_hashed_whole_in_its_center_and_mirrored():
    """As imagehash does by itself; of a square, the center is all of it."""
    image = picture(0)
    left = (image.width - image.height) // 2
    center = image.crop((left, 0, left + image.height, image.height))
    gray = [
        view.convert("L").resize((32, 32), Image.Resampling.LANCZOS) for view in (center, image)
    ]
    expected = [
        *map(perceptual_hash, (center, image)),
        *(perceptual_hash(ImageOps.mirror(g)) for g in gray),
    ]
    assert perceptual_hashes(image) == tuple(expected)
    assert perceptual_hashes(center)[:2] == (expected[0], expected[0])


@pytest.mark.parametrize("chunk", [1, 100, 1 << 20])
def test_the_nearest_hash_is_that_of_a_comparison_of_all_pairs(chunk, monkeypatch):
    monkeypatch.setattr(hash_search, "CHUNK", chunk)
    rng = np.random.default_rng(0)
    a, b = (rng.integers(0, 2**64, n, dtype=np.uint64) for n in (40, 70))
    own, groups = (rng.choice(["FR", "JP", "NA"], n) for n in (40, 70))
    own[0] = "XX"  # a country without training images
    nearest, bits, other_bits = nearest_hashes(a, b, own, groups, threads=2)
    for i in range(40):
        distances = [(int(a[i]) ^ int(hash_)).bit_count() for hash_ in b]
        assert bits[i] == min(distances) == distances[nearest[i]]
        other = [d for d, group in zip(distances, groups, strict=True) if group != own[i]]
        assert other_bits[i] == min(other)


def near_and_far(rng, n, m):
    """Hashes and references: equal ones, near ones, others; and their groups, −1 for none."""
    references = rng.integers(0, 2**64, m, dtype=np.uint64)
    references[m // 2 : m // 2 + m // 8] = references[0]
    hashes = rng.integers(0, 2**64, n, dtype=np.uint64)
    for row in range(n // 2):
        hashes[row] = references[rng.integers(m)]
        for bit in rng.choice(64, rng.integers(14), replace=False):
            hashes[row] ^= np.uint64(1 << int(bit))
    return hashes, references, rng.integers(-1, 5, n), np.sort(rng.integers(0, 5, m))


@pytest.mark.parametrize("seed", range(3))
def test_the_index_of_hashes_finds_what_a_comparison_of_all_pairs_finds(seed):
    """Also which of several equally near references is the first."""
    rng = np.random.default_rng(seed)
    made = near_and_far(rng, 60, 500)
    expected, found = all_pairs(*made, threads=1), multi_index(*made, threads=2)
    assert found.row.tolist() == expected.row.tolist()
    assert found.bits.tolist() == expected.bits.tolist()
    assert np.minimum(found.other_bits, 64).tolist() == expected.other_bits.tolist()
    limits = rng.integers(0, 30, (2, 60)).astype(np.uint8)
    below = multi_index(*made, threads=1, below=limits)
    within = expected.bits < limits[0]
    assert within.any()
    assert below.row.tolist() == np.where(within, expected.row, -1).tolist()
    assert below.bits.tolist() == np.minimum(expected.bits, limits[0]).tolist()
    assert below.other_bits.tolist() == np.minimum(expected.other_bits, limits[1]).tolist()


def test_of_equally_near_hashes_the_first_counts_although_the_index_finds_it_later():
    """One differs in four bits of one part, which is found first, the other in one of each."""
    apart, together = sum(1 << 16 * part for part in range(4)), 0b1111
    references = np.array([apart, together], np.uint64)
    found = multi_index(np.zeros(1, np.uint64), references, np.zeros(1, int), np.zeros(2, int), 1)
    assert (found.row.tolist(), found.bits.tolist()) == ([0], [4])


def test_the_index_of_hashes_compares_few_pairs_where_copies_are_near(monkeypatch):
    """Of 2,000 × 20,000 pairs; each query has a copy in each of two groups."""
    rng, compared = np.random.default_rng(0), []
    references = rng.integers(0, 2**64, 20_000, dtype=np.uint64)
    hashes = references[:2000] ^ np.uint64(0b11)
    references = np.tile(references, 2)
    count = np.bitwise_count
    monkeypatch.setattr(np, "bitwise_count", lambda x: compared.append(x.size) or count(x))
    group = np.repeat([0, 1], 20_000)
    found = multi_index(hashes, references, np.zeros(2000, int), group, threads=1)
    assert found.row.tolist() == list(range(2000))
    assert set(found.bits) == set(found.other_bits) == {2}
    assert sum(compared) < 2000 * 20_000 / 1000


@pytest.mark.parametrize("indexed", [False, True])
@pytest.mark.parametrize("squares", [False, True])
def test_the_nearest_view_is_that_of_a_comparison_of_all_views(squares, indexed, monkeypatch):
    """Centers are compared with centers and whole pictures with whole ones, mirrored or not."""
    monkeypatch.setattr(hash_search, "ALL_PAIRS", 0 if indexed else 10**10)
    rng = np.random.default_rng(1)
    a, b = (
        pd.DataFrame(rng.integers(0, 2**64, (n, 4), dtype=np.uint64), columns=VIEWS)
        for n in (30, 50)
    )
    references = b.assign(center=b.whole) if squares else b
    a.loc[::3, ["whole", "whole_mirrored"]] = a.loc[::3, ["center", "center_mirrored"]].to_numpy()
    own, groups = (rng.choice(["FR", "JP"], n) for n in (30, 50))
    nearest, bits, other_bits, mirrored = nearest_views(a, references, own, groups, threads=2)
    for i in range(30):
        different = {
            (view, row): (
                int(a.at[i, view]) ^ int(references.at[row, view.split("_")[0]])
            ).bit_count()
            for view in VIEWS
            for row in range(50)
        }
        least = min(different.values())
        best = {key for key, value in different.items() if value == least}
        assert bits[i] == least
        assert any(row == nearest[i] and ("mirrored" in view) == mirrored[i] for view, row in best)
        assert mirrored[i] == all("mirrored" in view for view, _ in best)
        other = [value for (_, row), value in different.items() if groups[row] != own[i]]
        assert other_bits[i] == min(other)


@pytest.mark.parametrize("compact", [False, True])
def test_among_too_many_pairs_only_near_duplicates_are_found_and_all_of_them(monkeypatch, compact):
    """The rest of the table is the same, whatever the columns' types."""
    rng = np.random.default_rng(2)
    hashes = pd.DataFrame(rng.integers(0, 2**64, (300, 4), dtype=np.uint64), columns=VIEWS)
    for row, bits in zip(range(200, 260), np.arange(60) % 13, strict=True):
        changed = sum(1 << int(bit) for bit in rng.choice(64, bits, replace=False))
        hashes.loc[row, VIEWS[row % 4]] = hashes.loc[row - 200, VIEWS[row % 2]] ^ np.uint64(changed)
    index = pd.DataFrame({"image_id": [f"s/{row}" for row in rng.permutation(300)]})
    index["split"] = ["train" if int(i[2:]) < 200 else "test" for i in index.image_id]
    hashes = hashes.set_axis(pd.Index([f"s/{row}" for row in range(300)]))
    index["collection"], index["source"] = "street", "s"
    index["country"] = rng.choice(["JP", "FR", "NA"], 300)
    index[["latitude", "longitude"]] = rng.uniform(-80, 80, (300, 2))
    full = leakage_table(index, hashes)
    monkeypatch.setattr(leakage, "ALL_PAIRS", 0)
    if compact:
        index = index.astype(dict.fromkeys(leakage.CATEGORIES, "category"))
        text = pd.ArrowDtype(pa.string())
        index["image_id"], hashes.index = index.image_id.astype(text), hashes.index.astype(text)
    found = leakage_table(index, hashes, near_duplicate_bits=6, threads=2)
    far = full.bits > 6
    assert 0 < far.sum() < 100
    full = full.astype({"bits": float, "other_country_bits": float})
    full.loc[far, ["nearest_image", "nearest_country", "bits", "mirrored"]] = [
        None,
        None,
        np.nan,
        False,
    ]
    full.loc[full.other_country_bits > 6, "other_country_bits"] = np.nan
    assert found.to_csv(float_format="%.6g") == full.to_csv(float_format="%.6g")
    assert leakage_summary(found, 6).equals(leakage_summary(full, 6))


def test_with_one_country_nothing_is_near_by_chance():
    _, bits, other_bits = nearest_hashes(
        np.zeros(2, np.uint64), np.zeros(3, np.uint64), np.array(["FR"] * 2), np.array(["FR"] * 3)
    )
    assert bits.tolist() == [0, 0]
    assert other_bits.tolist() == [64, 64]


def test_the_nearest_place_may_be_across_the_date_line():
    places, references = np.array([[0.0, 179.9]]), np.array([[0.0, 170.0], [0.0, -179.9]])
    row, meters = nearest_places(places, references)
    assert row.tolist() == [1]
    assert meters[0] == pytest.approx(0.2 / 360 * 2 * np.pi * 6_371_000)


@pytest.fixture
def world(tmp_path):
    """Six images in two stores: a copy of a training image, one taken 11 m from another, and a
    test set photograph; one image of the index could not be read."""
    nan = np.nan
    rows = [
        ("g/a", "street", "FR", "train", nan, nan, picture(1)),
        ("s/b", "street", "JP", "train", 35.0, 139.0, picture(2)),
        ("g/copy", "street", "FR", "test", nan, nan, picture(1).resize((200, 100))),
        ("s/near", "street", "JP", "val", 35.0001, 139.0, picture(3)),
        ("s/far", "street", "JP", "test", 36.0, 139.0, picture(4)),
        ("i/c", "im2gps3k", "FR", "test", 48.0, 2.0, picture(5)),
    ]
    columns = ["image_id", "collection", "country", "split", "latitude", "longitude", "image"]
    frame = pd.DataFrame(rows, columns=columns)
    frame["source"] = frame.image_id.str[0]
    for name, part in frame.groupby("collection"):
        data = part.assign(image=part.image.map(encoded)).to_dict("records")
        write_images(tmp_path / f"{name}.h5", data)
    index = frame.drop(columns="image")
    unread = index.iloc[:1].assign(image_id="g/unread", split="test")
    hashes = hash_stores([tmp_path / "street.h5", tmp_path / "im2gps3k.h5"], threads=2)
    return pd.concat([index, unread]), hashes


def test_large_images_are_decoded_one_at_a_time_whatever_the_threads(tmp_path, monkeypatch):
    monkeypatch.setattr(leakage, "LARGE", 0.07)  # megapixels; two of the four stores have larger
    at_work, most = [], {"large": 0, "all": 0}

    def decode(data):
        large = Image.open(io.BytesIO(data)).width > 320
        at_work.append(large)
        most["large"] = max(most["large"], sum(at_work))
        most["all"] = max(most["all"], len(at_work))
        time.sleep(0.02)
        at_work.remove(large)
        return picture(1)

    monkeypatch.setattr(leakage, "decode_image", decode)
    place = {"latitude": np.nan, "longitude": np.nan, "source": "s", "split": "train"}
    for store in range(4):
        image = encoded(picture(store).resize((400, 300) if store < 2 else (200, 150)))
        rows = [{"image_id": f"{store}/{i}", "image": image} | place for i in range(5)]
        write_images(tmp_path / f"{store}.h5", rows)
    assert len(hash_stores([tmp_path / f"{store}.h5" for store in range(4)], threads=4)) == 20
    assert most["large"] == 1
    assert most["all"] > 1


def test_of_training_images_at_one_place_the_first_counts():
    references = np.array([[10.0, 10.0], [0.0, 5.0], [0.0, 5.0], [0.0, 5.0]])
    row, meters = nearest_places(np.array([[0.0, 5.0], [9.0, 9.0]]), references)
    assert (row.tolist(), meters[0]) == ([1, 0], 0)


def test_copies_and_neighbors_of_training_images_are_named(world):
    table = leakage_table(*world).set_index("image_id")
    assert table.index.tolist() == ["g/copy", "s/near", "s/far", "i/c"]
    assert table.loc["g/copy", "nearest_image"] == "g/a"
    assert table.loc["g/copy", "bits"] <= 6
    assert table.loc["s/near", "nearest_place"] == "s/b"
    assert table.loc["s/near", "meters"] == pytest.approx(11.1, abs=0.1)
    assert table.loc["s/far", "meters"] == pytest.approx(111_195, rel=1e-3)
    assert np.isnan(table.loc["g/copy", "meters"])


def test_the_summary_counts_them_by_collection_and_split(world):
    summary = leakage_summary(leakage_table(*world), 6).set_index(["collection", "split"])
    test = summary.loc["street", "test"]
    assert (test.images, test.near_duplicates, test.near_duplicate_share) == (2, 1, 0.5)
    assert (test.located, test.within_1000_m, test.chance_share) == (1, 0, 0)
    assert test.median_m == pytest.approx(111_195, rel=1e-3)
    assert [name for name in summary if name.startswith("within")] == [
        "within_25_m",
        "within_100_m",
        "within_1000_m",
    ]
    val = summary.loc["street", "val"]
    assert (val.within_25_m, val.median_m) == (1, pytest.approx(11.1, abs=0.1))
    assert summary.loc["im2gps3k", "test"].near_duplicates == 0


def test_without_coordinates_there_are_no_distances_but_hashes(world):
    index, hashes = world
    table = leakage_table(index.assign(latitude=np.nan, longitude=np.nan), hashes)
    assert table.meters.isna().all()
    assert np.isnan(leakage_summary(table, 6).within_25_m).all()


def test_without_a_training_image_it_is_said_so(world):
    index, hashes = world
    with pytest.raises(ValueError, match="no training image"):
        leakage_table(index.assign(split="test"), hashes)


# ------------------------------------------------------------------- the same picture in two sets


STREET = {"cropped": Preparation("center", 320), "squeezed": Preparation("none", 320)}


def leakage_of_pairs(folder, pictures, street, test):
    """Leakage of pictures that are in a street source and, as `test` changes them, in a test set.

    pictures: encoded bytes by name. Returns the table by name; `found` tells whether the nearest
    training image of a test image is itself.
    """
    rows = {"street": [], "test_set": []}
    for name, data in pictures.items():
        for collection, image in (
            ("street", prepare(data, street)),
            ("test_set", prepare(test(data), Preparation())),
        ):
            split = "train" if collection == "street" else "test"
            place = {"latitude": np.nan, "longitude": np.nan, "source": collection}
            row = {"image_id": f"{collection}/{name}", "split": split, "image": image}
            rows[collection].append(row | place)
    paths = [folder / f"{collection}.h5" for collection in rows]
    for path, part in zip(paths, rows.values(), strict=True):
        write_images(path, part)
    index = pd.DataFrame([*rows["street"], *rows["test_set"]]).drop(columns="image")
    index["collection"], index["country"] = index.source, "FR"
    table = leakage_table(index, hash_stores(paths)).set_index(pd.Index(pictures, name="name"))
    table["found"] = table.nearest_image == "street/" + table.index
    return table


@pytest.fixture(scope="module")
def scenes():
    """Streets in pictures of several shapes."""
    shapes = [(240, 557), (240, 320), (320, 240), (300, 300), (200, 350), (350, 200)]
    countries = ["FR", "JP", "ZA", "US", "BR", "FI"]
    pictures = {}
    for number, (country, shape) in enumerate(zip(countries, shapes, strict=True)):
        scene = draw_scene(country, np.random.default_rng(number), shape)
        pictures[country] = encoded(Image.fromarray(scene.image))
    return pictures


def unchanged(data):
    return data


def mirrored(data):
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    return encoded(ImageOps.mirror(upright.convert("RGB")))


@pytest.mark.parametrize("street", STREET)
@pytest.mark.parametrize("test", [unchanged, mirrored])
def test_the_same_pictures_are_found_however_they_were_prepared(scenes, tmp_path, street, test):
    table = leakage_of_pairs(tmp_path, scenes, STREET[street], test)
    assert table.found.all()
    assert table.bits.max() <= 6
    assert (table.mirrored == (test is mirrored)).all()
