"""Countries of the published lists."""

from __future__ import annotations

import numpy as np

from geoloc.cli.compare_geocoders import compare, read_places
from geoloc.countries.geocoding import country_of_coordinates
from geoloc.countries.names import country_of_name, display_name
from tests.countries.test_geocoding import read_csv


def test_display_names_are_those_of_the_study(reference):
    rows = read_csv(reference / "data/kept_countries.csv")
    assert len(rows) == 73
    assert {row["ISO"]: display_name(row["ISO"]) for row in rows} == {
        row["ISO"]: row["Name"] for row in rows
    }


def test_every_folder_name_of_the_study_is_a_country(reference):
    kept = read_csv(reference / "data/kept_countries.csv")
    assert [country_of_name(row["Name"]) for row in kept] == [row["ISO"] for row in kept]
    for row in read_csv(reference / "data/deleted_countries.csv"):
        assert display_name(country_of_name(row["country"])) == row["country"]


def test_im2gps3k_keeps_2504_images_of_the_73_countries(reference):
    rows = read_csv(reference / "data/im2gps3k_places365.csv")
    countries = country_of_coordinates(
        np.array([float(row["LAT"]) for row in rows]), np.array([float(row["LON"]) for row in rows])
    )
    published = {
        r["IMG_ID"]: r["cc"] for r in read_csv(reference / "data/im2gps3k_country_labels.csv")
    }
    assert dict(zip([r["IMG_ID"] for r in rows], countries.tolist(), strict=True)) == published
    kept = {row["ISO"] for row in read_csv(reference / "data/kept_countries.csv")}
    assert np.isin(countries, list(kept)).sum() == 2504


def test_32_images_of_im2gps3k_change_country(reference):
    path = reference / "data/im2gps3k_places365.csv"
    places, rejected = read_places(path, ("IMG_ID", "LAT", "LON"))
    table = compare(places)
    assert (len(table), table.changed.sum(), len(rejected)) == (2997, 32, 0)
    assert (table.country_polygon != "").all()
