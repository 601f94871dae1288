"""The pictures of models that read images at full size, at the size of their input."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd

from geoloc.evaluation.full_size import read_full_size
from geoloc.explain.changes import Pictures
from geoloc.images import resize_nearest
from geoloc.stores import ScoreMaps, open_score_maps, read_image_columns, score_key
from geoloc.weighting import View

OWN = "own"  # key of the score map that says which pixels are scored

Paths = Sequence[str | Path]


def listed_test_images(
    images: Paths, index: pd.DataFrame, index_folder: str | Path | None
) -> tuple[np.ndarray, np.ndarray]:
    """Find the test images of `images` stores.

    Args:
        images: the stores.
        index: table of the index.
        index_folder: folder of the index to compare the stores with; not compared if None.

    Returns:
        Their ids in the order of the stores, and their countries, str (n,).

    Raises:
        StoreError: if a store differs from what was written, or from the index.
    """
    columns = [read_image_columns(path, index_folder) for path in images]
    ids = [image_id for each in columns for image_id in each["image_id"][each["split"] == "test"]]
    country = index.set_index("image_id").loc[ids, "country"]
    return np.array(ids, str), country.to_numpy(str)


def read_pictures(
    seen: Callable[[np.ndarray], np.ndarray],
    labels: Mapping[str, str],
    classes: Sequence[str],
    images: Paths,
    scores: Paths,
    view: View,
    index_folder: str | Path | None,
    seed: int,
) -> Pictures:
    """Read images as a dataset shows them and a model sees them.

    They are weighted at full size, as for predictions, and then resized by the model.

    Args:
        seen: resizes an image uint8 (H, W, 3) to the model's input, uint8 (side, side, 3).
        labels: country of each wanted image by id.
        classes: ISO codes of the model's answers.
        images: `images` stores.
        scores: `scores` stores of the same shards: the score maps that the view uses, if it uses
            any, and whose pixels are scored.
        view: how the dataset shows images; no crop.
        index_folder: folder of the index to compare the stores with; not compared if None.
        seed: as for `geoloc.stores.open_score_maps`.

    Raises:
        StoreError: if a store differs from what was written, or from the index.
    """
    ids, shown, scored = [], [], []
    with ExitStack() as stack:
        by_name = {view.scores: scores}
        maps = open_score_maps(stack, images, by_name, [view], index_folder, seed)
        maps[OWN] = stack.enter_context(ScoreMaps(scores, index_folder))
        for image_id, image, found in read_full_size(images, labels, index_folder, maps):
            ids.append(image_id)
            shown.append(seen(view(image, found.get(score_key(view)))))
            scored.append(resize_nearest(found[OWN], len(shown[-1])) > 0)
    column = {country: number for number, country in enumerate(classes)}
    label = np.array([column[labels[image_id]] for image_id in ids], int)
    return Pictures(ids, np.stack(shown), np.stack(scored), label)
