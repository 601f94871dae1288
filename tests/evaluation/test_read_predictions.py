"""Predictions are read back whole: columns, countries, shares, and the same images for all."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from geoloc.errors import FileError
from geoloc.evaluation.predictions import predictions_frame, write_table
from geoloc.evaluation.read_predictions import TYPES, check_index, read_predictions
from geoloc.matrix import Row

CLASSES = ["BR", "FI", "FR", "GB", "JP", "NA", "US"]
STREET = ["original", "weighted_base", "weighted_custom"]


def predictions(seed=0, classes=CLASSES, n=6, first_label=0) -> pd.DataFrame:
    """Of n street images, seen in three ways, and of n photographs of a test set."""
    rng = np.random.default_rng(seed)
    frames = []
    for test_set in [*STREET, "im2gps3k"]:
        source = test_set if test_set == "im2gps3k" else "street"
        label = [classes[(first_label + i) % len(classes)] for i in range(n)]
        places = [float(i) for i in range(n)] if source == "im2gps3k" else [np.nan] * n
        frames.append(
            predictions_frame(
                rng.dirichlet(np.ones(len(classes)), n), classes,
                [f"{source}/{i}.jpg" for i in range(n)], [source] * n, label, places, places,
                test_set,
            )
        )  # fmt: skip
    return pd.concat(frames, ignore_index=True)


def index_of(table: pd.DataFrame) -> pd.DataFrame:
    images = table.drop_duplicates("image_id").rename(columns={"label": "country"})
    collection = np.where(images.test_set == "im2gps3k", "im2gps3k", "street")
    return images.assign(collection=collection, split="test")


def write(path: Path, table: pd.DataFrame) -> Path:
    table.to_parquet(path, index=False)
    return path


def read(*paths: Path, classes=CLASSES) -> list[pd.DataFrame]:
    return read_predictions(paths, classes, [STREET] * len(paths), ["im2gps3k"])


def test_columns_are_those_that_predictions_have():
    assert list(predictions().columns) == list(TYPES)


@given(st.integers(2, 9), st.integers(0, 99))
def test_what_models_predict_is_read_as_it_was_written(tmp_path_factory, k, seed):
    classes = [*CLASSES, "ZA", "ZM"][:k]
    folder = tmp_path_factory.mktemp("p")
    tables = [predictions(seed + model, classes) for model in (0, 1)]
    paths = [write(folder / f"{model}.parquet", table) for model, table in enumerate(tables)]
    for table, found in zip(tables, read(*paths, classes=classes), strict=True):
        pd.testing.assert_frame_equal(found, table)


def test_the_order_of_images_is_each_model_s_own(tmp_path):
    other = predictions(1).sample(frac=1, random_state=0)
    paths = [write(tmp_path / "a.parquet", predictions()), write(tmp_path / "b.parquet", other)]
    assert len(read(*paths)) == 2


def test_the_predictions_of_another_row_are_refused(tmp_path):
    folder = tmp_path / "predictions/cnn"
    for dataset in ("original", "weighted_base"):
        (folder / dataset).mkdir(parents=True)
        write_table(folder / dataset / "42.parquet", predictions(), Row("cnn", dataset, "42"))
    own = folder / "original/42.parquet"
    assert len(read(own)) == 1
    (folder / "weighted_base/42.parquet").replace(own)
    message = f"{own}: it holds the predictions of cnn/weighted_base/42; delete {own} and run"
    with pytest.raises(ValueError, match=message):
        read(own)


@pytest.mark.parametrize("attributes", [b"[1]", b"3", b"{"])
def test_a_table_with_damaged_attributes_is_refused(tmp_path, attributes):
    table = pa.Table.from_pandas(predictions(), preserve_index=False)
    table = table.replace_schema_metadata({**table.schema.metadata, b"PANDAS_ATTRS": attributes})
    parquet.write_table(table, tmp_path / "p.parquet")
    with pytest.raises(FileError, match=r"p\.parquet is damaged .* run snakemake again"):
        read(tmp_path / "p.parquet")


def put(column: str, value, row: int = 3) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(table: pd.DataFrame) -> pd.DataFrame:
        table.loc[row, column] = value
        return table

    return change


def swap_best(table: pd.DataFrame) -> pd.DataFrame:
    names = ["probability_1", "probability_2"]
    table.loc[3, names] = table.loc[3, names[::-1]].to_numpy()
    return table


CHANGES = {
    "a column less": (lambda t: t.drop(columns="source"), r"other columns .*\(source\)"),
    "a column more": (lambda t: t.assign(note="x"), r"other columns .*\(note\)"),
    "columns moved": (lambda t: t[t.columns[::-1]], r"other columns .*\(their order\)"),
    "another type": (lambda t: t.astype({"probability_1": "float64"}), r"\(probability_1\)"),
    "numbers as text": (lambda t: t.astype({"latitude": str}), r"\(latitude\)"),
    "no rows": (lambda t: t.iloc[:0].astype(t.dtypes), "other columns|no predictions"),
    "Namibia lost": (lambda t: t.replace("NA", None), "no label in 4 rows"),
    "no answer": (put("country_1", None), "no country_1 in 1 rows"),
    "no third answer": (put("country_3", None), "no country_3 in 1 rows"),
    "unknown answer": (put("country_2", "SE"), "unknown country_2 SE"),
    "unknown label": (put("label", "SE"), "unknown label SE"),
    "unknown test set": (put("test_set", "im2gps"), "unknown test_set im2gps"),
    "an image twice": (lambda t: pd.concat([t, t.iloc[[3]]]), r"street/3\.jpg \(original\) twice"),
    "an image less": (lambda t: t.drop(3), r"street/3\.jpg is not in all of original"),
    "a view less": (lambda t: t[t.test_set != "weighted_base"], "is not in all of"),
    "NaN": (put("probability_1", np.nan), r"street/3\.jpg \(original\) is not a share of 1"),
    "NaN below": (put("probability_5", np.nan), "is not a share of 1"),
    "NaN of the label": (put("label_probability", np.nan), "is not a share of 1"),
    "in percent": (put("probability_1", 45.0), "is not a share of 1"),
    "negative": (put("probability_5", -0.1), "is not a share of 1"),
    "rising": (swap_best, r"street/3\.jpg \(original\) rises"),
    "too much": (put([f"probability_{r}" for r in (1, 2, 3)], 0.4), "adds up to more than 1"),
    "one country twice": (
        lambda t: put("country_2", t.loc[3, "country_1"])(t),
        "names a country twice",
    ),
    "another label's": (put("label_probability", 0.99), "is not that of the label"),
    "no latitude": (put("latitude", np.nan, 20), r"im2gps3k/2\.jpg \(im2gps3k\) has no such place"),
    "beyond the pole": (put("latitude", 90.5, 20), "has no such place"),
}


@pytest.mark.parametrize(("change", "fault"), CHANGES.values(), ids=CHANGES)
def test_what_no_model_predicts_is_refused(change, fault, tmp_path):
    path = write(tmp_path / "p.parquet", change(predictions()))
    with pytest.raises((OSError, ValueError), match=rf"{path}.*{fault}.*; delete {path} and run"):
        read(path)


def test_probabilities_of_few_countries_add_up_to_one(tmp_path):
    table = predictions(classes=CLASSES[:4])
    few = write(tmp_path / "few.parquet", put("probability_4", 0.0)(table))
    with pytest.raises(ValueError, match="adds up to less than 1|is not that of the label"):
        read(few, classes=CLASSES[:4])
    more = write(tmp_path / "more.parquet", predictions())
    with pytest.raises(ValueError, match=r"unknown (label|country_1)"):
        read(more, classes=CLASSES[:4])


@pytest.mark.parametrize("length", [0, 40, 3000])
def test_a_damaged_file_is_named(length, tmp_path):
    path = write(tmp_path / "p.parquet", predictions())
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(OSError, match=rf"{path} is damaged or no Parquet file"):
        read(path)


OTHERS = {
    "an image less": (
        lambda t: t[t.image_id != "street/5.jpg"],
        r"images: street/5\.jpg .*is only in .*a\.p",
    ),
    "other images": (lambda t: t.replace({"im2gps3k/5.jpg": "im2gps3k/6.jpg"}), "one of 2, is"),
    "a test set less": (lambda t: t[t.test_set != "im2gps3k"], "one of 6, is only in"),
    "another source": (put("source", "other"), "differ in the source"),
    "another place": (put("latitude", 3.5, 20), "differ in the latitude"),
}


@pytest.mark.parametrize(("change", "fault"), OTHERS.values(), ids=OTHERS)
def test_models_that_were_shown_other_images_are_refused(change, fault, tmp_path):
    paths = [
        write(tmp_path / "a.parquet", predictions()),
        write(tmp_path / "b.parquet", change(predictions(1))),
    ]
    both = f"delete {paths[0]} and {paths[1]} and run"
    with pytest.raises(ValueError, match=rf"{paths[1]} and {paths[0]}.*{fault}.*{both}"):
        read(*paths)


def test_a_row_may_be_tested_on_a_dataset_of_its_own(tmp_path):
    own = predictions(1)
    extra = own[own.test_set == "original"].assign(test_set="inverted")
    paths = [
        write(tmp_path / "a.parquet", predictions()),
        write(tmp_path / "b.parquet", pd.concat([own, extra])),
    ]
    datasets = [STREET, [*STREET, "inverted"]]
    assert len(read_predictions(paths, CLASSES, datasets, ["im2gps3k"])) == 2
    with pytest.raises(ValueError, match="unknown test_set inverted"):
        read(*paths)


def test_models_that_were_given_other_labels_are_refused(tmp_path):
    tables = predictions(), predictions(1, first_label=2)
    paths = [write(tmp_path / f"{i}.parquet", table) for i, table in enumerate(tables)]
    with pytest.raises(ValueError, match="differ in the label"):
        read(*paths)


def test_predictions_are_of_the_test_images_of_the_index():
    table = predictions()
    index = index_of(table)
    assert check_index(table, "p.parquet", index) == 0
    more = pd.concat([index, index.head(2).assign(image_id=["street/a", "street/b"])])
    training = index.head(2).assign(image_id=["street/c", "street/d"], split="train")
    assert check_index(table, "p.parquet", pd.concat([more, training])) == 2


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("image_id", "street/7.jpg"),
        ("split", "train"),
        ("country", "SE"),
        ("source", "other"),
        ("collection", "im2gps3k"),
        ("latitude", 1.0),
    ],
)
def test_predictions_of_another_index_are_refused(column, value):
    table = predictions()
    index = index_of(table).reset_index(drop=True)
    index.loc[3, column] = value
    with pytest.raises(
        ValueError, match=r"^p\.parquet: 1 images are not .*, such as street/3\.jpg"
    ):
        check_index(table, "p.parquet", index)


def of_places(outside: int = 0) -> pd.DataFrame:
    """Predictions of a model of places, the first `outside` of which are in none of the classes."""
    rng = np.random.default_rng(0)
    frames = []
    for test_set in STREET:
        shares = 0.9 * rng.dirichlet(np.ones(7), 6)
        shares[:, 2:] = 0  # so that no third country is named
        shares[:outside] = 0
        frames.append(
            predictions_frame(
                shares, CLASSES, [f"street/{i}.jpg" for i in range(6)], ["street"] * 6,
                CLASSES[:6], [1.0] * 6, [2.0] * 6, test_set, places=rng.uniform(-90, 90, (6, 2)),
            )
        )  # fmt: skip
    return pd.concat(frames, ignore_index=True)


@pytest.mark.parametrize("outside", [0, 2, 6])
def test_a_model_of_places_may_leave_probability_and_images_without_a_country(outside, tmp_path):
    table = of_places(outside)
    (found,) = read(write(tmp_path / "p.parquet", table))
    pd.testing.assert_frame_equal(found, table)
    assert found.country_1.isna().sum() == 3 * outside


PLACE_CHANGES = {
    "no place": (put(["predicted_latitude", "predicted_longitude"], np.nan), "no country_3 in 1"),
    "no named place": (
        lambda t: put(["predicted_latitude", "predicted_longitude"], np.nan)(
            put([f"country_{r}" for r in (3, 4, 5)], CLASSES[2:5])(t)
        ),
        r"street/3\.jpg \(original\) has no predicted place, but others have",
    ),
    "half a place": (put("predicted_latitude", np.nan), "no country_3|predicted to be at no such"),
    "beyond the pole": (put("predicted_latitude", 91.0), "is predicted to be at no such place"),
    "a country without": (put("country_3", "GB"), "is 0, but names a country"),
    "no answer": (put("country_1", None), "no country_1 in 1 rows"),
}


@pytest.mark.parametrize(("change", "fault"), PLACE_CHANGES.values(), ids=PLACE_CHANGES)
def test_what_no_model_of_places_predicts_is_refused(change, fault, tmp_path):
    path = write(tmp_path / "p.parquet", change(of_places()))
    with pytest.raises(ValueError, match=rf"{path}.*{fault}.*; delete {path} and run"):
        read(path)


def test_answers_in_no_country_of_the_run_are_counted(tmp_path, caplog):
    """They are wrong, whatever the place."""
    table, row = predictions(), Row("places", "default", "any")
    write_table(tmp_path / "p.parquet", table, row)
    assert not caplog.records
    for count, told in ((1, "1 of 24 answers are places in none of"), (24, "24 of 24 .*swapped")):
        table.loc[: count - 1, "country_1"] = None
        write_table(tmp_path / "p.parquet", table, row)
        assert re.search(told, caplog.text)
    assert caplog.text.count("swapped") == 1
