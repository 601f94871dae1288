"""Tables of a run are read whole, or the error names the file."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest
from pyarrow import parquet

from geoloc.corpus.index import write_index
from geoloc.corpus.index_tables import COUNTRY_COLUMNS, INDEX_COLUMNS, kept_classes, read_shards
from geoloc.errors import FileError
from geoloc.evaluation.predictions import write_table
from geoloc.evaluation.read_predictions import read_predictions
from geoloc.matrix import Row
from geoloc.tables import read_large_table, read_rows, read_table

WHOLE = "country,images\nNA,3\nFR,\n"


def test_only_empty_fields_are_missing(tmp_path):
    (tmp_path / "t.csv").write_text(WHOLE)
    table = read_table(tmp_path / "t.csv")
    assert table["country"].tolist() == ["NA", "FR"]
    assert table["images"].isna().tolist() == [False, True]
    assert read_rows(tmp_path / "t.csv")[1] == {"country": "FR", "images": ""}


@pytest.mark.parametrize(
    "content",
    [b"", WHOLE[:-2].encode(), b'country,images\nNA,"3\n', b"country,images\n\xff\xfe,3\n"],
)
@pytest.mark.parametrize("read", [read_rows, read_table])
def test_a_damaged_table_is_named_with_what_to_do(content, read, tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(FileError, match="delete it and run snakemake again") as error:
        read(path)
    assert str(error.value).count(str(path)) == 1


def test_rows_and_columns_that_are_missing_are_named(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("country,images\nNA,3\nFR\n")
    with pytest.raises(FileError, match="line 3 has not 2 fields"):
        read_rows(path)
    with pytest.raises(FileError, match="no column kept"):
        kept_classes(path)
    with pytest.raises(FileError, match="kept"):
        read_table(path, ["kept"])


def test_a_damaged_parquet_table_is_named(tmp_path):
    path = tmp_path / "t.parquet"
    pd.DataFrame({"a": range(1000)}).to_parquet(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(FileError, match=rf"^{path} is damaged \(.+\); delete it"):
        read_table(path)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        read_table(path)


def flip_a_byte(path: Path, column: int) -> None:
    """Change the last byte of a column's values in a Parquet file, as a failing disk does."""
    of_column = parquet.ParquetFile(path).metadata.row_group(0).column(column)
    start = of_column.dictionary_page_offset or of_column.data_page_offset
    content = bytearray(path.read_bytes())
    content[start + of_column.total_compressed_size - 1] ^= 1
    path.write_bytes(content)


def test_a_flipped_byte_in_the_tables_of_images_and_predictions_is_noticed(index, tmp_path):
    predictions = tmp_path / "p.parquet"
    write_table(
        predictions,
        pd.DataFrame({"latitude": [1.5, 2.5], "country_1": "FR"}),
        Row("cnn", "original", "1"),
    )
    for path, column in ((index / "images.parquet", 0), (predictions, 0)):
        whole = read_table(path)
        flip_a_byte(path, column)
        assert len(whole) > 1
        with pytest.raises(FileError, match=rf"^{path} is damaged \(.*CRC"):
            read_table(path)
        with pytest.raises(FileError, match="CRC"):
            read_large_table(path, list(whole), [])
    with pytest.raises(FileError, match="CRC"):
        read_predictions([predictions], ["FR"], [["original"]], [])


@pytest.fixture
def index(tmp_path) -> Path:
    """The index of six street images and a photo."""
    images = pd.DataFrame(
        [
            [f"s/{n}.jpg", "s", "street", f"{n}.jpg", 1.0, 2.0, "FR" if n < 4 else "NA", "", "val",
             f"000{n % 2}"]
            for n in range(6)
        ]
        + [["p/a.jpg", "p", "p", "a.jpg", 1.0, 2.0, "FR", "", "test", "0000"]],
        columns=INDEX_COLUMNS,
    )  # fmt: skip
    countries = pd.DataFrame(
        [
            ["FR", "France", 4, 4, 0, 0, True],
            ["NA", "Namibia", 2, 2, 0, 0, True],
            ["DE", "Germany", 1, 0, 0, 0, False],
        ],
        columns=COUNTRY_COLUMNS,
    )
    write_index(tmp_path / "index", images, countries, pd.DataFrame(), pd.DataFrame())
    return tmp_path / "index"


def test_the_shards_of_a_whole_index_are_read(index):
    assert read_shards(index) == {
        ("p", "FR", "0000"): ["p"],
        ("street", "FR", "0000"): ["s"],
        ("street", "FR", "0001"): ["s"],
        ("street", "NA", "0000"): ["s"],
        ("street", "NA", "0001"): ["s"],
    }


def reword(path: Path, old: str, new: str) -> None:
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def drop_line(path: Path, number: int) -> None:
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:number] + lines[number + 1 :]))


@pytest.mark.parametrize(
    ("damage", "named", "why"),
    [
        (lambda i: drop_line(i / "shards.csv", 2), "shards.csv", "no line for .*FR/0000.csv"),
        (lambda i: shutil.rmtree(i / "shards/street/NA"), "shards.csv", "but no manifest"),
        (lambda i: drop_line(i / "countries.csv", 2), "countries.csv", "NA has 0 street images"),
        (lambda i: drop_line(i / "shards.csv", 0), "shards.csv", "no column collection"),
        (lambda i: reword(i / "shards.csv", "p,FR,0000,1,", "p,FR,0000,I,"), "shards.csv", "'I'"),
    ],
)
def test_tables_of_the_index_that_contradict_each_other_are_named(damage, named, why, index):
    damage(index)
    with pytest.raises(FileError, match=why) as error:
        read_shards(index)
    assert str(error.value).startswith(f"{index / named} is damaged")


def test_a_manifest_that_is_not_the_one_that_the_index_wrote_is_named(index):
    folder, table = index / "shards/street/FR", index / "shards.csv"
    shutil.copy(folder / "0000.csv", folder / "0001.csv")
    with pytest.raises(FileError, match=r"FR/0001\.csv is damaged \(its SHA-256.*index --force"):
        read_shards(index)
    without = pd.read_csv(table, dtype=str, keep_default_na=False).drop(columns="sha256")
    without.to_csv(table, index=False)  # of earlier commits
    assert len(read_shards(index)) == 5
