"""Pictures of models that read images at full size: which, as what, and which pixels score."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from geoloc.explain.full_size import listed_test_images, read_pictures
from geoloc.images import resize_nearest
from geoloc.stores import write_images, write_scores
from geoloc.weighting import View, make_view

SIDE, INPUT = 640, 32
IDS = ("s/0", "s/1", "s/2", "s/3")
SPLIT = ("test", "train", "test", "test")
COUNTRY = ("NA", "FR", "FR", "DE")
CLASSES = ["DE", "FR", "NA"]
DIMMED = make_view({"scores": "objects", "curve": "linear"})


@pytest.fixture(scope="module")
def shard(tmp_path_factory) -> SimpleNamespace:
    folder = tmp_path_factory.mktemp("full_size")
    rng = np.random.default_rng(6)
    pixels = rng.integers(0, 256, (4, SIDE, SIDE, 3), np.uint8)
    scores = np.kron(rng.choice([0, 40, 90], (4, 16, 16)), np.ones((40, 40))).astype(np.uint8)
    rows = []
    for image_id, values, split in zip(IDS, pixels, SPLIT, strict=True):
        buffer = io.BytesIO()
        Image.fromarray(values).save(buffer, "PNG")
        rows.append({"image_id": image_id, "image": buffer.getvalue(), "split": split,
                     "source": "s", "latitude": 0.0, "longitude": 0.0})  # fmt: skip
    write_images(folder / "i.h5", rows)
    write_scores(folder / "s.h5", zip(IDS, scores, strict=True))
    return SimpleNamespace(
        images=folder / "i.h5", maps=folder / "s.h5", pixels=pixels, scores=scores
    )


def seen(image: np.ndarray) -> np.ndarray:
    return resize_nearest(image, INPUT)


def read(shard: SimpleNamespace, view: View, index: str | None = None):
    labels = {"s/3": "DE", "s/0": "NA"}  # in another order than the store's
    return read_pictures(seen, labels, CLASSES, [shard.images], [shard.maps], view, index, 1)


def test_test_images_have_the_countries_of_the_index_in_the_order_of_the_stores(shard):
    index = pd.DataFrame({"image_id": IDS, "country": COUNTRY})[::-1]
    ids, country = listed_test_images([shard.images], index, None)
    assert ids.tolist() == ["s/0", "s/2", "s/3"]
    assert country.tolist() == ["NA", "FR", "DE"]


@pytest.mark.parametrize("view", [View(), DIMMED], ids=["unchanged", "dimmed"])
def test_wanted_images_are_weighted_at_full_size_and_resized_to_the_models_input(shard, view):
    pictures = read(shard, view)
    assert list(pictures.image_id) == ["s/0", "s/3"]
    assert [CLASSES[number] for number in pictures.label] == ["NA", "DE"]
    for number, row in enumerate((0, 3)):
        whole = view(shard.pixels[row], shard.scores[row])
        np.testing.assert_array_equal(pictures.image[number], seen(whole))


def test_scored_pixels_are_those_of_the_images_own_map_at_the_size_of_the_input(shard):
    for settings in ({"scores_of": "self"}, {"scores_of": "other_image"}):
        view = make_view({"scores": "objects", "curve": "linear"} | settings)
        scored = read(shard, view).scored
        expected = [resize_nearest(shard.scores[row], INPUT) > 0 for row in (0, 3)]
        np.testing.assert_array_equal(scored, expected)
        assert 0 < scored.mean() < 1


def test_stores_are_compared_with_the_index(shard, monkeypatch: pytest.MonkeyPatch):
    compared: set[tuple[Path, str]] = set()

    def note(store, index) -> None:
        compared.add((store.path, index))

    for module in ("images", "scores"):
        monkeypatch.setattr(f"geoloc.stores.{module}.check_manifest", note)
    read(shard, DIMMED, "the index")
    assert {(shard.images, "the index"), (shard.maps, "the index")} <= compared
    compared.clear()
    index = pd.DataFrame({"image_id": IDS, "country": COUNTRY})
    listed_test_images([shard.images], index, "the index")
    assert compared == {(shard.images, "the index")}
