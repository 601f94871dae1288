"""Training stops at the first number that is none, and says where and what to change."""

import re

import numpy as np
import pytest

from geoloc.errors import Diverged
from geoloc.keras_models import runtime
from geoloc.keras_models.divergence import StopWhereDiverged
from geoloc.logs import expected_at

import keras  # isort: skip

X = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
Y = np.eye(3, dtype=np.float32)[np.arange(20) % 3]


def fit(model=None, x=X, y=Y, precision="float32", callbacks=()):
    """Epochs of five steps of four rows each, in their order."""
    keras.utils.set_random_seed(0)
    if model is None:
        with runtime.precision(precision):
            model = small_model()
    model.compile(keras.optimizers.SGD(0.01), keras.losses.CategoricalCrossentropy())
    stop = StopWhereDiverged("cnn on weighted_base", precision)
    validation = (X, Y)
    model.fit(
        x, y, batch_size=4, epochs=2, shuffle=False, verbose=0, validation_data=validation,
        callbacks=[*callbacks, stop],
    )  # fmt: skip
    return model


def small_model() -> keras.Model:
    inputs = keras.Input((4,))
    x = keras.layers.BatchNormalization(name="norm")(keras.layers.Dense(5, name="hidden")(inputs))
    outputs = keras.layers.Dense(3, activation="softmax", dtype="float32")(x)
    return keras.Model(inputs, outputs)


def with_nan(values: np.ndarray, row: int) -> np.ndarray:
    values = values.copy()
    values[row, 0] = np.nan
    return values


def test_the_step_of_the_first_loss_that_is_not_finite_is_named():
    message = re.escape("cnn on weighted_base: the loss of epoch 1, step 3 is not finite (nan); ")
    remedy = re.escape("change train.learning_rate to a lower value (it is 0.01), and run again")
    with pytest.raises(Diverged, match=message + remedy) as error:
        fit(x=with_nan(X, 11))
    assert expected_at(error.value, error.tb)  # shown to the user as one line


def test_a_first_loss_that_is_not_finite_is_not_put_down_to_the_learning_rate():
    model = small_model()
    model.get_layer("hidden").kernel.assign(np.full((4, 5), np.nan))
    with pytest.raises(Diverged, match="step 1 .* the backbone's weights") as error:
        fit(model)
    assert "learning_rate" not in str(error.value)


def test_lower_precision_is_named_as_what_to_change():
    with pytest.raises(Diverged, match="train.precision from mixed_float16 to float32"):
        fit(x=with_nan(X, 11), precision="mixed_float16")


class Set(keras.callbacks.Callback):
    """Gives a weight a value before an epoch ends."""

    def __init__(self, weight: str, value: float) -> None:
        super().__init__()
        self.weight, self.value = weight, value

    def on_test_begin(self, logs=None) -> None:
        layer, name = self.weight.split("/")
        variable = getattr(self.model.get_layer(layer), name)
        variable.assign(np.full(variable.shape, self.value, np.float32))


@pytest.mark.parametrize(
    ("weight", "value"),
    [("hidden/kernel", np.nan), ("norm/moving_variance", np.inf), ("norm/moving_mean", -np.inf)],
)
def test_weights_and_statistics_that_are_not_finite_are_named(weight, value):
    with pytest.raises(Diverged, match=f"{weight} is not finite after epoch 1; change"):
        fit(callbacks=[Set(weight, value)])


def test_a_validation_loss_that_is_not_finite_stops_too():
    """As where finite weights overflow in the sums of a layer."""
    with pytest.raises(Diverged, match=r"validation loss of epoch 1 is not finite"):
        fit(callbacks=[Set("norm/gamma", 3e38)])


def test_gradients_that_overflow_in_half_precision_are_no_reason_to_stop():
    """The scale of the loss makes these gradients infinite until it has been lowered."""
    scale = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(1e-6), initial_scale=2.0**120)
    with runtime.precision("mixed_float16"):
        model = small_model()
    keras.utils.set_random_seed(0)
    model.compile(scale, keras.losses.CategoricalCrossentropy())
    model.fit(
        X, Y, batch_size=4, epochs=1, verbose=0, validation_data=(X, Y),
        callbacks=[StopWhereDiverged("cnn", "mixed_float16")],
    )  # fmt: skip
    (lowered,) = (float(v) for v in scale.variables if v.path.endswith("dynamic_scale"))
    assert lowered < 2.0**120


def test_a_training_of_finite_numbers_is_left_alone():
    fit()
