"""Table 1: its form, its order, the published values and the comparison with them."""

import copy
import re

import numpy as np
import pandas as pd
import pytest
import yaml

from geoloc.config import check_config, load_schema
from geoloc.evaluation.predictions import predictions_frame
from geoloc.evaluation.study import study_titles
from geoloc.evaluation.table1 import (
    baselines,
    compare,
    format_table,
    published,
    read_table1,
    table1,
    table1_seeds,
)
from geoloc.matrix import (
    columns,
    dataset_titles,
    model_titles,
    rows,
    street_test_sets,
    titles_of_test_sets,
    used_scores,
)
from tests.conftest import ROOT

SCHEMA = load_schema(ROOT / "config/config.schema.yaml")
STUDY = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))
check_config(STUDY, SCHEMA)
COLUMNS = columns(STUDY)
HEADER = (
    "Model,Trained On,Original Test Accuracy,Weighted Base Test Accuracy,"
    "Weighted Custom Test Accuracy,Im2GPS-3k-modified Accuracy"
)
TEST_SETS = tuple(COLUMNS)
FURTHER = COLUMNS | {"im2gps": "Im2GPS Accuracy", "yfcc25600": "YFCC 25,600 Accuracy"}
TITLES = study_titles(STUDY, SCHEMA)


def make_frame(correct, n=8, test_sets=TEST_SETS):
    """Predictions of which `correct` of n are right in each test set; every other label is US."""
    label = np.array(["US", "NA"] * (n // 2))
    answer = np.where(np.arange(n) < correct, label, np.where(label == "US", "NA", "US"))
    probabilities = np.stack([answer == "NA", answer == "US"], axis=1)
    ids, source, nowhere = [str(row) for row in range(n)], ["s"] * n, [0.0] * n
    return pd.concat(
        predictions_frame(
            probabilities, ["NA", "US"], ids, source, label, nowhere, nowhere, test_set
        )
        for test_set in test_sets
    )


def seven_rows(seed="1", **options):
    models, datasets = model_titles(STUDY), dataset_titles(STUDY)
    return [
        (models[row.model], datasets[row.dataset], seed, make_frame(correct, **options))
        for correct, row in enumerate(rows(STUDY))
    ]


def test_header_and_order_are_the_published_ones(tmp_path):
    table = table1(reversed(seven_rows()), COLUMNS)
    table.to_csv(tmp_path / "table1.csv", index=False)
    lines = (tmp_path / "table1.csv").read_text().splitlines()
    assert lines[0] == HEADER
    assert lines[1] == "Convolutional Neural Network,Original,0.00,0.00,0.00,0.00"
    assert lines[7] == "StreetCLIP,Default,75.00,75.00,75.00,75.00"
    keys = ["Model", "Trained On"]
    assert table[keys].equals(published()[keys])


def test_percent_has_two_decimals():
    table = table1([("A", "B", "1", make_frame(1, n=6))], COLUMNS)
    assert set(table.iloc[0, 2:]) == {"16.67"}


def test_models_that_the_study_lacks_come_last():
    extra = ("Contrastive", "Original", "1", make_frame(1))
    table = table1([extra, *seven_rows()], COLUMNS)
    assert list(table["Model"])[-1] == "Contrastive"
    assert len(table) == 8


def test_a_row_given_twice_is_refused():
    with pytest.raises(ValueError, match="two rows for Transfer Learning / Original / 1"):
        table1([*seven_rows(), seven_rows()[3]], COLUMNS)


def test_a_test_set_without_images_leaves_its_cell_empty():
    table = table1([("A", "B", "1", make_frame(1, test_sets=TEST_SETS[:3]))], COLUMNS)
    assert table.iloc[0, -1] == ""


def test_published_values_of_the_abstract():
    table = published().set_index(["Model", "Trained On"])
    assert ",".join(published().columns) == HEADER
    assert table.loc[("StreetCLIP", "Default"), "Original Test Accuracy"] == "71.45"
    assert table.loc[("Convolutional Neural Network", "Weighted Custom")].tolist() == [
        "24.87",
        "14.95",
        "36.10",
        "10.90",
    ]


def test_comparison_has_a_line_for_each_published_cell(tmp_path):
    table1(seven_rows(), COLUMNS).to_csv(tmp_path / "t.csv", index=False)
    lines = compare(read_table1(tmp_path / "t.csv"), TITLES)
    assert len(lines) == 28
    first = lines[lines["Test Set"] == "Original Test Accuracy"].iloc[0]
    assert (first["Ours"], first["Published"], first["Difference"]) == (0.0, 40.99, -40.99)


def test_comparison_of_the_published_table_with_itself_is_zero():
    assert (compare(published(), TITLES)["Difference"] == 0).all()


def test_a_model_of_another_title_is_compared_with_its_published_one():
    """Also where its title is that of another published model."""
    cnn, transfer, _ = TITLES["Model"]
    renamed = {cnn: transfer, transfer: "ResNet50, frozen"}
    ours = published().replace({"Model": renamed})
    models = {transfer: cnn, "ResNet50, frozen": transfer, "StreetCLIP": "StreetCLIP"}
    titles = TITLES | {"Model": models}
    pd.testing.assert_frame_equal(compare(ours, titles), compare(published(), TITLES))


def test_a_model_without_a_published_counterpart_is_not_compared():
    models = {title: title for title in TITLES["Model"] if title != "StreetCLIP"}
    lines = compare(published(), TITLES | {"Model": models})
    assert set(lines["Model"]) == set(models)
    assert len(lines) == 24


def test_datasets_and_photos_are_compared_by_what_they_are_and_not_by_their_titles():
    """A dataset of one's own may have the title of one of the study that has been renamed."""
    config = copy.deepcopy(STUDY)
    config["datasets"]["original"]["title"] = "Plain"
    config["datasets"]["own"] = config["datasets"]["weighted_base"] | {
        "title": "Original", "fill": "blur"
    }  # fmt: skip
    config["test_sets"]["im2gps3k"]["title"] = "Flickr"
    renamed = {"Original": "Plain", "Original Test Accuracy": "Plain Test Accuracy"}
    renamed |= {"Im2GPS-3k-modified Accuracy": "Flickr Accuracy"}
    ours = published().replace({"Trained On": renamed}).rename(columns=renamed)
    own = ours.iloc[:1].assign(**{"Trained On": "Original"})
    ours = pd.concat([ours, own], ignore_index=True)
    ours["Original Test Accuracy"] = "99.00"
    found = compare(ours, study_titles(config, SCHEMA))
    pd.testing.assert_frame_equal(found, compare(published(), TITLES))


def test_further_columns_of_datasets_stand_after_the_published_ones_too():
    columns = {"dim": "Dim Test Accuracy", **COLUMNS}
    own = seven_rows(test_sets=[*TEST_SETS, "dim"])
    table = table1(own, columns)
    assert list(table.columns) == [*HEADER.split(","), "Dim Test Accuracy"]
    text = format_table(table, baselines(own[0][3], "US"), "United States", columns)
    assert text.splitlines()[1].split()[-2:] == ["Im2GPS-3k-modified", "Dim"]


def test_seeds_are_averaged_in_the_table_and_listed_in_one_of_their_own():
    both = [*seven_rows("1"), *((m, d, "2", make_frame(6)) for m, d, _, _ in seven_rows())]
    table = table1(both, COLUMNS)
    assert table.iloc[:2, 2].tolist() == ["37.50", "43.75"]  # 0 and 6, 1 and 6 of 8
    seeds = table1_seeds(both, COLUMNS)
    assert list(seeds.columns[:3]) == ["Model", "Trained On", "Seed"]
    assert len(seeds) == 14
    assert seeds.iloc[:2, 2:4].to_numpy().tolist() == [["1", "0.00"], ["2", "75.00"]]


def test_terminal_table_ends_with_the_majority_baseline_of_each_column():
    own = seven_rows()
    text = format_table(table1(own, COLUMNS), baselines(own[0][3], "US"), "United States", COLUMNS)
    last = text.splitlines()[-1]
    assert last.startswith("Majority baseline")
    assert last.split()[2:] == ["always", "United", "States"] + ["50.00"] * 4
    body = text.splitlines()[1:]
    assert len({len(line) for line in body}) == 1


def test_further_test_sets_have_columns_after_the_published_ones():
    """They are named as configured; the published columns keep their names."""
    own = seven_rows(test_sets=[*TEST_SETS, "im2gps"])
    table = table1(own, FURTHER)
    assert ",".join(table.columns[:6]) == HEADER
    assert list(table.columns[6:]) == ["Im2GPS Accuracy", "YFCC 25,600 Accuracy"]
    assert table["Im2GPS Accuracy"].tolist() == table["Original Test Accuracy"].tolist()
    assert set(table["YFCC 25,600 Accuracy"]) == {""}
    text = format_table(table, baselines(own[0][3], "US"), "United States", FURTHER)
    lines = text.splitlines()
    assert lines[1].endswith("Im2GPS-3k-modified  Im2GPS  YFCC 25,600")
    assert lines[-1].split()[2:] == ["always", "United", "States"] + ["50.00"] * 5


def test_the_rows_and_columns_are_those_of_the_configuration():
    config = {
        "seed": 4,
        "seeds": [1, 2],
        "models": {
            "small": {"kind": "cnn", "title": "Small", "datasets": ["dim"]},
            "given": {"kind": "clip", "title": "Given", "path": "given"},
            "own": {"kind": "clip", "title": "Own", "path": None},
        },
        "datasets": {
            "plain": {"title": None, "train": True, "column": True, "curve": "none"},
            "dim": {"title": "Dim", "train": False, "column": False, "curve": "linear",
                    "scores": "objects"},
        },
        "test_sets": {},
    }  # fmt: skip
    assert [row.path for row in rows(config)] == [
        "small/dim/1", "small/dim/2", "given/default/any", "own/default/1", "own/default/2",
    ]  # fmt: skip
    assert [row.path for row in rows(config, "image_text", trained=False)] == ["given/default/any"]
    assert columns(config) == {"plain": "plain Test Accuracy"}
    assert list(street_test_sets(config, "dim")) == ["plain", "dim"]
    assert list(street_test_sets(config)) == list(street_test_sets(config, "default")) == ["plain"]
    assert used_scores(*street_test_sets(config, "dim").values()) == ["objects"]
    config["models"]["small"]["datasets"] = config["seeds"] = None
    assert rows(config, "keras_models") == [("small", "plain", "4")]


def test_a_test_set_without_a_title_has_its_name_and_one_that_is_null_has_no_column():
    entries = {"a": {"title": "A b"}, "c": {"title": None}, "d": None}
    assert titles_of_test_sets({"test_sets": entries}) == {"a": "A b", "c": "c"}


def test_the_heads_of_columns_say_nothing_that_all_of_them_say():
    table = pd.DataFrame(columns=["Model", "Trained On", *COLUMNS.values()])
    head = format_table(table, {}, "France", COLUMNS).splitlines()[1]
    assert re.split("  +", head) == [
        "Model", "Trained On", "Original", "Weighted Base", "Weighted Custom", "Im2GPS-3k-modified"
    ]  # fmt: skip
