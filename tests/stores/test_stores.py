"""A store comes back as it was written; tests of what differs are in test_store_damage.py."""

import os
from importlib.metadata import version

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as numpy_arrays

from geoloc import stores
from geoloc.errors import InputError
from geoloc.segmentation.segments import to_segments
from geoloc.stores import Arrays, StoreError, read_config
from geoloc.stores.values import segments_problem
from geoloc.weighting import other_rows
from tests.small_stores import IDS, segments_of, write_small

RNG = np.random.default_rng(0)


def write_arrays(path, ids, images, splits=None):
    n = len(ids)
    columns = {"image_id": ids, "label": ["NA"] * n, "split": splits or ["train"] * n}
    columns |= {"source": ["s"] * n, "latitude": np.zeros(n), "longitude": np.zeros(n)}
    stores.write_arrays(path, columns, images)


def test_images_come_back_as_they_were(tmp_path):
    rows = [
        {"image_id": f"s/Åland/{i} 'x'.jpg", "image": bytes(range(i + 1)),
         "latitude": np.nan if i == 1 else -9.5, "longitude": np.nan if i == 1 else float(i),
         "split": "train", "source": "s"}
        for i in range(5)
    ]  # fmt: skip
    path = tmp_path / "images.h5"
    assert stores.write_images(path, rows) == 5
    assert list(stores.read_images(path)) == [(r["image_id"], r["image"]) for r in rows]
    assert next(stores.read_images(path, start=3))[0] == rows[3]["image_id"]
    columns = stores.read_image_columns(path)
    assert np.isnan(columns["latitude"]).tolist() == [False, True, False, False, False]
    np.testing.assert_array_equal(columns["longitude"], [0, np.nan, 2, 3, 4])


masks = st.lists(numpy_arrays(bool, (4, 5)), max_size=4)


@settings(max_examples=25)
@given(st.lists(masks, max_size=4))
def test_segments_come_back_as_they_were(tmp_path_factory, masks):
    path = tmp_path_factory.mktemp("segments") / "segments.h5"
    given_segments = [segments_of(f"image {i}", m) for i, m in enumerate(masks)]
    stores.write_segments(path, given_segments)
    read = list(stores.read_segments(path))
    assert [s.image_id for s in read] == [s.image_id for s in given_segments]
    for expected, found in zip(given_segments, read, strict=True):
        assert found.size == expected.size
        assert [c.tolist() for c in found.counts] == [c.tolist() for c in expected.counts]
        for name in stores.SEGMENT_COLUMNS:
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


def test_values_at_the_ends_of_their_ranges_come_back(tmp_path):
    full, empty = np.ones((4, 5), bool), np.zeros((4, 5), bool)
    segments = segments_of("a", [full, empty])
    segments.class_id[0, :2], segments.class_id[1, 5:] = (999, 0), -1
    segments.class_probability[0, 0], segments.class_probability[1, 5:] = 1, 0
    segments.predicted_iou[0], segments.stability_score[:] = 1.5, (1, np.nan)
    stores.write_segments(tmp_path / "segments.h5", [segments])
    (found,) = stores.read_segments(tmp_path / "segments.h5")
    for name in stores.SEGMENT_COLUMNS:
        np.testing.assert_array_equal(getattr(found, name), getattr(segments, name))
    places = [(90.0, 180.0), (-90.0, -180.0), (np.nan, np.nan)]
    rows = [
        {"image_id": str(i), "image": b"x", "split": split, "source": "s",
         "latitude": places[i][0], "longitude": places[i][1]}
        for i, split in enumerate(("train", "val", "test"))
    ]  # fmt: skip
    stores.write_images(tmp_path / "images.h5", rows)
    assert list(stores.read_images(tmp_path / "images.h5")) == [(str(i), b"x") for i in range(3)]


def test_only_the_images_asked_for_are_read(tmp_path):
    for schema, read in (
        ("images", stores.read_images),
        ("segments", stores.read_segments),
        ("scores", stores.read_scores),
    ):
        path = write_small(tmp_path, schema)
        wanted = [getattr(r, "image_id", None) or r[0] for r in read(path, image_ids=IDS[1:])]
        assert wanted == list(IDS[1:])
    images, scores = tmp_path / "images0.h5", tmp_path / "scores0.h5"
    pairs = list(stores.read_images_and_scores(images, scores, image_ids=IDS[:1]))
    assert [image_id for image_id, _, _ in pairs] == [IDS[0]]
    assert [score for _, _, score in stores.read_images_and_scores(images, None)] == [None] * 3


def test_masks_come_back_as_they_were(tmp_path):
    maps = [(str(i), RNG.integers(0, 101, (640, 640), np.uint8)) for i in range(2)]
    stores.write_scores(tmp_path / "scores.h5", maps)
    for expected, found in zip(maps, stores.read_scores(tmp_path / "scores.h5"), strict=True):
        assert found[0] == expected[0]
        np.testing.assert_array_equal(found[1], expected[1])


SPLITS = ["train", "test", "train", "train", "test", "train", "train"]


@pytest.fixture
def shards(tmp_path):
    """Pixels and scores of 7 images, and the stores of images and of scores: the second is
    empty."""
    image = RNG.integers(0, 256, (7, 224, 224, 3), np.uint8)
    score = RNG.integers(0, 101, (7, 224, 224), np.uint8)
    ids, images, scores = [str(i) for i in range(7)], [], []
    for name, part in {"a": slice(0, 3), "b": slice(3, 3), "c": slice(3, 7)}.items():
        images.append(tmp_path / f"{name}.h5")
        scores.append(tmp_path / f"{name}_scores.h5")
        write_arrays(images[-1], ids[part], image[part], SPLITS[part])
        stores.write_score_arrays(scores[-1], ids[part], score[part])
    return image, score, images, scores


def test_arrays_of_several_files_are_one_in_the_order_asked_for(shards):
    image, score, images, scores = shards
    train = Arrays(images, "train", scores=scores)
    assert train.image_id.tolist() == ["0", "2", "3", "5", "6"]
    assert train.label.tolist() == ["NA"] * 5
    found, found_score = train.read(np.array([4, 0, 2]))
    np.testing.assert_array_equal(found, image[[6, 0, 3]])
    np.testing.assert_array_equal(found_score, score[[6, 0, 3]])
    assert len(Arrays(images)) == 7


def test_without_score_maps_every_score_is_100(shards):
    image, _, images, _ = shards
    found, score = Arrays(images).read(np.array([5, 1]))
    np.testing.assert_array_equal(found, image[[5, 1]])
    assert (score.shape, score.dtype, set(score.flat)) == ((2, 224, 224), np.uint8, {100})


def test_an_image_gets_the_score_map_of_another_one_of_its_split(shards):
    """Of both stores; which one depends on nothing but the split and the seed."""
    image, score, images, scores = shards
    for split, rows in (("train", [0, 2, 3, 5, 6]), ("test", [1, 4]), (None, range(7))):
        arrays = Arrays(images, split, scores=scores, other_images=9)
        found, found_score = arrays.read(np.arange(len(rows)))
        np.testing.assert_array_equal(found, image[list(rows)])
        expected = score[list(rows)][other_rows(len(rows), 9)]
        np.testing.assert_array_equal(found_score, expected)


@pytest.mark.parametrize("wrong", ["other images", "another order", "an image less", "swapped"])
def test_score_maps_of_other_images_are_refused(wrong, shards, tmp_path):
    _, _, images, scores = shards
    other = {"other images": ["x", "4", "5", "6"], "another order": ["4", "3", "5", "6"]}
    ids = other.get(wrong, ["3", "4", "5"])
    maps = np.zeros((len(ids), 224, 224), np.uint8)
    stores.write_score_arrays(tmp_path / "other.h5", ids, maps)
    scores = scores[::-1] if wrong == "swapped" else [*scores[:2], tmp_path / "other.h5"]
    named = {"swapped": ("c_scores", "a")}.get(wrong, ("other", "c"))
    message = r"{}\.h5 belongs to other images than .*/{}\.h5; delete .* run snakemake again"
    with pytest.raises(StoreError, match=message.format(*named)):
        Arrays(images, scores=scores)


def test_a_store_of_score_maps_too_few_is_refused(shards):
    _, _, images, scores = shards
    with pytest.raises(StoreError, match="3 stores of images, but 2 of scores; run snakemake"):
        Arrays(images, scores=scores[:2])


def test_only_the_score_arrays_asked_for_are_read(shards):
    _, score, _, scores = shards
    ((image_id, found),) = stores.read_score_arrays(scores[2], {"5", "0"})
    assert image_id == "5"
    np.testing.assert_array_equal(found, score[5])


def test_reading_arrays_keeps_no_file_open(tmp_path):
    """A process may open some hundred files; a large corpus has thousands of shards."""
    image = np.zeros((1, 224, 224, 3), np.uint8)
    paths = [tmp_path / f"{number}.h5" for number in range(20)]
    for path in paths:
        write_arrays(path, [path.stem], image)
    arrays = Arrays(paths)
    before = len(os.listdir("/proc/self/fd"))
    arrays.read(np.arange(20))
    assert len(os.listdir("/proc/self/fd")) == before


OTHER = {"image_id": ["b"], "label": ["DE"], "split": ["val"], "source": ["other"]}
OTHER |= {"latitude": [1.0], "longitude": [1.0]}


@pytest.mark.parametrize("changed", ["image", "score", "other image", *OTHER])
def test_digest_of_arrays_is_of_their_content(changed, tmp_path):
    digests = {}
    for name in ("a", "same", "other"):
        image, score = np.zeros((1, 224, 224, 3), np.uint8), np.zeros((1, 224, 224), np.uint8)
        columns = {"image_id": ["a"], "label": ["FR"], "split": ["train"], "source": ["s"]}
        columns |= {"latitude": [0.0], "longitude": [0.0]}
        if name == "other" and changed in OTHER:
            columns[changed] = OTHER[changed]
        image += name == "other" and changed == "image"
        score += name == "other" and changed == "score"
        images, scores = tmp_path / name, tmp_path / f"{name}_scores"
        stores.write_arrays(images, columns, image, {"made": name})
        stores.write_score_arrays(scores, columns["image_id"], score, {"made": name})
        other_images = 1 if name == "other" and changed == "other image" else None
        digests[name] = Arrays([images], scores=[scores], other_images=other_images).digest
    assert digests["a"] == digests["same"] != digests["other"]
    assert Arrays([tmp_path / "a"]).digest != digests["a"]


def test_a_file_that_cannot_be_finished_never_appears(tmp_path):
    def broken():
        yield "a", np.zeros((640, 640), np.uint8)
        raise ConnectionError("the disk is gone")

    with pytest.raises(ConnectionError, match="the disk is gone"):
        stores.write_scores(tmp_path / "scores.h5", broken())
    assert list(tmp_path.iterdir()) == []


def test_stores_say_what_they_were_made_with(tmp_path):
    stores.write_scores(tmp_path / "a.h5", [], {"minimum": 0.1, "merge": "maximum"})
    stores.write_scores(tmp_path / "b.h5", [], {"merge": "maximum", "minimum": 0.1})
    stores.write_scores(tmp_path / "c.h5", [], {"merge": "maximum", "minimum": 0.2})
    a, b, c = (read_config(tmp_path / name, "scores") for name in ("a.h5", "b.h5", "c.h5"))
    assert a == b != c
    with stores.open_store(tmp_path / "a.h5", "scores") as store:
        assert f"h5py={version('h5py')}" in store.attributes["software"]


@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=5), min_size=1, max_size=7))
def test_areas_are_checked_wherever_a_mask_begins(counts):
    """The check adds up every second run of all masks together."""
    size = (5, 10)
    runs = [np.array([*c, 50 - sum(c)], np.uint32) for c in counts]
    found = to_segments(size, runs, [0.5] * len(runs), [0.5] * len(runs))
    bounds = np.cumsum([0, *map(len, runs)])
    assert segments_problem(found) == segments_problem(found, np.concatenate(runs), bounds) == ""
    for mask in range(len(runs)):
        found.area[mask] += 1
        assert segments_problem(found) == "an area that is not the mask's"
        found.area[mask] -= 1


@pytest.mark.parametrize(
    ("relevance", "message"),
    [(-1.0, "below 0"), (np.nan, "not finite"), (1.0, "sums to"), (None, "maps of shape")],
)
def test_maps_that_are_no_relevance_are_not_stored(tmp_path, relevance, message):
    side = 224 if relevance is not None else 223
    maps = {"grad_cam": np.full((side, side), relevance or 0, np.float32)}
    with pytest.raises(InputError, match=f"image a: .*{message}"):
        stores.write_explanations(tmp_path / "e.h5", [stores.Explanation("a", "DE", "FR", maps)])
    assert list(tmp_path.iterdir()) == []


def test_writing_explanations_counts_their_images(tmp_path):
    maps = {"grad_cam": np.zeros((224, 224), np.float32)}
    given = [stores.Explanation(name, "DE", "FR", maps) for name in "abc"]
    assert stores.write_explanations(tmp_path / "e.h5", given) == 3
