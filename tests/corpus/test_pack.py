"""Images and score maps are squashed alike, each into a store of its own."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from geoloc.corpus.pack import pack_images, pack_scores
from geoloc.images import resize_nearest
from geoloc.stores import Arrays, write_images, write_scores

SPLITS = ("test", "train", "test")


def test_a_pixel_and_its_score_are_squashed_to_the_same_place(tmp_path):
    score = np.random.default_rng(0).integers(0, 101, (3, 640, 640), np.uint8)
    rows = []
    for number, split in enumerate(SPLITS):
        buffer = io.BytesIO()  # an image in the gray of its score
        Image.fromarray(score[number]).convert("RGB").save(buffer, "PNG", compress_level=0)
        place = {"latitude": number / 2, "longitude": 7.5}
        row = {"image_id": f"s/{number}", "image": buffer.getvalue(), "source": f"s{number}"}
        rows.append(row | place | {"split": split})
    write_images(tmp_path / "images.h5", rows)
    write_scores(tmp_path / "scores.h5", ((f"s/{n}", score[n]) for n in range(3)))
    pack_images(tmp_path / "images.h5", "NA", tmp_path / "arrays/images.h5")
    pack_scores(tmp_path / "scores.h5", tmp_path / "arrays/scores.h5")

    arrays = Arrays([tmp_path / "arrays/images.h5"], scores=[tmp_path / "arrays/scores.h5"])
    found, found_score = arrays.read(np.arange(3))
    for channel in np.moveaxis(found, -1, 0):
        np.testing.assert_array_equal(channel, found_score)
    np.testing.assert_array_equal(found_score[2], resize_nearest(score[2], 224))
    assert arrays.image_id.tolist() == ["s/0", "s/1", "s/2"]
    assert arrays.source.tolist() == ["s0", "s1", "s2"]
    assert (arrays.label.tolist(), arrays.split.tolist()) == (["NA"] * 3, list(SPLITS))
    assert (arrays.latitude.tolist(), arrays.longitude.tolist()) == ([0, 0.5, 1], [7.5] * 3)
