"""The methods of explanation, their settings, and what they need to know of a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

GRAD_CAM, INTEGRATED_GRADIENTS = "grad_cam", "integrated_gradients"
ATTENTION_RELEVANCE = "attention_relevance"
TITLES = {
    GRAD_CAM: "Grad-CAM",
    INTEGRATED_GRADIENTS: "Integrated gradients",
    ATTENTION_RELEVANCE: "Attention relevance",
}

Explain = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Images uint8 (n, side, side, 3) and the class to explain, int (n,), to relevance float32
(n, side, side), see `geoloc.explain.relevance.as_relevance`."""


@dataclass(frozen=True)
class Settings:
    """The section `explain` of the configuration, see its schema."""

    images: int = 730
    steps: int = 32
    baseline: str = "black"
    fills: Sequence[str] = ("black", "mean", "blur")
    checked_images: int = 64
    points: int = 20
    random_labels: bool = False


class Layer(Protocol):
    """Weights that belong together; every Keras layer is one."""

    def get_weights(self) -> list[np.ndarray]: ...

    def set_weights(self, weights: list[np.ndarray]) -> None: ...


class Probe(Protocol):
    """A trained model of countries that can be explained."""

    def probabilities(self, image: np.ndarray) -> np.ndarray:
        """Return probabilities float32 (n, classes) of images uint8 (n, side, side, 3)."""
        ...

    def explainers(self, settings: Settings) -> dict[str, Explain]:
        """Return the methods that work for the model, by name."""
        ...

    def completeness(
        self, image: np.ndarray, answer: np.ndarray, settings: Settings
    ) -> Mapping[str, np.ndarray]:
        """Measure how far maps are from adding up to what they explain, float64 (n,), for the
        methods that should."""
        ...

    def layers(self) -> Sequence[Layer]:
        """Return the layers with weights, from input to output."""
        ...
