"""The transfer model takes any network of keras.applications, with its own input and weights."""

from collections.abc import Callable
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

from geoloc.config import load_schema
from geoloc.config.matrix_mistakes import KNOWN_BLOCKS, SCALE_THEIR_INPUT
from geoloc.errors import InputError
from geoloc.keras_models.applications import Application, application_names
from geoloc.keras_models.build import build_model
from geoloc.keras_models.transfer import BACKBONES
from geoloc.keras_models.weights import load_weights_by_layer
from tests.conftest import ROOT


def randomized(name: str) -> keras.Model:
    rng = np.random.default_rng(0)
    model = Application(name).backbone(None)
    for weight in model.weights:
        weight.assign(rng.uniform(0.5, 1, weight.shape))
    return model


def write_as_keras_2(path: Path, model: keras.Model) -> Path:
    with h5py.File(path, "w") as file:
        save_weights_to_hdf5_group(file, model)
    return path


def same(a: keras.Model, b: keras.Model) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a.weights, b.weights, strict=True))


@pytest.mark.parametrize("name", ["InceptionV3", "MobileNetV2"])  # with numbers for names; without
def test_a_file_as_keras_publishes_them_fills_the_network(name, tmp_path):
    source = randomized(name)
    path = write_as_keras_2(tmp_path / "notop.h5", source)
    assert same(source, Application(name).backbone(path))


def test_a_file_that_keras_3_saved_fills_the_network_and_only_that(tmp_path):
    source = randomized("MobileNetV2")
    source.save_weights(tmp_path / "w.weights.h5")
    assert same(source, Application("MobileNetV2").backbone(tmp_path / "w.weights.h5"))
    with pytest.raises(OSError, match=r"w\.weights\.h5: not the weights of.*retrieve"):
        Application("MobileNet").backbone(tmp_path / "w.weights.h5")


def small(*names: str) -> keras.Model:
    """Layers of one shape, so that only names tell them apart."""
    pixels = x = keras.Input((8, 8, 3))
    for name in names:
        x = keras.layers.Conv2D(3, 3, name=name, bias_initializer="glorot_uniform")(x)
    return keras.Model(pixels, x, name="small")


def test_layers_go_by_name_and_numbered_ones_by_the_order_of_their_numbers(tmp_path):
    source = small("conv2d_8", "stem_conv", "conv2d_11")
    path = write_as_keras_2(tmp_path / "w.h5", source)
    with h5py.File(path, "r+") as file:
        file.attrs["layer_names"] = [b"conv2d_11", b"conv2d_8", b"stem_conv"]
    model = small("conv2d", "stem_conv", "conv2d_1")
    load_weights_by_layer(model, path)
    assert same(source, model)


def rename(file: h5py.File) -> None:
    file.move("stem", "head")
    file.attrs["layer_names"] = [b"head", b"tail"]


def put(name: str, value) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file[name]
        file[name] = value

    return change


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (rename, "missing: stem/0, stem/1; unexpected: head/0"),
        (lambda file: file.attrs.__delitem__("layer_names"), "no layer_names"),
        (lambda file: file["stem"].attrs.update(weight_names=[]), "missing: stem/0, stem/1"),
        (put("stem/stem/bias", [0, np.inf, 0]), "not finite: stem/1"),
        (put("stem/stem/kernel", np.zeros((3, 3, 3, 4))), "of another shape: stem/0"),
    ],
)
def test_weights_of_another_network_are_refused(change, fault, tmp_path):
    path = write_as_keras_2(tmp_path / "w.h5", small("stem", "tail"))
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(OSError, match=rf"w\.h5: not the weights of small.*{fault}.*retrieve"):
        load_weights_by_layer(small("stem", "tail"), path)


@pytest.mark.parametrize("name", ["MobileNetV2", "EfficientNetV2B0"])
def test_backbone_sees_what_it_was_trained_on_also_when_loaded_without_this_project(name, tmp_path):
    model = build_model("transfer", 3, {"backbone": name, "preprocessing": "imagenet"})
    images = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3)).astype(np.uint8)
    backbone = next(layer for layer in model.layers if isinstance(layer, keras.Model))
    pooled = keras.Model(model.input, model.get_layer("pool").output)
    own_input = Application(name).imagenet_input(images.astype(np.float32))
    expected = np.asarray(backbone(own_input, training=False)).mean((1, 2))
    np.testing.assert_allclose(pooled(images), expected, atol=1e-4)
    assert not backbone.trainable_weights
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
    assert np.array_equal(loaded(images), model(images))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backbone": "ResNet51"}, "unknown backbone 'ResNet51'; choose resnet50.*ResNet50V2"),
        ({"backbone": "MobileNetV3Small"}, "scales its input itself; set preprocessing to imagen"),
        ({"backbone": "VGG16", "fine_tune": "last_block"}, "last block of VGG16.*set fine_tune to"),
    ],
)
def test_choices_that_a_backbone_does_not_have_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        build_model("transfer", 3, options)


def test_what_planning_knows_of_the_networks_is_true_without_loading_keras():
    names = application_names()
    scaling = {name for name in names if Application(name).scales_its_input}
    assert scaling == {name for name in names if name.startswith(SCALE_THEIR_INPUT)}
    assert list(BACKBONES) == list(KNOWN_BLOCKS)
    kinds = load_schema(ROOT / "config/config.schema.yaml")["$defs"]["model"]["kinds"]
    for kind in ("transfer", "cells"):
        assert kinds[kind]["properties"]["backbone"]["enum"] == [*BACKBONES, *names]
