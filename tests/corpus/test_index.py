import itertools
import sys
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import splitfolders
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from geoloc.corpus import index
from geoloc.corpus.index import assign_shards, build_index, write_index
from geoloc.corpus.index_tables import kept_classes, majority_country
from geoloc.corpus.sources import Source, SourceError
from geoloc.corpus.split import split_names, unique_names
from geoloc.files import file_hash

RATIO = (0.8, 0.1, 0.1)
COUNTS = {"France": 30, "Japan": 20, "Namibia": 10, "Iceland": 3}


@pytest.fixture
def street(tmp_path):
    for country, count in COUNTS.items():
        (tmp_path / "street" / country).mkdir(parents=True)
        for i in range(count):
            (tmp_path / "street" / country / f"canvas_{i}.jpg").touch()
    return Source("geoguessr", "street", "country_folders", tmp_path / "street")


def build(sources, **changes):
    settings = {"min_images": 10, "shard_size": 8, "seed": 42, "ratio": RATIO, "max_rejected": 0.01}
    return build_index(sources, **(settings | changes))


@pytest.mark.parametrize(("group", "groups"), [(1 << 20, 1), (7, 9)])
def test_the_table_of_images_is_written_as_pandas_writes_it(
    street, tmp_path, monkeypatch, group, groups
):
    monkeypatch.setattr(index, "ROW_GROUP", group)
    tables = build([street])
    write_index(tmp_path, *tables)
    written, expected = tmp_path / "images.parquet", tmp_path / "pandas.parquet"
    tables.images.to_parquet(expected, index=False, row_group_size=group, write_page_checksum=True)
    assert written.read_bytes() == expected.read_bytes()
    assert parquet.ParquetFile(written).num_row_groups == groups


def test_small_countries_are_dropped_and_reported(street):
    images, countries, *_ = build([street])
    assert sorted(images.country.unique()) == ["FR", "JP", "NA"]
    iceland = countries.set_index("country").loc["IS"]
    assert (iceland.images, iceland.train, iceland.kept) == (3, 0, False)


def test_test_set_images_of_kept_countries_stay_with_their_authors(street, tmp_path):
    (tmp_path / "bench").mkdir()
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / "bench" / name).touch()
    (tmp_path / "bench/t.csv").write_text(
        "file,latitude,longitude,author\na.jpg,48.8,2.3,x@N00\nb.jpg,64.1,-21.9,y@N00\n"
    )
    bench = Source(
        "im2gps3k", "im2gps3k", "coordinates_table", tmp_path / "bench", ".", "t.csv", "file",
        author_column="author",
    )  # fmt: skip
    images, *_ = build([street, bench])
    assert dict(images.groupby("collection").author.unique().map(list)) == {
        "street": [""],
        "im2gps3k": ["x@N00"],
    }
    found = images[images.collection == "im2gps3k"]
    assert found[["image_id", "country", "split"]].to_numpy().tolist() == [
        ["im2gps3k/a.jpg", "FR", "test"]
    ]


def test_every_image_is_in_one_split_and_one_shard(street):
    images, countries, *_ = build([street])
    assert images.image_id.is_unique
    assert len(images) == 60
    assert Counter(images[images.country == "FR"].split) == {"train": 24, "val": 3, "test": 3}
    sizes = images.groupby(["country", "shard"]).size()
    assert sizes.max() <= 8
    assert sizes["FR"].tolist() == [8, 7, 8, 7]
    assert countries[["train", "val", "test"]].to_numpy().sum() == 60


def test_a_new_image_changes_the_manifests_of_its_country_only(street, tmp_path):
    def manifests(folder):
        return {p.relative_to(folder): p.read_text() for p in folder.rglob("shards/**/*.csv")}

    write_index(tmp_path / "before", *build([street]))
    (street.path / "Namibia" / "new.jpg").touch()
    write_index(tmp_path / "after", *build([street]))
    before, after = manifests(tmp_path / "before"), manifests(tmp_path / "after")
    changed = {path for path in after if before.get(path) != after[path]}
    assert changed
    assert {path.parts[2] for path in changed} == {"NA"}


def test_authors_change_no_manifest(street, tmp_path):
    """Who took an image matters to its metrics only, so no shard has to run again."""
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench/a.jpg").touch()
    table = tmp_path / "bench/t.csv"
    table.write_text("file,latitude,longitude,author\na.jpg,48.8,2.3,x@N00\n")
    source = Source("b", "b", "coordinates_table", table.parent, ".", "t.csv", "file")
    manifests = []
    for author_column in (None, "author"):
        folder = tmp_path / f"index_{author_column}"
        write_index(folder, *build([street, replace(source, author_column=author_column)]))
        files = (folder / "shards").rglob("*.csv")
        manifests.append({path.relative_to(folder): path.read_bytes() for path in files})
    assert manifests[0] == manifests[1]


def test_the_list_of_shards_names_the_sources_of_each(street, tmp_path):
    """The rules read it to find out what a shard's images are prepared with."""
    photos = tmp_path / "photos/Namibia"
    photos.mkdir(parents=True)
    (photos / "a.jpg").touch()
    more = Source("photos", "street", "country_folders", photos.parent)
    write_index(tmp_path / "index", *build([street, more], shard_size=100))
    shards = pd.read_csv(tmp_path / "index/shards.csv", dtype=str, keep_default_na=False)
    digests = [file_hash(path) for path in sorted(tmp_path.glob("index/shards/*/*/*.csv"))]
    assert shards.pop("sha256").tolist() == digests
    assert shards.to_numpy().tolist() == [
        ["street", "FR", "0000", "30", "geoguessr"],
        ["street", "JP", "0000", "20", "geoguessr"],
        ["street", "NA", "0000", "11", "geoguessr photos"],
    ]


def test_namibia_survives_the_files(street, tmp_path):
    write_index(tmp_path / "index", *build([street]))
    assert kept_classes(tmp_path / "index/countries.csv") == ["FR", "JP", "NA"]
    assert majority_country(tmp_path / "index/countries.csv") == "FR"
    stored = pd.read_parquet(tmp_path / "index/images.parquet")
    assert (stored.country == "NA").sum() == 10


def test_too_few_countries_stop_the_run(street):
    with pytest.raises(SourceError, match="lower index.min_images"):
        build([street], min_images=25)


names = st.lists(st.from_regex(r"[a-zé0-9][a-zé' 0-9]{0,7}\.jpg", fullmatch=True), unique=True,
                 min_size=1, max_size=60)  # fmt: skip


@settings(max_examples=20)
@given(names, st.integers(0, 100))
def test_splits_are_disjoint_and_complete(names, seed):
    split = split_names(names, seed, RATIO)
    assert sorted(split) == sorted(names)
    counts = Counter(split.values())
    assert counts["train"] == int(0.8 * len(names))
    assert counts["val"] == int(0.1 * len(names))


@pytest.mark.parametrize("seed", [42, 7])
@settings(max_examples=15)
@given(names=names)
def test_splits_are_those_of_split_folders_on_files(seed, names):
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "in/France").mkdir(parents=True)
        for name in names:
            (Path(folder) / "in/France" / name).touch()
        splitfolders.ratio(f"{folder}/in", f"{folder}/out", seed=seed, ratio=RATIO)
        expected = {path.name: path.parts[-3] for path in Path(folder).glob("out/*/*/*")}
    assert split_names(names, seed, RATIO) == expected


@given(st.lists(st.sampled_from(["a/x.jpg", "b/x.jpg", "c/y.jpg", "x~1.jpg"]), max_size=8))
def test_names_are_made_unique(paths):
    found = unique_names(paths)
    assert len(set(found)) == len(paths)


def numbered_from_one(paths):
    """`unique_names` as it is defined: of each name the lowest number that is free."""
    names = []
    for path in map(Path, paths):
        numbers = (f"{path.stem}~{n}{path.suffix}" for n in itertools.count(1))
        names.append(next(n for n in itertools.chain([path.name], numbers) if n not in names))
    return names


REPEATED = ["a/x.jpg", "b/x.jpg", "c/x.jpg", "x~1.jpg", "x~2.jpg", "x~1~1.jpg", "d/y", "e/y"]


@given(st.lists(st.sampled_from(REPEATED), max_size=12))
def test_a_repeated_name_gets_the_lowest_free_number(paths):
    assert unique_names(paths) == numbered_from_one(paths)


def steps(function, *arguments) -> int:
    """Lines that run in a call."""
    count = 0

    def trace(frame, event, argument):
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function(*arguments)
    finally:
        sys.settrace(before)
    return count


def test_repeated_names_cost_no_more_than_others():
    few, many = ([f"{number}/image.jpg" for number in range(size)] for size in (100, 400))
    assert steps(unique_names, many) < 5 * steps(unique_names, few)


@given(st.integers(1, 2000), st.integers(1, 600))
def test_shards_are_few_and_of_nearly_equal_size(count, shard_size):
    images = pd.DataFrame({"collection": "street", "country": "FR", "path": range(count)})
    sizes = assign_shards(images, shard_size).value_counts()
    assert len(sizes) == -(-count // shard_size)
    assert sizes.max() <= shard_size
    assert sizes.max() - sizes.min() <= 1


def images_table(**columns):
    """Four images of an index, with other values in some columns."""
    paths = [f"{n}.jpg" for n in range(4)]
    table = {"image_id": [f"s/{path}" for path in paths], "source": "s", "collection": "street"}
    table |= {"path": paths, "latitude": [float("nan"), 1.0, 2.0, 3.0], "longitude": 0.0}
    table |= {"country": "FR", "author": "", "split": "train", "shard": "0000"}
    return pd.DataFrame(table | columns)


@pytest.mark.parametrize("authors", [[None] * 4, [None, None, None, "Ann"], ["", "7", None, "Ann"]])
def test_the_types_of_the_index_do_not_depend_on_its_first_rows(tmp_path, monkeypatch, authors):
    monkeypatch.setattr(index, "ROW_GROUP", 2)
    index._write_parquet(tmp_path / "images.parquet", images_table(author=authors))
    schema = parquet.read_schema(tmp_path / "images.parquet")
    numbers = [
        name for name, kind in zip(schema.names, schema.types, strict=True) if kind != "string"
    ]
    assert numbers == ["latitude", "longitude"]
    assert pd.read_parquet(tmp_path / "images.parquet").author.tolist() == authors


def test_a_value_that_is_no_text_is_named_with_its_source_and_image(tmp_path, monkeypatch):
    monkeypatch.setattr(index, "ROW_GROUP", 2)
    table = images_table(author=["", "", "", 7])
    with pytest.raises(SourceError, match=r"source s: the author of 3\.jpg is 7, not text"):
        index._write_parquet(tmp_path / "images.parquet", table)


def test_photos_of_countries_without_a_class_are_counted(street, tmp_path, caplog):
    """All of them is a warning: the test set is empty."""
    caplog.set_level("INFO")
    for name, rows in (
        ("some", "a.jpg,48.8,2.3\nb.jpg,64.1,-21.9\nc.jpg,-1.3,36.8\nd.jpg,64.2,-21.8\n"),
        ("none", "a.jpg,64.1,-21.9\n"),
    ):
        (tmp_path / name).mkdir()
        for row in rows.split():
            (tmp_path / name / row.split(",")[0]).touch()
        (tmp_path / name / "t.csv").write_text("file,latitude,longitude\n" + rows)
    images, *_ = build(
        [
            street,
            *(
                Source(name, name, "coordinates_table", tmp_path / name, ".", "t.csv", "file")
                for name in ("some", "none")
            ),
        ]
    )
    assert images[images.collection != "street"].image_id.tolist() == ["some/a.jpg"]
    told = {r.levelname: r.getMessage() for r in caplog.records if "skipped" in r.getMessage()}
    assert told == {
        "INFO": "some: 3 of 4 images are skipped: they are of 2 countries that are no classes, "
        "most of IS",
        "WARNING": "none: 1 of 1 images are skipped: they are of 1 countries that are no classes, "
        "most of IS",
    }
