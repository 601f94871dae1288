"""Table 1: its form, its order, the published values and the comparison with them."""

import re

import numpy as np
import pandas as pd
import pytest

from geoloc.evaluation.predictions import predictions_frame
from geoloc.evaluation.table1 import (
    COLUMNS,
    DATASET_TITLES,
    PUBLISHED_TITLES,
    baselines,
    compare,
    format_table,
    published,
    read_table1,
    table1,
)
from geoloc.table_rows import (
    DATASETS,
    clip_rows,
    model_titles,
    table_rows,
    titles_of_test_sets,
)

HEADER = (
    "Model,Trained On,Original Test Accuracy,Weighted Base Test Accuracy,"
    "Weighted Custom Test Accuracy,Im2GPS-3k-modified Accuracy"
)
TEST_SETS = tuple(COLUMNS)
FURTHER = {"im2gps3k": "Im2GPS3k", "im2gps": "Im2GPS", "yfcc25600": "YFCC 25,600"}
ROWS = [
    *((model, data) for model in ("cnn", "transfer") for data in list(DATASET_TITLES)[:3]),
    ("clip", "default"),
]


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


def seven_rows(**options):
    return [
        (PUBLISHED_TITLES[model], DATASET_TITLES[dataset], make_frame(correct, **options))
        for correct, (model, dataset) in enumerate(ROWS)
    ]


def test_header_and_order_are_the_published_ones(tmp_path):
    table = table1(reversed(seven_rows()))
    table.to_csv(tmp_path / "table1.csv", index=False)
    lines = (tmp_path / "table1.csv").read_text().splitlines()
    assert lines[0] == HEADER
    assert lines[1] == "Convolutional Neural Network,Original,0.00,0.00,0.00,0.00"
    assert lines[7] == "StreetCLIP,Default,75.00,75.00,75.00,75.00"
    keys = ["Model", "Trained On"]
    assert table[keys].equals(published()[keys])


def test_percent_has_two_decimals():
    table = table1([("A", "B", make_frame(1, n=6))])
    assert set(table.iloc[0, 2:]) == {"16.67"}


def test_models_that_the_study_lacks_come_last():
    extra = ("Contrastive", "Original", make_frame(1))
    table = table1([extra, *seven_rows()])
    assert list(table["Model"])[-1] == "Contrastive"
    assert len(table) == 8


def test_a_row_given_twice_is_refused():
    with pytest.raises(ValueError, match="two rows for Transfer Learning / Original"):
        table1([*seven_rows(), seven_rows()[3]])


def test_a_test_set_without_images_leaves_its_cell_empty():
    table = table1([("A", "B", make_frame(1, test_sets=TEST_SETS[:3]))])
    assert table.iloc[0, -1] == ""


def test_published_values_of_the_abstract():
    table = published().set_index(["Model", "Trained On"])
    assert ",".join(published().columns) == HEADER
    assert table.loc[("StreetCLIP", "Default"), "Original Test Accuracy"] == "71.45"
    assert table.loc[("Convolutional Neural Network", "Weighted Custom")].tolist() == [
        "24.87", "14.95", "36.10", "10.90",
    ]  # fmt: skip


def test_comparison_has_a_line_for_each_published_cell(tmp_path):
    table1(seven_rows()).to_csv(tmp_path / "t.csv", index=False)
    lines = compare(read_table1(tmp_path / "t.csv"), PUBLISHED_TITLES)
    assert len(lines) == 28
    first = lines[lines["Test Set"] == "Original Test Accuracy"].iloc[0]
    assert (first["Ours"], first["Published"], first["Difference"]) == (0.0, 40.99, -40.99)


def test_comparison_of_the_published_table_with_itself_is_zero():
    assert (compare(published(), PUBLISHED_TITLES)["Difference"] == 0).all()


def test_a_model_of_another_title_is_compared_by_its_key():
    """Also where its title is that of another published model."""
    titles = PUBLISHED_TITLES | {"cnn": "Transfer Learning", "transfer": "ResNet50, frozen"}
    renamed = {PUBLISHED_TITLES[model]: title for model, title in titles.items()}
    ours = published().assign(Model=published()["Model"].map(renamed))
    pd.testing.assert_frame_equal(compare(ours, titles), compare(published(), PUBLISHED_TITLES))


def test_a_model_without_a_published_counterpart_is_not_compared():
    titles = {model: title for model, title in PUBLISHED_TITLES.items() if model != "clip"}
    lines = compare(published(), titles)
    assert set(lines["Model"]) == set(titles.values())
    assert len(lines) == 24


def test_terminal_table_ends_with_the_majority_baseline_of_each_column():
    rows = seven_rows()
    text = format_table(table1(rows), baselines(rows[0][2], "US"), "United States")
    last = text.splitlines()[-1]
    assert last.startswith("Majority baseline")
    assert last.split()[2:] == ["always", "United", "States"] + ["50.00"] * 4
    body = text.splitlines()[1:]
    assert len({len(line) for line in body}) == 1


def test_further_test_sets_have_columns_after_the_published_ones():
    """They are named as configured; the published columns keep their names."""
    rows = seven_rows(test_sets=[*TEST_SETS, "im2gps"])
    table = table1(rows, FURTHER)
    assert ",".join(table.columns[:6]) == HEADER
    assert list(table.columns[6:]) == ["Im2GPS Accuracy", "YFCC 25,600 Accuracy"]
    assert table["Im2GPS Accuracy"].tolist() == table["Original Test Accuracy"].tolist()
    assert set(table["YFCC 25,600 Accuracy"]) == {""}
    text = format_table(table, baselines(rows[0][2], "US"), "United States", FURTHER)
    lines = text.splitlines()
    assert lines[1].endswith("Im2GPS-3k-modified  Im2GPS  YFCC 25,600")
    assert lines[-1].split()[2:] == ["always", "United", "States"] + ["50.00"] * 5


def test_the_study_s_test_set_adds_no_column():
    assert list(table1(seven_rows(), {"im2gps3k": "any"}).columns) == HEADER.split(",")


def test_two_columns_of_one_title_are_refused():
    with pytest.raises(ValueError, match="have one title"):
        table1(seven_rows(), {"other": "Im2GPS-3k-modified"})


@pytest.mark.parametrize(
    ("path", "contrastive", "clips"),
    [
        ("given", None, []),
        (None, None, [("clip", "default")]),
        ("given", {"title": "C"}, [("contrastive", name) for name in DATASETS]),
        (None, {"title": "C"}, [("clip", "default"), *(("contrastive", d) for d in DATASETS)]),
    ],
)
def test_the_rows_are_those_of_the_study_and_of_every_clip_that_is_trained(
    path, contrastive, clips
):
    clip = {"title": "StreetCLIP", "path": path}
    config = {"models": {"cnn": {"title": "N"}, "clip": clip, "contrastive": contrastive}}
    assert clip_rows(config) == clips
    assert table_rows(config) == [*ROWS, *(row for row in clips if row not in ROWS)]
    titles = {"cnn": "N", "clip": "StreetCLIP"} | ({"contrastive": "C"} if contrastive else {})
    assert model_titles(config) == titles


def test_a_test_set_without_a_title_has_its_name_and_one_that_is_null_has_no_column():
    entries = {"a": {"title": "A b"}, "c": {"title": None}, "d": None}
    assert titles_of_test_sets({"test_sets": entries}) == {"a": "A b", "c": "c"}


def test_the_heads_of_columns_say_nothing_that_all_of_them_say():
    table = pd.DataFrame(columns=["Model", "Trained On", *COLUMNS.values()])
    head = format_table(table, {}, "France").splitlines()[1]
    assert re.split("  +", head) == [
        "Model", "Trained On", "Original", "Weighted Base", "Weighted Custom", "Im2GPS-3k-modified"
    ]  # fmt: skip
