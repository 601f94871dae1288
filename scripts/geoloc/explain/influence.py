"""Influence: the share of relevance that lies on scored pixels, against their share of the area
and against the share of as many pixels where another image has its scored ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from geoloc.explain.objects import NO_CLASS

ALL = ""  # the class of the row that holds all scored pixels of an image
COLUMNS = ["image_id", "label", "method", "class", "relevance", "area", "control"]


def image_influence(
    image_id: str,
    label: str,
    maps: Mapping[str, np.ndarray],
    scored: np.ndarray,
    control: np.ndarray,
    classes: np.ndarray,
    names: Sequence[str],
) -> Iterator[dict]:
    """Measure relevance and area of the scored pixels of an image, together and by class.

    Args:
        image_id: id of the image.
        label: ISO code of its country.
        maps: relevance (H, W) by method, with a sum of 1, or of 0 without any.
        scored: bool (H, W).
        control: bool (H, W), see `geoloc.explain.changes.control_pixels`.
        classes: class of each pixel, int (H, W), see `geoloc.explain.objects.class_map`.
        names: names of the classes by index.

    Yields:
        The columns COLUMNS: class is "" for all scored pixels, which alone have a control, NaN if
        there is none; relevance, area and control (relevance of the control) are shares (0–1). A
        map without relevance has none to share, and is skipped.
    """
    parts = {ALL: scored}
    for number in np.unique(classes[scored]):
        if number != NO_CLASS:
            parts[names[number]] = scored & (classes == number)
    for method, relevance in maps.items():
        if not relevance.any():
            continue
        for name, pixels in parts.items():
            controlled = name == ALL and control.any()
            yield {
                "image_id": image_id,
                "label": label,
                "method": method,
                "class": name,
                "relevance": _sum(relevance, pixels),
                "area": float(pixels.mean()),
                "control": _sum(relevance, control) if controlled else np.nan,
            }


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
