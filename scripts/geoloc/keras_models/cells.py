"""Cells of the earth as the classes of a Keras model: PlaNet (Weyand et al., 2016).

The network is one of the classifiers; only its labels differ. `cells.json` in the model's folder
says which cells its outputs are and how they become countries.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from geoloc.countries.cells import Cells, CellsRecord, adaptive_cells, read_cells, write_cells
from geoloc.countries.places import OUTSIDE, Places, median_places
from geoloc.countries.polygons import place_within
from geoloc.errors import FileError, InputError
from geoloc.stores import Arrays

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CellParameters:
    """How to divide the earth, see `geoloc.countries.cells.adaptive_cells`.

    Attributes:
        centroids: whether to place images without coordinates at the median place of their
            country's training images, or inside the country if none has coordinates. Otherwise such
            images are skipped.
    """

    maximum_images: int = 1000
    minimum_images: int = 50
    centroids: bool = False


def divide_options(
    options: Mapping[str, Any],
) -> tuple[str, dict[str, Any], CellParameters]:
    """Split an entry of the kind `cells` into network, options of the network, and cells."""
    cells = {field.name: options[field.name] for field in fields(CellParameters)}
    network = {k: v for k, v in options.items() if k not in cells and k != "network"}
    name = options["network"]
    return name, network if name == "transfer" else {}, CellParameters(**cells)


class CellArrays:
    """The images of `arrays` that are in a cell, labeled with its token.

    Has what training needs of `geoloc.stores.Arrays`: image_id and label (n,) str, digest, and
    `read` for n rows.

    Args:
        arrays: m images.
        cell: number (m,) of each image's cell; OUTSIDE to skip an image.
        tokens: tokens of the cells.
    """

    def __init__(self, arrays: Arrays, cell: np.ndarray, tokens: Sequence[str]) -> None:
        self._arrays, self._rows = arrays, np.flatnonzero(cell != OUTSIDE)
        self.image_id = arrays.image_id[self._rows]
        self.label = np.asarray(tokens, str)[cell[self._rows]]
        self.digest = arrays.digest

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, rows: np.ndarray):
        """Return the pixels of the given rows of this view, see `geoloc.stores.Arrays.read`."""
        return self._arrays.read(self._rows[np.asarray(rows, int)])


def label_with_cells(
    train: Arrays,
    val: Arrays,
    countries: Sequence[str],
    folder: str | Path,
    parameters: CellParameters,
    geocoder: str,
) -> tuple[CellArrays, CellArrays, list[str]]:
    """Divide the earth by the training images, and write `cells.json`.

    Images without a place, and images in cells with too few training images, are skipped. A warning
    counts them and names the countries that no cell answers with.

    Args:
        train: training images with country and coordinates.
        val: validation images with country and coordinates.
        countries: sorted ISO codes of the study.
        folder: folder of the model; it gets `cells.json`.
        parameters: how to divide the earth.
        geocoder: finds the country of each cell.

    Returns:
        The training and validation images, labeled with their cells, and the sorted tokens of all
        cells, which are the classes of the model.

    Raises:
        InputError: if no training image has a place, fewer than two cells remain, or their places
            are in fewer than two of the countries.
    """
    medians = median_places(_coordinates(train), train.label) if parameters.centroids else None
    places = {name: _places(view, medians) for name, view in _named(train, val).items()}
    known = {name: ~np.isnan(found).any(axis=1) for name, found in places.items()}
    if not known["training"].any():
        raise InputError(
            "no training image has coordinates, so the earth cannot be divided; add a source with "
            "coordinates or set centroids to true"
        )
    located = places["training"][known["training"]]
    cells = adaptive_cells(located, parameters.maximum_images, parameters.minimum_images)
    views = []
    for name, view in _named(train, val).items():
        cell = np.full(len(view), OUTSIDE)
        cell[known[name]] = cells.index_of(places[name][known[name]])
        views.append(CellArrays(view, cell, cells.tokens))
        _tell(name, known[name], cell)
    _check_answered(cells, countries, geocoder)
    write_cells(folder, CellsRecord(cells, list(countries), geocoder))
    return *views, cells.tokens


def load_places(
    folder: str | Path, outputs: Sequence[str], countries: Sequence[str] | None = None
) -> Places:
    """Load the places of a model's outputs, which turn its probabilities into answers.

    Args:
        folder: folder of a model that was trained on `label_with_cells`.
        outputs: names of the model's outputs in order, from its `classes.json`.
        countries: sorted ISO codes that the model is expected to distinguish; not compared if None.

    Raises:
        OSError: if `cells.json` is missing, damaged or of other outputs.
        InputError: if the model was trained on other countries than expected.
    """
    record = read_cells(folder)
    if record.cells.tokens != list(outputs):
        raise FileError(
            f"{folder}: cells.json and classes.json name other cells; train the model again"
        )
    if countries is not None and (different := set(record.countries) ^ set(countries)):
        raise InputError(
            f"{folder}: trained on other classes ({', '.join(sorted(different))} differ); train it "
            "again"
        )
    return Places(record.cells.coordinates, record.countries, record.geocoder)


def _named(train: Arrays, val: Arrays) -> dict[str, Arrays]:
    return {"training": train, "validation": val}


def _coordinates(arrays: Arrays) -> np.ndarray:
    return np.column_stack([arrays.latitude, arrays.longitude])


def _places(arrays: Arrays, medians: Mapping[str, np.ndarray] | None) -> np.ndarray:
    """Return the place (n, 2) of each image; NaN if it has none and no `medians` are given."""
    places = _coordinates(arrays)
    if medians is not None:
        unknown = np.isnan(places).any(axis=1)
        for country in np.unique(arrays.label[unknown]):
            stand_in = medians.get(country)
            rows = unknown & (arrays.label == country)
            places[rows] = place_within(country) if stand_in is None else stand_in
    return places


def _tell(name: str, known: np.ndarray, cell: np.ndarray) -> None:
    without, dropped = int((~known).sum()), int((known & (cell == OUTSIDE)).sum())
    if without or dropped:
        log.warning(
            "%d of %d %s images are skipped: %d have no coordinates, %d are in cells with too few "
            "training images",
            without + dropped,
            len(cell),
            name,
            without,
            dropped,
        )


def _check_answered(cells: Cells, countries: Sequence[str], geocoder: str) -> None:
    """Warn of countries that have no cell's place; a single one that has leaves no choice."""
    answered = Places(cells.coordinates, countries, geocoder).column
    log.info(
        "%d cells of %d to %d images", len(cells), int(cells.images.min()), int(cells.images.max())
    )
    unanswered = [c for column, c in enumerate(countries) if column not in answered]
    remedy = "lower maximum_images or minimum_images, or set centroids to true"
    if len(countries) - len(unanswered) < 2:
        raise InputError(
            f"the places of all {len(cells)} cells are outside {', '.join(unanswered)}, so the "
            f"model would give every image the same country; {remedy}"
        )
    if unanswered:
        log.warning(
            "the place of no cell is in %s, so the model never answers with them; %s",
            ", ".join(unanswered),
            remedy,
        )
