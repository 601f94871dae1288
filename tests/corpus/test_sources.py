import csv
import math
import os
import unicodedata
from dataclasses import fields, replace

import pandas as pd
import pytest
import yaml

from geoloc.corpus.sources import Source, SourceError, check_rejected, list_source, listing_digest
from geoloc.corpus.sources.tables import table_rows
from tests.conftest import ROOT


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


def test_every_key_of_the_configuration_reaches_its_source():
    schema = yaml.safe_load((ROOT / "config/config.schema.yaml").read_text(encoding="utf-8"))
    keys = schema["$defs"]["source"]["properties"].keys() - {"title", "crop", "size", "retrieve"}
    assert keys == {f.name for f in fields(Source)} - {"name", "collection", "preparation"}
    entry = {key: f"given {key}" for key in keys}
    source = Source.from_config("s", "street", entry)
    assert {key: str(getattr(source, key)) for key in keys} == entry


def test_folders_name_the_country_and_other_files_are_left_out(tmp_path):
    source = folder_source(
        tmp_path, ["Namibia/b 'é'.JPG", "Namibia/a.png", "Namibia/.hidden.jpg", "NA/c.txt", "x.jpg"]
    )
    listed = list_source(source)
    assert [(item.path, item.country) for item in listed] == [
        ("Namibia/a.png", "NA"),
        ("Namibia/b 'é'.JPG", "NA"),
    ]
    assert math.isnan(listed[0].latitude)


def test_paths_stay_as_on_disk_where_accents_are_not_composed(tmp_path):
    path = unicodedata.normalize("NFD", "Réunion/été.jpg")
    listed = list_source(folder_source(tmp_path, [path]))
    assert [(item.path, item.country) for item in listed] == [(path, "RE")]


def streetview(tmp_path, rows, numbers, **options):
    """A table of places without file names, of Paris, Tokyo and Windhoek by turns, and images."""
    places = [["48.85", "2.35"], ["35.68", "139.69"], ["-22.56", "17.08"]]
    rows = [places[i % 3] for i in range(rows)] if isinstance(rows, int) else rows
    files = [f"{number}.png" for number in numbers]
    return table_source(tmp_path, ["latitude", "longitude"], rows, files, **options)


def test_row_i_of_a_table_without_file_names_belongs_to_image_i(tmp_path):
    listed = list_source(streetview(tmp_path, 12, [0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11]))
    found = {item.path: item.country or item.rejected for item in listed}
    assert found == {f"{i}.png": ["FR", "JP", "NA"][i % 3] for i in range(12)} | {
        "8.png": "named in the table, but the image file is missing (line 10)"
    }


@pytest.mark.parametrize(
    ("rows", "numbers", "options", "message"),
    [
        (4, [1, 2, 3, 4], {}, r"images 0 to 3, but .* numbered 1 to 4. Their .*first_image: 1"),
        (300, range(1, 301), {}, "numbers start at 1; set sources.s.first_image: 1"),
        (4, [1, 2, 4], {}, "numbers start at 1"),
        (4, [0, 1, 2, 3], {"first_image": 1}, "numbers start at 0"),
        (4, [1, 2, 3, 4], {"first_image": 0}, "numbers start at 1"),
        (4, [1000, 1001, 1003], {}, "numbered 1000 to 1003.*start at 1000"),
        (4, [1, 2, 3], {}, "rows may belong to other images"),
        (4, [0, 1, 2], {}, "rows may belong to other images"),
        (4, [0, 1, 2, 3, 4], {}, "rows may belong to other images.*first_image: 0"),
        (4, [0, 10], {}, "rows may belong to other images"),
    ],
)
def test_rows_that_do_not_fit_the_numbers_of_images_at_both_ends_stop_the_run(
    tmp_path, rows, numbers, options, message
):
    with pytest.raises(SourceError, match=message):
        list_source(streetview(tmp_path, rows, numbers, **options))


@pytest.mark.parametrize(
    ("second", "part"),
    [("35.68\n,139.69", 3), ("35.68,139.69\n", 4), ('"35.68\n",139.69', 3)],
    ids=["split", "empty line", "split in quotes"],
)
@pytest.mark.parametrize("end", ["\x0b", ","])
def test_rows_are_not_moved_between_a_line_too_many_and_two_rows_in_one(
    tmp_path, second, part, end
):
    """The numbering fits at both ends, as it has a line too many and a line too few."""
    source = streetview(tmp_path, 0, range(6))
    first, last = "48.85,2.35\n", f"48.85,2.35{end}35.68,139.69\n"
    table = f"latitude,longitude\n{first}{second}\n{first}{first}{last}"
    (tmp_path / "table.csv").write_text(table)
    message = rf"line 7 may contain several rows .* and line {part} a part of one"
    with pytest.raises(SourceError, match=message):
        list_source(source)


def test_where_the_numbering_is_said_images_and_rows_beyond_each_other_are_rejected(tmp_path):
    listed = list_source(streetview(tmp_path, 3, [1, 2, 3, 10], first_image=0))
    assert {item.path: item.country or item.rejected for item in listed} == {
        "0.png": "named in the table, but the image file is missing (line 2)",
        "1.png": "JP",
        "2.png": "NA",
        "3.png": "not named in the table",
        "10.png": "not named in the table",
    }


def test_numbers_may_have_zeros_before_them_but_not_be_those_of_two_images(tmp_path):
    source = streetview(tmp_path, 3, ["0000", "0001", "2"])
    (tmp_path / "images/02.jpg").touch()
    found = {item.path: item.country or item.rejected for item in list_source(source)}
    reason = "several images have this number: 02.jpg, 2.png (line 4)"
    assert found == {"0000.png": "FR", "0001.png": "JP", "02.jpg": reason, "2.png": reason}


TRAPS = [
    ("", "2.35", "no coordinates"),
    ("48.85", " ", "no coordinates"),
    ("48,85", "2.35", "decimal commas: '48,85', '2.35'; write 48.85"),
    ("48.85 N", "2.35 E", "not numbers"),
    ("4_8", "2.35", "not numbers"),
    ("n/a", "2.35", "not numbers"),
    ("NA", "NA", "not numbers"),
    ("0x30", "2.35", "not numbers"),
    ("٤٨", "2.35", "not numbers"),
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


def written(tmp_path, text, files=("a.jpg", "b.jpg", "c.jpg"), **options):
    """What is listed of a table that is written as it stands."""
    source = table_source(tmp_path, [], [], files, **({"file_column": "file"} | options))
    data = text if isinstance(text, bytes) else text.encode()
    (tmp_path / "table.csv").write_bytes(data)
    return {item.path: item.country or item.rejected for item in list_source(source)}


GOOD = {"b.jpg": "JP", "c.jpg": "NA"}
REST = b"b.jpg,35.68,139.69\nc.jpg,-22.56,17.08\n"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (
            b"a.jpg,48,85,2,35",
            "wrong number of fields: 5 instead of 3, perhaps because of a dec",
        ),
        (b"a.jpg,48.85", "wrong number of fields: 2 instead of 3"),
        (b"a.jpg,48.85,2.35,", "wrong number of fields: 4 instead of 3"),
        (b"a.jpg;48.85;2.35", "wrong number of fields: 1 instead of 3"),
        (b"a.jpg,48.85,2.3\x005", "a control character"),
        (b"a.jpg,48.85,2.35\x1b", "a control character"),
        (b"a.j\rpg,48.85,2.35", "a control character"),
        (b"a.jpg,48.85,2.35\r\r", "a control character"),
        ("a.jpg\x85,48.85,2.35".encode(), "a control character"),
        ("a.jpg\u2028,48.85,2.35".encode(), "a control character"),
        (b"a.jpg,48.85,\t2.35", "a control character"),
        (b"a.jpg,48.85,2.35\xe9", "not UTF-8"),
        (b'"a".jpg,48.85,2.35', "quotes are not valid CSV"),
        (b'"a.jpg,48.85,2.35', "a quote is opened and not closed"),
        (b"", "the line is empty"),
        (b"   ", "the line is empty"),
        (b",48.85,2.35", "no file name in the table"),
        (b",,", "no file name in the table"),
    ],
)
def test_a_row_that_is_not_as_the_header_is_rejected_with_its_line(tmp_path, line, reason):
    """`a.jpg` gets no place, and all others keep theirs."""
    for number, lines in (
        (2, line + b"\n" + REST),
        (3, REST.replace(b"\n", b"\n" + line + b"\n", 1)),
    ):
        found = written(tmp_path, b"file,latitude,longitude\n" + lines)
        row = found.pop(f"table.csv, line {number}")
        assert row.startswith(reason)
        assert row.endswith(f"(line {number})")
        assert found == GOOD | {"a.jpg": "not named in the table"}


def test_rows_between_two_open_quotes_are_all_rejected(tmp_path):
    """They may be rows after a mistake, or the text of one field."""
    text = 'file,latitude,longitude\nb.jpg,35.68,139.69\n"a.jpg,48.85,2.35\nc.jpg,1,2\nd",1,2\n'
    found = written(tmp_path, text)
    reason = "in a quote that is opened in line 3 and closed in line 5"
    assert found == {
        "b.jpg": "JP",
        "a.jpg": "not named in the table",
        "c.jpg": "not named in the table",
    } | {f"table.csv, line {n}": f"{reason} (line {n})" for n in (3, 4, 5)}


@pytest.mark.parametrize(("lines", "broken"), [(1000, 1001), (1001, 1)])
def test_a_quote_opens_no_field_of_more_than_a_thousand_lines(tmp_path, lines, broken):
    """Of two mistakes far apart, only their own rows are lost."""
    rows = ['"a', *["x"] * (lines - 1), 'b"']
    (tmp_path / "t.csv").write_text("\n".join(["file", *rows]))
    found = list(table_rows(tmp_path / "t.csv", {"name": "file"}, {"name": "file_column"}))
    assert [row.where for row in found] == [f"line {2 + n}" for n in range(len(rows))]
    wrong = [row.where for row in found if row.problem]
    assert wrong == [row.where for row in found[:broken]] + ["line 1003"] * (lines == 1001)
    assert all(row.cells["name"] == "x" for row in found if not row.problem)


def test_empty_lines_after_an_open_quote_are_rows_if_others_follow(tmp_path):
    (tmp_path / "t.csv").write_text("file\n" + '"a\n' + "\n" * 1500 + "b\n\n\n")
    rows = list(table_rows(tmp_path / "t.csv", {"name": "file"}, {"name": "file_column"}))
    assert [row.where for row in rows] == [f"line {number}" for number in range(2, 1504)]
    assert [row.problem for row in rows[1:-1]] == ["the line is empty"] * 1500
    assert (rows[-1].cells["name"], rows[-1].problem) == ("b", "")


def test_a_line_longer_than_a_megabyte_is_no_row(tmp_path):
    def read(length):
        (tmp_path / "t.csv").write_text("file\n" + "x" * (length - 1) + "\n")
        return list(table_rows(tmp_path / "t.csv", {"name": "file"}, {"name": "file_column"}))

    assert len(read((1 << 20) - 1)[0].cells["name"]) == (1 << 20) - 2
    with pytest.raises(ValueError, match="line 2 has more than 1048576 characters"):
        read(1 << 20)


def test_rows_of_a_parquet_table_are_checked_as_those_of_a_csv(tmp_path):
    path = tmp_path / "t.parquet"
    names = ["a", None, "b\0", "c\td", "e\u2028", "NA", " f"]
    pd.DataFrame({"file": names, "n": range(7)}).to_parquet(path)
    rows = list(table_rows(path, {"name": "file"}, {"name": "x", "author": "y"}))
    assert [row.where for row in rows] == [f"row {number}" for number in range(1, 8)]
    wrong = {number: row.problem for number, row in enumerate(rows) if row.problem}
    assert wrong == dict.fromkeys((2, 3, 4), "a control character")
    good = [rows[number].cells for number in (0, 1, 5, 6)]
    assert good == [{"name": name, "author": ""} for name in ("a", "", "NA", " f")]
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match=rf"cannot read the table {path}: "):
        list(table_rows(path, {"name": "file"}, {"name": "x"}))


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "it is empty"),
        (b"\n \n", "it is empty"),
        ("file\na".encode("utf-16"), "it is UTF-16; save it as UTF-8"),
        (b"\xfe\xff\0f", "it is UTF-16; save it as UTF-8"),
        (b"file\xe9,b\n", "its header: not UTF-8; save"),
        (b"file\0,b\n", "its header: a control character; save"),
        (b'"file,b\n', "a quote in its header is not closed"),
        (b'"fi"le",b"\n', "quotes in its header are not valid CSV"),
        (b"file,b,file\n", "has 2 columns 'file'; rename all but one"),
        (b"files,b\n", r"no column 'file', only files, b; set file_column \(perhaps to 'files'\)"),
        (b"1.jpg,-2.5\n", "its first row seems to be data"),
    ],
)
def test_a_table_that_cannot_be_read_at_all_says_why(tmp_path, data, fault):
    (tmp_path / "t.csv").write_bytes(data)
    with pytest.raises(ValueError, match=fault):
        list(table_rows(tmp_path / "t.csv", {"name": "file"}, {"name": "file_column"}))


@pytest.mark.parametrize(
    "text",
    [
        "file,latitude,longitude\r\na.jpg,48.85,2.35\r\nb.jpg,35.68,139.69\r\n",
        "file,latitude,longitude\ra.jpg,48.85,2.35\rb.jpg,35.68,139.69",
        "\ufefffile;latitude;longitude\na.jpg;48.85;2.35\nb.jpg;35.68;139.69\n\n\n",
        "\nn\tfile\tlatitude\tlongitude\n1\ta.jpg\t48.85\t2.35\n2\tb.jpg\t35.68\t139.69\n \n",
        '"longitude", latitude ,"file"\n2.35,"48.85","a.jpg"\n139.69, 35.68 ,b.jpg',
        'file,latitude,longitude,note\na.jpg,48.85,2.35,"a, ""b"""\nb.jpg,35.68,139.69,""\n',
    ],
)
def test_tables_of_other_programs_are_read(tmp_path, text):
    assert written(tmp_path, text, ["a.jpg", "b.jpg"]) == {"a.jpg": "FR", "b.jpg": "JP"}


def test_an_empty_line_keeps_its_place_in_a_table_without_file_names(tmp_path):
    """As every row; where the images then do not fit any more, nobody knows which row is whose."""
    text = "latitude,longitude\n48.85,2.35\n\n48.85\n-22.56,17.08\n"
    files = [f"{number}.png" for number in range(4)]
    found = written(tmp_path, text, files, file_column=None)
    assert found["0.png"] == "FR"
    assert found["1.png"] == "the line is empty (line 3)"
    assert found["2.png"] == "wrong number of fields: 1 instead of 2 (line 4)"
    assert found["3.png"] == "NA"
    (tmp_path / "images/3.png").unlink()
    with pytest.raises(SourceError, match="other images; line 3 of the table is empty"):
        written(tmp_path, text, files[:3], file_column=None)


@pytest.mark.parametrize("other", ["a.jpg", "./a.jpg", "  a.jpg", ".//a.jpg"])
def test_a_file_that_is_named_twice_has_no_place(tmp_path, other):
    """Whichever row is right, and also where both say the same."""
    for place in ("35.68,139.69", "48.85,2.35", ",", "x,y"):
        text = f"file,latitude,longitude\n{other},{place}\nb.jpg,35.68,139.69\na.jpg,48.85,2.35\n"
        assert written(tmp_path, text, ["a.jpg", "b.jpg"]) == {
            "a.jpg": "named twice in the table (line 2, line 4)",
            "b.jpg": "JP",
        }


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_are_found_in_other_spellings(tmp_path, form):
    (tmp_path / "images/sub").mkdir(parents=True)
    names = {"é.jpg": "FR", "sub/b.jpg": "JP", "c d.jpg": "NA"}
    files = [unicodedata.normalize(form, name) for name in names]
    rows = ["é.jpg,48.85,2.35", ".\\sub\\b.jpg,35.68,139.69", "c d.jpg ,-22.56,17.08"]
    text = "\n".join(["file,latitude,longitude", *rows])
    assert written(tmp_path, text, files) == dict(zip(files, names.values(), strict=True))


@pytest.mark.parametrize(
    "name", ["../x.jpg", "/x.jpg", "sub/../../x.jpg", "C:\\x.jpg", "..\\x.jpg"]
)
def test_a_name_that_points_outside_the_folder_is_rejected(tmp_path, name):
    (tmp_path / "x.jpg").touch()
    found = written(tmp_path, f"file,latitude,longitude\n{name},48.85,2.35\n", ["b.jpg"])
    assert found[name] == "named in the table with a path outside the folder (line 2)"


def test_a_table_without_a_header_is_refused_and_moves_no_image_by_one(tmp_path):
    """Streetview's rows go by number: to take the first row for the header would move them all."""
    source = table_source(tmp_path, ["48.85", "2.35"], [["-22.56", "17.08"]], ["0.png", "1.png"])
    with pytest.raises(SourceError, match="first row seems to be data: add a header"):
        list_source(source)


@pytest.mark.skipif(os.name != "posix", reason="file names are bytes on POSIX systems only")
def test_a_file_whose_name_is_not_utf_8_is_rejected_by_a_name_that_can_be_written(tmp_path):
    source = folder_source(tmp_path, ["France/a.jpg"])
    (tmp_path / "France" / os.fsdecode(b"caf\xe9.jpg")).touch()
    assert listing_digest(source)
    good, bad = list_source(source)
    assert (good.path, good.country) == ("France/a.jpg", "FR")
    assert (bad.path, bad.country) == ("France/caf\\xe9.jpg", "")
    assert "not UTF-8" in bad.rejected


def test_a_missing_column_is_named_with_the_key_to_set(tmp_path):
    source = table_source(tmp_path, ["lat", "lon"], [["1", "2"]], ["0.png"])
    with pytest.raises(SourceError, match=r"no column 'latitude', only lat, lon.*latitude_column"):
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
    with pytest.raises(SourceError, match=r"no column 'who', only file.*sources\.s\.author_column"):
        list_source(missing)


@pytest.mark.parametrize(
    ("files", "message"), [([], "data does not exist"), (["Foo/a.jpg"], "Foo")]
)
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
