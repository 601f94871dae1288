"""Training learns, repeats itself, survives being killed and predicts the same elsewhere."""

import csv
import json
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest

from geoloc.evaluation.predictions import predictions_frame
from geoloc.keras_models import runtime, training
from geoloc.keras_models.augmentation import Augmentation
from geoloc.keras_models.batches import Batches
from geoloc.keras_models.predict import load_trained, predict
from geoloc.keras_models.training import (
    HISTORY_COLUMNS,
    TrainingParameters,
    balanced_class_weights,
    train,
)
from geoloc.stores import Arrays, write_arrays, write_score_arrays
from geoloc.weighting import UNCHANGED
from tests.colored_world import (
    CLASSES,
    LINEAR,
    PIECEWISE,
    open_world,
    scores_of,
    write_stores,
    write_world,
)
from tests.processes import ENVIRONMENT, export_efficientnet_lite0, run_keras, run_python
from tests.small_keras import (
    small_model,
    stop_before_the_second_epoch,
    without_time,
)

PREDICT = """
import sys
from geoloc.keras_models import runtime
import numpy as np
from geoloc.keras_models.predict import load_trained, predict
from geoloc.stores import Arrays
_, store, folder, target = sys.argv
np.save(target, predict(load_trained(folder), Arrays([store]), "original"))
# Keras would import them for what no job uses, at a quarter of the job's start.
assert not {"matplotlib", "sklearn", "pandas"} & set(sys.modules)
import matplotlib.pyplot, pandas, sklearn.metrics  # not hidden any more
"""
COLUMNS = ("image_id", "label", "split", "source", "latitude", "longitude")


@pytest.fixture(scope="module")
def stores(tmp_path_factory) -> list[Path]:
    return write_stores(tmp_path_factory.mktemp("arrays"))


@dataclass
class Run:
    folder: Path
    history: list[dict[str, float]]


@pytest.fixture(scope="module")
def run(stores, tmp_path_factory) -> Run:
    """The transfer model, because it learns with fewer steps than batch normalization (momentum
    0.99) asks of the CNN before that is any good at inference."""
    folder = tmp_path_factory.mktemp("run")
    weights = export_efficientnet_lite0(tmp_path_factory.mktemp("weights") / "lite0.safetensors")
    model = {"backbone": "efficientnet_lite0", "weights": weights, "preprocessing": "imagenet"}
    arrays = open_world(stores, "train"), open_world(stores, "val")
    parameters = TrainingParameters(batch_size=4, epochs=5)
    history = train(
        "transfer", "weighted_custom", *arrays, CLASSES, folder, 1, parameters, model, PIECEWISE
    )
    return Run(folder, history)


def train_briefly(stores, folder, epochs: int = 2) -> list[dict[str, float]]:
    """A CNN on a few images: dropout, augmentation, order and optimizer as in the study."""
    arrays = open_world(stores, "val"), open_world(stores, "test")
    parameters = TrainingParameters(batch_size=5, epochs=epochs)
    return train("cnn", "weighted_base", *arrays, CLASSES, folder, 1, parameters, view=LINEAR)


@pytest.fixture(scope="module")
def short_run(stores, tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("short_run")
    return Run(folder, train_briefly(stores, folder))


def weights_of(folder: Path) -> list[np.ndarray]:
    return load_trained(folder, CLASSES).model.get_weights()


# ------------------------------------------------------------------------------------ training


def test_tiny_run_learns(run, stores):
    losses = [row["loss"] for row in run.history]
    assert losses[-1] < 0.7 * losses[0]
    test = open_world(stores, "test")
    probabilities = predict(load_trained(run.folder), test, "weighted_custom", PIECEWISE)
    accuracy = np.mean(np.array(CLASSES)[probabilities.argmax(1)] == test.label)
    assert accuracy > 3 / 7  # which the most frequent country would reach


def test_results_are_a_model_its_classes_and_its_history(run):
    names = {"model.keras", "classes.json", "history.csv"}
    assert {path.name for path in run.folder.iterdir()} == names
    record = json.loads((run.folder / "classes.json").read_text())
    assert (record["classes"], record["dataset"]) == (CLASSES, "weighted_custom")
    with (run.folder / "history.csv").open() as file:
        rows = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]
    assert rows == [{name: row[name] for name in HISTORY_COLUMNS} for row in run.history]
    assert [row["epoch"] for row in rows] == list(range(1, len(rows) + 1))


def test_best_epoch_of_validation_is_kept(run, stores):
    """Batches of 4 leave out none of the 12 images, so the value can be computed again."""
    validation = open_world(stores, "val")
    probabilities = predict(load_trained(run.folder), validation, "weighted_custom", PIECEWISE)
    accuracy = np.mean(np.array(CLASSES)[probabilities.argmax(1)] == validation.label)
    assert accuracy == pytest.approx(max(row["val_accuracy"] for row in run.history))


def test_same_seed_gives_the_same_model(short_run, stores, tmp_path):
    history = train_briefly(stores, tmp_path)
    assert without_time(history) == without_time(short_run.history)
    for a, b in zip(weights_of(tmp_path), weights_of(short_run.folder), strict=True):
        assert np.array_equal(a, b)


def test_killed_training_goes_on_and_ends_with_the_same_model(short_run, stores, tmp_path):
    code = f"""
from tests.keras_models.test_training import train_briefly
train_briefly({[str(path) for path in stores]}, {str(tmp_path)!r})
"""
    with subprocess.Popen([sys.executable, "-c", code], env=ENVIRONMENT) as process:
        while not (tmp_path / "state" / "state.json").is_file():
            assert process.poll() is None, "training ended before its first state"
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / "model.keras").exists()

    history = train_briefly(stores, tmp_path)
    assert without_time(history) == without_time(short_run.history)
    for a, b in zip(weights_of(tmp_path), weights_of(short_run.folder), strict=True):
        assert np.array_equal(a, b)
    assert not (tmp_path / "state").exists()


def test_state_of_another_run_is_not_continued(stores, short_run, tmp_path):
    state = {"fingerprint": "of other settings", "epoch": 2, "variables": "none"}
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "state.json").write_text(json.dumps(state))
    history = train_briefly(stores, tmp_path, epochs=1)
    assert without_time(history) == without_time(short_run.history)[:1]


def test_state_of_other_scores_under_the_same_names_is_not_continued(monkeypatch, tmp_path):
    monkeypatch.setattr(training, "build_model", with_dropout)
    parameters = TrainingParameters(batch_size=6, epochs=2, learning_rate=0.02)

    def train_on(folder: Path) -> list[dict[str, float]]:
        arrays = open_world([tmp_path / "a.h5"])
        name = "weighted_base"
        return train("cnn", name, arrays, arrays, CLASSES, folder, 1, parameters, view=LINEAR)

    write_world(tmp_path / "a.h5", CLASSES * 4, "train", 0)
    with monkeypatch.context() as patch:
        patch.setattr(training.EpochLog, "on_epoch_begin", stop_before_the_second_epoch)
        with pytest.raises(KeyboardInterrupt):
            train_on(tmp_path / "twice")
    arrays = open_world([tmp_path / "a.h5"])
    _, score = arrays.read(np.arange(12))
    write_score_arrays(scores_of(tmp_path / "a.h5"), arrays.image_id.tolist(), 100 - score)
    assert without_time(train_on(tmp_path / "twice")) == without_time(train_on(tmp_path / "once"))


def test_callbacks_go_on_where_they_were(stores, monkeypatch, tmp_path):
    """Nothing is learned, so the rate falls after the third epoch and training ends after the
    fourth; both had begun to wait when the job was killed."""
    monkeypatch.setattr(training, "build_model", small_model)
    arrays = open_world(stores, "train"), open_world(stores, "val")
    parameters = TrainingParameters(
        batch_size=6, epochs=9, learning_rate=1e-30, minimum_learning_rate=0.0,
        plateau_patience=2, early_stopping_patience=3, precise_batch_norm=12,
    )  # fmt: skip

    def train_to(folder: Path) -> list[dict[str, float]]:
        return train("cnn", "original", *arrays, CLASSES, folder, 1, parameters)

    def kill_before_the_third_epoch(log, epoch, logs=None) -> None:
        log.start = log.last_line = time.monotonic()
        if epoch == 2:
            raise KeyboardInterrupt

    whole = train_to(tmp_path / "whole")
    assert len(whole) == 4
    assert [row["learning_rate"] < 1e-30 for row in whole] == [False, False, False, True]
    with monkeypatch.context() as patch:
        patch.setattr(training.EpochLog, "on_epoch_begin", kill_before_the_third_epoch)
        with pytest.raises(KeyboardInterrupt):
            train_to(tmp_path / "twice")
    assert without_time(train_to(tmp_path / "twice")) == without_time(whole)


def test_unsorted_classes_are_refused(stores, tmp_path):
    arrays = open_world(stores, "train")
    with pytest.raises(ValueError, match="sorted"):
        train("cnn", "original", arrays, arrays, CLASSES[::-1], tmp_path, 1)


# ------------------------------------------------------------------------------------- options


def test_balanced_class_weights_give_every_class_the_same_part():
    labels = ["DE"] * 6 + ["NA"] * 2  # and none of FR
    weights = balanced_class_weights(np.array(labels, object), CLASSES)
    assert weights == {0: 8 / (2 * 6), 2: 8 / (2 * 2)}


def test_class_weights_weigh_the_training_loss_and_not_the_validation(monkeypatch, tmp_path):
    """One step on one batch, whose losses can be computed again from the same start."""
    monkeypatch.setattr(training, "build_model", small_model)
    write_world(tmp_path / "a.h5", ["DE"] * 6 + ["FR"] * 2 + ["NA"], "train", 0)
    arrays = Arrays([tmp_path / "a.h5"])
    rows = {}
    for option in (None, "balanced"):
        parameters = TrainingParameters(
            batch_size=9,
            epochs=1,
            learning_rate=1e-30,
            class_weights=option,
            augmentation=Augmentation(0.0, 0.0, False),
        )
        folder = tmp_path / str(option)
        rows[option] = train("cnn", "original", arrays, arrays, CLASSES, folder, 1, parameters)[0]

    runtime.setup(1)
    images, labels = next(Batches(arrays, CLASSES, UNCHANGED, 9, 1).of_epochs([0]))
    losses = -np.log(np.asarray(small_model("", 3, {})(images, training=True))[labels > 0])
    weights = labels @ [9 / (3 * 6), 9 / (3 * 2), 9 / (3 * 1)]
    assert rows[None]["loss"] == pytest.approx(losses.mean(), rel=1e-4)
    assert rows["balanced"]["loss"] == pytest.approx((weights * losses).mean(), rel=1e-4)
    assert rows["balanced"]["val_loss"] == pytest.approx(rows[None]["val_loss"], rel=1e-6)


def test_unknown_class_weights_are_refused(stores, tmp_path):
    arrays = open_world(stores, "train")
    parameters = TrainingParameters(class_weights="log")
    with pytest.raises(ValueError, match="null or balanced"):
        train("cnn", "original", arrays, arrays, CLASSES, tmp_path, 1, parameters)


def with_dropout(name, classes, options) -> keras.Model:
    return small_model(name, classes, options, dropout=0.25)


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_training_in_lower_precision_goes_on_where_it_stopped(
    precision, stores, monkeypatch, tmp_path
):
    monkeypatch.setattr(training, "build_model", with_dropout)
    arrays = open_world(stores, "train"), open_world(stores, "val")
    parameters = TrainingParameters(
        batch_size=6, epochs=3, learning_rate=0.02, precision=precision, precise_batch_norm=12
    )
    whole = train("cnn", "original", *arrays, CLASSES, tmp_path / "whole", 1, parameters)

    with monkeypatch.context() as patch:
        patch.setattr(training.EpochLog, "on_epoch_begin", stop_before_the_second_epoch)
        with pytest.raises(KeyboardInterrupt):
            train("cnn", "original", *arrays, CLASSES, tmp_path / "twice", 1, parameters)
    twice = train("cnn", "original", *arrays, CLASSES, tmp_path / "twice", 1, parameters)
    assert without_time(twice) == without_time(whole)
    assert whole[-1]["loss"] < whole[0]["loss"]


def test_model_of_lower_precision_predicts_float32_in_another_process(
    stores, monkeypatch, tmp_path
):
    monkeypatch.setattr(training, "build_model", with_dropout)
    arrays = open_world(stores, "val")
    parameters = TrainingParameters(batch_size=6, epochs=1, precision="mixed_bfloat16")
    train("cnn", "original", arrays, arrays, CLASSES, tmp_path, 1, parameters)
    here = predict(load_trained(tmp_path), arrays, "original")
    run_keras(PREDICT, stores[1], tmp_path, tmp_path / "probabilities.npy")
    there = np.load(tmp_path / "probabilities.npy")
    assert here.dtype == there.dtype == np.float32
    assert np.allclose(there.sum(1), 1, atol=1e-6)  # bfloat16 would be off by some 1e-3
    assert np.allclose(there, here, rtol=1e-3)


# ---------------------------------------------------------------------------------- prediction


def test_model_predicts_the_same_in_another_process(run, stores, tmp_path):
    run_python(PREDICT, stores[2], run.folder, tmp_path / "probabilities.npy")
    here = predict(load_trained(run.folder), Arrays([stores[2]]), "original")
    assert np.allclose(np.load(tmp_path / "probabilities.npy"), here, rtol=1e-5, atol=1e-6)


def test_a_country_missing_from_a_test_set_changes_no_other_prediction(short_run, stores, tmp_path):
    trained, whole = load_trained(short_run.folder, CLASSES), open_world(stores, "test")
    rows = np.flatnonzero(whole.label != "NA")
    columns = {name: getattr(whole, name)[rows] for name in COLUMNS}
    write_arrays(tmp_path / "part.h5", columns, whole.read(rows)[0])
    part = Arrays([tmp_path / "part.h5"])
    tables = []
    for arrays in (whole, part):
        columns = (arrays.image_id, arrays.source, arrays.label, arrays.latitude, arrays.longitude)
        probabilities = predict(trained, arrays, "original")
        tables.append(predictions_frame(probabilities, CLASSES, *columns, "original"))
    expected = tables[0].iloc[rows].reset_index(drop=True)
    assert len(expected) == 5
    pd.testing.assert_frame_equal(tables[1], expected, rtol=1e-4)


def test_every_image_is_predicted_in_order_whatever_the_batch(run, stores):
    trained, test = load_trained(run.folder), open_world(stores, "test")
    probabilities = predict(trained, test, "original", batch_size=3)
    assert probabilities.shape == (7, 3)
    assert probabilities.dtype == np.float32
    assert np.allclose(probabilities.sum(1), 1, atol=1e-5)
    image, _ = test.read(np.arange(7))
    alone = np.concatenate([trained.model.predict_on_batch(image[[i]]) for i in range(7)])
    assert np.allclose(probabilities, alone, atol=1e-5)


def test_model_of_other_classes_or_order_is_refused(run):
    for classes in (["DE", "FR"], ["FR", "DE", "NA"]):
        with pytest.raises(ValueError, match="other classes"):
            load_trained(run.folder, classes)


def test_folder_without_a_complete_model_is_named(run, tmp_path):
    with pytest.raises(OSError, match="no complete model"):
        load_trained(tmp_path)
    (tmp_path / "classes.json").write_bytes((run.folder / "classes.json").read_bytes())
    (tmp_path / "model.keras").write_bytes((run.folder / "model.keras").read_bytes()[:1000])
    with pytest.raises(OSError, match="no complete model"):
        load_trained(tmp_path)
