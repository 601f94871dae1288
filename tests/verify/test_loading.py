"""Models of the user's own are loaded again, and their recorded predictions are repeated."""

from __future__ import annotations

import pytest
from PIL import Image

from geoloc.stores import write_images
from geoloc.verify.loading import load

MODEL = """
import numpy as np

class Brightness:
    def predict(self, images, countries):
        first = images.mean(axis=(1, 2, 3)) / 255
        return np.stack([first, 1 - first], axis=1)

def load(): return Brightness()
"""


@pytest.fixture
def task(tmp_path) -> dict:
    """A model of two countries, and what it says of an image a fifth as bright as white."""
    (tmp_path / "own.py").write_text(MODEL)
    row = {"image_id": "s/a.png", "split": "test", "source": "s", "latitude": 1.0, "longitude": 2.0}
    Image.new("RGB", (640, 640), (51, 51, 51)).save(tmp_path / "a.png")
    write_images(tmp_path / "a.h5", [row | {"image": (tmp_path / "a.png").read_bytes()}])
    answer = {"image_id": "s/a.png", "test_set": "original"}
    answer |= {"country_1": "NA", "probability_1": 0.8, "country_2": "FR", "probability_2": 0.2}
    return {
        "file": str(tmp_path / "own.py"), "classes": ["FR", "NA"], "geocoder": "nearest_city",
        "options": {}, "images": ["s/a.png"], "stores": [str(tmp_path / "a.h5")], "scores": {},
        "crops": {}, "views": {"original": {"curve": "none"}}, "predictions": [answer],
    }  # fmt: skip


def test_predictions_of_a_users_model_are_repeated(task):
    assert load("python", [task]) == [""]
    task["predictions"][0] |= {"probability_1": 0.6, "probability_2": 0.4}
    (problem,) = load("python", [task])
    assert problem.startswith("gives s/a.png (original) the probability 0.800 for NA, its predict")


def test_a_users_model_that_no_longer_loads_is_named(task, tmp_path):
    (tmp_path / "own.py").unlink()
    (problem,) = load("python", [task])
    assert "own.py" in problem


def test_a_folder_of_a_clip_that_does_not_exist_is_named_with_the_remedy(tmp_path):
    folder = tmp_path / "clip"
    task = {"folder": str(folder), "classes": ["FR", "NA"], "prompt": None, "images": []}
    assert load("clip", [task]) == [f"the folder {folder} does not exist; run snakemake again"]
