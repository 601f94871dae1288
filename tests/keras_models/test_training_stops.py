"""What stops a training says why, and what is left is used by the same training only."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from geoloc.errors import Diverged
from geoloc.files import file_hash
from geoloc.keras_models import runtime, training  # noqa: F401  sets up TensorFlow first
from geoloc.keras_models.checkpoint import TrainingState, _remember
from geoloc.keras_models.epoch_log import EpochLog
from geoloc.keras_models.training import TrainingParameters, train
from geoloc.locks import only_one
from geoloc.weighting import View
from tests.colored_world import CLASSES, open_world, write_stores, write_world
from tests.small_keras import small_model, stop_before_the_second_epoch, without_time


@pytest.fixture(scope="module")
def stores(tmp_path_factory) -> list[Path]:
    return write_stores(tmp_path_factory.mktemp("arrays"))


@pytest.fixture
def views(stores):
    return {"train_arrays": open_world(stores, "train"), "val_arrays": open_world(stores, "val")}


def train_small(folder: Path, views, **parameters) -> list[dict[str, float]]:
    parameters = TrainingParameters(**{"batch_size": 6, "epochs": 2} | parameters)
    return train("cnn", "original", *views.values(), CLASSES, folder, 1, parameters)


def test_training_stops_at_the_first_number_that_is_not_finite(
    monkeypatch, tmp_path, views, small_history
):
    """And leaves nothing that the next training, with a lower learning rate, would use."""
    monkeypatch.setattr(training, "build_model", small_model)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "model.keras").write_bytes(b"of an earlier training")
    where = "^cnn on original: .* is not finite"  # the statistics overflow before the loss does
    remedy = r"change train\.learning_rate to a lower value \(it is 1e\+18\), and run again"
    with pytest.raises(Diverged, match=f"{where}.*{remedy}"):
        train_small(tmp_path / "a", views, learning_rate=1e18)
    assert not (tmp_path / "a" / "model.keras").exists()
    assert not (tmp_path / "a" / ".lock").exists()
    assert without_time(train_small(tmp_path / "a", views)) == without_time(small_history)


@pytest.fixture(scope="module")
def small_history(stores, tmp_path_factory) -> list[dict[str, float]]:
    """Of a training that nothing stopped."""
    views = {split: open_world(stores, split) for split in ("train", "val")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "build_model", small_model)
        return train_small(tmp_path_factory.mktemp("small"), views)


def test_a_second_training_in_a_folder_says_who_is_at_work(monkeypatch, tmp_path, views):
    monkeypatch.setattr(training, "build_model", small_model)
    with only_one(tmp_path / ".lock", "training"), pytest.raises(BlockingIOError) as error:
        train_small(tmp_path, views)
    assert re.search(
        rf"process {os.getpid()} on \S+ since .* is already training", str(error.value)
    )
    assert [path.name for path in tmp_path.iterdir()] == []


def test_the_error_of_a_damaged_store_ends_training_in_one_line(monkeypatch, tmp_path, views):
    def damaged(rows):
        raise OSError("arrays/NA/0000.h5 is damaged")

    monkeypatch.setattr(training, "build_model", small_model)
    monkeypatch.setattr(views["val_arrays"], "read", damaged)
    with pytest.raises(OSError, match="^arrays/NA/0000.h5 is damaged$"):
        train_small(tmp_path, views)


@pytest.mark.parametrize("split", ["train_arrays", "val_arrays"])
def test_a_split_without_images_is_refused(split, monkeypatch, tmp_path, views, stores):
    monkeypatch.setattr(training, "build_model", small_model)
    views[split] = open_world(stores, "nothing")
    with pytest.raises(ValueError, match="no image to train or validate with"):
        train_small(tmp_path, views)


# ------------------------------------------------------------------------------ going on


@pytest.fixture(scope="module")
def interrupted(stores, tmp_path_factory) -> Path:
    """Folder of a training that was killed before its second epoch."""
    folder = tmp_path_factory.mktemp("interrupted")
    views = {split: open_world(stores, split) for split in ("train", "val")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "build_model", small_model)
        patch.setattr(training.EpochLog, "on_epoch_begin", stop_before_the_second_epoch)
        with pytest.raises(KeyboardInterrupt):
            train_small(folder, views)
    return folder


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda state: (state / "best0001.keras").unlink(), "No such file"),
        (lambda state: (state / "best0001.keras").write_bytes(b"cut"), "not what was written"),
        (lambda state: (state / "variables0001.npz").write_bytes(b"cut"), "not what was written"),
        (lambda state: (state / "state.json").write_bytes(b"{"), "Expecting property name"),
        (lambda state: (state / "state.json").write_text("[]"), "list indices"),
        (lambda state: put_nan(state / "variables0001.npz"), "not finite: 00000"),
    ],
    ids=["no model", "cut model", "cut variables", "cut state", "other state", "NaN"],
)
def test_a_damaged_state_is_told_of_and_not_used(
    change, told, interrupted, small_history, monkeypatch, tmp_path, views, caplog
):
    monkeypatch.setattr(training, "build_model", small_model)
    folder = shutil.copytree(interrupted, tmp_path / "a")
    change(folder / "state")
    again = train_small(folder, views)
    assert f"{folder / 'state'} is damaged, training starts again" in caplog.text
    assert told in caplog.text
    assert without_time(again) == without_time(small_history)


def put_nan(path: Path) -> None:
    """Written as if the training itself had saved it."""
    with np.load(path) as saved:
        values = dict(saved)
    values["00000"].flat[0] = np.nan
    np.savez(path, **values)
    state = json.loads((path.parent / "state.json").read_text())
    state["digests"][path.name] = file_hash(path)
    (path.parent / "state.json").write_text(json.dumps(state))


def test_a_training_that_goes_on_ends_as_one_that_nothing_stopped(
    interrupted, small_history, monkeypatch, tmp_path, views
):
    monkeypatch.setattr(training, "build_model", small_model)
    begun = []
    monkeypatch.setattr(EpochLog, "on_epoch_begin", lambda log, epoch, logs=None: begin(log, epoch))

    def begin(log, epoch):
        begun.append(epoch)
        log.start = log.last_line = time.monotonic()

    history = train_small(shutil.copytree(interrupted, tmp_path / "a"), views)
    assert without_time(history) == without_time(small_history)
    assert begun == [1]


def test_callbacks_remember_how_long_they_have_waited_and_for_what(tmp_path):
    memory = training._published_callbacks(TrainingParameters())
    values = {
        "early_stopping": {"best": 0.5, "wait": 4.0},
        "plateau": {"best": 0.7, "wait": 2.0, "cooldown_counter": 1.0},
    }
    for name, callback in memory.items():
        callback.on_train_begin()
        vars(callback).update(values[name])
    remembered = {name: _remember(callback) for name, callback in memory.items()}
    assert remembered == values
    again = training._published_callbacks(TrainingParameters())
    state = TrainingState(tmp_path, again, "fingerprint")
    state._remembered = remembered
    for callback in (*again.values(), state):
        callback.on_train_begin()
    assert {name: _remember(callback) for name, callback in again.items()} == values


def other_split(views, stores):
    return {"train_arrays": open_world(stores, "train"), "val_arrays": open_world(stores, "test")}


def other_validation(views, stores):
    path = stores[0].with_name("other_validation.h5")
    write_world(path, CLASSES * 4, "val", 9)
    return {"train_arrays": views["train_arrays"], "val_arrays": open_world([path])}


@pytest.mark.parametrize("change", [other_split, other_validation])
def test_a_state_of_other_images_is_not_continued(
    change, interrupted, monkeypatch, tmp_path, views, stores, caplog
):
    monkeypatch.setattr(training, "build_model", small_model)
    caplog.set_level("INFO")
    folder = shutil.copytree(interrupted, tmp_path / "a")
    history = train_small(folder, change(views, stores))
    assert "of a run with other settings or images, starting again" in caplog.text
    assert len(history) == 2


def test_weights_of_the_backbone_are_known_by_their_content(tmp_path, views):
    path, record = tmp_path / "w.h5", {"model": "transfer"}
    fingerprints = []
    for content in (b"first", b"second", b"first"):
        path.write_bytes(content)
        fingerprints.append(training._fingerprint(record, path, *views.values()))
    assert fingerprints[0] == fingerprints[2] != fingerprints[1]


def test_the_first_epoch_of_the_highest_validation_accuracy_is_kept(tmp_path):
    state = TrainingState(tmp_path, {}, "fingerprint")
    accuracies = [0.3, 0.5, 0.2, 0.5, 0.4]
    state.history = [{"epoch": e, "val_accuracy": a} for e, a in enumerate(accuracies, start=1)]
    assert state.best_model == tmp_path / "best0002.keras"


def test_a_state_is_of_the_last_epoch_and_the_best_model_only(tmp_path):
    """Models of a large network for each of many epochs would fill the disk."""
    state = TrainingState(tmp_path, {}, "fingerprint")
    model = small_model("cnn", 3, {})
    model.compile("adam", "categorical_crossentropy")
    state.set_model(model)
    for epoch, accuracy in enumerate([0.3, 0.5, 0.2]):
        state.history.append({"epoch": epoch + 1, "val_accuracy": accuracy})
        state.on_epoch_end(epoch)
    found = sorted(path.name for path in tmp_path.iterdir())
    assert found == ["best0002.keras", "state.json", "variables0003.npz"]


def test_results_say_what_was_trained_and_how(monkeypatch, tmp_path, views):
    monkeypatch.setattr(training, "build_model", small_model)
    parameters = TrainingParameters(batch_size=42, epochs=1)
    weights = tmp_path / "far" / "away.h5"
    weights.parent.mkdir()
    weights.touch()
    train(
        "transfer", "people_only", *views.values(), CLASSES, tmp_path / "model", 5, parameters,
        {"backbone": "resnet50", "weights": weights},
        View("linear", invert=True, fill="blur", scores="people", scores_of="other_image"),
        entry="my_transfer",
    )  # fmt: skip
    assert json.loads((tmp_path / "model" / "classes.json").read_text()) == {
        "classes": CLASSES,
        "model": "transfer",
        "dataset": "people_only",
        "seed": 5,
        "parameters": dataclasses.asdict(parameters),
        "model_parameters": {"backbone": "resnet50", "weights": "away.h5"},
        "view": {
            "curve": "linear",
            "invert": True,
            "fill": "blur",
            "scores": "people",
            "scores_of": "other_image",
        },
        "entry": "my_transfer",
        "files": {"model.keras": file_hash(tmp_path / "model" / "model.keras")},
    }
    header, *rows = (tmp_path / "model" / "history.csv").read_text().splitlines()
    assert header == "epoch,seconds,loss,accuracy,val_loss,val_accuracy,learning_rate"
    assert [row.split(",")[0] for row in rows] == ["1"]


def test_of_the_options_only_weights_are_known_by_their_file_name():
    options = {"backbone": "a/b", "weights": "a/b.h5"}
    assert training._plain(options) == {"backbone": "a/b", "weights": "b.h5"}
    assert training._plain({"weights": None}) == {"weights": None}


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 2},
        {"model": "transfer"},
        {"dataset": "weighted_base"},
        {"parameters": {"epochs": 3}},
        {"view": {"curve": "linear"}},
    ],
)
def test_every_setting_tells_one_training_from_another(change, views):
    record = {"seed": 1, "model": "cnn", "dataset": "original", "parameters": {"epochs": 2}}
    fingerprints = [
        training._fingerprint(r, None, *views.values()) for r in (record, record | change)
    ]
    assert len(set(fingerprints)) == 2
