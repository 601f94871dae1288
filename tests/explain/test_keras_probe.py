"""Grad-CAM and integrated gradients of Keras models, against Captum and their own axioms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients, LayerGradCam
from torch.nn import functional

from geoloc.countries.places import OUTSIDE, Places
from geoloc.explain.keras_probe import KerasProbe, last_feature_layer, scores_of_places
from geoloc.explain.relevance import as_relevance
from geoloc.keras_models import cnn, transfer

import keras  # isort: skip

RNG = np.random.default_rng(3)
# Both sides compute in float32 and add in another order, and contributions of both signs cancel
# each other. Maps are compared with their mean as the unit: they may differ by a thousandth of it.
TOLERANCE = {"rtol": 1e-3, "atol": 1e-3}
LAST = {
    "softmax in the layer": lambda x: keras.layers.Dense(3, activation="softmax")(x),
    "a layer of its own": lambda x: keras.layers.Softmax()(keras.layers.Dense(3)(x)),
    "another end": lambda x: keras.ops.softmax(keras.layers.Dense(3)(x)),
}


def small_network(last: str = "softmax in the layer", nested: bool = False) -> keras.Model:
    """Scaled pixels, two convolutions and a dense layer."""
    pixels = keras.Input((224, 224, 3))
    first = keras.Input((224, 224, 3))
    x = keras.layers.Conv2D(4, 5, strides=4, activation="relu")(first)
    x = keras.layers.ReLU()(keras.layers.Conv2D(6, 3)(x))
    features = keras.Model(first, x)
    scaled = keras.layers.Rescaling(1 / 255)(pixels)
    if nested:
        x = features(scaled)
    else:
        x = scaled
        for layer in features.layers[1:]:
            x = layer(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(pixels, LAST[last](x))
    for number, variable in enumerate(model.weights):
        variable.assign(np.random.default_rng(number).normal(0, 0.3, variable.shape))
    return model


class Twin(torch.nn.Module):
    """The same network in PyTorch, up to the scores before the softmax."""

    def __init__(self, model: keras.Model) -> None:
        super().__init__()
        kernel1, bias1, kernel2, bias2, kernel3, bias3 = map(np.asarray, model.get_weights())
        self.first, self.second = torch.nn.Conv2d(3, 4, 5, 4), torch.nn.Conv2d(4, 6, 3)
        self.relu, self.dense = torch.nn.ReLU(), torch.nn.Linear(6, 3)
        for layer, kernel, bias in (
            (self.first, kernel1.transpose(3, 2, 0, 1), bias1),
            (self.second, kernel2.transpose(3, 2, 0, 1), bias2),
            (self.dense, kernel3.T, bias3),
        ):
            layer.weight.data, layer.bias.data = torch.tensor(kernel), torch.tensor(bias)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.second(functional.relu(self.first(pixels / 255))))
        return self.dense(x.mean((2, 3)))


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    coarse = RNG.integers(0, 256, (3, 14, 14, 3))
    return np.kron(coarse, np.ones((1, 16, 16, 1), int)).astype(np.uint8)


def as_torch(image: np.ndarray) -> torch.Tensor:
    return torch.tensor(image.transpose(0, 3, 1, 2), dtype=torch.float32)


ANSWER = np.array([0, 2, 1])


@pytest.mark.parametrize("nested", [False, True])
def test_grad_cam_is_that_of_captum_also_inside_a_nested_model(images, nested):
    model = small_network(nested=nested)
    twin = Twin(model)
    found = KerasProbe(model).grad_cam(images, ANSWER)
    maps = LayerGradCam(twin, twin.relu).attribute(
        as_torch(images), torch.tensor(ANSWER), relu_attributions=True
    )
    maps = functional.interpolate(maps, (224, 224), mode="bilinear", align_corners=False)
    expected = as_relevance(maps.detach().numpy()[:, 0])
    assert expected.any()
    np.testing.assert_allclose(found * 224**2, expected * 224**2, **TOLERANCE)


def test_integrated_gradients_are_those_of_captum(images):
    model = small_network()
    twin = Twin(model)
    expected = IntegratedGradients(twin).attribute(
        as_torch(images),
        torch.zeros(3, 3, 224, 224),
        torch.tensor(ANSWER),
        n_steps=8,
        method="riemann_middle",
    )
    expected = expected.detach().numpy().transpose(0, 2, 3, 1)
    probe = KerasProbe(model)
    found = probe.attributions(images, np.zeros_like(images), ANSWER, 8)
    scale = np.abs(expected).mean()
    np.testing.assert_allclose(found / scale, expected / scale, **TOLERANCE)
    relevance = probe.integrated_gradients(images, np.zeros_like(images), ANSWER, 8)
    np.testing.assert_allclose(relevance, as_relevance(expected.sum(axis=-1)), rtol=2e-3, atol=1e-8)


@pytest.mark.parametrize("last", LAST)
def test_integrated_gradients_add_up_to_the_difference_of_the_scores(images, last):
    probe = KerasProbe(small_network(last))
    gray = np.full_like(images, 90)
    total = probe.attributions(images, gray, ANSWER, 64).sum(axis=(1, 2, 3))
    difference = probe.scores(images, ANSWER) - probe.scores(gray, ANSWER)
    assert np.abs(difference).min() > 1e-3
    np.testing.assert_allclose(total, difference, rtol=0.02, atol=1e-4)


# Berlin, Paris, Lyon: outputs of a model of cells, of which France has two.
CELLS = np.array([[52.5, 13.4], [48.9, 2.4], [45.8, 4.8]])


@pytest.mark.parametrize("classes", [["DE", "FR"], ["FR"], ["FR", "NA"]])
def test_countries_of_a_model_of_cells_have_the_probabilities_that_it_predicts(images, classes):
    """Also where a cell is outside all countries, or a country has no cell."""
    model, places = small_network(), Places(CELLS, classes)
    expected = places.answer(model.predict_on_batch(images)).probabilities
    found = KerasProbe(model, places).probabilities(images)
    assert expected.max() < 1
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_places_outside_the_countries_are_one_more_answer(images):
    model, places = small_network(), Places(CELLS, ["FR"])
    outside = model.predict_on_batch(images)[:, places.column == OUTSIDE].sum(axis=1)
    found = keras.ops.softmax(scores_of_places(model, places)(images)).numpy()
    assert found.shape == (len(images), 2)
    np.testing.assert_allclose(found[:, -1], outside, rtol=1e-4)


def test_maps_of_a_model_of_cells_add_up_to_the_score_of_the_country(images):
    probe = KerasProbe(small_network(), Places(CELLS, ["DE", "FR"]))
    black, france = np.zeros_like(images), np.ones(len(images), int)
    total = probe.attributions(images, black, france, 64).sum(axis=(1, 2, 3))
    difference = probe.scores(images, france) - probe.scores(black, france)
    assert np.abs(difference).min() > 1e-3
    np.testing.assert_allclose(total, difference, rtol=0.02, atol=1e-4)


@pytest.mark.parametrize("last", LAST)
def test_the_probabilities_of_the_model_survive_the_loss_of_its_softmax(images, last):
    model = small_network(last)
    expected = model.predict_on_batch(images)
    np.testing.assert_allclose(KerasProbe(model).probabilities(images), expected, atol=1e-6)


def left_half_network() -> keras.Model:
    """Its answer is whether the left half is bright (class 1)."""
    pixels = keras.Input((224, 224, 3))
    x = keras.layers.Rescaling(1 / 255)(pixels)
    x = keras.layers.Conv2D(1, 16, strides=16, use_bias=False)(x)
    dense = keras.layers.Dense(2, activation="softmax")
    model = keras.Model(pixels, dense(keras.layers.Flatten()(x)))
    kernel = np.zeros((14, 14, 2), np.float32)
    kernel[:, :7, 1] = 0.05
    mean = np.full((16, 16, 3, 1), 1 / 768, np.float32)
    model.set_weights([mean, kernel.reshape(196, 2), np.array([0, -2.4], np.float32)])
    return model


def test_what_a_network_does_not_look_at_has_no_relevance(images):
    probe = KerasProbe(left_half_network())
    ones = np.ones(len(images), int)
    found = probe.integrated_gradients(images, np.zeros_like(images), ones, 4)
    np.testing.assert_allclose(found[:, :, :112].sum(axis=(1, 2)), 1, atol=1e-5)
    assert not found[:, :, 112:].any()


def test_grad_cam_looks_at_the_last_features_before_they_are_pooled():
    assert last_feature_layer(cnn.build(3)).name == "block5_relu"
    assert last_feature_layer(transfer.build(3, "efficientnet_lite0")).name == "head_relu6"
    pixels = keras.Input((224, 224, 3))
    dense = keras.layers.Dense(3, activation="softmax")(keras.layers.Flatten()(pixels))
    assert last_feature_layer(keras.Model(pixels, dense)) is None
