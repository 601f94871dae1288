"""Figure 2 shows images that nobody picked."""

import io

import numpy as np
import pytest
from PIL import Image

from geoloc.evaluation.examples import choose_examples
from geoloc.stores import write_images, write_scores
from geoloc.types import SCORE_SIZE

PLACE = {"latitude": 0.0, "longitude": 0.0, "split": "train", "source": "test"}
MEANS = (30, 0, 40, 10, 20)


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """Two shards of each of two countries; images are named by their mean score."""
    folder = tmp_path_factory.mktemp("shards")
    buffer = io.BytesIO()
    Image.new("RGB", (SCORE_SIZE, SCORE_SIZE)).save(buffer, "PNG")
    written = []
    for country in ("FR", "NA"):
        for shard, means in enumerate((MEANS, [100])):
            images, masks = (folder / f"{country}{shard}{kind}.h5" for kind in ("images", "scores"))
            rows = [{"image_id": str(m), "image": buffer.getvalue()} | PLACE for m in means]
            write_images(images, rows)
            flat = ((str(m), np.full((SCORE_SIZE, SCORE_SIZE), m, np.uint8)) for m in means)
            write_scores(masks, flat)
            written.append((country, images, masks))
    return written


def test_examples_go_from_the_median_image_to_the_highest_of_first_shards(shards):
    chosen = choose_examples(shards, 2, seed=1)
    assert [(e.country, e.image_id) for e in chosen] == [("FR", "20"), ("NA", "40")]
    assert [e.score.max() for e in chosen] == [20, 40]


def test_fewer_countries_than_asked_for_are_all_shown(shards):
    assert [e.country for e in choose_examples(shards, 9, seed=1)] == ["FR", "NA"]
