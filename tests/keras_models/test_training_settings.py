"""Each setting reaches what Keras is given to train with; the defaults are the published ones."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest

from geoloc.keras_models import runtime, training  # noqa: F401  sets up TensorFlow first
from geoloc.keras_models.augmentation import Augmentation
from geoloc.keras_models.batch_norm import PreciseBatchNorm
from geoloc.keras_models.batches import Batches
from geoloc.keras_models.checkpoint import TrainingState
from geoloc.keras_models.divergence import StopWhereDiverged
from geoloc.keras_models.epoch_log import EpochLog
from geoloc.keras_models.multi_gpu import MeanOfReplicas
from geoloc.keras_models.training import TrainingParameters, train
from geoloc.weighting import View
from tests.colored_world import CLASSES, LINEAR, PIECEWISE, open_world, write_stores
from tests.small_keras import small_model

import keras  # isort: skip


@pytest.fixture(scope="module")
def stores(tmp_path_factory) -> list[Path]:
    return write_stores(tmp_path_factory.mktemp("arrays"))


@pytest.fixture
def views(stores):
    return {"train_arrays": open_world(stores, "train"), "val_arrays": open_world(stores, "val")}


def given_to_fit(monkeypatch, tmp_path, build=small_model, **options) -> dict:
    """The arguments of `Model.fit`, which is not run, of a training with some options."""
    given = {}

    def fit(model, x, **arguments):
        given.update(arguments, x=x, model=model)
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "build_model", build)
    monkeypatch.setattr(keras.Model, "fit", fit)
    options = {
        "model_name": "cnn", "dataset": "original", "classes": CLASSES, "seed": 1,
        "folder": tmp_path / "model", "parameters": None,
    } | options  # fmt: skip
    with pytest.raises(KeyboardInterrupt):
        train(**options)
    return given


def first_images(dataset, n: int) -> np.ndarray:
    return next(iter(dataset.unbatch().batch(n).as_numpy_iterator()))[0]


def test_training_images_are_augmented_and_those_of_validation_are_not(
    monkeypatch, tmp_path, views
):
    given = {
        ranges: given_to_fit(
            monkeypatch,
            tmp_path,
            **views,
            view=PIECEWISE,
            parameters=TrainingParameters(batch_size=8, augmentation=ranges),
        )
        for ranges in (Augmentation(), Augmentation(0.0, 0.0, False))
    }
    plain = Batches(views["train_arrays"], CLASSES, PIECEWISE, 8, seed=1)
    plain_images = plain.weighted(plain.order(0)[:8])
    augmented, as_they_are = (first_images(g["x"], 8) for g in given.values())
    assert np.array_equal(as_they_are, plain_images)
    assert all(not np.array_equal(a, b) for a, b in zip(augmented, plain_images, strict=True))
    validation = Batches(views["val_arrays"], CLASSES, PIECEWISE, 8, seed=1, shuffle=False)
    for g in given.values():
        seen = first_images(g["validation_data"], 8)
        assert np.array_equal(seen, validation.weighted(validation.order(0)[:8]))


def test_both_splits_are_shown_as_the_view_of_the_user_does(monkeypatch, tmp_path, views):
    view = View("piecewise", minimum_factor=0.9, fill="mean", scores="objects")
    given = given_to_fit(
        monkeypatch,
        tmp_path,
        **views,
        view=view,
        parameters=TrainingParameters(batch_size=12, augmentation=Augmentation(0.0, 0.0, False)),
    )
    for arrays, split in zip(views.values(), ("x", "validation_data"), strict=True):
        known = {image.tobytes() for image in view(*arrays.read(np.arange(len(arrays))))}
        assert {image.tobytes() for image in first_images(given[split], 12)} <= known


def test_the_seed_reaches_weights_and_batches(monkeypatch, tmp_path, views):
    first, same, other = (
        given_to_fit(monkeypatch, tmp_path, **views, seed=seed) for seed in (1, 1, 2)
    )
    for equal, given in ((True, same), (False, other)):
        assert np.array_equal(first_images(first["x"], 4), first_images(given["x"], 4)) == equal
        kernels = (g["model"].get_weights()[0] for g in (first, given))
        assert np.array_equal(*kernels) == equal


def test_an_epoch_has_as_many_whole_batches_as_fit_of_each_split(monkeypatch, tmp_path, views):
    parameters = TrainingParameters(batch_size=5, epochs=7)
    given = given_to_fit(monkeypatch, tmp_path, **views, parameters=parameters)
    assert (given["steps_per_epoch"], given["validation_steps"]) == (42 // 5, 12 // 5)
    assert (given["initial_epoch"], given["epochs"], given["shuffle"]) == (0, 7, False)
    assert sum(1 for _ in given["x"]) == 7 * (42 // 5)


def test_settings_are_the_published_ones():
    parameters = TrainingParameters()
    assert (parameters.batch_size, parameters.epochs, parameters.learning_rate) == (64, 25, 1e-3)
    assert parameters.augmentation == Augmentation(0.2, 0.2, True)
    assert (parameters.class_weights, parameters.precise_batch_norm) == (None, 0)
    assert (parameters.precision, parameters.gpus) == ("float32", 1)
    assert (parameters.early_stopping_patience, parameters.plateau_patience) == (10, 3)
    assert (parameters.plateau_factor, parameters.minimum_learning_rate) == (0.5, 1e-5)


def test_an_improvement_however_small_counts_and_nothing_else_delays_the_callbacks(
    monkeypatch, tmp_path, views
):
    """Keras' own settings: an improvement of the accuracy of less than 1e-4 is none."""
    stopping, plateau = callbacks_of(monkeypatch, tmp_path, views)[:2]
    assert (stopping.monitor, stopping.min_delta, stopping.start_from_epoch) == ("val_loss", 0, 0)
    assert (stopping.baseline, stopping.restore_best_weights) == (None, False)
    assert (plateau.monitor, plateau.min_delta, plateau.cooldown) == ("val_accuracy", 1e-4, 0)


def callbacks_of(monkeypatch, tmp_path, views, **parameters) -> list[keras.callbacks.Callback]:
    parameters = TrainingParameters(**parameters)
    given = given_to_fit(monkeypatch, tmp_path, **views, parameters=parameters)
    for callback in given["callbacks"]:
        callback.set_model(given["model"])
    return given["callbacks"]


def test_what_is_saved_after_an_epoch_is_what_all_other_callbacks_left(
    monkeypatch, tmp_path, views
):
    kinds = [type(c) for c in callbacks_of(monkeypatch, tmp_path, views, precise_batch_norm=3)]
    assert kinds == [
        keras.callbacks.EarlyStopping, keras.callbacks.ReduceLROnPlateau, StopWhereDiverged,
        EpochLog, PreciseBatchNorm, TrainingState,
    ]  # fmt: skip


@pytest.mark.parametrize(("parameters", "epochs"), [({}, 11), ({"early_stopping_patience": 4}, 5)])
def test_training_ends_ten_epochs_after_the_lowest_validation_loss(
    parameters, epochs, monkeypatch, tmp_path, views
):
    stopping = callbacks_of(monkeypatch, tmp_path, views, **parameters)[0]
    stopping.on_train_begin()
    losses = [1.0, *np.linspace(1.01, 2, 30)]
    for epoch, loss in enumerate(losses):  # accuracy improves all the time
        stopping.on_epoch_end(epoch, {"val_loss": loss, "val_accuracy": epoch, "loss": -epoch})
        if stopping.model.stop_training:
            break
    assert epoch + 1 == epochs


@pytest.mark.parametrize(
    ("parameters", "rates"),
    [
        ({}, [1e-3] * 4 + [5e-4] * 3 + [2.5e-4] * 3),
        ({"learning_rate": 3e-5}, [3e-5] * 4 + [1.5e-5] * 3 + [1e-5] * 3),
        ({"plateau_factor": 0.1, "plateau_patience": 4}, [1e-3] * 5 + [1e-4] * 4 + [1e-5]),
        ({"learning_rate": 1e-5, "minimum_learning_rate": 0.0}, [1e-5] * 4 + [5e-6] * 3),
    ],
)
def test_the_learning_rate_halves_three_epochs_after_the_highest_validation_accuracy(
    parameters, rates, monkeypatch, tmp_path, views
):
    plateau = callbacks_of(monkeypatch, tmp_path, views, **parameters)[1]
    plateau.on_train_begin()
    found = []
    for epoch in range(len(rates)):  # loss improves all the time
        found.append(float(plateau.model.optimizer.learning_rate))
        logs = {"val_accuracy": 0.5 if epoch else 0.6, "val_loss": -epoch, "loss": -epoch}
        plateau.on_epoch_end(epoch, logs)
    assert found == pytest.approx(rates)


def test_countries_without_images_of_a_split_are_named(monkeypatch, tmp_path, views, caplog):
    given_to_fit(monkeypatch, tmp_path, **views, classes=[*CLASSES, "US", "ZA"])
    assert "no training image of US, ZA" in caplog.text
    assert "no validation image of US, ZA" in caplog.text
    caplog.clear()
    given_to_fit(monkeypatch, tmp_path, **views)
    assert "no training image" not in caplog.text


def test_class_weights_reach_keras(monkeypatch, tmp_path, views):
    for option, expected in ((None, None), ("balanced", {0: 1.0, 1: 1.0, 2: 1.0})):
        parameters = TrainingParameters(class_weights=option)
        given = given_to_fit(monkeypatch, tmp_path, **views, parameters=parameters)
        assert given["class_weight"] == expected


def test_statistics_are_of_as_many_training_images_as_asked_for(monkeypatch, tmp_path, views):
    """Weighted as all are, not augmented, and others with another seed."""
    taken = []
    for seed in (1, 2):
        given = given_to_fit(
            monkeypatch, tmp_path, **views, seed=seed, view=LINEAR,
            parameters=TrainingParameters(precise_batch_norm=5),
        )  # fmt: skip
        (statistics,) = (c for c in given["callbacks"] if isinstance(c, PreciseBatchNorm))
        taken.append(statistics.images)
    batches = Batches(views["train_arrays"], CLASSES, LINEAR, 8, seed=1)
    known = {image.tobytes() for image in batches.weighted(np.arange(42))}
    assert all(len({i.tobytes() for i in images} & known) == 5 for images in taken)
    assert not np.array_equal(*taken)


def test_the_learning_rate_of_the_user_is_that_of_the_optimizer(monkeypatch, tmp_path, views):
    parameters = TrainingParameters(learning_rate=0.125)
    given = given_to_fit(monkeypatch, tmp_path, **views, parameters=parameters)
    assert float(given["model"].optimizer.learning_rate) == 0.125


def test_several_gpus_share_the_batches_of_the_training(monkeypatch, tmp_path, views):
    """And give their moving averages to each other before the statistics are saved."""
    asked = []
    monkeypatch.setattr(
        training, "replicated", lambda *given: asked.append(given) or contextlib.nullcontext()
    )
    parameters = {"gpus": 3, "batch_size": 6, "precision": "mixed_bfloat16"}
    kinds = [type(c) for c in callbacks_of(monkeypatch, tmp_path, views, **parameters)]
    assert asked == [(3, 6, "mixed_bfloat16")]
    assert kinds.index(MeanOfReplicas) < kinds.index(TrainingState)
    assert MeanOfReplicas not in [type(c) for c in callbacks_of(monkeypatch, tmp_path, views)]


def test_what_diverges_is_named_with_its_dataset_and_precision(monkeypatch, tmp_path, views):
    parameters = TrainingParameters(precision="mixed_bfloat16", learning_rate=0.5, epochs=7)
    given = given_to_fit(
        monkeypatch, tmp_path, **views, dataset="weighted_base", parameters=parameters
    )
    stop, log = (
        next(c for c in given["callbacks"] if isinstance(c, kind))
        for kind in (StopWhereDiverged, EpochLog)
    )
    assert (stop.name, stop.precision) == ("cnn on weighted_base", "mixed_bfloat16")
    assert (log.epochs, log.batches.batch_size) == (7, 64)


@pytest.mark.parametrize(("threads", "workers"), [(0, 1), (1, 1), (4, 3)])
def test_one_thread_is_left_to_the_model(threads, workers, monkeypatch, tmp_path, views):
    asked = []
    monkeypatch.setattr(training, "setup", lambda seed, threads: None)
    monkeypatch.setattr(
        Batches, "dataset", lambda self, epochs, workers=0: asked.append(workers) or iter(())
    )
    given_to_fit(monkeypatch, tmp_path, **views, threads=threads)
    assert asked[0] == workers


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_the_model_is_built_by_its_name_and_options_in_its_precision(
    precision, monkeypatch, tmp_path, views
):
    built = []

    def build(name, classes, options):
        built.append((name, classes, dict(options), keras.config.dtype_policy().name))
        return small_model(name, classes, options)

    given = {
        "model_name": "transfer",
        "model_parameters": {"backbone": "b"},
        "parameters": TrainingParameters(precision=precision),
    }
    model = given_to_fit(monkeypatch, tmp_path, build=build, **views, **given)["model"]
    assert built == [("transfer", 3, {"backbone": "b"}, precision)]
    assert any("_fused_call" in layer.call.__qualname__ for layer in model.layers)


def test_the_seed_and_the_threads_are_those_of_tensorflow(monkeypatch, tmp_path, views):
    setups = []
    monkeypatch.setattr(training, "setup", lambda *given: setups.append(given))
    given_to_fit(monkeypatch, tmp_path, seed=7, threads=3, **views)
    assert setups == [(7, 3)]
