"""Weights of Keras models in HDF5, checked against the model that they are loaded into."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np

from geoloc.errors import FileError, InputError
from geoloc.tensors import all_finite, check_tensors


def load_legacy_weights(model: keras.Model, path: str | Path) -> None:
    """Load a weights file in the format of Keras 1 and 2, each tensor by layer and name.

    `Model.load_weights` goes by the order of layers alone: it takes the tensors of another layer
    of the same shape, and values that are not finite.

    Raises:
        OSError: if the file is damaged, or has not exactly the tensors of the model, all finite.
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
    """Datasets by `layer/variable`. A whole model keeps its weights in a group of their own."""
    whole_model = "layer_names" not in file.attrs and "model_weights" in file
    found: dict[str, h5py.Dataset] = {}

    def add(path: str, item: h5py.Dataset | h5py.Group) -> None:
        if isinstance(item, h5py.Dataset):
            name = _name(path)
            if name in found:
                raise InputError(f"{name} twice")
            if item.external or item.is_virtual:
                raise InputError(f"{name} is stored in another file")
            found[name] = item

    (file["model_weights"] if whole_model else file).visititems(add)
    return found


def _name(path: str) -> str:
    """`conv1_conv/kernel` of `conv1_conv/conv1_conv/kernel:0`."""
    layer, _, variable = path.partition("/")
    return f"{layer}/{variable.rpartition('/')[2].removesuffix(':0')}"


def check_saved_model(model: keras.Model, path: str | Path) -> None:
    """Check that a model that was loaded from a `.keras` file has all of its weights, all finite.

    Keras refuses a file in which a tensor of the model is missing or has another shape; it ignores
    what is left over.

    Raises:
        ValueError: names the first weight that is not finite, or counts the tensors left over.
    """
    with zipfile.ZipFile(path) as archive:
        content = io.BytesIO(archive.read("model.weights.h5"))
    names: list[str] = []
    with h5py.File(content, "r") as file:
        file.visititems(
            lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None
        )
    tensors = [name for name in names if not name.startswith("optimizer/")]
    if len(tensors) != len(model.weights):
        raise InputError(f"{len(tensors)} tensors for {len(model.weights)} weights")
    for weight in model.weights:
        if not all_finite(np.asarray(weight)):
            raise InputError(f"{weight.path} is not finite")
