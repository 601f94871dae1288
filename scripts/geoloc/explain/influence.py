"""Influence: the share of relevance that lies on scored pixels, against their share of the area
and against the share of as many pixels where other images have their scored ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from geoloc.explain.changes import by_depth
from geoloc.explain.objects import NO_CLASS
from geoloc.weighting import other_rows

ALL = ""  # the class of the row that holds all scored pixels of an image
CONTROLS = 10
"""Other images at whose places an image's relevance is measured. With one, its draw adds to the
noise of the comparison (docs/science.md)."""
COLUMNS = ["image_id", "label", "method", "class", "relevance", "area", "control"]


def image_influence(
    image_id: str,
    label: str,
    maps: Mapping[str, np.ndarray],
    scored: np.ndarray,
    control: Mapping[str, float],
    classes: np.ndarray,
    names: Sequence[str],
) -> Iterator[dict]:
    """Measure relevance and area of the scored pixels of an image, together and by class.

    Args:
        image_id: id of the image.
        label: ISO code of its country.
        maps: relevance (H, W) by method, with a sum of 1, or of 0 without any.
        scored: bool (H, W).
        control: by method, the image's share of `control_shares`.
        classes: class of each pixel, int (H, W), see `geoloc.explain.objects.class_map`.
        names: names of the classes by index.

    Yields:
        The columns COLUMNS: class is "" for all scored pixels, which alone have a control, NaN if
        there is none; relevance, area and control are shares (0–1). A map without relevance has
        none to share, and is skipped.
    """
    parts = {ALL: scored}
    for number in np.unique(classes[scored]):
        if number != NO_CLASS:
            parts[names[number]] = scored & (classes == number)
    for method, relevance in maps.items():
        if not relevance.any():
            continue
        for name, pixels in parts.items():
            yield {
                "image_id": image_id,
                "label": label,
                "method": method,
                "class": name,
                "relevance": _sum(relevance, pixels),
                "area": float(pixels.mean()),
                "control": control[method] if name == ALL else np.nan,
            }


def control_shares(
    maps: Mapping[str, np.ndarray], scored: np.ndarray, seed: int
) -> dict[str, np.ndarray]:
    """Measure relevance where other images have their scored pixels, on as many pixels as an image
    has scored ones.

    Args:
        maps: relevance (n, H, W) by method, see `geoloc.explain.relevance.as_relevance`.
        scored: bool (n, H, W).
        seed: draws CONTROLS other images for each image, an image perhaps more than once.

    Returns:
        The mean share of each image's relevance (0–1), float64 (n,), by method; NaN for images that
        have no scored pixel, or are the only ones with some.
    """
    counts = scored.sum(axis=(1, 2))
    usable = np.flatnonzero(counts)
    found = {method: np.full(len(scored), np.nan) for method in maps}
    if len(usable) < 2:
        return found
    drawn = np.stack([other_rows(len(usable), seed + number) for number in range(CONTROLS)])
    for shares in found.values():
        shares[usable] = 0
    for other, row in enumerate(usable):
        places = by_depth(scored[row])
        for image in usable[np.nonzero(drawn == other)[1]]:
            for method, relevance in maps.items():
                control = relevance[image].ravel()[places[: counts[image]]]
                found[method][image] += control.sum(dtype=np.float64) / CONTROLS
    return found


def _sum(relevance: np.ndarray, pixels: np.ndarray) -> float:
    return float(relevance[pixels].sum(dtype=np.float64))


def influence_table(rows: Sequence[dict]) -> pd.DataFrame:
    """Make a table of the rows of `image_influence`.

    Args:
        rows: of any number of images.

    Returns:
        The columns COLUMNS, even without a row.
    """
    return pd.DataFrame(rows, columns=COLUMNS)
