"""Real photographs of all kinds through every stage."""

from __future__ import annotations

import shutil

import pandas as pd
import pytest
import yaml

from geoloc.images import decode
from geoloc.stores import read_images, read_scores, read_segments
from tests.conftest import ROOT
from tests.workflow.test_workflow import make_workdir, run_snakemake


@pytest.fixture(scope="module")
def photos(reference, tmp_path_factory):
    folder = make_workdir(tmp_path_factory.mktemp("photos"))
    config = yaml.safe_load((ROOT / "tests/reference/photos.yaml").read_text())
    config["sources"]["photos"]["path"] = str(reference / "photos")
    # Files of their own: two sources may not share any.
    config["test_sets"]["im2gps3k"]["path"] = "photographs"
    (folder / "photographs").mkdir()
    for path in (reference / "photos").iterdir():
        shutil.copyfile(path, folder / "photographs" / path.name)
    (folder / "photos.yaml").write_text(yaml.safe_dump(config))
    results = ("table1.csv", "leakage.csv", "quarantine.csv")
    targets = [f"results/photos/{name}" for name in results]
    run_snakemake(folder, "--configfile", "photos.yaml", "--", *targets)
    return folder / "results/photos"


def test_countries_are_those_of_the_photographers(photos, reference):
    index = pd.read_parquet(photos / "index/images.parquet").set_index("path")
    table = pd.read_csv(reference / "photos/photos.csv", keep_default_na=False).set_index("file")
    assert (index.country == table.country_iso2[index.index]).all()
    countries = pd.read_csv(photos / "index/countries.csv", keep_default_na=False)
    assert countries.images.sum() == len(table) == 31


def test_every_photograph_of_a_kept_country_is_packed_masked_and_predicted(photos):
    index = pd.read_parquet(photos / "index/images.parquet")
    assert pd.read_csv(photos / "quarantine.csv").empty
    street = index[index.collection == "street"]
    paths = photos.glob("scores/*/*/*.h5")
    masked = [image_id for path in paths for image_id, _ in read_scores(path)]
    assert sorted(masked) == sorted(street.image_id)
    for path in (photos / "predictions").glob("*/*/*.parquet"):
        frame = pd.read_parquet(path)
        counts = frame.test_set.value_counts()
        assert counts["original"] == counts["weighted_base"] == (street.split == "test").sum()
        assert counts["im2gps3k"] == (index.collection == "im2gps3k").sum()


def test_street_photographs_are_squares_and_test_sets_are_whole(photos, reference):
    table = pd.read_csv(reference / "photos/photos.csv").set_index("file")
    for path in photos.glob("images/street/*/*.h5"):
        assert all(decode(data).shape == (640, 640, 3) for _, data in read_images(path))
    for path in photos.glob("images/im2gps3k/*/*.h5"):
        for image_id, data in read_images(path):
            row = table.loc[image_id.partition("/")[2]]
            height, width, _ = decode(data).shape
            assert {height, width} == {row.height, row.width}, image_id


def test_training_photographs_are_found_among_those_of_the_test_set(photos):
    """They are the same files, cropped there and whole here."""
    index = pd.read_parquet(photos / "index/images.parquet")
    train = set(index[index.split == "train"].path)
    table = pd.read_csv(photos / "leakage.csv").set_index("image_id")
    same = table[[name.removeprefix("im2gps3k/") in train for name in table.index]]
    assert len(same) == len(train) >= 4
    names = same.index.str.removeprefix("im2gps3k/")
    assert same.nearest_image.tolist() == ("photos/" + names).tolist()
    assert same.bits.max() <= 6
    assert not same.mirrored.any()


def test_masks_are_found_in_photographs(photos):
    masks = [len(s) for path in photos.glob("segments/*/*/*.h5") for s in read_segments(path)]
    assert sum(masks) > 0
