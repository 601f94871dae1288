"""Sources: published tables and real photographs."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest
from PIL import ExifTags, Image

from geoloc.corpus.sources import SourceError, check_rejected, list_source
from tests.corpus.test_exif_folder import (
    gps,
    source,
)
from tests.corpus.test_sources import (
    GOOD,
    streetview,
    table_source,
    written,
)


def test_rows_for_images_1_to_4_are_theirs_when_the_numbering_is_said(tmp_path, reference):
    table = reference / "faults/tables/rows_for_images_1_to_4.csv"
    source = streetview(tmp_path, 0, [1, 2, 3, 4], first_image=1)
    (tmp_path / "table.csv").write_bytes(table.read_bytes())
    assert [item.country for item in list_source(source)] == ["FR", "DE", "ES", "JP"]
    with pytest.raises(SourceError, match="first_image: 1"):
        list_source(replace(source, first_image=None))


@pytest.mark.parametrize("name", ["one_row_with_decimal_commas", "a_field_too_many"])
def test_no_row_of_the_faulty_tables_is_cut_or_shifted(tmp_path, reference, name):
    found = written(tmp_path, (reference / f"faults/tables/{name}.csv").read_bytes())
    assert "wrong number of fields" in found.pop("table.csv, line 2")
    assert found == GOOD | {"a.jpg": "not named in the table"}


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


def test_places_written_into_real_photographs_are_found_again(reference, tmp_path):
    with (reference / "photos/photos.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    expected = {}
    for name, row in rows.items():
        latitude, longitude = float(row["latitude"]), float(row["longitude"])
        tags = gps(abs(latitude), abs(longitude), "NS"[latitude < 0], "EW"[longitude < 0])
        image = Image.open(reference / "photos" / name)
        exif = image.getexif()
        exif[ExifTags.IFD.GPSInfo] = tags
        buffer = io.BytesIO()
        image.convert("RGB").resize((32, 32)).save(buffer, "JPEG", exif=exif)
        (tmp_path / f"{name}.jpg").write_bytes(buffer.getvalue())
        expected[f"{name}.jpg"] = row["country_iso2"]
    found = {item.path: item.country for item in list_source(source(tmp_path))}
    assert found == expected
