"""Gradients of a trained Keras model: Grad-CAM and integrated gradients.

Both explain the model's score of a class before the softmax. Probabilities near 1 barely change
with the image, so their gradients say little (Selvaraju et al. 2017, section 3).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import geoloc.keras_models  # noqa: F401  sets the environment of TensorFlow before its import

import keras  # isort: skip
import numpy as np
import tensorflow as tf
from scipy.special import softmax

from geoloc.countries.places import OUTSIDE, Places
from geoloc.explain.changes import remove
from geoloc.explain.methods import GRAD_CAM, INTEGRATED_GRADIENTS, Explain, Settings
from geoloc.explain.relevance import as_relevance
from geoloc.types import ARRAY_SIZE

log = logging.getLogger(__name__)

BATCH = 32
CONVOLUTIONS = (
    keras.layers.Conv2D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv2D,
)
PIXELS = tf.TensorSpec((None, ARRAY_SIZE, ARRAY_SIZE, 3), tf.float32)
CLASSES = tf.TensorSpec((None,), tf.int32)


class KerasProbe:
    """A trained model, with what its answers are made of.

    Args:
        model: from pixels 0–255, float32 (n, 224, 224, 3), to probabilities. Whatever it does with
            pixels first, such as scaling, is part of it, so gradients are those of pixels. The last
            layer loses its softmax here.
        places: what the outputs of a model of cells stand for; None if they are countries. The
            score of a country is then the logarithm of the sum of exp(score) of its cells: the
            softmax of these scores gives the same probabilities as adding up those of the cells.

    Attributes:
        feature_layer: the layer that Grad-CAM looks at; None for a model without convolutions.
    """

    def __init__(self, model: keras.Model, places: Places | None = None) -> None:
        self.model = model
        self.feature_layer = last_feature_layer(model)
        self._countries = len(places.classes) if places else model.output_shape[-1]
        self._scores = scores_of(model) if places is None else scores_of_places(model, places)
        self._forward = tf.function(self._scores, input_signature=[PIXELS])
        self._cam = tf.function(self._grad_cam, input_signature=[PIXELS, CLASSES])
        self._gradient = tf.function(self._pixel_gradient, input_signature=[PIXELS, CLASSES])

    def probabilities(self, image: np.ndarray) -> np.ndarray:
        """Return probabilities float32 (n, classes) of images uint8 or float (n, 224, 224, 3)."""
        return softmax(self._all_scores(image), axis=1)[:, : self._countries]

    def scores(self, image: np.ndarray, answer: np.ndarray) -> np.ndarray:
        """Return scores before the softmax, float32 (n,), of a class int (n,) of each image."""
        return self._all_scores(image)[np.arange(len(answer)), answer]

    def grad_cam(self, image: np.ndarray, answer: np.ndarray) -> np.ndarray:
        """Compute Grad-CAM: where the last feature map speaks for a class.

        Args:
            image: uint8 or float (n, 224, 224, 3).
            answer: the class to explain, int (n,).

        Returns:
            Relevance float32 (n, 224, 224), see `as_relevance`: the feature maps weighted by their
            mean gradient, without what speaks against the class, enlarged bilinearly.

        Source: Selvaraju et al., "Grad-CAM", ICCV 2017.
        """
        parts = zip(batches(image), batches(answer), strict=True)
        maps = [self._cam(as_float(x), y.astype(np.int32)).numpy() for x, y in parts]
        return as_relevance(np.concatenate(maps))

    def attributions(
        self, image: np.ndarray, baseline: np.ndarray, answer: np.ndarray, steps: int
    ) -> np.ndarray:
        """Compute integrated gradients: how much each pixel value adds to the score of a class.

        The integral from the baseline to the image is a sum over the middles of `steps` parts. It
        adds up to the difference of the two scores, up to the error of that sum.

        Args:
            image, baseline: uint8 or float (n, 224, 224, 3).
            answer: the class to explain, int (n,).
            steps: parts of the path.

        Returns:
            float32 (n, 224, 224, 3), negative where a pixel speaks against the class.

        Source: Sundararajan et al., "Axiomatic Attribution for Deep Networks", ICML 2017.
        """
        found = []
        for start, x, y in zip(*map(batches, (baseline, image, answer)), strict=True):
            start, way = as_float(start), as_float(x) - as_float(start)
            total = np.zeros_like(way)
            for step in range(steps):
                point = start + np.float32((step + 0.5) / steps) * way
                total += self._gradient(point, y.astype(np.int32)).numpy()
            found.append(way * total / steps)
        return np.concatenate(found)

    def integrated_gradients(
        self, image: np.ndarray, baseline: np.ndarray, answer: np.ndarray, steps: int
    ) -> np.ndarray:
        """Return the relevance float32 (n, 224, 224) of `attributions`, summed over the colors."""
        found = [
            self.attributions(*part, steps).sum(axis=-1)
            for part in zip(*map(batches, (image, baseline, answer)), strict=True)
        ]
        return as_relevance(np.concatenate(found))

    def explainers(self, settings: Settings) -> dict[str, Explain]:
        """Return the methods that work for the model, by name, see `Explain`."""
        found: dict[str, Explain] = {}
        if self.feature_layer is None:
            log.warning("no Grad-CAM: the model has no convolution")
        else:
            found[GRAD_CAM] = self.grad_cam
        found[INTEGRATED_GRADIENTS] = lambda image, answer: self.integrated_gradients(
            image, baseline_of(image, settings.baseline), answer, settings.steps
        )
        return found

    def completeness(
        self, image: np.ndarray, answer: np.ndarray, settings: Settings
    ) -> dict[str, np.ndarray]:
        """Measure how far integrated gradients are from adding up.

        Args:
            image: uint8 (n, 224, 224, 3).
            answer: the explained class, int (n,).
            settings: baseline and steps.

        Returns:
            The error, float64 (n,), as a share of the difference of the scores that they should
            add up to, by the name of the method.
        """
        baseline = baseline_of(image, settings.baseline)
        total = self.attributions(image, baseline, answer, settings.steps)
        total = total.sum(axis=(1, 2, 3), dtype=np.float64)
        expected = self.scores(image, answer) - self.scores(baseline, answer)
        gap = np.abs(total - expected)
        error = np.divide(gap, np.abs(expected), out=np.zeros_like(gap), where=expected != 0)
        return {INTEGRATED_GRADIENTS: error}

    def layers(self) -> list[keras.layers.Layer]:
        """Return the layers with weights, from input to output, including those inside nested
        models."""
        return [layer for layer in leaves(self.model) if layer.weights]

    def _all_scores(self, image: np.ndarray) -> np.ndarray:
        return np.concatenate([self._forward(as_float(part)).numpy() for part in batches(image)])

    def _grad_cam(self, pixels: tf.Tensor, answer: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape, output_of(self.feature_layer) as outputs:
            tape.watch(pixels)
            score = tf.gather(self._scores(pixels), answer, batch_dims=1)
            (features,) = outputs
        gradient = tf.cast(tape.gradient(score, features), tf.float32)
        weight = tf.reduce_mean(gradient, axis=(1, 2), keepdims=True)
        cam = tf.nn.relu(tf.reduce_sum(weight * tf.cast(features, tf.float32), axis=-1))
        return tf.image.resize(cam[..., None], (ARRAY_SIZE, ARRAY_SIZE))[..., 0]

    def _pixel_gradient(self, pixels: tf.Tensor, answer: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(pixels)
            score = tf.gather(self._scores(pixels), answer, batch_dims=1)
        return tape.gradient(score, pixels)


def batches(values: np.ndarray) -> Iterator[np.ndarray]:
    """Yield parts of an array, BATCH entries each."""
    for start in range(0, len(values), BATCH):
        yield values[start : start + BATCH]


def as_float(image: np.ndarray) -> np.ndarray:
    """Convert pixels to the type of the model's input, float32."""
    return np.asarray(image, np.float32)


def scores_of(model: keras.Model) -> Callable[[tf.Tensor], tf.Tensor]:
    """Return the model without its last softmax, in inference mode: pixels to float32 (n, classes).

    The softmax of these scores is what the model returned. A model that ends in any other way than
    with a softmax gives the logarithms of its probabilities.
    """
    last = model.outputs[0]._keras_history.operation
    if isinstance(last, keras.layers.Softmax):
        model = keras.Model(model.input, last.input)
    elif getattr(last, "activation", None) is keras.activations.softmax:
        last.activation = keras.activations.linear
    else:
        smallest = np.finfo(np.float32).tiny
        return lambda x: tf.math.log(tf.cast(model(x, training=False), tf.float32) + smallest)
    return lambda x: tf.cast(model(x, training=False), tf.float32)


def scores_of_places(model: keras.Model, places: Places) -> Callable[[tf.Tensor], tf.Tensor]:
    """Return a model of places without its softmax, as a model of countries.

    Returns:
        A function from pixels to the scores of the countries, float32 (n, classes + 1). The last
        one is that of all places outside the countries, so that the softmax adds up to one.
    """
    scores, outside = scores_of(model), len(places.classes)
    column = np.where(places.column == OUTSIDE, outside, places.column)
    member = tf.one_hot(column, outside + 1)
    smallest = np.finfo(np.float32).tiny

    def of_countries(pixels: tf.Tensor) -> tf.Tensor:
        found = scores(pixels)
        largest = tf.reduce_max(found, axis=1, keepdims=True)
        return largest + tf.math.log(tf.matmul(tf.exp(found - largest), member) + smallest)

    return of_countries


def baseline_of(image: np.ndarray, fill: str) -> np.ndarray:
    """Return the images that integrated gradients start from, all fill: uint8 (n, H, W, 3)."""
    return remove(image, np.ones(image.shape[:-1], bool), fill)


def leaves(model: keras.Model) -> Iterator[keras.layers.Layer]:
    """Yield the layers of a model from input to output, including those of nested models."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from leaves(layer)
        else:
            yield layer


def last_feature_layer(model: keras.Model) -> keras.layers.Layer | None:
    """Find the layer whose output Grad-CAM weights.

    It is the last one at the resolution of the last convolution, so that normalization, activation
    and the sum of a residual block are part of the features, and pooling is not.
    """
    found, side = None, None
    for layer in leaves(model):
        shape = getattr(layer.output, "shape", ())
        if len(shape) != 4:
            continue
        if isinstance(layer, CONVOLUTIONS):
            found, side = layer, shape[1:3]
        elif side is not None and shape[1:3] == side:
            found = layer
    return found


@contextmanager
def output_of(layer: keras.layers.Layer) -> Iterator[list[tf.Tensor]]:
    """Collect what a layer returns in the block, also of a layer inside a nested model."""
    outputs: list[tf.Tensor] = []
    call = layer.call

    def recorded(*args, **kwargs):
        outputs.append(call(*args, **kwargs))
        return outputs[-1]

    layer.call = recorded
    try:
        yield outputs
    finally:
        layer.call = call
