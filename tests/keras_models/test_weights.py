"""Weights of Keras models load only where all are there, none is left over and all are finite."""

import io
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from geoloc.errors import InputError
from geoloc.keras_models.predict import load_trained, predict
from geoloc.keras_models.transfer import BACKBONES
from geoloc.keras_models.weights import load_legacy_weights
from geoloc.probabilities import NotADistribution
from geoloc.stores import Arrays
from geoloc.weighting import View
from tests.colored_world import CLASSES, write_world

import keras  # isort: skip


def backbone() -> keras.Model:
    """Two convolutions of one shape, so that their order cannot be told from their shapes."""
    pixels = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(3, 3, name="conv1")(pixels)
    x = keras.layers.BatchNormalization(name="bn")(x)
    x = keras.layers.Conv2D(3, 3, name="conv2")(x)
    return keras.Model(pixels, x, name="backbone")


def write_legacy(path: Path, model: keras.Model, root: str = "") -> None:
    """As Keras 1 and 2 did, the order of layers in an attribute."""
    with h5py.File(path, "w") as file:
        group = file.require_group(root) if root else file
        layers = [layer for layer in model.layers if layer.weights]
        group.attrs["layer_names"] = [layer.name.encode() for layer in layers]
        for layer in layers:
            names = [f"{layer.name}/{weight.name}:0".encode() for weight in layer.weights]
            group.require_group(layer.name).attrs["weight_names"] = names
            for name, weight in zip(names, layer.weights, strict=True):
                group[layer.name][name] = np.asarray(weight)


@pytest.mark.parametrize("root", ["", "model_weights"])
def test_legacy_weights_go_to_the_layers_of_their_names(root, tmp_path):
    source, model = backbone(), backbone()
    write_legacy(tmp_path / "w.h5", source, root)
    load_legacy_weights(model, tmp_path / "w.h5")
    for a, b in zip(source.weights, model.weights, strict=True):
        assert np.array_equal(a, b), a.path


def rename(file: h5py.File) -> None:
    file.move("conv1", "convolution")
    file.attrs["layer_names"] = [b"convolution", b"bn", b"conv2"]


def swap(file: h5py.File) -> None:
    """Layers in another order, which Keras takes for the order of the model's."""
    file.attrs["layer_names"] = [b"conv2", b"bn", b"conv1"]


def put(name: str, value) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        if name in file:
            del file[name]
        if value is not None:
            file[name] = value

    return change


def elsewhere(file: h5py.File) -> None:
    del file["bn/bn/beta:0"]
    file.create_dataset("bn/bn/beta:0", (3,), "f4", external=[("other.bin", 0, 12)])


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (put("conv2", None), "missing: conv2/bias, conv2/kernel"),
        (put("bn/bn/moving_mean:0", None), "missing: bn/moving_mean"),
        (put("fc/fc/bias:0", np.zeros(3)), "unexpected: fc/bias"),
        (put("bn/bn/steps:0", np.zeros(3)), "unexpected: bn/steps"),
        (put("conv1/conv1/kernel:0", np.zeros((3, 3, 3, 4))), "of another shape: conv1/kernel"),
        (put("conv1/conv1/bias:0", [0, np.nan, 0]), "not finite: conv1/bias"),
        (put("conv1/conv1/bias:0", [b"a", b"b", b"c"]), "not finite: conv1/bias"),
        (put("conv1/bias", np.zeros(3)), "conv1/bias twice"),
        (rename, "missing: conv1/bias, conv1/kernel; unexpected: convolution/bias"),
        (elsewhere, "bn/beta is stored in another file"),
    ],
)
def test_any_other_legacy_file_is_refused(change, fault, tmp_path):
    write_legacy(tmp_path / "w.h5", backbone())
    with h5py.File(tmp_path / "w.h5", "r+") as file:
        change(file)
    with pytest.raises(OSError, match=rf"w\.h5: not the weights of backbone.*{fault}.*retrieve"):
        load_legacy_weights(backbone(), tmp_path / "w.h5")


def test_the_order_of_layers_in_a_legacy_file_does_not_matter(tmp_path):
    source, model = backbone(), backbone()
    write_legacy(tmp_path / "w.h5", source)
    with h5py.File(tmp_path / "w.h5", "r+") as file:
        swap(file)
    load_legacy_weights(model, tmp_path / "w.h5")
    assert np.array_equal(model.get_layer("conv1").kernel, source.get_layer("conv1").kernel)


@pytest.mark.parametrize("length", [0, 700, 3000])
def test_a_cut_legacy_file_is_refused(length, tmp_path):
    write_legacy(tmp_path / "w.h5", backbone())
    (tmp_path / "w.h5").write_bytes((tmp_path / "w.h5").read_bytes()[:length])
    with pytest.raises(OSError, match=r"w\.h5: not the weights of backbone"):
        load_legacy_weights(backbone(), tmp_path / "w.h5")


def test_resnet50_reads_its_weights_and_refuses_those_that_are_not_finite(tmp_path):
    build = BACKBONES["resnet50"].backbone
    source = build(None)
    write_legacy(tmp_path / "w.h5", source)
    names = ("conv2_block1_0_conv", "conv2_block1_3_conv", "conv5_block3_3_bn")
    loaded = build(tmp_path / "w.h5")
    for name in names:
        for a, b in zip(
            source.get_layer(name).weights, loaded.get_layer(name).weights, strict=True
        ):
            assert np.array_equal(a, b), a.path
    with h5py.File(tmp_path / "w.h5", "r+") as file:
        file["conv5_block3_3_bn/conv5_block3_3_bn/gamma:0"][7] = np.inf
    with pytest.raises(OSError, match=r"resnet50 \(not finite: conv5_block3_3_bn/gamma\)"):
        build(tmp_path / "w.h5")


# -------------------------------------------------------------------------------- model.keras


def classifier(classes: int = 3, activation: str = "softmax", side: int = 224) -> keras.Model:
    pixels = keras.Input((side, side, 3))
    x = keras.layers.AveragePooling2D(side // 8)(keras.layers.Rescaling(1 / 255)(pixels))
    x = keras.layers.BatchNormalization(name="norm")(keras.layers.Flatten()(x))
    x = keras.layers.Dropout(0.5)(x)
    return keras.Model(pixels, keras.layers.Dense(classes, activation, name="last")(x))


def save(folder: Path, model: keras.Model, **record) -> Path:
    folder.mkdir(exist_ok=True)
    model.save(folder / "model.keras")
    record = {"classes": CLASSES, "dataset": "people", "view": {"curve": "linear"}} | record
    (folder / "classes.json").write_text(json.dumps(record))
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """With the state of its optimizer and metrics, as training leaves it."""
    model = classifier()
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    model.fit(np.zeros((2, 224, 224, 3)), np.eye(3)[:2], verbose=0)
    return save(tmp_path_factory.mktemp("models") / "cnn", model)


@pytest.fixture
def copy(trained, tmp_path) -> Path:
    return shutil.copytree(trained, tmp_path / "cnn")


def change_archive(folder: Path, member: str, change: Callable[[bytes], bytes]) -> None:
    path = folder / "model.keras"
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members[member] = change(members[member])
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def change_weights(folder: Path, change: Callable[[h5py.File], None]) -> None:
    def rewrite(content: bytes) -> bytes:
        buffer = io.BytesIO(content)
        with h5py.File(buffer, "r+") as file:
            change(file)
        return buffer.getvalue()

    change_archive(folder, "model.weights.h5", rewrite)


def test_a_trained_model_loads_with_its_classes_and_dataset(trained):
    loaded = load_trained(trained, CLASSES)
    assert (loaded.name, loaded.classes) == (str(trained), CLASSES)
    assert (loaded.dataset, loaded.view) == ("people", View("linear"))


@pytest.mark.parametrize(
    ("classes", "different"),
    [(CLASSES[::-1], "their order"), ([*CLASSES[1:], "ZZ"], f"{CLASSES[0]}, ZZ")],
    ids=["order", "names"],
)
def test_other_classes_than_the_model_was_trained_on_are_named(classes, different, trained):
    with pytest.raises(InputError, match=rf"trained on other classes \({different} differ\)"):
        load_trained(trained, classes)


@pytest.mark.parametrize(
    "change",
    [
        put("layers/dense", None),
        put("layers/dense/vars/0", None),
        put("layers/dense/vars/1", np.zeros(4)),
        put("layers/dense/vars/2", np.zeros(3)),
        put("layers/dense_1/vars/0", np.zeros(3)),
        put("layers/dense/vars/1", [0, np.nan, 0]),
        put("layers/batch_normalization/vars/3", np.full(192, np.inf)),
        lambda file: file.move("layers/dense", "layers/dense_1"),
    ],
    ids=[
        "layer",
        "tensor",
        "shape",
        "left over",
        "layer left over",
        "NaN",
        "infinite variance",
        "renamed",
    ],
)
def test_a_model_with_other_weights_is_refused(change, copy):
    with zipfile.ZipFile(copy / "model.keras") as archive:
        assert b"dense" in archive.read("model.weights.h5")
    change_weights(copy, change)
    with pytest.raises(OSError, match=rf"{copy}/model.keras: no complete model \(.*") as error:
        load_trained(copy)
    assert "\n" not in str(error.value)
    assert str(error.value).endswith("; train it again")


def test_a_model_of_a_newer_keras_is_refused_in_one_line(copy):
    change_archive(
        copy, "config.json", lambda text: text.replace(b'"Rescaling"', b'"RescalingOfTomorrow"')
    )
    with pytest.raises(OSError, match="no complete model") as error:
        load_trained(copy)
    assert "\n" not in str(error.value)


def test_code_in_a_model_is_not_run(tmp_path):
    pixels = keras.Input((224, 224, 3))
    x = keras.layers.Lambda(lambda x: x[:, 0, 0, :])(pixels)
    save(tmp_path / "cnn", keras.Model(pixels, keras.layers.Softmax()(x)))
    with pytest.raises(OSError, match="no complete model.*train it again"):
        load_trained(tmp_path / "cnn")


@pytest.mark.parametrize(
    ("model", "shapes"),
    [
        (classifier(classes=4), r"to \(None, 4\), but classes\.json names 3"),
        (classifier(side=96), r"from \(None, 96, 96, 3\)"),
    ],
)
def test_a_model_of_other_images_or_of_more_classes_is_refused(model, shapes, tmp_path):
    with pytest.raises(OSError, match=shapes):
        load_trained(save(tmp_path / "cnn", model))


@pytest.mark.parametrize(
    "content",
    ["", "[]", "7", '{"classes": ["DE"]}', "\x00" * 40]
    + [
        json.dumps({"classes": classes, "dataset": dataset, "view": view})
        for classes, dataset, view in (
            ([], "original", {}),
            (["FR", "DE", "NA"], "original", {}),
            (["DE", "DE", "FR"], "original", {}),
            (["DE", 7, "FR"], "original", {}),
            ("DEFRNA", "original", {}),
            (CLASSES, None, {}),
            (CLASSES, ["original"], {}),
            (CLASSES, "original", None),
            (CLASSES, "original", {"curve": "step"}),
            (CLASSES, "original", {"factor": 1}),
        )
    ]
    + [json.dumps({"classes": CLASSES, "dataset": "original"})],
)
def test_a_damaged_record_is_refused(content, copy):
    (copy / "classes.json").write_text(content)
    with pytest.raises(OSError, match="no complete model.*train it again"):
        load_trained(copy)


@pytest.mark.parametrize(
    ("model", "fault"),
    [
        (classifier(activation="sigmoid"), "add up to"),
        (classifier(activation="linear"), "negative|add up to"),
    ],
    ids=["sigmoid", "logits"],
)
def test_predictions_that_are_no_distribution_name_model_and_image(model, fault, tmp_path):
    write_world(tmp_path / "a.h5", CLASSES, "test", 5)
    folder = save(tmp_path / "cnn", model)
    message = rf"{folder}: the probabilities of test5_0 \(people\) .*({fault})"
    with pytest.raises(NotADistribution, match=message):
        predict(load_trained(folder), Arrays([tmp_path / "a.h5"]), "people")
