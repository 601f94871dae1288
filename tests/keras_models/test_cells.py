"""Cells are learnt as classes, from those images that are in one, and nothing is left out in
silence."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from geoloc.countries.cells import read_cells
from geoloc.countries.polygons import place_within
from geoloc.errors import InputError
from geoloc.keras_models import training
from geoloc.keras_models.cells import CellParameters, label_with_cells, load_places
from geoloc.keras_models.predict import load_trained, predict_places
from geoloc.keras_models.training import TrainingParameters
from geoloc.stores import Arrays, write_arrays
from tests.small_keras import small_model

COUNTRIES = ["DE", "FR", "NA"]
TOWNS = {"DE": [(52.5, 13.4), (48.1, 11.6)], "FR": [(48.9, 2.4)], "NA": [(-22.6, 17.1)]}
COLORS = dict(zip(sum(TOWNS.values(), []), 255 * np.eye(4, 3, dtype=np.uint8), strict=True))
SETTINGS = CellParameters(maximum_images=6, minimum_images=3)


def write(
    path: Path, labels: list[str], located: list[bool], split: str, colors: bool = False
) -> Arrays:
    """Images of one shade each, their number, or in the `colors` of their towns; taken about a
    kilometer around towns of their country."""
    rng, n = np.random.default_rng(len(labels)), len(labels)
    towns = [TOWNS[label][i % len(TOWNS[label])] for i, label in enumerate(labels)]
    places = np.array(towns) + rng.normal(0, 0.01, (n, 2))
    places[~np.array(located)] = np.nan
    columns = {
        "image_id": [f"{split}{i}" for i in range(n)], "label": labels, "split": [split] * n,
        "source": ["s"] * n, "latitude": places[:, 0], "longitude": places[:, 1],
    }  # fmt: skip
    paint = [COLORS[town] if colors else (i, i, i) for i, town in enumerate(towns)]
    pixels = (np.full((224, 224, 3), color, np.uint8) for color in paint)
    write_arrays(path, columns, pixels)
    return Arrays([path])


@pytest.fixture
def images(tmp_path) -> tuple[Arrays, Arrays]:
    """Of Germany 8 images, of France 5 of which one has no place, of Namibia 2 with a place and 3
    without."""
    labels = ["DE"] * 8 + ["FR"] * 5 + ["NA"] * 5
    located = [True] * 12 + [False] + [True] * 2 + [False] * 3
    train = write(tmp_path / "train.h5", labels, located, "train")
    return train, write(tmp_path / "val.h5", ["DE", "NA", "FR"], [True, True, False], "val")


def test_images_are_labeled_with_their_cells_and_read_by_their_own_rows(images, tmp_path):
    train, val = images
    labeled, validation, tokens = label_with_cells(
        train, val, COUNTRIES, tmp_path, SETTINGS, "nearest_city"
    )
    cells = read_cells(tmp_path).cells
    assert tokens == cells.tokens
    places = np.column_stack([train.latitude, train.longitude])
    known = ~np.isnan(places).any(1)
    expected = dict(zip(train.image_id[known], cells.index_of(places[known]), strict=True))
    assert len(labeled) == sum(cell >= 0 for cell in expected.values()) == cells.images.sum()
    for image_id, label in zip(labeled.image_id, labeled.label, strict=True):
        assert tokens[expected[image_id]] == label
    rows = np.arange(len(labeled))[::-1]
    numbers = [int(image_id.removeprefix("train")) for image_id in labeled.image_id[rows]]
    assert labeled.read(rows)[0][:, 0, 0, 0].tolist() == numbers
    assert set(validation.image_id) <= {"val0", "val1"}


def test_what_is_left_out_is_counted_and_countries_without_a_cell_are_named(
    images, tmp_path, caplog
):
    label_with_cells(*images, COUNTRIES, tmp_path, SETTINGS, "nearest_city")
    told = caplog.text
    assert "6 of 18 training images are skipped: 4 have no coordinates, 2 are in cells" in told
    assert "2 of 3 validation images are skipped: 1 have no coordinates, 1 are in cells" in told
    assert "the place of no cell is in NA, so the model never answers with them" in told


def test_images_without_coordinates_stand_at_their_countrys_median(images, tmp_path, caplog):
    train, val = images
    settings = replace(SETTINGS, centroids=True)
    with caplog.at_level(logging.WARNING):
        found, _, tokens = label_with_cells(
            train, val, COUNTRIES, tmp_path, settings, "country_polygon"
        )
    assert "the place of no cell" not in caplog.text
    known = (train.label == "NA") & ~np.isnan(train.latitude)
    median = np.column_stack([train.latitude, train.longitude])[known].mean(0)  # of two images
    cells = read_cells(tmp_path).cells
    (cell,) = cells.index_of(median[None])
    own = np.isin(found.image_id, train.image_id[(train.label == "NA") & np.isnan(train.latitude)])
    assert own.sum() == 3
    assert set(found.label[own]) == {tokens[cell]}


def test_a_country_without_any_coordinates_is_placed_inside_its_area(tmp_path):
    labels = ["DE"] * 4 + ["NA"] * 4
    train = write(tmp_path / "t.h5", labels, [True] * 4 + [False] * 4, "train")
    settings = CellParameters(maximum_images=3, minimum_images=1, centroids=True)
    label_with_cells(train, train, ["DE", "NA"], tmp_path, settings, "country_polygon")
    cells = read_cells(tmp_path).cells
    (cell,) = cells.index_of(np.array([place_within("NA")]))
    assert cells.images[cell] == 4
    np.testing.assert_allclose(cells.coordinates[cell], place_within("NA"))


def test_images_without_any_coordinates_are_refused_with_the_remedy(tmp_path):
    train = write(tmp_path / "t.h5", ["DE"] * 4, [False] * 4, "train")
    with pytest.raises(InputError, match="no training image has coordinates.*centroids"):
        label_with_cells(train, train, COUNTRIES, tmp_path, SETTINGS, "nearest_city")


def test_cells_of_a_single_country_are_refused_with_the_remedy(tmp_path):
    train = write(tmp_path / "t.h5", ["DE"] * 8, [True] * 8, "train")
    with pytest.raises(InputError, match="outside FR, so the model would give every.*lower max"):
        label_with_cells(train, train, ["DE", "FR"], tmp_path, SETTINGS, "nearest_city")


def test_a_model_learns_the_cells_and_answers_with_their_places(tmp_path, monkeypatch):
    """Each town's images have a color of their own."""
    monkeypatch.setattr(training, "build_model", small_model)
    labels = ["DE", "DE", "FR"] * 12
    train = write(tmp_path / "t.h5", labels, [True] * 36, "train", colors=True)
    settings = CellParameters(maximum_images=12, minimum_images=3)
    found = label_with_cells(train, train, COUNTRIES, tmp_path, settings, "nearest_city")
    parameters = TrainingParameters(
        batch_size=6, epochs=12, learning_rate=0.05, precise_batch_norm=36, augmentation=None
    )
    training.train("cnn", "original", *found, tmp_path, 1, parameters, files=["cells.json"])
    trained = load_trained(tmp_path)
    places = load_places(tmp_path, trained.classes, COUNTRIES)
    answers = predict_places(trained, places, train, "original", batch_size=5)
    assert answers.probabilities.argmax(1).tolist() == [COUNTRIES.index(c) for c in labels]
    towns = np.array([TOWNS[c][i % len(TOWNS[c])] for i, c in enumerate(labels)])
    assert np.abs(answers.places - towns).max() < 0.05
    cells = tmp_path / "cells.json"
    cells.write_text(cells.read_text().replace('"latitude": ', '"latitude": -'))
    with pytest.raises(OSError, match=r"its cells\.json is not the file that its training wrote"):
        load_trained(tmp_path)


def test_a_model_of_other_countries_or_cells_is_refused(images, tmp_path):
    _, _, tokens = label_with_cells(*images, COUNTRIES, tmp_path, SETTINGS, "nearest_city")
    assert len(load_places(tmp_path, tokens)) == len(tokens)
    with pytest.raises(InputError, match=r"other classes \(JP, NA differ\); train it again"):
        load_places(tmp_path, tokens, ["DE", "FR", "JP"])
    with pytest.raises(OSError, match=r"cells\.json and classes\.json name other cells"):
        load_places(tmp_path, tokens[1:])
