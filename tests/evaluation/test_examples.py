"""Figure 2 shows images that nobody picked."""

import io

import numpy as np
import pytest
from PIL import Image

from geoloc.evaluation.examples import Naming, choose_examples
from geoloc.stores import write_images, write_scores, write_segments
from geoloc.types import SCORE_SIZE
from tests.small_stores import segments_of

PLACE = {"latitude": 0.0, "longitude": 0.0, "split": "train", "source": "test"}
MEANS = (30, 0, 40, 10, 20)
NAMING = Naming([f"class {n}" for n in range(1000)], np.array([0]), 0.10)


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    """Two shards of each of two countries; images are named by their mean score."""
    folder = tmp_path_factory.mktemp("shards")
    buffer = io.BytesIO()
    Image.new("RGB", (SCORE_SIZE, SCORE_SIZE)).save(buffer, "PNG")
    written = []
    for country in ("FR", "NA"):
        for shard, means in enumerate((MEANS, [100])):
            images, segments, masks = (
                folder / f"{country}{shard}{kind}.h5" for kind in ("images", "segments", "scores")
            )
            rows = [{"image_id": str(m), "image": buffer.getvalue()} | PLACE for m in means]
            write_images(images, rows)
            flat = ((str(m), np.full((SCORE_SIZE, SCORE_SIZE), m, np.uint8)) for m in means)
            write_scores(masks, flat)
            mask = np.zeros((SCORE_SIZE, SCORE_SIZE), bool)
            mask[:9, :9] = True
            write_segments(segments, (segments_of(str(m), [mask], m) for m in means))
            written.append((country, images, segments, masks))
    return written


def test_examples_go_from_the_median_image_to_the_highest_of_first_shards(shards):
    chosen = choose_examples(shards, NAMING, 2, seed=1)
    assert [(e.country, e.image_id) for e in chosen] == [("FR", "20"), ("NA", "40")]
    assert [e.score.max() for e in chosen] == [20, 40]
    assert [[r.mask.sum() for r in e.regions] for e in chosen] == [[81], [81]]


def test_fewer_countries_than_asked_for_are_all_shown(shards):
    assert [e.country for e in choose_examples(shards, NAMING, 9, seed=1)] == ["FR", "NA"]
