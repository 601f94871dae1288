"""Check that a model's probabilities are distributions over the countries."""

from collections.abc import Sequence

import numpy as np

from geoloc.errors import GeolocError, InputError

# Softmax in float32 over k classes is off by at most about k · 6e-8: 4e-6 for the study's 73.
# Logits, percentages or probabilities of only a few classes are off by far more.
SUM_TOLERANCE = 1e-3


class NotADistribution(GeolocError, ValueError):
    """Probabilities of an image are not finite, negative, or don't add up to 1."""


def check_probabilities(
    probabilities: np.ndarray,
    image_ids: Sequence[object],
    model: str,
    test_set: str,
    whole: bool = True,
) -> None:
    """Check that each row is a distribution over the countries.

    Args:
        probabilities: (n, k) float, one row per image.
        image_ids: (n,) ids or paths of the images.
        model: folder of the model, for the message.
        test_set: dataset that shows the images, or test set, for the message.
        whole: whether rows must add up to 1. If False, less is valid, too, as for a model of
            places.

    Raises:
        NotADistribution: names the model, the test set and the first image whose probabilities are
            not finite, are negative, or do not add up to 1 (to at most 1) within `SUM_TOLERANCE`.
        InputError: if there is not one row per image.
    """
    probabilities = np.asarray(probabilities)
    if probabilities.ndim != 2 or len(probabilities) != len(image_ids):
        raise InputError(
            f"{model}: probabilities of shape {probabilities.shape} for {len(image_ids)} images"
        )
    finite = np.isfinite(probabilities).all(axis=1)
    totals = probabilities.sum(axis=1, dtype=np.float64, where=finite[:, None])
    negative = (probabilities < 0).any(axis=1)
    excess = np.abs(totals - 1) if whole else totals - 1
    wrong = ~finite | negative | (excess > SUM_TOLERANCE)
    if not wrong.any():
        return
    row = int(wrong.argmax())
    if not finite[row]:
        fault = "are not finite"
    elif negative[row]:
        fault = f"are negative ({probabilities[row].min():.3g})"
    else:
        fault = f"add up to {totals[row]:.6g}, not to {'' if whole else 'at most '}1"
    raise NotADistribution(
        f"{model}: the probabilities of {image_ids[row]} ({test_set}) {fault}, as those of "
        f"{int(wrong.sum())} of {len(wrong)} images checked at once; the model is not usable: "
        "delete it, then train or retrieve it again"
    )
