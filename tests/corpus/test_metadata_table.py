"""Tables of ids with images in folders and archives, as OpenStreetView-5M and MP-16 publish."""

from __future__ import annotations

import csv
import io
import shutil
import unicodedata

import pandas as pd
import pytest
from PIL import Image

from geoloc.corpus.index import build_index, write_index
from geoloc.corpus.prepare import prepare_shard
from geoloc.corpus.sources import (
    Source,
    SourceError,
    check_rejected,
    list_source,
    listing_digest,
    metadata_table,
)
from geoloc.images import decode
from geoloc.stores import read_images
from tests.corpus.test_archives import make_tar, make_zip
from tests.corpus.test_index import steps

PARIS, TOKYO, WINDHOEK = ("48.85", "2.35"), ("35.68", "139.69"), ("-22.56", "17.08")


def metadata(folder, rows, header=("id", "latitude", "longitude"), **options) -> Source:
    (folder / "images").mkdir(parents=True, exist_ok=True)
    with (folder / "table.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return Source("osv5m", "street", "metadata_table", folder, "images", "table.csv", **options)


def listed_countries(source) -> dict[str, str]:
    return {item.path: item.country or item.rejected for item in list_source(source)}


def test_images_are_found_by_id_in_folders_and_archives(tmp_path):
    """OpenStreetView-5M names an image by its number, MP-16 by its path with suffix."""
    rows = [["317", *PARIS], ["0042", *TOKYO], ["9f/5d/7 l'é.jpg", *WINDHOEK], ["plain", *PARIS]]
    source = metadata(tmp_path, rows)
    make_zip(tmp_path / "images/00.zip", ["00/317.jpg"])
    make_tar(tmp_path / "images/mp 16.tar", ["0042.jpg", "./mp16/9f/5d/7 l'é.jpg"])
    (tmp_path / "images/sub").mkdir()
    (tmp_path / "images/sub/plain.JPG").touch()
    assert listed_countries(source) == {
        "00.zip/00/317.jpg": "FR",
        "mp 16.tar/0042.jpg": "JP",
        "mp 16.tar/mp16/9f/5d/7 l'é.jpg": "NA",
        "sub/plain.JPG": "FR",
    }


def test_an_id_is_no_part_of_a_name(tmp_path):
    source = metadata(tmp_path, [["17", *PARIS], ["a/b", *PARIS]])
    make_zip(tmp_path / "images/00.zip", ["317.jpg", "xa/b.jpg"])
    assert listed_countries(source) == {
        "00.zip/317.jpg": "not named in the table",
        "00.zip/xa/b.jpg": "not named in the table",
        "17": "named in the table, but the image is missing (line 2)",
        "a/b": "named in the table, but the image is missing (line 3)",
    }


@pytest.mark.parametrize(
    ("identity", "expected"),
    [
        ("image", ["1/image.jpg", "a/1/image.png", "2/image.jpg", "image.JPG"]),
        ("1/image", ["1/image.jpg", "a/1/image.png"]),
        ("1/image.jpg", ["1/image.jpg", "a/1/image.png"]),
        ("a/1/image", ["a/1/image.png"]),
        ("b/a/1/image", []),
        ("/1/image", []),
        ("/image", []),
        ("mage", []),
        ("image/", []),
        ("plain", ["x/plain.jpg"]),
        ("x/plain", ["x/plain.jpg"]),
        ("/x/plain", []),
        ("y/plain", []),
    ],
)
def test_an_id_fits_all_paths_that_end_with_it(identity, expected):
    paths = ["1/image.jpg", "a/1/image.png", "2/image.jpg", "image.JPG", "x/plain.jpg"]
    assert metadata_table._Images(iter(paths)).find(identity) == expected


@pytest.mark.parametrize(("on_disk", "in_table"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_an_id_is_found_in_other_forms_of_its_letters(on_disk, in_table):
    path = unicodedata.normalize(on_disk, "é/Zürich.jpg")
    identity = unicodedata.normalize(in_table, "é/Zürich")
    assert metadata_table._Images(iter([path])).find(identity) == [path]


def test_images_of_the_same_name_cost_no_more_to_find_than_others():
    def find_all(size):
        images = metadata_table._Images(f"{number}/image.jpg" for number in range(size))
        assert all(images.find(f"{number}/image") for number in range(size))

    assert steps(find_all, 400) < 5 * steps(find_all, 100)


def test_what_does_not_fit_together_is_rejected_with_its_reason(tmp_path):
    rows = [["1", *PARIS], ["1", *PARIS], ["2", "", ""], ["3", *PARIS], ["4", *PARIS], ["", *PARIS]]
    source = metadata(tmp_path, rows)
    make_zip(tmp_path / "images/00.zip", ["1.jpg", "2.jpg", "x/3.jpg", "5.jpg", "../6.jpg"])
    make_zip(tmp_path / "images/01.zip", ["y/3.jpg"])
    found = listed_countries(source)
    assert found == {
        "00.zip/1.jpg": "named twice in the table (line 2, line 3)",
        "00.zip/2.jpg": "no coordinates (line 4)",
        "00.zip/x/3.jpg": "several images match its id: 3 (line 5)",
        "01.zip/y/3.jpg": "several images match its id: 3 (line 5)",
        "4": "named in the table, but the image is missing (line 6)",
        "table.csv, line 7": "no id in the table (line 7)",
        "00.zip/5.jpg": "not named in the table",
        "00.zip/../6.jpg": "its path points outside the archive",
    }


def test_a_part_of_the_archives_is_enough_where_the_configuration_says_so(tmp_path):
    rows = [[str(number), *PARIS] for number in range(100)]
    names = [f"{number}.jpg" for number in range(10)]
    make_zip(metadata(tmp_path, rows).folder / "00.zip", names)
    whole, part = metadata(tmp_path, rows), metadata(tmp_path, rows, subset=True)
    with pytest.raises(SourceError, match=r"90 of 100 images.*set sources\.osv5m\.subset"):
        check_rejected(whole, list_source(whole), 0.01)
    listed = list_source(part)
    check_rejected(part, listed, 0.0)
    assert sorted(item.path for item in listed) == [f"00.zip/{name}" for name in names]


def test_columns_are_configurable_and_the_table_may_be_parquet(tmp_path):
    header = ("key", "lat", "lon", "who", "more")
    rows = [["0042", *WINDHOEK, "NA", "x"], ["7", "NA", "", "", "y"]]
    options = {"id_column": "key", "latitude_column": "lat", "longitude_column": "lon"}
    source = metadata(tmp_path, rows, header, **options, author_column="who")
    make_zip(tmp_path / "images/00.zip", ["0042.jpg", "7.jpg"])
    by_csv = list_source(source)
    assert [(i.country, i.author) for i in by_csv] == [("NA", "NA"), ("", "")]
    frame = pd.DataFrame(rows, columns=header).assign(lon=[17.08, None])
    frame.to_parquet(tmp_path / "table.parquet")
    by_parquet = list_source(
        Source("osv5m", "street", "metadata_table", tmp_path, "images", "table.parquet",
               **options, author_column="who")
    )  # fmt: skip
    assert [i.path for i in by_parquet] == [i.path for i in by_csv]
    assert by_parquet[0] == by_csv[0]
    assert "no coordinates" in by_parquet[1].rejected


def test_numbers_with_gaps_in_a_parquet_table_stay_whole(tmp_path):
    ids = pd.array([3859149887465501, None], dtype="Int64")
    source = metadata(tmp_path, [])
    frame = pd.DataFrame({"id": ids, "latitude": [48.85, 1.0], "longitude": [2.35, 1.0]})
    frame.to_parquet(tmp_path / "table.parquet")
    source = Source("s", "street", "metadata_table", tmp_path, "images", "table.parquet")
    make_zip(tmp_path / "images/00.zip", ["3859149887465501.jpg"])
    assert listed_countries(source)["00.zip/3859149887465501.jpg"] == "FR"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("00.zip", b"cut off", r"00\.zip is not a complete zip archive"),
        ("00.tar", b"cut off" * 200, r"00\.tar is not a complete, uncompressed tar"),
        ("00.tar.gz", b"", "repack it as a plain .tar or .zip"),
    ],
)
def test_an_archive_that_cannot_be_read_stops_the_run_and_is_named(
    tmp_path, name, content, message
):
    source = metadata(tmp_path, [["1", *PARIS]])
    (tmp_path / "images" / name).write_bytes(content)
    with pytest.raises(SourceError, match=message):
        list_source(source)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (b"name,latitude,longitude\n", "no column 'id', only name, latitude, longitude.*id_column"),
        (b"317,48.85,2.35\n318,48.85,2.35\n", "first row seems to be data"),
        (b"", "cannot read the table"),
        (b"id,latitude,longitude,caf\xe9\n", "its header: not UTF-8; save the table as UTF-8"),
        (b"id,latitude,\0longitude\n", "its header: a control character"),
        ("id,latitude,longitude\n".encode("utf-16"), "is UTF-16; save it as UTF-8"),
        (b'id,latitude,"longitude\n', "a quote in its header is not closed"),
        (b"id,latitude,longitude\n" + bytes(1 << 20), "line 2 has more than"),
        (b"id,latitude,longitude,id\n", "has 2 columns 'id'; rename"),
        (b"id,Latitude,longitude\n", r"set sources.osv5m.latitude_column \(perhaps to 'Latitude'"),
    ],
)
def test_a_table_that_cannot_be_read_says_what_to_do(tmp_path, table, message):
    source = metadata(tmp_path, [])
    (tmp_path / "table.csv").write_bytes(table)
    with pytest.raises(SourceError, match=message):
        list_source(source)


def test_the_listing_changes_with_table_archives_and_files_and_reads_no_archive(tmp_path):
    source = metadata(tmp_path, [["1", *PARIS]])
    archive = make_tar(tmp_path / "images/00.tar", ["1.jpg"])
    seen = [listing_digest(source)]
    list_source(source)  # keeps the members of the tar beside it
    assert listing_digest(source) == seen[0]
    with archive.open("ab") as file:
        file.write(bytes(512))
    seen.append(listing_digest(source))
    (tmp_path / "images/new.jpg").touch()
    seen.append(listing_digest(source))
    metadata(tmp_path, [["1", *PARIS], ["new", *PARIS]])
    seen.append(listing_digest(source))
    archive.write_bytes(b"no archive at all")
    seen.append(listing_digest(source))
    assert len(set(seen)) == 5


def picture(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (48, 32), (number, 2 * number, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def archived(folder, kind: str) -> Source:
    """Ten pictures of France and ten of Japan in an archive or a folder, one of them damaged."""
    rows = [[f"été {n}", *(PARIS if n % 2 else TOKYO)] for n in range(20)]
    source = metadata(folder, rows)
    (folder / "images/00").mkdir()
    for number in range(20):
        data = b"damaged" if number == 3 else picture(number)
        (folder / f"images/00/été {number}.png").write_bytes(data)
    if kind != "folder":
        shutil.make_archive(str(folder / "images/shard"), kind, folder / "images", "00")
        shutil.rmtree(folder / "images/00")
    return source


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_an_archive_is_prepared_as_its_unpacked_images(tmp_path, kind):
    """The split and the pixels are the same, since the names of the images are."""
    packed = {}
    for form in ("folder", kind):
        source = archived(tmp_path / form, form)
        tables = build_index(
            [source], min_images=5, shard_size=100, seed=42, ratio=(0.8, 0.1, 0.1), max_rejected=0
        )
        index = tmp_path / form / "index"
        write_index(index, *tables)
        outputs = []
        for country in ("FR", "JP"):
            target, quarantine = (
                tmp_path / form / f"{country}.h5",
                tmp_path / form / f"{country}.csv",
            )
            manifest = index / f"shards/street/{country}/0000.csv"
            prepare_shard(manifest, {source.name: source}, target, quarantine)
            outputs += [(i.rpartition("/")[2], decode(d).tobytes()) for i, d in read_images(target)]
        names = [path.rpartition("/")[2] for path in tables.images.path]
        reasons = pd.read_csv(tmp_path / form / "FR.csv").reason.tolist()
        packed[form] = outputs, dict(zip(names, tables.images.split, strict=True)), reasons
    assert packed["folder"] == packed[kind]
    assert len(packed[kind][0]) == 19
    (reason,) = packed[kind][2]
    assert reason.startswith("not a JPEG, PNG,")
