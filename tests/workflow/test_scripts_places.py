"""The scripts of models that answer with places, and of a user's own, on a few images: from the
stores to tables that are read and measured like those of all models."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from geoloc.countries.cells import read_cells
from geoloc.countries.geocoding import country_of_coordinates
from geoloc.evaluation.distances import median_positions
from geoloc.evaluation.metrics import metrics_table
from geoloc.evaluation.read_predictions import check_index, read_predictions
from geoloc.keras_models import training
from geoloc.matrix import Row
from geoloc.stores import write_images, write_scores
from geoloc.types import SCORE_SIZE
from geoloc.verify.loading import load
from geoloc.verify.models import record_mistakes
from tests.coordinates.test_geoclip import clip, gallery  # noqa: F401  fixtures
from tests.keras_models.test_cells import COLORS, TOWNS, write
from tests.script_runs import run_script
from tests.small_keras import small_model

COUNTRIES = ["DE", "FR", "NA"]
LABELS = ["DE", "DE", "FR", "NA"] * 9
VIEWS = {"original": {"curve": "none"}, "dimmed": {"scores": "objects", "curve": "linear"}}
TRAIN = {
    "batch_size": 6,
    "epochs": 12,
    "learning_rate": 0.05,
    "precise_batch_norm": 36,
    "augmentation": {"shear_range": 0.0, "zoom_range": 0.0, "horizontal_flip": False},
}
CELLS = {
    "kind": "cells", "network": "cnn", "backbone": "resnet50", "weights": None,
    "preprocessing": "rescale", "fine_tune": "none", "maximum_images": 12, "minimum_images": 3,
    "centroids": False,
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("places")
    rows = [f"{code},x,9,7,1,1,True\n" for code in COUNTRIES]
    (folder / "countries.csv").write_text(
        "country,name,images,train,val,test,kept\n" + "".join(rows)
    )
    return folder


def measured(path: Path, index: pd.DataFrame, datasets: list[str]) -> pd.DataFrame:
    """The metrics of a table of predictions, which is checked as the rules do."""
    (table,) = read_predictions([path], COUNTRIES, [datasets], ["far"])
    assert check_index(table, path, index) == 0
    found = metrics_table([("m", "d", "s", table)], "DE", median_positions(index))
    return found.set_index("test_set")


def test_a_model_of_cells_is_trained_and_predicts_places(folder, monkeypatch):
    monkeypatch.setattr(training, "build_model", small_model)
    monkeypatch.setattr("geoloc.keras_models.runtime.setup", lambda seed, threads: None)
    arrays = {
        split: write(folder / f"{split}.h5", LABELS, [True] * 36, split, colors=True)
        for split in ("train", "val", "test")
    }
    model = folder / "model"
    run_script(
        "train",
        input={"arrays": [folder / "train.h5", folder / "val.h5"], "scores": [],
               "crops": [], "countries": folder / "countries.csv"},
        output={"model": model / "model.keras"},
        params={"seed": 5, "model": CELLS, "train": TRAIN, "view": VIEWS["original"],
                "scores": [], "crops": [], "geocoder": "country_polygon"},
        wildcards={"model": "planet", "dataset": "original", "seed": "8"},
        threads=0,  # as many as TensorFlow likes: other tests of this process have had it start
    )  # fmt: skip
    record = read_cells(model)
    assert (record.countries, record.geocoder) == (COUNTRIES, "country_polygon")
    assert record.cells.images.tolist() == [9] * 4
    written = json.loads((model / "classes.json").read_text())
    assert sorted(written["files"]) == ["cells.json", "model.keras"]
    run_script(
        "predict",
        input={"model": model / "model.keras", "cells": model / "cells.json",
               "street": [folder / "test.h5"], "scores": [], "crops": [], "test_sets": [],
               "countries": folder / "countries.csv"},
        output={"predictions": folder / "cells.parquet"},
        params={"seed": 1, "batch_size": 5, "test_sets": ["far"], "scores": [], "crops": [],
                "views": {"original": VIEWS["original"]}},
        wildcards={"model": "planet", "dataset": "original", "seed": "8"},
    )  # fmt: skip
    parts = []
    for split, view in arrays.items():
        columns = {
            name: getattr(view, name) for name in ("image_id", "source", "latitude", "longitude")
        }
        parts.append(pd.DataFrame(columns | {"country": view.label, "split": split}))
    index = pd.concat(parts).assign(collection="street")
    found = measured(folder / "cells.parquet", index, ["original"])
    assert found.loc["original", "accuracy"] == 1
    assert found.loc["original", "distances_to"] == "places"
    assert found.loc["original", "within_25_km"] == 1  # the two German towns are 500 km apart
    verify(folder, arrays["test"].image_id.tolist())


def verify(folder: Path, image_ids: list[str]) -> None:
    """The checks of a finished run know models of cells."""
    config = {"models": {"planet": CELLS}, "train": TRAIN,
              "datasets": {"original": VIEWS["original"]}, "seeds": None, "seed": 8}  # fmt: skip
    run = SimpleNamespace(config=config, need=lambda name: {"classes": COUNTRIES}[name])
    row = Row("planet", "original", "8")
    record = folder / "model/classes.json"
    assert not list(record_mistakes(run, row, record))
    run.need = lambda name: {"classes": COUNTRIES[1:]}[name]
    (mistake,) = record_mistakes(run, row, record)
    assert mistake.startswith('cells.json is of ["DE", "FR", "NA"], expected ["FR", "NA"]')

    table = pd.read_parquet(folder / "cells.parquet")
    task = {
        "folder": str(folder / "model"), "classes": COUNTRIES, "cells": True,
        "views": {"original": VIEWS["original"]}, "images": image_ids[:4], "scores": {},
        "crops": {}, "stores": [str(folder / "test.h5")], "prompt": None, "name": "planet",
        "predictions": json.loads(table.iloc[:4].to_json(orient="records")),
    }  # fmt: skip
    assert load("keras", [task]) == [""]
    task["predictions"][0]["probability_1"] = 0.1
    assert "the probability" in load("keras", [task])[0]


@pytest.fixture(scope="module")
def shards(folder) -> Path:
    """Full-size images of a country's color, one of each to test with and one of a test set."""
    rows, scores = [], []
    for number, (country, towns) in enumerate(TOWNS.items()):
        buffer = io.BytesIO()
        color = tuple(int(value) for value in COLORS[towns[0]])
        Image.new("RGB", (SCORE_SIZE, SCORE_SIZE), color).save(buffer, "PNG")
        for source in ("s", "far"):
            rows.append(
                {
                    "image_id": f"{source}/{number}", "source": source, "country": country,
                    "collection": "street" if source == "s" else "far", "split": "test",
                    "latitude": towns[0][0], "longitude": towns[0][1], "image": buffer.getvalue(),
                }
            )  # fmt: skip
        scores.append((f"s/{number}", np.full((SCORE_SIZE, SCORE_SIZE), 50, np.uint8)))
    write_images(folder / "street_images.h5", [row for row in rows if row["source"] == "s"])
    write_images(folder / "far_images.h5", [row for row in rows if row["source"] == "far"])
    write_scores(folder / "scores.h5", scores)
    pd.DataFrame(rows).drop(columns="image").to_parquet(folder / "index.parquet")
    return folder


def predict(script: str, folder: Path, inputs: dict, **params) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The table that a script writes, and its metrics."""
    target = folder / f"{script}.parquet"
    run_script(
        script,
        input={"street": [folder / "street_images.h5"], "scores": [folder / "scores.h5"],
               "boxes": [], "test_sets": [folder / "far_images.h5"],
               "countries": folder / "countries.csv", "index": folder / "index.parquet"} | inputs,
        output={"predictions": target},
        params={"views": VIEWS, "scores": ["objects"], "crops": [], "seed": 1, "batch_size": 2,
                "test_sets": ["far"], "geocoder": "nearest_city"} | params,
        wildcards={"model": "places", "dataset": "default", "seed": "any"},
    )  # fmt: skip
    index = pd.read_parquet(folder / "index.parquet")
    return pd.read_parquet(target), measured(target, index, list(VIEWS))


def test_geoclip_answers_with_places_of_its_gallery(shards, clip, gallery):  # noqa: F811
    inputs = {"model": clip, "gallery": gallery}
    table, found = predict("predict_geoclip", shards, inputs)
    assert table.test_set.tolist() == ["original"] * 3 + ["dimmed"] * 3 + ["far"] * 3
    assert set(found.distances_to) == {"places"}
    places = table[["predicted_latitude", "predicted_longitude"]].to_numpy()
    known = pd.read_csv(gallery)[["LAT", "LON"]].to_numpy()
    assert all((known == place).all(1).any() for place in places)
    assert table.country_1.tolist() == country_of_coordinates(*places.T).tolist()


def test_a_users_model_that_answers_with_places(shards):
    """It knows Germany's red, where it is not dimmed, and answers with the ocean otherwise."""
    path = shards / "own_places.py"
    path.write_text(
        "import numpy as np\n"
        "class Model:\n"
        "    def __init__(self, place):\n"
        "        self.place = place\n"
        "    def places(self, images):\n"
        "        return np.where(images[:, 0, 0, :1] == 255, [self.place], [[0.0, -30.0]])\n"
        "def load(place):\n"
        "    return Model(place)\n"
    )
    options = {"place": [52.5, 13.4]}
    table, found = predict(
        "predict_python", shards, {"file": path}, options=options, geocoder="country_polygon"
    )
    assert table.country_1.tolist() == ["DE", None, None, *[None] * 3, "DE", None, None]
    assert found.accuracy.tolist() == pytest.approx([1 / 3, 0, 1 / 3])
    assert found.within_1_km.tolist() == pytest.approx([1 / 3, 0, 1 / 3])
    assert set(found.distances_to) == {"places"}


def test_a_users_model_that_answers_with_countries(shards):
    path = shards / "own_countries.py"
    path.write_text(
        "import numpy as np\n"
        "class Model:\n"
        "    def predict(self, images, countries):\n"
        "        assert images.shape[1:] == (640, 640, 3) and images.dtype == np.uint8\n"
        "        color = images[:, 0, 0] + 1.0\n"
        "        return color / color.sum(1, keepdims=True)\n"
        "def load():\n"
        "    return Model()\n"
    )
    table, found = predict("predict_python", shards, {"file": path}, options={})
    colors = [COLORS[towns[0]] for towns in TOWNS.values()]
    expected = [COUNTRIES[color.argmax()] for color in colors]
    assert table.country_1.tolist() == expected * 3
    assert set(found.distances_to) == {"country_medians"}
