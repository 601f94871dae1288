"""Influence: the share of relevance that lies on scored pixels, against their share of the area."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from geoloc.explain.objects import NO_CLASS

ALL = ""  # the class of the row that holds all scored pixels of an image


def image_influence(
    image_id: str,
    label: str,
    maps: Mapping[str, np.ndarray],
    scored: np.ndarray,
    classes: np.ndarray,
    names: Sequence[str],
) -> Iterator[dict]:
    """Measure relevance and area of the scored pixels of an image, together and by class.

    Args:
        image_id: id of the image.
        label: ISO code of its country.
        maps: relevance (H, W) by method, with a sum of 1, or of 0 without any.
        scored: bool (H, W).
        classes: class of each pixel, int (H, W), see `geoloc.explain.objects.class_map`.
        names: names of the classes by index.

    Yields:
        image_id, label, method, class ("" for all scored pixels), relevance and area (0–1). A map
        without relevance has none to share, and is skipped.
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
                "relevance": float(relevance[pixels].sum(dtype=np.float64)),
                "area": float(pixels.mean()),
            }


def influence_table(rows: Sequence[dict]) -> pd.DataFrame:
    """Make a table of the rows of `image_influence`.

    Args:
        rows: of any number of images.

    Returns:
        Columns image_id, label, method, class, relevance and area, even without a row.
    """
    columns = ["image_id", "label", "method", "class", "relevance", "area"]
    return pd.DataFrame(rows, columns=columns)
