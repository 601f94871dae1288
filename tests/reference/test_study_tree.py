"""The index at the study's full size, and what the public listing of its validation split says."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from bench.listing import STREETVIEW_IMAGES, possible_sizes, read_listing
from bench.study_tree import lay_out, listed_sizes
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from geoloc.corpus.index import Tables, build_index
from geoloc.corpus.sources import configured_sources
from geoloc.corpus.split import split_names
from geoloc.countries.names import country_of_name
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def index(reference, tmp_path_factory) -> Tables:
    """Images, countries and rejected of the index of the study's tree, by its configuration."""
    folder = tmp_path_factory.mktemp("study")
    lay_out(reference / "data", folder)
    config = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    for entry in (config["sources"] | config["test_sets"]).values():
        entry["path"] = str(folder / entry["path"])
    settings = config["index"]
    return build_index(
        configured_sources(config),
        min_images=settings["min_images"],
        shard_size=settings["shard_size"],
        seed=config["seed"],
        ratio=settings["split"],
        max_rejected=settings["max_rejected"],
    )


def test_the_index_has_the_studys_counts(index):
    images, countries, rejected, listing = index
    street = images[images.collection == "street"]
    assert len(street) == 73_867
    assert countries.kept.sum() == street.country.nunique() == 73
    assert (images.collection == "im2gps3k").sum() == 2504
    assert rejected.empty
    assert set(listing.kind) <= {"read", "not an image"}
    published = {"train": 59_070, "val": 7_354, "test": 7_443}
    split = street.split.value_counts()
    assert all(abs(split[name] - count) < 73 for name, count in published.items())


def test_namibia_is_reported_and_not_kept(index):
    row = index[1].set_index("country").loc["NA"]
    assert (row["name"], row.images, row.kept) == ("Namibia", 11, False)
    assert index[1].loc[~index[1].kept, "images"].sum() == 1348 + 11


def test_seed_42_gives_the_listed_validation_names(index, reference):
    images = index[0].query("collection == 'street' and split == 'val'")
    found = {
        country: {Path(p).name for p in group.path} for country, group in images.groupby("country")
    }
    listing = read_listing(reference / "data/kaggle_listing_val.txt")
    cut_off = set(listing.pop("Hungary"))
    assert len(listing) == 46
    assert {
        country_of_name(name)
        for name in listing
        if set(listing[name]) != found[country_of_name(name)]
    } == set()
    assert cut_off < found["HU"]


def test_the_listing_allows_seed_42_and_few_sizes(reference):
    names = read_listing(reference / "data/kaggle_listing_val.txt")
    assert possible_sizes(names["United States"]) == [14_996]
    assert possible_sizes(names["South Korea"]) == [649]
    for seed in range(10):
        assert not possible_sizes(names["South Korea"], seed)
    sizes = listed_sizes(reference / "data")
    assert len(sizes) == 46
    assert all(size in possible_sizes(names[name]) for name, size in sizes.items())


@settings(max_examples=30)
@given(
    st.sets(st.integers(0, STREETVIEW_IMAGES - 1), max_size=90),
    st.sets(st.integers(1_629_000_000, 1_629_000_200), max_size=90),
    st.integers(0, 50),
)
def test_the_true_size_is_always_possible(numbers, canvases, seed):
    names = [f"{n}.png" for n in numbers] + [f"canvas_{n}.jpg" for n in canvases]
    assume(len(names) >= 10)
    split = split_names(names, seed, (0.8, 0.1, 0.1))
    listed = sorted(name for name in names if split[name] == "val")
    assert len(names) in possible_sizes(listed, seed)
