"""Score maps by image: in any order, of another image, and the same at both sizes."""

from __future__ import annotations

import os
from contextlib import ExitStack

import numpy as np
import pytest

from geoloc import stores
from geoloc.stores import ScoreMaps, StoreError
from geoloc.weighting import UNCHANGED, View
from tests.small_stores import edit

SPLITS = {
    "a": ["test", "train", "test"],
    "b": ["val", "test"],
    "c": [],
    "d": ["test", "test", "train"],
}
IDS = {name: [f"{name}/{n}" for n in range(len(splits))] for name, splits in SPLITS.items()}
SCORE = {image_id: n for n, image_id in enumerate(sum(IDS.values(), []))}
SELF, OTHER = (View("linear", scores="objects", scores_of=of) for of in ("self", "other_image"))


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> dict[str, list]:
    """Paths of the stores of each layout. The score of an image is the same in the whole map."""
    folder = tmp_path_factory.mktemp("shards")
    place = {"latitude": 0.0, "longitude": 0.0, "source": "s"}
    for name, splits in SPLITS.items():
        ids = IDS[name]
        columns = {"image_id": ids, "label": ["NA"] * len(ids), "split": splits}
        columns |= {key: [value] * len(ids) for key, value in place.items()}
        stores.write_images(
            folder / f"images_{name}",
            (
                {"image_id": i, "image": b"x", "split": s} | place
                for i, s in zip(ids, splits, strict=True)
            ),
        )
        maps = ((i, np.full((640, 640), SCORE[i], np.uint8)) for i in ids)
        stores.write_scores(folder / f"scores_{name}", maps)
        pixels = np.zeros((len(ids), 224, 224, 3), np.uint8)
        stores.write_arrays(folder / f"arrays_{name}", columns, pixels)
        small = (np.full((224, 224), SCORE[i], np.uint8) for i in ids)
        stores.write_score_arrays(folder / f"score_arrays_{name}", ids, small)
    kinds = ("images", "scores", "arrays", "score_arrays")
    return {kind: [folder / f"{kind}_{name}" for name in SPLITS] for kind in kinds}


def test_maps_are_found_in_any_order_with_one_store_open_at_a_time(shards):
    before = len(os.listdir("/proc/self/fd"))
    with ScoreMaps(shards["scores"]) as maps:
        for image_id in ("d/1", "a/0", "a/2", "d/1", "b/1"):
            score = maps[image_id]
            assert (score.shape, score.dtype) == ((640, 640), np.uint8)
            assert (score == SCORE[image_id]).all()
            assert len(os.listdir("/proc/self/fd")) <= before + 1
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_map_of_another_image_stands_for_its_own(shards):
    with ScoreMaps(shards["scores"], others={"a/0": "d/1", "d/1": "a/0"}) as maps:
        found = [maps[image_id].max() for image_id in ("a/0", "d/1", "a/2")]
    assert found == [SCORE["d/1"], SCORE["a/0"], SCORE["a/2"]]


def test_an_image_without_a_map_is_named(shards):
    with ScoreMaps(shards["scores"], others={"a/0": "z"}) as maps:
        for image_id, missing in (("x", "x"), ("a/0", "z")):
            with pytest.raises(StoreError, match=f"no score map of {missing}; run snakemake"):
                maps[image_id]


def test_a_map_that_is_not_what_was_written_is_noticed_when_it_is_read(tmp_path):
    score = np.zeros((640, 640), np.uint8)
    stores.write_scores(tmp_path / "s.h5", [("a", score), ("b", score)])
    edit(tmp_path / "s.h5", lambda file: file["score"].__setitem__((1, 0, 0), 7))
    with ScoreMaps([tmp_path / "s.h5"]) as maps:
        assert maps["a"].max() == 0
        with pytest.raises(StoreError, match=r"s\.h5 is damaged: image b: its data are not"):
            maps["b"]


@pytest.mark.parametrize("seed", [0, 1])
def test_an_image_gets_the_map_of_the_same_other_image_at_both_sizes(shards, seed):
    """The Keras models read arrays, CLIP reads images at full size."""
    scores = {"objects": shards["score_arrays"]}
    arrays = stores.dataset_arrays(shards["arrays"], scores, OTHER, "test", None, seed)
    small = arrays.read(np.arange(len(arrays)))[1][:, 0, 0].tolist()
    with ExitStack() as stack:
        scores = {"objects": shards["scores"]}
        found = stores.open_score_maps(stack, shards["images"], scores, [OTHER], None, seed)
        full = [int(found[stores.score_key(OTHER)][i][0, 0]) for i in arrays.image_id]
    own = [SCORE[image_id] for image_id in arrays.image_id]
    assert small == full
    assert sorted(small) == sorted(own)
    assert all(a != b for a, b in zip(small, own, strict=True))


def test_a_view_gets_the_score_maps_that_it_names_and_no_others(shards):
    """Those of views that share them are opened once; unchanged images need none."""
    images, full, small = (shards[kind] for kind in ("images", "scores", "score_arrays"))
    people = View("linear", scores="people")
    views = [UNCHANGED, SELF, View("piecewise", scores="objects", fill="mean"), OTHER]
    with ExitStack() as stack:
        found = stores.open_score_maps(stack, images, {"objects": full}, views, None, 1)
        assert len(found) == 2
        assert [key and found[key]["a/2"].max() for key in map(stores.score_key, views[:3])] == [
            None,
            SCORE["a/2"],
            SCORE["a/2"],
        ]
        with pytest.raises(KeyError, match="people"):
            stores.open_score_maps(stack, images, {"objects": full}, [people], None, 1)
    for view, expected in ((UNCHANGED, 100), (SELF, SCORE["a/1"])):
        arrays = stores.dataset_arrays(shards["arrays"], {"objects": small}, view, "train", None, 1)
        assert arrays.image_id.tolist() == ["a/1", "d/2"]
        assert arrays.read(np.array([0]))[1].max() == expected


def test_paths_are_divided_by_the_names_of_their_score_maps():
    assert stores.by_name(["x", "y"], ["x/a", "x/b", "y/a", "y/b"]) == {
        "x": ["x/a", "x/b"],
        "y": ["y/a", "y/b"],
    }
    assert stores.by_name([], []) == {}
    for names, paths in ((["x", "y"], ["a", "b", "c"]), ([], ["a"])):
        with pytest.raises(ValueError, match="not as many for each"):
            stores.by_name(names, paths)


def test_a_store_that_cannot_be_opened_leaves_the_others_readable(tmp_path):
    for name in "ab":
        stores.write_scores(tmp_path / name, [(name, np.full((640, 640), 7, np.uint8))])
    with ScoreMaps([tmp_path / "a", tmp_path / "b"]) as maps:
        assert maps["a"].max() == 7
        (tmp_path / "b").unlink()
        with pytest.raises(StoreError, match="b does not exist"):
            maps["b"]
        assert maps["a"].max() == 7
