"""Whether maps of relevance can be trusted: deletion, insertion and the pointing game."""

from __future__ import annotations

import numpy as np

from geoloc.explain.changes import Predict, remove
from geoloc.explain.relevance import ranks


def deletion_and_insertion(
    predict: Predict,
    image: np.ndarray,
    relevance: np.ndarray,
    answer: np.ndarray,
    points: int,
    seed: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Compute deletion and insertion: areas under the probability of the answer.

    Deletion blackens pixels by falling relevance: a map that names what the answer rests on makes
    it fall early, so a low area is good. Insertion begins with the blurred image and puts the
    pixels back: a high area is good.

    Args:
        predict: the model.
        image: uint8 (n, H, W, 3).
        relevance: float (n, H, W).
        answer: class whose probability is followed, int (n,).
        points: steps from no pixel to all of them.
        seed: of the order of equally relevant pixels.

    Returns:
        Deletion and insertion, float64 (n,) in 0–1.

    Source: Petsiuk et al., "RISE", BMVC 2018.
    """
    rank, size = ranks(relevance, seed), relevance[0].size
    rows, shares = np.arange(len(image)), np.linspace(0, 1, points + 1)
    areas = []
    for fill, gone in (("black", True), ("blur", False)):
        followed = [
            predict(remove(image, (rank < round(share * size)) == gone, fill))[rows, answer]
            for share in shares
        ]
        areas.append(np.trapezoid(np.array(followed, np.float64), shares, axis=0))
    return areas[0], areas[1]


def pointing_game(relevance: np.ndarray, scored: np.ndarray) -> np.ndarray:
    """Say whether the most relevant pixel of each image is a scored one.

    Args:
        relevance: float (n, H, W).
        scored: bool (n, H, W).

    Returns:
        float64 (n,): 1 or 0; NaN for an image without relevance or without a scored pixel.

    Source: Zhang et al., "Top-down Neural Attention by Excitation Backprop", ECCV 2016.
    """
    flat, pixels = relevance.reshape(len(relevance), -1), scored.reshape(len(scored), -1)
    hit = np.take_along_axis(pixels, flat.argmax(axis=1)[:, None], axis=1)[:, 0].astype(float)
    hit[(flat.max(axis=1) == 0) | ~pixels.any(axis=1)] = np.nan
    return hit
