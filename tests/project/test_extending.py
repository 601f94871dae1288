"""Each example of docs/extending.md runs as the page says, through the scripts of its jobs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image
from snakemake.utils import update_config

from geoloc.config import check_config, files_of, load_schema
from geoloc.evaluation.user_model import UserModel
from geoloc.matrix import dataset_settings
from geoloc.segmentation.vocabularies import vocabulary_of
from geoloc.stores import read_scores, write_images
from geoloc.types import SCORE_SIZE
from tests.colored_world import CLASSES, scores_of, write_stores, write_world
from tests.conftest import ROOT
from tests.script_runs import run_script

LONGEST = 40  # lines of an example


class Example(NamedTuple):
    """A section of the page: its code, its configuration on top of the study's, and its text file
    of names, if it has one."""

    code: str
    config: dict[str, Any]
    names: str

    def entry(self, section: str, name: str) -> dict[str, Any]:
        return self.config[section][name]


def read_examples() -> dict[str, Example]:
    text = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
    found = {}
    for part in text.split("\n## ")[1:]:
        (code,) = re.findall(r"```python\n(.*?)```", part, re.DOTALL)
        (entries,) = re.findall(r"```yaml\n(.*?)```", part, re.DOTALL)
        config = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))
        update_config(config, yaml.safe_load(entries))
        check_config(config, load_schema(ROOT / "config/config.schema.yaml"))
        names = "".join(re.findall(r"```text\n(.*?)```", part, re.DOTALL))
        found[part.partition("\n")[0]] = Example(code, config, names)
    return found


EXAMPLES = read_examples()


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """The folder that Snakemake runs in."""
    monkeypatch.chdir(tmp_path)
    # Threads of TensorFlow can't be set again in a process that has used it.
    for module in ("runtime", "training"):
        monkeypatch.setattr(f"geoloc.keras_models.{module}.setup", lambda seed, threads=0: None)
    return tmp_path


@pytest.mark.parametrize("title", EXAMPLES)
def test_an_example_is_short(title):
    assert 0 < len(EXAMPLES[title].code.splitlines()) <= LONGEST


def test_the_dataset_and_the_keras_model_are_trained_and_tested(folder):
    curve, network = EXAMPLES["A dataset"], EXAMPLES["A Keras model"]
    (folder / "my_curve.py").write_text(curve.code)
    (folder / "my_network.py").write_text(network.code)
    view = dataset_settings(curve.config, "smooth")
    entry = network.entry("models", "separable")
    model = {key: entry[key] for key in ("kind", "file", "options")}
    stores = write_stores(folder)
    write_world(folder / "far.h5", ["FR", "NA"], "test", 9)
    kept = "".join(f"{code},x,9,7,1,1,True\n" for code in CLASSES)
    (folder / "countries.csv").write_text(f"country,name,images,train,val,test,kept\n{kept}")
    inputs = {
        "scores": [scores_of(path) for path in stores],
        "crops": [],
        "countries": folder / "countries.csv",
    }
    shared = {"seed": 1, "scores": ["objects"], "crops": []}
    row = {"model": "separable", "dataset": "smooth", "seed": "1"}
    run_script(
        "train",
        input=inputs | {"arrays": stores},
        output={"model": "m/model.keras"},
        params=shared
        | {"model": model, "view": view}
        | {"train": network.config["train"] | {"epochs": 1, "batch_size": 16}},
        wildcards=row,
        threads=0,
    )
    run_script(
        "predict",
        input=inputs
        | {"model": "m/model.keras", "code": entry["file"]}
        | {"street": stores, "test_sets": []},
        output={"predictions": "p.parquet"},
        params=shared | {"views": {"smooth": view}, "batch_size": 4, "test_sets": []},
        wildcards=row,
        threads=0,
    )
    table = pd.read_parquet("p.parquet")
    assert (set(table.test_set), len(table)) == ({"smooth"}, 7)


def test_the_segmenter_makes_segments_that_score(folder):
    example = EXAMPLES["A segmenter"]
    (folder / "my_segmenter.py").write_text(example.code)
    (folder / "my_classes.txt").write_text(example.names)
    image = np.full((SCORE_SIZE, SCORE_SIZE, 3), 128, np.uint8)
    image[300:, 200:] = (0, 110, 60)  # plants
    place = {"latitude": 1.0, "longitude": 2.0, "split": "val", "source": "s"}
    row = {"image_id": "a", "image": cv2.imencode(".png", image[..., ::-1])[1].tobytes()}
    write_images("i.h5", [row | place])
    entry = dict(example.entry("segmentations", "colors"))
    engine = entry.pop("engine")
    run_script(
        "segment",
        input={"images": "i.h5"},
        output={"segments": "s.h5"},
        params={"segmentation": entry, "engine": engine}
        | {"weights": {path: {} for path in files_of(entry)}},
    )
    scores = example.entry("scores", "colors")
    run_script(
        "score",
        input={"segments": "s.h5", "classes": scores["classes"]},
        output={"scores": "m.h5"},
        params={key: scores[key] for key in ("ambiguous_classes", "minimum", "merge")}
        | {"vocabulary": vocabulary_of(entry)},
    )
    ((image_id, score),) = read_scores("m.h5")
    expected = np.zeros((SCORE_SIZE, SCORE_SIZE), np.uint8)
    expected[300:, 200:] = 63  # percent: (2 · 110 − 60) / 255
    assert image_id == "a"
    np.testing.assert_array_equal(score, expected)


def test_the_source_is_indexed(folder):
    example = EXAMPLES["A source"]
    (folder / "my_source.py").write_text(example.code)
    entry = example.entry("sources", "mine")
    images = folder / entry["path"]
    images.mkdir(parents=True)
    lines = []
    for number in range(20):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(images / f"{number}.jpg")
        place = {"country": "Namibia"} if number % 2 else {"lat": 48.8, "lon": 2.3}
        lines.append(json.dumps({"file": f"{number}.jpg"} | place))
    (images / entry["table"]).write_text("\n".join(lines))
    settings = example.config["index"]
    run_script(
        "index",
        output={"images": "index/images.parquet"},
        params={"sources": {"mine": entry}, "test_sets": {}, "seed": 1, "min_images": 10}
        | {"place_km": None, "geocoder": "nearest_city", "max_rejected": 0}
        | {key: settings[key] for key in ("split", "shard_size")},
    )
    table = pd.read_parquet("index/images.parquet")
    assert table.groupby("country").size().to_dict() == {"FR": 10, "NA": 10}


def test_the_model_without_training_answers(folder):
    example = EXAMPLES["A model without training"]
    (folder / "my_model.py").write_text(example.code)
    entry = example.entry("models", "bright")
    model = UserModel(entry["file"], ["DE", "NO"], options=entry["options"])
    dark, bright = np.zeros((640, 640, 3), np.uint8), np.full((640, 640, 3), 255, np.uint8)
    probabilities = model.answer([dark, bright]).probabilities
    np.testing.assert_allclose(probabilities[0, 1], np.exp(2) / (1 + np.exp(2)), rtol=1e-6)
    np.testing.assert_allclose(probabilities[1], 0.5)
