"""A model on several GPUs trains as on one. Two parts of the CPU stand for two GPUs here."""

import csv

import numpy as np
import pytest

from geoloc.keras_models import multi_gpu
from geoloc.keras_models.multi_gpu import replicated
from geoloc.keras_models.predict import load_trained
from tests.colored_world import CLASSES, write_world
from tests.processes import run_keras
from tests.small_keras import WITHOUT_TIME

# As a job does, a process trains one model only.
TRAIN = """
import sys
import keras, tensorflow as tf
from geoloc.keras_models import multi_gpu, runtime, training
from geoloc.stores import Arrays
from tests.keras_models import test_training

_, folder, store, model, gpus, stop = sys.argv
halves = [tf.config.LogicalDeviceConfiguration()] * 2
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], halves)
multi_gpu.visible_gpus = lambda: ["CPU:0", "CPU:1"]

def linear(name, classes, options):
    pixels = keras.Input((224, 224, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(pixels))
    return keras.Model(pixels, keras.layers.Dense(classes, activation="softmax")(x))

training.build_model = linear if model == "linear" else test_training.with_dropout
if stop == "before the second epoch":
    training.EpochLog.on_epoch_begin = test_training.stop_before_the_second_epoch
if stop == "before the results":
    training._write_results = lambda *results: (_ for _ in ()).throw(KeyboardInterrupt)
parameters = training.TrainingParameters(
    batch_size=6, epochs=3, learning_rate=0.02, gpus=int(gpus)
)
arrays = Arrays([store], "train")
try:
    training.train("cnn", "original", arrays, arrays, test_training.CLASSES, folder, 1, parameters)
except KeyboardInterrupt:
    assert stop
"""


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("arrays") / "train.h5"
    write_world(path, [CLASSES[i % 3] for i in range(18)], "train", 0)
    return path


def history(folder) -> np.ndarray:
    with (folder / "history.csv").open() as file:
        return np.array(
            [[float(row[name]) for name in WITHOUT_TIME] for row in csv.DictReader(file)]
        )


def test_two_devices_train_as_one_does(store, tmp_path):
    for gpus in (1, 2):
        run_keras(TRAIN, tmp_path / str(gpus), store, "linear", gpus, "")
    assert history(tmp_path / "2").shape == (3, len(WITHOUT_TIME))
    assert np.allclose(history(tmp_path / "1"), history(tmp_path / "2"), rtol=1e-4)


def test_stopped_training_on_two_devices_goes_on_as_one_that_was_not(store, tmp_path):
    """Each device normalizes its own part of a batch, so their moving averages would differ."""
    run_keras(TRAIN, tmp_path / "whole", store, "with dropout", 2, "")
    for stop in ("before the second epoch", "before the results"):
        run_keras(TRAIN, tmp_path / "twice", store, "with dropout", 2, stop)
        assert not (tmp_path / "twice/history.csv").exists()
    run_keras(TRAIN, tmp_path / "twice", store, "with dropout", 2, "")
    assert np.array_equal(history(tmp_path / "whole"), history(tmp_path / "twice"))
    models = [load_trained(tmp_path / name, CLASSES).model for name in ("whole", "twice")]
    for a, b in zip(*(model.get_weights() for model in models), strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize(
    ("gpus", "batch_size", "precision", "message"),
    [
        (2, 64, "float32", "train.gpus is 2, but TensorFlow sees 1 GPUs"),
        (3, 64, "float32", "not a multiple"),
        (2, 64, "mixed_float16", "mixed_bfloat16 or float32"),
    ],
)
def test_gpus_that_cannot_share_the_work_are_refused(
    monkeypatch, gpus, batch_size, precision, message
):
    monkeypatch.setattr(multi_gpu, "visible_gpus", lambda: ["GPU:0"])
    with pytest.raises(ValueError, match=message):
        replicated(gpus, batch_size, precision)
