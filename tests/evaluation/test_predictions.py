"""The table of predictions: order, ties, few countries, unknown labels."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from geoloc.evaluation.predictions import frames_of_test_sets, predictions_frame

CLASSES = ["BR", "FI", "FR", "GB", "JP", "NA", "US"]


def make_frame(probabilities, label, classes=CLASSES, test_set="original"):
    n = len(label)
    ids = [f"{row}.png" for row in range(n)]
    return predictions_frame(
        probabilities, classes, ids, ["s"] * n, label, [1.5] * n, [np.nan] * n, test_set
    )


@given(arrays(np.float32, (4, 7), elements=st.floats(0, 1, width=32)))
def test_best_five_descend_and_belong_to_their_countries(probabilities):
    frame = make_frame(probabilities, ["BR", "NA", "US", "NA"])
    shown = frame[[f"probability_{rank}" for rank in range(1, 6)]].to_numpy()
    assert np.array_equal(shown, -np.sort(-probabilities, axis=1)[:, :5])
    for rank in range(1, 6):
        columns = [CLASSES.index(country) for country in frame[f"country_{rank}"]]
        assert np.array_equal(probabilities[np.arange(4), columns], frame[f"probability_{rank}"])
    assert np.array_equal(frame["label_probability"], probabilities[np.arange(4), [0, 5, 6, 5]])


def test_equal_probabilities_rank_in_order_of_classes():
    frame = make_frame(np.full((1, 7), 1 / 7, np.float32), ["US"])
    assert list(frame.loc[0, "country_1":"country_5"]) == CLASSES[:5]


def test_fewer_countries_than_five_leave_columns_empty(tmp_path):
    frame = make_frame(np.array([[0.2, 0.8]]), ["FI"], classes=["BR", "FI"])
    frame.to_parquet(tmp_path / "p.parquet")
    frame = pd.read_parquet(tmp_path / "p.parquet")
    assert frame.loc[0, "country_1"] == "FI"
    assert frame.loc[0, "country_3":"country_5"].isna().all()
    assert frame.loc[0, "probability_3":"probability_5"].isna().all()


def test_namibia_survives_the_file(tmp_path):
    frame = make_frame(np.eye(7)[[5]], ["NA"])
    frame.to_parquet(tmp_path / "p.parquet")
    again = pd.read_parquet(tmp_path / "p.parquet")
    assert again.loc[0, "label"] == again.loc[0, "country_1"] == "NA"


def test_columns_do_not_depend_on_the_number_of_images():
    """Nor do their types, by which the tables of all test sets are joined."""
    empty, one = make_frame(np.zeros((0, 7)), []), make_frame(np.eye(7)[:1], ["BR"])
    assert empty.dtypes.to_dict() == one.dtypes.to_dict()


def test_label_outside_the_classes_is_refused():
    with pytest.raises(ValueError, match="SE"):
        make_frame(np.eye(7)[:2], ["BR", "SE"])


@pytest.mark.parametrize(
    ("probabilities", "classes"),
    [
        (np.zeros((2, 6)), CLASSES),
        (np.zeros((2, 7)), ["BR"] * 7),
    ],
)
def test_what_does_not_fit_together_is_refused(probabilities, classes):
    with pytest.raises(ValueError, match="shape|repeat"):
        make_frame(probabilities, ["BR", "BR"], classes)


def test_each_test_set_has_the_predictions_of_its_own_images():
    source = ["yfcc25600", "im2gps3k", "yfcc25600"]
    columns = (["a", "b", "c"], source, ["BR", "NA", "US"], [1.0, 2.0, 3.0], [np.nan] * 3)
    names = ["im2gps3k", "im2gps", "yfcc25600"]
    frames = frames_of_test_sets(np.eye(7)[[0, 5, 6]], CLASSES, *columns, names)
    assert [frame.image_id.tolist() for frame in frames] == [["b"], [], ["a", "c"]]
    joined = pd.concat(frames)
    assert joined.test_set.tolist() == ["im2gps3k", "yfcc25600", "yfcc25600"]
    assert (joined.country_1 == joined.label).all()
    assert joined.latitude.tolist() == [2.0, 1.0, 3.0]


def test_without_test_sets_there_are_none():
    nothing = np.empty(0)
    columns = (nothing, nothing, nothing, nothing, nothing)
    assert frames_of_test_sets(np.zeros((0, 7)), CLASSES, *columns, []) == []


def test_the_five_likeliest_countries_are_kept():
    frame = predictions_frame(
        np.full((1, 7), 1 / 7), list("abcdefg"), ["i"], ["s"], ["a"], [0.0], [0.0], "original"
    )
    ranks = [name for name in frame if name.startswith(("country_", "probability_"))]
    assert ranks == [f"{k}_{r}" for k in ("country", "probability") for r in range(1, 6)]


@pytest.mark.parametrize("column", range(5))
def test_one_column_of_another_length_is_refused(column):
    columns = [["i"], ["s"], ["a"], [0.0], [0.0]]
    columns[column] = columns[column] * 2
    with pytest.raises(ValueError, match="but 2 images|columns have lengths"):
        predictions_frame(np.full((1, 2), 0.5), ["a", "b"], *columns, "original")


def test_of_many_equal_classes_the_earlier_ones_come_first():
    classes = [f"{a}{b}" for a in "ABCDEFGHI" for b in "abcdefgh"]
    probabilities = np.tile(np.repeat([0.01, 0.02], 36), (2, 1)) / 1.08
    columns = [["i", "j"], ["s"] * 2, ["Aa"] * 2, [0.0] * 2, [0.0] * 2]
    frame = predictions_frame(probabilities, classes, *columns, "original")
    for rank in range(5):
        assert frame[f"country_{rank + 1}"].tolist() == [classes[36 + rank]] * 2


def test_a_model_of_places_has_them_and_names_no_country_without_probability(tmp_path):
    shares = np.array([[0, 0.7, 0, 0, 0, 0.2, 0], np.zeros(7)], np.float32)
    places = np.array([[61.5, 23.8], [0.0, -30.0]])
    columns = (["a", "b"], ["far"] * 2, ["FI", "BR"], [60.0, 1.0], [25.0, 2.0])
    (frame,) = frames_of_test_sets(shares, CLASSES, *columns, ["far"], places)
    frame.to_parquet(tmp_path / "p.parquet")
    frame = pd.read_parquet(tmp_path / "p.parquet")
    assert frame[["predicted_latitude", "predicted_longitude"]].to_numpy().tolist() == (
        places.tolist()
    )
    named = frame.loc[:, "country_1":"country_5"]
    assert named.notna().to_numpy().sum(1).tolist() == [2, 0]
    assert named.iloc[0, :2].tolist() == ["FI", "NA"]
    np.testing.assert_allclose(
        frame.loc[0, "probability_1":"probability_3"].tolist(), [0.7, 0.2, 0]
    )


def test_a_model_of_countries_has_no_places():
    frame = make_frame(np.eye(7)[:1], ["BR"])
    assert frame[["predicted_latitude", "predicted_longitude"]].isna().all(axis=None)
    assert frame.loc[0, "country_2":"country_5"].notna().all()


def test_places_of_other_images_are_refused():
    with pytest.raises(ValueError, match=r"places \(2, 2\) for 1 images"):
        predictions_frame(
            np.eye(7)[:1], CLASSES, ["i"], ["s"], ["BR"], [0.0], [0.0], "original",
            places=np.zeros((2, 2)),
        )  # fmt: skip
