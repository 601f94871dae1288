"""Weights of Keras models in HDF5, checked against the model they are loaded into."""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from collections.abc import Iterable
from itertools import count, takewhile
from pathlib import Path

import h5py
import keras
import numpy as np

from geoloc.errors import FileError, InputError
from geoloc.tensors import all_finite, check_tensors

LAYERS = "layer_names"
# Layers of keras.applications without a name of their own.
AUTOMATIC = re.compile(r"(conv2d|batch_normalization|layer_normalization|normalization)(?:_(\d+))?")


def load_legacy_weights(model: keras.Model, path: str | Path) -> None:
    """Load a weights file in the format of Keras 1 and 2, each tensor by layer and name.

    `Model.load_weights` uses only the order of layers: it accepts another layer's tensors of the
    same shape, and values that are not finite.

    Raises:
        OSError: if the file is damaged, or does not have exactly the model's tensors, all finite.
    """
    remedy = f"delete {path} and retrieve it again"
    variables = {_name(variable.path): variable for variable in model.weights}
    shapes = {name: tuple(variable.shape) for name, variable in variables.items()}
    try:
        with h5py.File(path, "r") as file:
            found = _legacy_datasets(file)
            check_tensors(path, model.name, shapes, found, remedy)
            for name, variable in variables.items():
                variable.assign(found[name][()])
    except PermissionError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        if str(error).startswith(f"{path}: not the weights"):
            raise
        raise FileError(f"{path}: not the weights of {model.name} ({error}); {remedy}") from error


def _legacy_datasets(file: h5py.File) -> dict[str, h5py.Dataset]:
    """Return datasets by `layer/variable`."""
    found: dict[str, h5py.Dataset] = {}

    def add(path: str, item: h5py.Dataset | h5py.Group) -> None:
        if isinstance(item, h5py.Dataset):
            name = _name(path)
            if name in found:
                raise InputError(f"{name} twice")
            if item.external or item.is_virtual:
                raise InputError(f"{name} is stored in another file")
            found[name] = item

    _root(file).visititems(add)
    return found


def _root(file: h5py.File) -> h5py.Group:
    """Return the group of the layers; a whole model keeps its weights in a separate group."""
    whole_model = LAYERS not in file.attrs and "model_weights" in file
    return file["model_weights"] if whole_model else file


def _name(path: str) -> str:
    """Return `conv1_conv/kernel` for `conv1_conv/conv1_conv/kernel:0`."""
    layer, _, variable = path.partition("/")
    return f"{layer}/{variable.rpartition('/')[2].removesuffix(':0')}"


def load_weights_by_layer(model: keras.Model, path: str | Path) -> None:
    """Load weights of keras.applications into one of its networks, layer by layer, by name.

    Within a layer, weights are matched by order, as in Keras, because older files name some of them
    differently. Layers that Keras names by class and number are matched in the order of their
    numbers, which depend on what else the process has built.

    Args:
        model: the network.
        path: a file in the format of Keras 1 and 2, or `….weights.h5` as Keras 3 writes it.

    Raises:
        OSError: if the file is damaged, or does not have exactly the model's layers, with weights
            of the same shapes, all finite.
    """
    remedy = f"delete {path} and retrieve it again"
    try:
        if Path(path).name.endswith(".weights.h5"):
            return _load_keras_3(model, path, remedy)
        with h5py.File(path, "r") as file:
            found = _ordered_datasets(_root(file))
            variables = _ordered_variables(model)
            shapes = {name: tuple(variable.shape) for name, variable in variables.items()}
            check_tensors(path, model.name, shapes, found, remedy)
            for name, variable in variables.items():
                variable.assign(found[name][()])
    except PermissionError:
        raise
    except Exception as error:  # Keras raises anything for a file of another model
        if str(error).startswith(f"{path}: not the weights"):
            raise
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise FileError(f"{path}: not the weights of {model.name} ({reason}); {remedy}") from error


def _load_keras_3(model: keras.Model, path: str | Path, remedy: str) -> None:
    with warnings.catch_warnings():
        # Keras only warns when it leaves weights at their random initial values.
        warnings.filterwarnings("error", "Skipping")
        model.load_weights(path)
    with h5py.File(path, "r") as file:
        _check_count(file, model)
    found = {weight.path: np.asarray(weight) for weight in model.weights}
    shapes = {name: value.shape for name, value in found.items()}
    check_tensors(path, model.name, shapes, found, remedy)


def _ordered_variables(model: keras.Model) -> dict[str, keras.Variable]:
    """Return variables by `layer/number`, in the order in which Keras writes those of a layer."""
    layers = [layer for layer in model.layers if layer.weights]
    names = _plain_layer_names([layer.name for layer in layers])
    return {
        f"{name}/{number}": variable
        for name, layer in zip(names, layers, strict=True)
        for number, variable in enumerate(layer.trainable_weights + layer.non_trainable_weights)
    }


def _ordered_datasets(root: h5py.Group) -> dict[str, h5py.Dataset]:
    """Return datasets by `layer/number`, in the order of the file's attributes."""
    layers = {name: _attribute(root[name], "weight_names") for name in _attribute(root, LAYERS)}
    layers = {name: weights for name, weights in layers.items() if weights}
    found = {
        f"{plain}/{number}": root[name][weight]
        for plain, (name, weights) in zip(_plain_layer_names(layers), layers.items(), strict=True)
        for number, weight in enumerate(weights)
    }
    for name, item in found.items():
        if item.external or item.is_virtual:
            raise InputError(f"{name} is stored in another file")
    return found


def _attribute(group: h5py.Group, name: str) -> list[str]:
    """Return a list of names. Keras splits a long one into several numbered attributes."""
    numbered = (f"{name}{number}" for number in count())
    keys = [name] if name in group.attrs else list(takewhile(group.attrs.__contains__, numbered))
    if not keys:
        raise InputError(f"no {name}")
    values = [value for key in keys for value in group.attrs[key]]
    return [value.decode() if isinstance(value, bytes) else str(value) for value in values]


def _plain_layer_names(names: Iterable[str]) -> list[str]:
    """Return layer names without what Keras made up.

    The `conv2d_…` with the lowest number becomes `conv2d#0`, and the `/` of Keras 1 and 2 becomes
    `_`.
    """
    names = [name.replace("/", "_") for name in names]
    numbers: dict[str, list[int]] = {}
    for name in names:
        if automatic := AUTOMATIC.fullmatch(name):
            numbers.setdefault(automatic[1], []).append(int(automatic[2] or 0))
    ranks = {kind: sorted(found) for kind, found in numbers.items()}

    def plain(name: str) -> str:
        if automatic := AUTOMATIC.fullmatch(name):
            return f"{automatic[1]}#{ranks[automatic[1]].index(int(automatic[2] or 0))}"
        return name

    return [plain(name) for name in names]


def check_saved_model(model: keras.Model, path: str | Path) -> None:
    """Check that a model loaded from a `.keras` file has all of its weights, all finite.

    Keras rejects a file in which a tensor of the model is missing or has another shape, but ignores
    extra tensors.

    Raises:
        InputError: names the first weight that is not finite, or counts the tensors left over.
    """
    with zipfile.ZipFile(path) as archive:
        content = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(content, "r") as file:
        _check_count(file, model)
    for weight in model.weights:
        if not all_finite(np.asarray(weight)):
            raise InputError(f"{weight.path} is not finite")


def _check_count(file: h5py.File, model: keras.Model) -> None:
    """Raise InputError unless a file of Keras 3 has as many tensors as the model has weights."""
    names: list[str] = []
    file.visititems(
        lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None
    )
    tensors = [name for name in names if not name.startswith("optimizer/")]
    if len(tensors) != len(model.weights):
        raise InputError(f"{len(tensors)} tensors for {len(model.weights)} weights")
