"""Countries and places of the answers of models that answer with places never disagree."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from geoloc.countries.geocoding import country_of_coordinates
from geoloc.countries.places import Places, answers_of_one_place
from geoloc.errors import InputError

PARIS, LYON, MARSEILLE = (48.86, 2.35), (45.76, 4.84), (43.30, 5.37)
BERLIN, WINDHOEK, TOKYO, OCEAN = (52.52, 13.40), (-22.56, 17.08), (35.68, 139.69), (0.0, -30.0)
CLASSES = ["DE", "FR", "NA"]


def places(*coordinates, geocoder="nearest_city") -> Places:
    return Places(np.array(coordinates), CLASSES, geocoder)


@pytest.mark.parametrize("geocoder", ["nearest_city", "country_polygon"])
def test_country_is_the_largest_sum_and_the_place_the_likeliest_within_it(geocoder):
    model = places(BERLIN, PARIS, LYON, MARSEILLE, geocoder=geocoder)
    answers = model.answer([[0.4, 0.1, 0.3, 0.2]])
    np.testing.assert_allclose(answers.probabilities, [[0.4, 0.6, 0]], rtol=1e-6)
    assert answers.probabilities.dtype == np.float32
    assert answers.places.tolist() == [list(LYON)]


def test_what_falls_outside_the_classes_belongs_to_none_of_them():
    model = places(TOKYO, BERLIN, WINDHOEK, OCEAN, geocoder="country_polygon")
    answers = model.answer([[0.5, 0.1, 0.2, 0.2]])
    np.testing.assert_allclose(answers.probabilities, [[0.1, 0, 0.2]], rtol=1e-6)
    assert answers.places.tolist() == [list(WINDHOEK)]


def test_without_any_probability_in_a_class_no_country_is_named_and_the_place_is_the_likeliest():
    answers = places(BERLIN, TOKYO, OCEAN).answer([[0, 0.3, 0.7], [0.1, 0.9, 0]])
    assert answers.probabilities[0].tolist() == [0, 0, 0]
    assert answers.places.tolist() == [list(OCEAN), list(BERLIN)]


def test_places_of_which_none_is_in_a_class_are_refused():
    with pytest.raises(InputError, match=r"none of the model's 2 places .* 3 countries"):
        places(TOKYO, (35.0, 135.7))


@given(hnp.arrays(np.float32, (4, 7), elements=st.floats(0, 1, width=32, allow_subnormal=False)))
def test_country_of_the_answer_is_that_of_its_place(weights):
    coordinates = np.array([OCEAN, BERLIN, PARIS, LYON, WINDHOEK, TOKYO, MARSEILLE])
    model = Places(coordinates, CLASSES, "country_polygon")
    totals = np.maximum(weights.sum(1, keepdims=True), np.float32(1e-6))
    answers = model.answer(weights / totals)
    assert ((answers.probabilities >= 0) & (answers.probabilities <= 1)).all()
    countries = country_of_coordinates(*answers.places.T, "country_polygon")
    for row, country in zip(answers.probabilities, countries, strict=True):
        assert country == CLASSES[row.argmax()] or not row.any()


def test_one_place_has_the_whole_probability_of_its_country():
    answers = answers_of_one_place(np.array([PARIS, TOKYO, WINDHOEK]), CLASSES)
    assert answers.probabilities.tolist() == [[0, 1, 0], [0, 0, 0], [0, 0, 1]]
    assert answers.places.tolist() == [list(PARIS), list(TOKYO), list(WINDHOEK)]


@pytest.mark.parametrize(
    ("coordinates", "message"),
    [
        (np.array([PARIS, (139.69, 35.68)]), r"place 1 is latitude 139\.69.*in this order"),
        (np.array([(np.nan, 3.0)]), "place 0 is latitude nan"),
        (np.zeros((2, 3)), r"shape \(n, 2\).*got float64 \(2, 3\)"),
        (np.array([["48", "2"]]), r"must be numbers"),
    ],
)
def test_coordinates_that_are_no_places_are_refused(coordinates, message):
    for make in (Places, answers_of_one_place):
        with pytest.raises(InputError, match=message):
            make(coordinates, CLASSES)


def test_probabilities_of_other_places_are_refused():
    with pytest.raises(InputError, match=r"shape \(1, 3\), expected \(n, 2\)"):
        places(PARIS, BERLIN).answer(np.full((1, 3), 1 / 3))
