"""A user's own network from a Python file: the kind `keras`.

The file has a function `load(**options)` that returns a function `build(classes)`. That returns an
untrained Keras model from pixels, uint8 or float (n, 224, 224, 3) in 0–255, to probabilities
float32 (n, classes). Custom layers need `@keras.saving.register_keras_serializable()`: models are
saved without code, and loading one unpickles nothing (`safe_mode`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from geoloc.errors import InputError
from geoloc.probabilities import SUM_TOLERANCE
from geoloc.types import ARRAY_SIZE
from geoloc.user_file import load_user_object, user_errors

RELATIVE, ABSOLUTE = 0.01, 1e-6  # differences that the order of sums in half precision makes


def build(classes: int, file: str | Path, options: Mapping[str, Any] | None = None) -> keras.Model:
    """Build the network of a user's file and check it before hours of training.

    Args:
        classes: number of outputs.
        file: the Python file.
        options: keyword arguments of its `load`.

    Raises:
        OSError: if the file does not exist.
        InputError: if the file can't be run, or its network has other inputs or outputs, returns no
            probabilities, or can't be loaded after saving. The message names the file.
    """
    build_network = load_user_object(file, options or {})
    if not callable(build_network):
        raise InputError(
            f"{file}: load() must return a function build(classes), but it returned "
            f"{type(build_network).__name__}; correct the file"
        )
    with user_errors(file):
        model = build_network(classes)
    if fault := _shape_fault(model, classes) or _output_fault(model):
        raise InputError(f"{file}: build({classes}) returned {fault}; correct the file")
    if fault := _reloaded_fault(model, _load_again(model, file)):
        raise InputError(f"{file}: build({classes}) returned {fault}; correct the file")
    return model


def _shape_fault(model: Any, classes: int) -> str:
    """Return what is wrong with the type and the shapes of a user's network, or ""."""
    if not isinstance(model, keras.Model):
        return f"{type(model).__name__}, not a keras.Model"
    expected = (None, ARRAY_SIZE, ARRAY_SIZE, 3), (None, classes)
    try:
        shapes = model.input_shape, model.output_shape
    except AttributeError:  # a model that has not been called
        return "a model without shapes; make it with keras.Model(inputs, outputs)"
    if shapes != expected:
        return f"a model from {shapes[0]} to {shapes[1]} instead of {expected[0]} to {expected[1]}"
    return ""


def _output_fault(model: keras.Model) -> str:
    """Return what is wrong with the predictions for noise, or ""."""
    found = _answers(model)
    if found.dtype != np.float32:
        return f'a model with outputs of {found.dtype}; give its last layer dtype="float32"'
    sums = found.sum(axis=1, dtype=np.float64)
    if not np.isfinite(found).all() or (found < 0).any() or (abs(sums - 1) > SUM_TOLERANCE).any():
        return (
            f"a model whose outputs are not probabilities (smallest {found.min():.3g}, sum "
            f"{sums[0]:.6g}); end it with a softmax"
        )
    return ""


def _answers(model: keras.Model) -> np.ndarray:
    """Return a model's outputs for two images of noise, (2, classes)."""
    noise = np.random.default_rng(0).integers(0, 256, (2, ARRAY_SIZE, ARRAY_SIZE, 3), np.uint8)
    return keras.ops.convert_to_numpy(model(noise, training=False))


def _reloaded_fault(model: keras.Model, loaded: keras.Model) -> str:
    """Return why what is loaded would not be the trained model, or ""."""
    answers = _answers(model)
    if not np.allclose(answers, _answers(model), RELATIVE, ABSOLUTE):
        return "a model that answers differently to the same images"
    if not np.allclose(answers, _answers(loaded), RELATIVE, ABSOLUTE):
        return (
            "a model that answers differently once it is saved and loaded; let get_config of its "
            "layers return all of their arguments"
        )
    return "" if model.trainable_weights else "a model without trainable weights"


def _load_again(model: keras.Model, file: str | Path) -> keras.Model:
    """Save a model and return what is loaded.

    Raises:
        InputError: if it can't be loaded.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.keras")
        try:
            model.save(path)
            return keras.models.load_model(path, compile=False, safe_mode=True)
        except Exception as error:  # Keras raises anything here
            reason = str(error).strip().partition("\n")[0]
            raise InputError(
                f"{file}: the model cannot be loaded once it is saved ({reason}); use layers of "
                "Keras or classes with @keras.saving.register_keras_serializable(), and no Lambda"
            ) from error
