"""Laws of the index on tables, without files: who counts, in which order, under which names."""

from __future__ import annotations

import pandas as pd
import pytest

from geoloc.corpus import index
from geoloc.corpus.index import (
    assign_shards,
    assign_splits,
    kept_countries,
    shard_table,
    summarize_countries,
    write_index,
)
from geoloc.corpus.index_tables import kept_classes, majority_country
from geoloc.corpus.sources import SourceError
from geoloc.corpus.split import split_names

RATIO = (0.5, 0.25, 0.25)


def images(*groups: tuple[str, str, int], **columns) -> pd.DataFrame:
    """Rows of (collection, country, number of images), named by their place in the group."""
    rows = [
        {"image_id": f"s/{country}/{number}.jpg", "source": "s", "collection": collection,
         "path": f"{country}/{number}.jpg", "latitude": float("nan"), "longitude": float("nan"),
         "country": country, "author": ""}
        for collection, country, count in groups for number in range(count)
    ]  # fmt: skip
    return pd.DataFrame(rows).assign(**columns)


def countries_csv(path, rows: str):
    path.write_text("country,name,images,train,val,test,kept\n" + rows)
    return path


def test_street_images_alone_make_a_country_and_the_limit_is_enough():
    table = images(("street", "FR", 4), ("street", "DE", 3), ("far", "DE", 9), ("street", "NA", 5))
    assert kept_countries(table, 4) == ["FR", "NA"]
    assert kept_countries(table, 3) == ["DE", "FR", "NA"]
    with pytest.raises(SourceError, match="^1 countries have at least 5 street images"):
        kept_countries(table, 5)


def test_the_majority_is_that_of_the_training_images_of_kept_countries(tmp_path):
    path = countries_csv(
        tmp_path / "c.csv",
        "FR,x,90,5,3,50,True\nNA,x,20,8,1,11,True\nDE,x,9,8,1,0,True\nJP,x,99,99,0,0,False\n",
    )
    assert majority_country(path) == "DE"  # of equal ones the first code
    assert kept_classes(path) == ["DE", "FR", "NA"]


def test_splits_follow_seed_and_ratio_by_country_and_test_sets_are_tested_on():
    table = images(("street", "FR", 12), ("street", "NA", 8), ("far", "FR", 5))
    found = assign_splits(table, 3, RATIO)
    for country, count in (("FR", 12), ("NA", 8)):
        rows = table[(table.country == country) & (table.collection == "street")]
        names = [f"{number}.jpg" for number in range(count)]
        expected = split_names(names, 3, RATIO)
        assert found[rows.index].tolist() == [expected[name] for name in names]
        assert found[rows.index].value_counts().to_dict() == {
            "train": count // 2,
            "val": count // 4,
            "test": count // 4,
        }
    assert set(found[table.collection == "far"]) == {"test"}
    assert assign_splits(table, 4, RATIO).tolist() != found.tolist()


def test_a_split_by_place_is_of_images_with_coordinates_and_follows_the_seed():
    known = images(("street", "FR", 40))
    known["latitude"] = [float(number % 20) for number in range(40)]
    known["longitude"] = 1.0
    table = pd.concat([known, images(("street", "NA", 8))], ignore_index=True)
    found = assign_splits(table, 3, RATIO, place_km=5)
    located = table.latitude.notna()
    assert (found[located].groupby(table.latitude[located]).nunique() == 1).all()
    assert found[located].value_counts().to_dict() == {"train": 20, "val": 10, "test": 10}
    assert found[~located].tolist() == assign_splits(table, 3, RATIO)[~located].tolist()
    assert assign_splits(table, 4, RATIO, 5)[located].tolist() != found[located].tolist()
    assert assign_splits(table, 3, RATIO, 1e6)[located].nunique() == 1


def test_names_must_be_unique_to_be_split():
    with pytest.raises(ValueError, match="must be unique"):
        split_names(["a.jpg", "a.jpg"], 1, RATIO)


def test_shards_are_by_collection_and_country_in_the_order_of_the_images():
    table = images(("street", "FR", 5), ("far", "FR", 2), ("street", "NA", 1))
    found = assign_shards(table, 2)
    assert found.tolist() == ["0000", "0000", "0001", "0001", "0002", "0000", "0000", "0000"]


def test_every_country_with_street_images_has_a_row_with_its_counts():
    table = images(("street", "NA", 2), ("street", "FR", 3), ("far", "FR", 4))
    table["split"] = ["train", "test", "train", "train", "val", *["test"] * 4]
    counts = pd.Series({"NA": 2, "FR": 3, "IS": 1})
    found = summarize_countries(table, counts, ["FR", "NA"])
    assert found.columns.tolist() == ["country", "name", "images", "train", "val", "test", "kept"]
    assert found.to_numpy().tolist() == [
        ["FR", "France", 3, 2, 1, 0, True],
        ["IS", "Iceland", 1, 0, 0, 0, False],
        ["NA", "Namibia", 2, 1, 0, 1, True],
    ]
    assert found[["images", "train", "val", "test"]].dtypes.eq("int64").all()


def test_a_shard_names_its_sources_once_and_sorted():
    table = images(("street", "FR", 3), source=["z", "a", "z"])
    table["shard"] = ["0000", "0000", "0000"]
    (row,) = shard_table(table, ["12ab"]).to_numpy().tolist()
    assert row == ["street", "FR", "0000", 3, "a z", "12ab"]


def test_files_of_the_index_have_their_names_and_columns(tmp_path):
    table = images(("street", "FR", 2), split="train", shard="0000")[index.INDEX_COLUMNS]
    countries = summarize_countries(table, pd.Series({"FR": 2}), ["FR"])
    rejected = pd.DataFrame([("s", "x.jpg", "no place")], columns=index.REJECTED_COLUMNS)
    listing = pd.DataFrame([("s", "read", 2, "FR/0.jpg")], columns=index.LISTING_COLUMNS)
    write_index(tmp_path, table, countries, rejected, listing)
    first = {
        path.relative_to(tmp_path).as_posix(): path.read_text().splitlines()[0]
        for path in tmp_path.rglob("*.csv")
    }
    assert first == {
        "countries.csv": "country,name,images,train,val,test,kept",
        "rejected.csv": "source,path,reason",
        "listing.csv": "source,kind,files,examples",
        "shards.csv": "collection,country,shard,images,sources,sha256",
        "shards/street/FR/0000.csv": "image_id,source,path,latitude,longitude,country,split",
    }
    assert pd.read_parquet(tmp_path / "images.parquet").columns.tolist() == [
        "image_id", "source", "collection", "path", "latitude", "longitude", "country", "author",
        "split", "shard",
    ]  # fmt: skip


def test_countries_without_images_of_a_split_are_named(caplog):
    table = images(("street", "FR", 3), ("street", "NA", 3), ("far", "NA", 3))
    table["split"] = ["train", "val", "test", "train", "train", "test", "val", "val", "val"]
    index._warn_of_missing_splits(table)
    (message,) = caplog.messages
    assert message.startswith("NA: too few places for all three splits")
