import csv

import numpy as np
import pytest

from geoloc.geocode import country_of_coordinates, country_of_name, display_name


def read_csv(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


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


def test_namibia_is_na_and_not_missing():
    assert country_of_coordinates(np.array([-22.56]), np.array([17.08])).tolist() == ["NA"]
    assert display_name("NA") == "Namibia"
    assert country_of_name("Namibia") == country_of_name("NA") == "NA"


@pytest.mark.parametrize("name", ["France", "FR", "Côte d'Ivoire", "Ivory Coast", "South Korea"])
def test_names_with_spaces_quotes_and_accents_are_known(name):
    assert country_of_name(name) in ("FR", "CI", "KR")


@pytest.mark.parametrize("name", ["Atlantis", "ZZ", " ", "images"])
def test_a_folder_of_no_country_is_refused(name):
    with pytest.raises(ValueError, match="rename the folder"):
        country_of_name(name)
