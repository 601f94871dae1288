"""A network of a user's file is trained, loaded and checked like the others."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest

from geoloc.cli.predict import load_model
from geoloc.errors import InputError
from geoloc.keras_models.build import build_model
from geoloc.keras_models.predict import load_trained
from geoloc.keras_models.training import TrainingParameters, train
from geoloc.stores import Arrays
from tests.colored_world import CLASSES, write_stores

OWN_LAYER = """
import keras

@keras.saving.register_keras_serializable("mine")
class Half(keras.layers.Layer):
    def call(self, pixels):
        return pixels / 2

def load(scale=1.0):
    def build(classes):
        pixels = keras.Input((224, 224, 3))
        x = keras.layers.AveragePooling2D(28)(Half()(pixels))
        x = keras.layers.Flatten()(keras.layers.Rescaling(scale / 255)(x))
        output = keras.layers.Dense(classes, activation="softmax", dtype="float32")
        return keras.Model(pixels, output(x))
    return build
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("own") / "my_network.py"
    path.write_text(OWN_LAYER)
    return path


@pytest.fixture(scope="module")
def trained(file, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    stores = write_stores(folder)
    arrays = [Arrays(stores, split) for split in ("train", "val")]
    options = {"file": str(file), "options": {"scale": 2.0}}
    parameters = TrainingParameters(batch_size=16, epochs=1)
    train("keras", "original", *arrays, CLASSES, folder / "m", 1, parameters, options)
    keras.saving.get_custom_objects().clear()  # as in another process
    return folder / "m"


def test_a_trained_network_with_its_own_layer_needs_its_file(trained, file, tmp_path):
    with pytest.raises(OSError, match=r"layers are those of my_network\.py, give that file \(--f"):
        load_trained(trained, CLASSES)
    edited = tmp_path / "my_network.py"
    edited.write_text(OWN_LAYER + "\n# edited")
    with pytest.raises(InputError, match=r"was not trained with this .*my_network\.py"):
        load_trained(trained, CLASSES, edited)
    own = load_model(trained, file=file)  # of geoloc predict
    found = own.probabilities([np.zeros((30, 40, 3), np.uint8)])
    assert found.shape == (1, 3)
    assert found.sum() == pytest.approx(1, abs=1e-5)


def test_the_record_knows_the_code_and_the_options(trained):
    options = json.loads((trained / "classes.json").read_text())["model_parameters"]
    assert (options["file"], options["options"]) == ("my_network.py", {"scale": 2.0})
    assert len(options["code"]) == 64


MODEL = """
import keras
from keras import layers

def load():
    def build(classes):
        pixels = keras.Input({shape})
        x = layers.GlobalAveragePooling2D()(pixels)
        return keras.Model(pixels, {output})
    return build
"""


@pytest.mark.parametrize(
    ("shape", "output", "message"),
    [
        ("(64, 64, 3)", "layers.Dense(classes)(x)", r"from \(None, 64, 64, 3\) to \(None, 3\) ins"),
        ("(224, 224, 3)", "layers.Dense(5)(x)", r"to \(None, 5\) instead of"),
        ("(224, 224, 3)", "layers.Dense(classes)(x)", "not probabilities .*end it with a softmax"),
        (
            "(224, 224, 3)",
            "layers.Lambda(lambda x: x * 0 + 1 / 3)(x)",
            "cannot be loaded once it is saved .* no Lambda",
        ),
        ("(224, 224, 3)", "x.gone", r"line 9: AttributeError"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_training(shape, output, message, tmp_path):
    path = tmp_path / "my_network.py"
    path.write_text(MODEL.format(shape=shape, output=output))
    with pytest.raises(InputError, match=rf"my_network\.py.*{message}"):
        build_model("keras", 3, {"file": str(path), "options": {}})


def test_what_is_no_network_is_refused(tmp_path):
    path = tmp_path / "my_network.py"
    path.write_text("def load():\n    return 3\n")
    with pytest.raises(InputError, match="must return a function build.classes., .* int"):
        build_model("keras", 3, {"file": str(path)})
    path.write_text("def load():\n    return lambda classes: 3\n")
    with pytest.raises(InputError, match="returned int, not a keras.Model"):
        build_model("keras", 3, {"file": str(path)})


LAYER = """
@keras.saving.register_keras_serializable("mine")
class Mine(layers.Layer):
    def __init__(self, factor=1.0, **options):
        super().__init__(**options)
        self.factor = factor
    def call(self, x):
        return {answer}
    def get_config(self):
        return super().get_config()
"""


@pytest.mark.parametrize(
    ("answer", "end", "message"),
    [
        ("x * self.factor", "", "differently once it is saved and loaded; let get_config"),
        ("x / 255 * keras.random.uniform((3,))", "", "answers differently to the same images"),
        ("x", "model.trainable = False", "a model without trainable weights"),
    ],
    ids=["a lost argument", "a random answer", "nothing to train"],
)
def test_a_network_that_is_not_the_trained_one_later_is_refused(answer, end, message, tmp_path):
    path = tmp_path / "my_network.py"
    path.write_text(
        "import keras\nfrom keras import layers\n"
        + LAYER.replace("{answer}", answer)
        + f"""
def load():
    def build(classes):
        pixels = keras.Input((224, 224, 3))
        x = layers.GlobalAveragePooling2D()(Mine(0.01)(pixels))
        model = keras.Model(pixels, layers.Dense(classes, activation="softmax")(x))
        {end}
        return model
    return build
"""
    )
    with pytest.raises(InputError, match=rf"my_network\.py: build\(3\) returned .*{message}"):
        build_model("keras", 3, {"file": str(path)})
