"""Maps of relevance: non-negative, with a sum of one."""

from __future__ import annotations

import numpy as np
from scipy.stats import spearmanr


def as_relevance(values: np.ndarray) -> np.ndarray:
    """Keep what speaks for the answer, and scale each map to a sum of 1.

    Args:
        values: contributions of pixels, float (n, H, W); negative ones speak against the answer.

    Returns:
        float32 (n, H, W); all zeros for a map without a positive value.
    """
    positive = np.maximum(values, 0).astype(np.float64)
    total = positive.sum(axis=(1, 2), keepdims=True)
    return np.divide(positive, total, out=np.zeros_like(positive), where=total > 0).astype(
        np.float32
    )


def ranks(relevance: np.ndarray, seed: int) -> np.ndarray:
    """Rank the pixels of each map by falling relevance; equal ones at random.

    Args:
        relevance: float (n, H, W).
        seed: of the order of equal pixels, which a coarse map has many of.

    Returns:
        int64 (n, H, W): 0 for the most relevant pixel.
    """
    rng = np.random.default_rng(seed)
    flat = relevance.reshape(len(relevance), -1)
    order = np.lexsort((rng.random(flat.shape), -flat), axis=1)
    found = np.empty_like(order)
    np.put_along_axis(found, order, np.broadcast_to(np.arange(flat.shape[1]), flat.shape), axis=1)
    return found.reshape(relevance.shape)


def similarity(first: np.ndarray, second: np.ndarray) -> float:
    """Compute Spearman's rank correlation of two maps (H, W), −1 to 1.

    A map that is the same everywhere has no ranks. Two of them are equal (1); one of them has
    nothing in common with a map that varies (0).
    """
    constant = [bool(np.ptp(each) == 0) for each in (first, second)]
    if any(constant):
        return float(all(constant))
    return float(spearmanr(first.ravel(), second.ravel()).statistic)
