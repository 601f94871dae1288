"""Distances of answers: great circles, places of countries, and the scores made of them."""

import numpy as np
import pandas as pd
import pytest

from geoloc.evaluation.distances import (
    answers_are_places,
    distance_metrics,
    distances,
    median_positions,
    warn_of_unplaced,
)
from geoloc.evaluation.predictions import predictions_frame

CLASSES = ["FJ", "FR", "GB"]
PARIS, LONDON = (48.8566, 2.3522), (51.5074, -0.1278)
PARIS_TO_LONDON = 343.6  # km, great circle


def answers(names, places):
    probabilities = np.eye(3)[[CLASSES.index(name) for name in names]]
    ids = [str(number) for number in range(len(names))]
    latitude, longitude = zip(*places, strict=True)
    return predictions_frame(
        probabilities, CLASSES, ids, ["s"] * len(ids), names, latitude, longitude, "original"
    )


def images(country, places, split="train"):
    return pd.DataFrame(places, columns=["latitude", "longitude"]).assign(
        country=country, split=split
    )


POSITIONS = pd.DataFrame([PARIS, LONDON], columns=["latitude", "longitude"], index=["FR", "GB"])


def test_distance_is_that_of_the_great_circle():
    frame = answers(["FR", "GB"], [LONDON, LONDON])
    assert distances(frame, POSITIONS) == pytest.approx([PARIS_TO_LONDON, 0], abs=0.5)


def test_shares_and_geoscore_follow_from_the_distances():
    found = distance_metrics(answers(["FR", "GB"], [LONDON, LONDON]), POSITIONS)
    assert [found[f"within_{km}_km"] for km in (1, 200, 750)] == [0.5, 0.5, 1.0]
    expected = 2500 * (1 + np.exp(-PARIS_TO_LONDON / 1492.7))
    assert found["geoscore"] == pytest.approx(expected, abs=1)


def test_a_country_without_a_position_is_infinitely_far():
    found = distance_metrics(answers(["FJ", "GB"], [LONDON, LONDON]), POSITIONS)
    assert (found["within_2500_km"], found["geoscore"]) == (0.5, 2500)


def test_answers_without_a_position_are_counted_among_the_located_images():
    nowhere = (np.nan, np.nan)
    found = distance_metrics(
        answers(["FJ", "GB", "FJ", "FJ"], [LONDON, LONDON, PARIS, nowhere]), POSITIONS
    )
    assert (found["n_located"], found["n_unplaced"]) == (3, 2)
    assert distance_metrics(answers(["FJ"], [nowhere]), POSITIONS)["n_unplaced"] == 0


def test_classes_without_a_position_are_named(caplog):
    warn_of_unplaced(["FR", "GB"], POSITIONS)
    assert not caplog.records
    warn_of_unplaced(CLASSES, POSITIONS)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.message.startswith("FJ: no training image with coordinates")


def test_images_without_coordinates_do_not_count():
    unknown = (np.nan, np.nan)
    found = distance_metrics(answers(["FR", "GB"], [unknown, LONDON]), POSITIONS)
    assert (found["n_located"], found["within_1_km"]) == (1, 1.0)
    nowhere = distance_metrics(answers(["FR"], [unknown]), POSITIONS)
    assert nowhere["n_located"] == 0
    assert np.isnan(nowhere["geoscore"])


def test_position_is_the_median_of_training_images_with_coordinates():
    table = pd.concat(
        [
            images("FR", [(48, 2), (48.2, 2.2), (43, 5), (np.nan, np.nan)]),
            images("FR", [(0, 0)], split="test"),
        ]
    )
    position = median_positions(table).loc["FR"]
    assert position.latitude == pytest.approx(48, abs=0.1)
    assert position.longitude == pytest.approx(2.2, abs=0.1)


def test_a_country_across_the_date_line_stays_there():
    position = median_positions(images("FJ", [(-17, 178), (-17, 179.9), (-17, -179)])).loc["FJ"]
    assert abs(position.longitude) == pytest.approx(179.9, abs=0.2)


def places_of(found, places):
    """Answers of a model of places; `found` are those, in the country of the class beside it."""
    coordinates = np.array([place for _, place in found])
    shares = np.array([[name == country for name in CLASSES] for country, _ in found])
    ids = [str(number) for number in range(len(found))]
    latitude, longitude = zip(*places, strict=True)
    return predictions_frame(
        shares, CLASSES, ids, ["s"] * len(ids), ["FR"] * len(ids), latitude, longitude, "original",
        places=coordinates,
    )  # fmt: skip


def test_distance_of_a_model_of_places_is_to_its_place_whatever_the_country():
    ocean = (0.0, -30.0)
    frame = places_of([("FR", LONDON), ("GB", LONDON), (None, ocean)], [PARIS, LONDON, ocean])
    assert distances(frame, POSITIONS) == pytest.approx([PARIS_TO_LONDON, 0, 0], abs=0.5)
    found = distance_metrics(frame, POSITIONS)
    assert (found["distances_to"], found["n_unplaced"]) == ("places", 0)
    assert found["within_1_km"] == pytest.approx(2 / 3)


def test_distances_of_a_model_of_countries_say_that_they_are_to_medians():
    found = distance_metrics(answers(["FR"], [LONDON]), POSITIONS)
    assert found["distances_to"] == "country_medians"


def test_a_model_of_places_has_a_place_for_every_image():
    places = pd.DataFrame({"predicted_latitude": [1.0, 2.0]})
    assert answers_are_places(places)
    assert not answers_are_places(pd.DataFrame({"predicted_latitude": [1.0, np.nan]}))
    assert not answers_are_places(places[:0])
