"""Which test images are explained."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from geoloc.errors import InputError


def stratified_sample(
    countries: Sequence[str], right: Sequence[bool], count: int, seed: int
) -> np.ndarray:
    """Draw images so that each country and, in it, right and wrong answers keep their shares.

    Images are sorted by country and by right or wrong, in random order within, and every
    n-th of them is taken from a random start (systematic sampling with implicit stratification):
    each stratum gets its share of the sample up to one image, so means over the sample estimate
    those over all images without weights.

    Args:
        countries: country of each image (n,).
        right: whether the model's answer is right (n,).
        count: images to draw; all of them if there are fewer.
        seed: of the draw.

    Returns:
        Rows of the drawn images, int64, ascending.
    """
    rng = np.random.default_rng(seed)
    total = len(countries)
    order = np.lexsort((rng.random(total), np.asarray(right, bool), np.asarray(countries, str)))
    if count >= total:
        return np.arange(total)
    places = (np.arange(count) + rng.random()) * total / count
    return np.sort(order[places.astype(int)])


def sample_rows(
    image_id: np.ndarray,
    label: np.ndarray,
    predictions: pd.DataFrame,
    test_set: str,
    count: int,
    seed: int,
) -> np.ndarray:
    """Draw test images to explain, by what a row of Table 1 answered to them.

    Args:
        image_id: ids of the test images, str (n,).
        label: their countries, str (n,).
        predictions: the row's predictions.
        test_set: the dataset that shows the images as the row's training dataset does.
        count, seed: see `stratified_sample`.

    Returns:
        Rows of the drawn images, int64, ascending.

    Raises:
        InputError: if the predictions are not of these images.
    """
    answers = predictions[predictions["test_set"] == test_set].set_index("image_id")["country_1"]
    if set(answers.index) != set(image_id.tolist()) or not answers.index.is_unique:
        raise InputError(
            f"the predictions on {test_set} are not of the run's test images; delete them and run "
            "snakemake again"
        )
    right = answers.loc[image_id].to_numpy() == label
    return stratified_sample(label, right, count, seed)
