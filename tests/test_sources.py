import csv
import math
import os
import unicodedata
from dataclasses import replace

import pytest

from geoloc.sources import Source, SourceError, check_rejected, list_source, listing_digest


def table_source(tmp_path, header, rows, files, **options):
    (tmp_path / "images").mkdir(exist_ok=True)
    for name in files:
        (tmp_path / "images" / name).touch()
    with (tmp_path / "table.csv").open("w", encoding="utf-8-sig", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return Source("s", "street", "coordinates_table", tmp_path, "images", "table.csv", **options)


def folder_source(tmp_path, files):
    for name in files:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return Source("s", "street", "country_folders", tmp_path)


def test_folders_name_the_country_and_other_files_are_left_out(tmp_path):
    source = folder_source(
        tmp_path, ["Namibia/b 'é'.JPG", "Namibia/a.png", "Namibia/.hidden.jpg", "NA/c.txt", "x.jpg"]
    )
    listed = list_source(source)
    assert [(item.path, item.country) for item in listed] == [
        ("Namibia/a.png", "NA"), ("Namibia/b 'é'.JPG", "NA")
    ]  # fmt: skip
    assert math.isnan(listed[0].latitude)


def test_paths_stay_as_on_disk_where_accents_are_not_composed(tmp_path):
    path = unicodedata.normalize("NFD", "Réunion/été.jpg")
    listed = list_source(folder_source(tmp_path, [path]))
    assert [(item.path, item.country) for item in listed] == [(path, "RE")]


def test_row_i_of_a_table_without_file_names_belongs_to_image_i(tmp_path):
    rows = [["48.85", "2.35"], ["35.68", "139.69"], ["-22.56", "17.08"]]
    source = table_source(tmp_path, ["latitude", "longitude"], rows, ["0.png", "2.png", "10.png"])
    listed = {item.path: item for item in list_source(source)}
    assert listed["0.png"].country == "FR"
    assert listed["2.png"].country == "NA"
    assert listed["1.png"].rejected == "named in the table, but there is no such image file"
    assert listed["10.png"].rejected == "not named in the table"


TRAPS = [
    ("", "2.35", "no coordinates"),
    ("48.85", " ", "no coordinates"),
    ("48,85", "2.35", "no numbers"),
    ("48.85 N", "2.35 E", "no numbers"),
    ("4_8", "2.35", "no numbers"),
    ("n/a", "2.35", "no numbers"),
    ("NA", "NA", "no numbers"),
    ("nan", "2.35", "out of range"),
    ("inf", "2.35", "out of range"),
    ("139.69", "35.68", "out of range"),
    ("48.85", "181", "out of range"),
    ("0", "0.0", "unknown place"),
    ("-0.0", "0e5", "unknown place"),
]


@pytest.mark.parametrize("kind", ["coordinates_table", "metadata_table"])
@pytest.mark.parametrize(("latitude", "longitude", "reason"), TRAPS)
def test_an_unusable_place_is_rejected_with_its_reason(tmp_path, kind, latitude, longitude, reason):
    rows = [["a.jpg", latitude, longitude], ["b.jpg", "48.85", "2.35"]]
    source = table_source(
        tmp_path, ["IMG_ID", "LAT", "LON"], rows, ["a.jpg", "b.jpg"], file_column="IMG_ID",
        id_column="IMG_ID", latitude_column="LAT", longitude_column="LON",
    )  # fmt: skip
    first, second = list_source(replace(source, kind=kind))
    assert reason in first.rejected
    assert (second.country, second.rejected) == ("FR", "")


def test_a_place_on_the_edge_of_the_earth_is_a_place(tmp_path):
    rows = [["-90", "0"], ["0", "-180"], ["0", "0.01"], ["1e-3", "180.0"]]
    source = table_source(tmp_path, ["latitude", "longitude"], rows, [f"{i}.png" for i in range(4)])
    assert not any(item.rejected for item in list_source(source))


def test_rows_that_are_cut_short_have_no_place_and_move_no_other_row(tmp_path):
    """Blank lines are no rows, as with the reader that the study used."""
    source = table_source(tmp_path, ["latitude", "longitude"], [], ["0.png", "1.png", "2.png"])
    (tmp_path / "table.csv").write_text("latitude,longitude\n48.85,2.35\n\n48.85\n-22.56,17.08\n")
    listed = {item.path: item for item in list_source(source)}
    assert [listed[f"{i}.png"].country for i in range(3)] == ["FR", "", "NA"]
    assert listed["1.png"].rejected == "no coordinates"


def test_a_table_without_a_header_is_refused_and_moves_no_image_by_one(tmp_path):
    """Streetview's rows go by number: to take the first row for the header would move them all."""
    source = table_source(tmp_path, ["48.85", "2.35"], [["-22.56", "17.08"]], ["0.png", "1.png"])
    with pytest.raises(SourceError, match="first row seems to be data: write the names"):
        list_source(source)


def test_one_image_more_than_rows_is_rejected(tmp_path):
    """The study's text counts 25,228 of Streetview's images and its code 25,229."""
    rows = [["48.85", "2.35"]] * 3
    files = [f"{i}.png" for i in range(4)]
    listed = list_source(table_source(tmp_path, ["latitude", "longitude"], rows, files))
    assert [item.rejected for item in listed] == ["", "", "", "not named in the table"]


def im2gps3k(tmp_path, reference, header):
    """Im2GPS3k's real table under a header, with an empty file for each photograph."""
    lines = (reference / "data/im2gps3k_places365.csv").read_text().splitlines()
    columns = lines[0].split(",")
    rows = list(csv.reader(lines[1:]))
    assert columns[2:4] == ["LAT", "LON"]
    columns[2:4] = header
    return table_source(
        tmp_path, columns, rows, [row[0] for row in rows], file_column="IMG_ID",
        latitude_column="LAT", longitude_column="LON",
    )  # fmt: skip


def test_every_photograph_of_im2gps3k_has_a_usable_place(tmp_path, reference):
    source = im2gps3k(tmp_path, reference, ["LAT", "LON"])
    listed = list_source(source)
    check_rejected(source, listed, 0.0)
    assert len(listed) == 2997


def test_the_copy_of_im2gps3k_with_swapped_headers_stops_the_run(tmp_path, reference):
    """An older public copy of the table has LAT and LON the wrong way round."""
    source = im2gps3k(tmp_path, reference, ["LON", "LAT"])
    with pytest.raises(SourceError, match="are latitude and longitude swapped in it"):
        check_rejected(source, list_source(source), 0.05)


@pytest.mark.skipif(os.name != "posix", reason="file names are bytes on POSIX systems only")
def test_a_file_whose_name_is_not_utf_8_is_rejected_by_a_name_that_can_be_written(tmp_path):
    source = folder_source(tmp_path, ["France/a.jpg"])
    (tmp_path / "France" / os.fsdecode(b"caf\xe9.jpg")).touch()
    assert listing_digest(source)
    good, bad = list_source(source)
    assert (good.path, good.country) == ("France/a.jpg", "FR")
    assert (bad.path, bad.country) == ("France/caf\\xe9.jpg", "")
    assert "not UTF-8" in bad.rejected


def test_a_table_cannot_name_files_outside_its_folder(tmp_path):
    (tmp_path / "secret.jpg").touch()
    rows = [["../secret.jpg", "48.85", "2.35"], ["b.jpg", "48.85", "2.35"]]
    header = ["file", "latitude", "longitude"]
    source = table_source(tmp_path, header, rows, ["b.jpg"], file_column="file")
    assert [item.path for item in list_source(source) if not item.rejected] == ["b.jpg"]


def test_a_missing_column_is_named_with_the_key_to_set(tmp_path):
    source = table_source(tmp_path, ["lat", "lon"], [["1", "2"]], ["0.png"])
    with pytest.raises(SourceError, match=r"no column 'latitude' but lat, lon.*latitude_column"):
        list_source(source)


def test_a_table_may_name_the_author_of_each_image(tmp_path):
    header = ["file", "latitude", "longitude", "who"]
    rows = [["a.jpg", "48.85", "2.35", " 7@N00 "], ["b.jpg", "48.85", "2.35", ""]]
    options = {"file_column": "file", "author_column": "who"}
    source = table_source(tmp_path, header, rows, ["a.jpg", "b.jpg"], **options)
    assert [item.author for item in list_source(source)] == ["7@N00", ""]
    plain = table_source(tmp_path, header, rows, [], file_column="file")
    assert [item.author for item in list_source(plain)] == ["", ""]
    missing = table_source(tmp_path, header[:3], [], [], author_column="who")
    with pytest.raises(SourceError, match=r"no column 'who' but file.*sources\.s\.author_column"):
        list_source(missing)


@pytest.mark.parametrize(("files", "message"), [([], "there is no folder"), (["Foo/a.jpg"], "Foo")])
def test_a_source_that_is_not_as_configured_says_what_to_do(tmp_path, files, message):
    source = folder_source(tmp_path / "data", files)
    with pytest.raises(SourceError, match=message):
        list_source(source)


def test_too_many_images_without_a_place_stop_the_run(tmp_path):
    rows = [["", ""]] * 3 + [["48.85", "2.35"]] * 7
    files = [f"{i}.png" for i in range(10)]
    source = table_source(tmp_path, ["latitude", "longitude"], rows, files)
    listed = list_source(source)
    check_rejected(source, listed, 0.3)
    with pytest.raises(SourceError, match="3 of 10 images have no usable place"):
        check_rejected(source, listed, 0.2)


def test_the_listing_changes_with_the_files_and_not_with_their_dates(tmp_path):
    source = folder_source(tmp_path, ["France/a.jpg", "Japan/b.jpg"])
    before = listing_digest(source)
    (tmp_path / "France/a.jpg").touch()
    assert listing_digest(source) == before
    (tmp_path / "France/c.jpg").touch()
    assert listing_digest(source) != before
