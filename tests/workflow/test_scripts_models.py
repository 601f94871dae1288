"""What the scripts of models do with each of their parameters: training and predictions."""

from __future__ import annotations

import io
import json
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from geoloc.countries.places import Answers
from geoloc.keras_models.augmentation import Augmentation
from geoloc.keras_models.predict import load_trained
from geoloc.keras_models.training import TrainingParameters
from geoloc.stores import Arrays, write_arrays, write_images, write_scores
from geoloc.types import SCORE_SIZE
from geoloc.weighting import make_view
from tests.colored_world import CLASSES, scores_of, write_stores, write_world
from tests.script_runs import recorded, run_script

CUSTOM = {
    "scores": "objects", "curve": "piecewise", "no_score_factor": 0.5, "minimum_factor": 0.6,
    "maximum_factor": 0.7, "lower_score": 20, "upper_score": 95, "invert": False,
    "fill": "black", "scores_of": "self",
}  # fmt: skip
VIEWS = {
    "original": {"curve": "none"},
    "weighted_base": {"scores": "objects", "curve": "linear"},
    "weighted_custom": CUSTOM,
}
COUNTRIES = "country,name,images,train,val,test,kept\n" + "".join(
    f"{code},x,9,7,1,1,{code in CLASSES}\n" for code in ("NA", "JP", "FR", "DE")
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Arrays of three splits and of a test set, in which Japan is not kept."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "countries.csv").write_text(COUNTRIES)
    write_stores(folder)
    write_world(folder / "bench.h5", ["FR", "NA"], "test", 9)
    return folder


def stores(folder: Path) -> list[Path]:
    return [folder / f"{split}.h5" for split in ("train", "val", "test")]


def score_stores(folder: Path) -> list[Path]:
    return [scores_of(path) for path in stores(folder)]


@pytest.fixture
def compared(monkeypatch) -> list:
    """The folder of the index that each store is compared with, in the order of reading."""
    folders: list = []
    for module in ("arrays", "images", "scores"):
        monkeypatch.setattr(
            f"geoloc.stores.{module}.check_manifest", lambda store, index: folders.append(index)
        )
    return folders


def test_train_is_given_everything_that_is_configured(folder, monkeypatch, compared):
    calls = recorded(monkeypatch, "geoloc.keras_models.training.train")
    settings = {
        "batch_size": 5,
        "epochs": 3,
        "learning_rate": 0.3,
        "plateau_patience": 2,
        "augmentation": {"shear_range": 4, "zoom_range": 0.5, "horizontal_flip": False},
    }
    run_script(
        "train",
        input={"arrays": stores(folder), "scores": score_stores(folder), "crops": [],
               "countries": folder / "countries.csv"},
        output={"model": "m/model.keras"},
        params={"seed": 5, "model": {"kind": "transfer", "backbone": "b"}, "train": settings,
                "index_folder": "the index", "view": CUSTOM, "scores": ["objects"], "crops": []},
        wildcards={"model": "head", "dataset": "weighted_base", "seed": "8"},
        threads=6,
    )  # fmt: skip
    # Three files of images and three of scores, to train and to validate.
    assert compared == ["the index"] * 12
    (call,) = calls
    train, val = call.pop("train_arrays"), call.pop("val_arrays")
    assert (set(train.split), len(train)) == ({"train"}, 42)
    assert (set(val.split), len(val)) == ({"val"}, 12)
    assert call == {
        "model_name": "transfer", "dataset": "weighted_base", "classes": CLASSES,
        "folder": Path("m"), "seed": 8, "threads": 6, "model_parameters": {"backbone": "b"},
        "view": make_view(CUSTOM), "entry": "head", "files": [],
        "parameters": TrainingParameters(
            batch_size=5, epochs=3, learning_rate=0.3, plateau_patience=2,
            augmentation=Augmentation(4, 0.5, False),
        ),
    }  # fmt: skip


def test_random_labels_are_those_of_the_images_in_another_order(folder, monkeypatch):
    calls = recorded(monkeypatch, "geoloc.keras_models.training.train")
    for seed in ("8", "8", "9"):
        run_script(
            "train",
            input={"arrays": stores(folder), "scores": score_stores(folder), "crops": [],
                   "countries": folder / "countries.csv"},
            output={"model": "m/model.keras"},
            params={"seed": 5, "model": {"kind": "cnn"}, "view": CUSTOM, "scores": ["objects"],
                    "crops": [], "random_labels": True,
                    "train": {"augmentation": {"shear_range": 4}}},
            wildcards={"model": "cnn", "dataset": "weighted_base", "seed": seed},
        )  # fmt: skip
    first, again, other = (call["train_arrays"] for call in calls)
    assert all(call["val_arrays"] is call["train_arrays"] for call in calls)
    true = Arrays(stores(folder), "train")
    assert sorted(first.label) == sorted(true.label)
    assert (first.label != true.label).any()
    assert first.label.tolist() == again.label.tolist() != other.label.tolist()
    assert first.digest == again.digest
    assert len({first.digest, other.digest, true.digest}) == 3
    assert len(first) == len(true)
    np.testing.assert_array_equal(first.read(np.arange(3))[0], true.read(np.arange(3))[0])


def test_train_clip_is_given_everything_that_is_configured(folder, monkeypatch, compared):
    from geoloc.image_text.training import ClipParameters

    threads = recorded(monkeypatch, "geoloc.pytorch.device.use_threads")
    calls = recorded(monkeypatch, "geoloc.image_text.training.train_clip")
    run_script(
        "train_clip",
        input={"arrays": stores(folder), "scores": score_stores(folder), "crops": [],
               "countries": folder / "countries.csv"},
        output={"model": "m"},
        params={"seed": 5, "model": {"epochs": 4}, "view": CUSTOM, "scores": ["objects"],
                "crops": [], "index_folder": "the index"},
        wildcards={"model": "contrastive", "dataset": "weighted_custom", "seed": "8"},
        threads=6,
    )  # fmt: skip
    assert compared == ["the index"] * 12
    (call,) = calls
    assert set(call.pop("training").split) == {"train"}
    assert set(call.pop("validation").split) == {"val"}
    assert call == {
        "folder": "m", "names": {"DE": "Germany", "FR": "France", "NA": "Namibia"},
        "parameters": ClipParameters(epochs=4), "dataset": "weighted_custom",
        "view": make_view(CUSTOM), "seed": 8, "entry": "contrastive",
    }  # fmt: skip
    assert list(threads[0].values()) == [6]


@pytest.fixture(scope="module")
def model(folder) -> Path:
    """A model whose answers depend on how bright each color is."""
    pixels = keras.Input((224, 224, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(pixels))
    output = keras.layers.Dense(3, activation="softmax", dtype="float32")
    network = keras.Model(pixels, output(x))
    output.set_weights([6 * np.eye(3, dtype=np.float32), np.zeros(3, np.float32)])
    path = folder / "model/model.keras"
    path.parent.mkdir()
    network.save(path)
    record = {"classes": CLASSES, "dataset": "original", "view": {"curve": "none"}}
    (path.parent / "classes.json").write_text(json.dumps(record))
    return path


def predictions(
    folder: Path, model: Path, target: Path, countries="countries.csv", row=None, **changes
) -> pd.DataFrame:
    params = {"seed": 1, "batch_size": 4, "test_sets": ["far"]}
    params |= {"views": VIEWS, "scores": ["objects"], "crops": []} | changes
    run_script(
        "predict",
        input={"model": model, "street": stores(folder), "scores": score_stores(folder),
               "crops": [], "test_sets": [folder / "bench.h5"], "countries": folder / countries},
        output={"predictions": target},
        params=params,
        wildcards={"model": "cnn", "dataset": "original", "seed": "8"} | (row or {}),
    )  # fmt: skip
    return pd.read_parquet(target)


@pytest.fixture(scope="module")
def predicted(folder, model) -> pd.DataFrame:
    # The images of the test set know it as their source.
    write_test_set(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("geoloc.keras_models.runtime.setup", lambda seed, threads: None)
        return predictions(folder, model, folder / "p.parquet")


def write_test_set(folder: Path) -> None:
    arrays = Arrays([folder / "bench.h5"])
    columns = {
        name: getattr(arrays, name)
        for name in ("image_id", "label", "split", "latitude", "longitude")
    }
    columns["source"] = np.array(["far"] * len(arrays))
    images, _ = arrays.read(np.arange(len(arrays)))
    write_arrays(folder / "bench.h5", columns, images)


def expected_probabilities(arrays: Arrays, dataset: str) -> np.ndarray:
    """Of the model above: softmax of six times the mean color, in the dataset's view."""
    image, score = arrays.read(np.arange(len(arrays)))
    factor = make_view(VIEWS[dataset]).factor
    seen = (image * factor[score][..., None]).astype(np.uint8)
    logits = 6 * seen.mean((1, 2)) / 255
    powers = np.exp(logits)
    return powers / powers.sum(1, keepdims=True)


@pytest.mark.parametrize("dataset", ["original", "weighted_base", "weighted_custom"])
def test_predict_sees_the_test_images_as_each_dataset_with_its_weighting(
    folder, predicted, dataset
):
    arrays = Arrays(stores(folder), "test", scores=score_stores(folder))
    part = predicted[predicted.test_set == dataset].reset_index()
    assert part.image_id.tolist() == arrays.image_id.tolist()
    assert part.label.tolist() == arrays.label.tolist()
    expected = expected_probabilities(arrays, dataset)
    column = [CLASSES.index(label) for label in arrays.label]
    np.testing.assert_allclose(part.label_probability, expected[np.arange(7), column], atol=1e-4)
    assert part.country_1.tolist() == [CLASSES[i] for i in expected.argmax(1)]


def test_predict_sees_the_test_set_as_it_is(folder, predicted):
    arrays = Arrays([folder / "bench.h5"])
    part = predicted[predicted.test_set == "far"]
    expected = expected_probabilities(arrays, "original")
    np.testing.assert_allclose(part.label_probability, [expected[0, 1], expected[1, 2]], atol=1e-4)
    assert set(predicted.test_set) == {"original", "weighted_base", "weighted_custom", "far"}


def test_predict_is_set_up_by_seed_and_threads_and_works_in_batches(
    folder, model, monkeypatch, compared
):
    setups = recorded(monkeypatch, "geoloc.keras_models.runtime.setup")
    shares = lambda call: np.full((len(call["arrays"]), 3), 1 / 3)  # noqa: E731
    calls = recorded(monkeypatch, "geoloc.keras_models.predict.predict", shares)
    predictions(folder, model, folder / "q.parquet", batch_size=3, index_folder="the index")
    # Three files of street images for each dataset, three of scores for two, and the test set.
    assert compared == ["the index"] * (3 * 3 + 2 * 3 + 1)
    assert setups == [{"seed": 1, "threads": 1}]
    assert [call["batch_size"] for call in calls] == [3] * 4


def test_a_model_of_other_countries_or_another_order_is_refused(folder, model, monkeypatch):
    recorded(monkeypatch, "geoloc.keras_models.runtime.setup")
    (folder / "more.csv").write_text(COUNTRIES.replace("JP,x,9,7,1,1,False", "JP,x,9,7,1,1,True"))
    with pytest.raises(ValueError, match=r"other classes \(JP differ\); train it again"):
        predictions(folder, model, folder / "q.parquet", countries="more.csv")
    with pytest.raises(ValueError, match=r"other classes \(their order differ\)"):
        load_trained(model.parent, CLASSES[::-1])
    assert load_trained(model.parent, CLASSES).classes == CLASSES


def test_the_model_of_another_row_is_refused(folder, model, monkeypatch):
    recorded(monkeypatch, "geoloc.keras_models.runtime.setup")
    with pytest.raises(OSError, match="holds the model cnn/original/8, not cnn/people/8; delete"):
        predictions(folder, model, folder / "q.parquet", row={"dataset": "people"})


# ------------------------------------------------------------------------------------------ CLIP


@pytest.fixture(scope="module")
def shards(folder) -> Path:
    """Images of full size: one to train with and one to test with, and a test set's."""
    rows = []
    for image_id, country, split, source in (
        ("s/a", "FR", "train", "s"),
        ("s/b", "NA", "test", "s"),
        ("far/c", "DE", "test", "far"),
    ):
        buffer = io.BytesIO()
        Image.new("RGB", (SCORE_SIZE, SCORE_SIZE), (90, 90, 90)).save(buffer, "PNG")
        place = {"latitude": 1.0, "longitude": 2.0, "split": split, "source": source}
        rows.append(place | {"image_id": image_id, "image": buffer.getvalue(), "country": country})
    write_images(folder / "street_images.h5", rows[:2])
    write_images(folder / "bench_images.h5", rows[2:])
    score = np.full((SCORE_SIZE, SCORE_SIZE), 50, np.uint8)
    write_scores(folder / "scores.h5", [("s/a", score), ("s/b", score)])
    index = pd.DataFrame(rows).drop(columns="image")
    index.to_parquet(folder / "index.parquet")
    return folder


class FakeClip:
    """Takes the part of a CLIP: remembers what it was made of and the brightness that it sees."""

    def __init__(self, model, names, template="{country}") -> None:
        self.made_of = (str(model), list(names), template)
        self.texts, self.name, self.seen = list(names), "fake", []
        FakeClip.last = self

    def answer(self, batch) -> Answers:
        self.seen.append([float(image.mean()) for image in batch])
        return Answers(np.tile(np.array([0.2, 0.5, 0.3], np.float32), (len(batch), 1)))


def test_predict_clip_sees_every_dataset_with_the_prompt_and_the_weighting(
    shards, monkeypatch, compared
):
    monkeypatch.setattr("geoloc.image_text.zero_shot.ClipZeroShot", FakeClip)
    threads = recorded(monkeypatch, "geoloc.pytorch.device.use_threads")
    checks = recorded(monkeypatch, "geoloc.image_text.zero_shot.check_classes")
    batches = recorded(
        monkeypatch, "geoloc.evaluation.full_size._batched", lambda call: [list(call["items"])]
    )
    run_script(
        "predict_clip",
        input={"model": "clip", "street": [shards / "street_images.h5"],
               "scores": [shards / "scores.h5"], "boxes": [],
               "test_sets": [shards / "bench_images.h5"], "countries": shards / "countries.csv",
               "index": shards / "index.parquet"},
        output={"predictions": shards / "c.parquet"},
        params={"views": VIEWS, "scores": ["objects"], "crops": [], "seed": 1,
                "prompt": "in {country}", "batch_size": 7, "test_sets": ["far"],
                "index_folder": "the index"},
        wildcards={"model": "clip", "dataset": "default", "seed": "any"},
        threads=3,
    )  # fmt: skip
    assert FakeClip.last.made_of == ("clip", ["Germany", "France", "Namibia"], "in {country}")
    assert set(compared) == {"the index"}
    assert checks == [{"folder": "clip", "classes": CLASSES}]
    assert list(threads[0].values()) == [3]
    assert [call["size"] for call in batches] == [7, 7]
    # 90 as it is; times 0.5; times Eqn. 1 at 50; the test set as it is.
    custom = int(90 * (0.6 + (50 - 20) / (95 - 20) * (0.7 - 0.6)))
    assert sorted(x for seen in FakeClip.last.seen for x in seen) == [45, custom, 90, 90]
    found = pd.read_parquet(shards / "c.parquet")
    expected = [[name, "s/b", "NA", "s"] for name in VIEWS] + [["far", "far/c", "DE", "far"]]
    columns = ["test_set", "image_id", "label", "source"]
    assert found[columns].to_numpy().tolist() == expected
    np.testing.assert_allclose(found.label_probability, [0.3, 0.3, 0.3, 0.2], atol=1e-6)


@pytest.mark.parametrize("script", ["predict", "predict_clip"])
def test_a_model_is_compared_with_its_row_and_how_its_dataset_shows_images(
    script, folder, tmp_path, monkeypatch
):
    class Compared(Exception):
        pass

    def stop(call):
        raise Compared

    calls = recorded(monkeypatch, "geoloc.model_record.check_row", stop)
    for function in ("geoloc.keras_models.runtime.setup", "geoloc.pytorch.device.use_threads"):
        monkeypatch.setattr(function, lambda *_: None)
    with pytest.raises(Compared):
        run_script(
            script,
            input={"countries": folder / "countries.csv", "model": tmp_path / "m/model.keras"},
            output={"predictions": tmp_path / "p.parquet"},
            params={"views": VIEWS, "seed": 1},
            wildcards={"model": "cnn", "dataset": "weighted_custom", "seed": "5"},
        )
    (call,) = calls
    assert call["row"] == ("cnn", "weighted_custom", "5")
    assert call["settings"] == CUSTOM
