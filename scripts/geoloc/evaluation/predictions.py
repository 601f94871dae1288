"""The predictions table: one row per image, the same columns for every model."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from geoloc.errors import InputError
from geoloc.matrix import Row

log = logging.getLogger(__name__)


def predictions_frame(
    probabilities: np.ndarray,
    classes: Sequence[str],
    image_id: Sequence[str],
    source: Sequence[str],
    label: Sequence[str],
    latitude: Sequence[float],
    longitude: Sequence[float],
    test_set: str,
    top: int = 5,
    places: np.ndarray | None = None,
) -> pd.DataFrame:
    """Return a table of the most probable countries of n images.

    A model of places may give countries no probability at all. It does not name them: the country
    of such a rank is None, not the first of equals.

    Args:
        probabilities: (n, k) float, 0–1; column j belongs to `classes[j]`.
        classes: k ISO alpha-2 codes.
        image_id: (n,).
        source: (n,).
        label: (n,) ISO alpha-2.
        latitude: (n,) degrees, NaN if unknown.
        longitude: (n,) degrees, NaN if unknown.
        test_set: the dataset that shows the street images, or the name of a test set.
        top: number of countries per image.
        places: (n, 2), latitude and longitude predicted by a model of places; None for a model of
            countries.

    Returns:
        Columns image_id, test_set, source, label, latitude, longitude, country_1 … country_top and
        probability_1 … probability_top (float32, descending, ties in the order of `classes`; None
        and NaN beyond the k-th), label_probability (float32), predicted_latitude and
        predicted_longitude (float64, degrees, NaN for a model of countries).

    Raises:
        InputError: if a label is not among the classes, classes repeat, or lengths don't match.
    """
    probabilities = np.asarray(probabilities, dtype=np.float32)
    if places is not None and np.shape(places) != (len(probabilities), 2):
        raise InputError(f"places {np.shape(places)} for {len(probabilities)} images")
    _check_shapes(probabilities, classes, image_id, source, label, latitude, longitude)

    frame = pd.DataFrame(
        {
            "image_id": np.asarray(image_id, dtype=object),
            "test_set": test_set,
            "source": np.asarray(source, dtype=object),
            "label": np.asarray(label, dtype=object),
            "latitude": np.asarray(latitude, dtype=np.float64),
            "longitude": np.asarray(longitude, dtype=np.float64),
        }
    )
    for name, column in _ranks(probabilities, classes, top, of_places=places is not None).items():
        frame[name] = column
    frame["label_probability"] = probabilities[np.arange(len(frame)), _columns(label, classes)]
    unknown = np.full((len(frame), 2), np.nan)
    latitude, longitude = np.asarray(unknown if places is None else places, np.float64).T
    frame["predicted_latitude"], frame["predicted_longitude"] = latitude, longitude
    return frame


def frames_of_test_sets(
    probabilities: np.ndarray,
    classes: Sequence[str],
    image_id: Sequence[str],
    source: Sequence[str],
    label: Sequence[str],
    latitude: Sequence[float],
    longitude: Sequence[float],
    test_sets: Sequence[str],
    places: np.ndarray | None = None,
) -> list[pd.DataFrame]:
    """Return a table for each test set, with the images whose `source` has its name.

    See `predictions_frame`. Test sets without images have empty tables.
    """
    columns = [np.asarray(c) for c in (image_id, source, label, latitude, longitude)]
    frames = []
    for name in test_sets:
        own = columns[1] == name
        frames.append(
            predictions_frame(
                probabilities[own],
                classes,
                *(c[own] for c in columns),
                name,
                places=None if places is None else places[own],
            )
        )
    return frames


def write_table(path: str | Path, table: pd.DataFrame, row: Row) -> None:
    """Write a predictions table as Parquet, with the row of Table 1 that it is of.

    A warning counts the answers of a model of places that name no country: all of them are wrong.
    """
    if unnamed := int(table["country_1"].isna().sum()):
        swapped = " (are its latitudes and longitudes swapped?)" if 2 * unnamed > len(table) else ""
        log.warning(
            "%d of %d answers are places in none of the run's countries%s",
            unnamed,
            len(table),
            swapped,
        )
    table.attrs["row"] = row.path  # pandas keeps attributes in the metadata of the file
    table.to_parquet(path, index=False, write_page_checksum=True)


def _ranks(
    probabilities: np.ndarray, classes: Sequence[str], top: int, of_places: bool
) -> dict[str, np.ndarray | None]:
    """Return the columns country_1 … country_top, then probability_1 … probability_top.

    A model of places leaves countries without probability unnamed.
    """
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]
    shown = np.take_along_axis(probabilities, order, axis=1)
    named = np.asarray(classes, dtype=object)[order]
    if of_places:
        named = np.where(shown > 0, named, None)
    ranks = range(order.shape[1])
    nothing = np.full(len(probabilities), np.nan, dtype=np.float32)
    countries = {
        f"country_{rank + 1}": named[:, rank] if rank in ranks else None for rank in range(top)
    }
    return countries | {
        f"probability_{rank + 1}": shown[:, rank] if rank in ranks else nothing
        for rank in range(top)
    }


def _check_shapes(probabilities: np.ndarray, classes: Sequence[str], *columns: Sequence) -> None:
    if len(set(classes)) != len(classes):
        raise InputError("classes repeat; each country is one column of probabilities")
    expected = (len(columns[0]), len(classes))
    if probabilities.shape != expected:
        raise InputError(
            f"probabilities have shape {probabilities.shape}, "
            f"but {expected[0]} images and {expected[1]} classes were given"
        )
    if any(len(column) != expected[0] for column in columns):
        raise InputError(f"columns have lengths {[len(column) for column in columns]}, not equal")


def _columns(label: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """Return the column of each image's label, (n,) int."""
    index = {country: column for column, country in enumerate(classes)}
    unknown = sorted({str(country) for country in label if country not in index})
    if unknown:
        raise InputError(
            f"labels {', '.join(unknown)} are not among the model's {len(index)} countries: "
            "the model was trained with another index; train it again or predict with its own"
        )
    return np.array([index[country] for country in label], dtype=np.int64)
