"""Measures of predictions against their definitions and against full probabilities."""

import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss

from geoloc.evaluation.figures import accuracy_figure
from geoloc.evaluation.intervals import (
    RESAMPLES,
    author_interval,
    authors_of_images,
    interval_over_seeds,
    wilson_interval,
)
from geoloc.evaluation.metrics import (
    accuracy_by_source,
    calibration_error,
    majority_accuracy,
    metrics,
    metrics_table,
    not_finite,
    paired_tests,
)
from geoloc.evaluation.predictions import predictions_frame

CLASSES = ["BR", "FI", "FR", "GB", "JP", "NA", "US"]
POSITIONS = pd.DataFrame({"latitude": [0.0], "longitude": [0.0]}, index=["US"])


def make_frame(probabilities, label, test_set="original"):
    n = len(label)
    ids = [str(row) for row in range(n)]
    return predictions_frame(
        probabilities, CLASSES, ids, ["s"] * n, label, [0.0] * n, [0.0] * n, test_set
    )


def one_hot(answers):
    return np.eye(7)[[CLASSES.index(country) for country in answers]]


def test_values_of_a_small_example():
    frame = make_frame(one_hot(["US", "US", "US", "BR"]), ["US", "US", "BR", "BR"])
    row = metrics(frame, "US", POSITIONS)
    assert row["n"] == 4
    assert row["countries"] == 2
    assert row["accuracy"] == 0.75
    assert row["balanced_accuracy"] == pytest.approx((1 + 0.5) / 2)
    assert row["macro_f1"] == pytest.approx((4 / 5 + 2 / 3) / 2)
    assert row["majority_baseline"] == 0.5


def test_log_loss_equals_that_of_all_probabilities():
    generator = np.random.default_rng(0)
    probabilities = generator.dirichlet(np.ones(7), size=50)
    label = generator.choice(CLASSES, size=50)
    expected = log_loss(label, probabilities, labels=CLASSES)
    found = metrics(make_frame(probabilities, label), "US", POSITIONS)
    assert found["log_loss"] == pytest.approx(expected)


def test_top_five_counts_the_fifth_and_not_the_sixth():
    probabilities = np.tile(np.arange(7, 0, -1) / 28, (2, 1))
    frame = make_frame(probabilities, [CLASSES[4], CLASSES[5]])
    assert metrics(frame, "US", POSITIONS)["top5_accuracy"] == 0.5


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_is_the_published_formula(counts):
    correct, n = counts
    z, p = 1.959963984540054, correct / n
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    low, high = wilson_interval(correct, n)
    assert (low, high) == pytest.approx((max(0, middle - half), min(1, middle + half)), abs=1e-9)


def answers_by_author(sizes, shares, seed=0):
    """A predictions table and the authors of its images: each has `sizes` images, a share of them
    right."""
    rng = np.random.default_rng(seed)
    author = np.repeat(np.arange(len(sizes)), sizes)
    right = rng.random(len(author)) < np.asarray(shares)[author]
    frame = make_frame(one_hot(np.where(right, "US", "BR")), ["US"] * len(author))
    return frame, dict(zip(frame["image_id"], author.astype(str), strict=True))


def test_intervals_are_of_95_percent_and_errors_of_ten_bins():
    """Of authors of one image each the interval is that of the binomial quantiles of 2.5 %."""
    frame, authors = answers_by_author([1] * 400, [0.6] * 400)
    share = (frame["country_1"] == "US").mean()
    expected = scipy.stats.binom(400, share).ppf([0.025, 0.975]) / 400
    assert author_interval(frame, authors, 0) == pytest.approx(expected, abs=0.004)
    assert author_interval(frame, authors, 0, 0.9) != pytest.approx(expected, abs=0.004)
    assert RESAMPLES == 9999
    sure = make_frame(np.tile([0.62, 0.38, 0, 0, 0, 0, 0], (2, 1)), ["BR", "FI"])
    also = make_frame(np.tile([0.68, 0.32, 0, 0, 0, 0, 0], (2, 1)), ["BR", "BR"])
    assert calibration_error(pd.concat([sure, also])) == pytest.approx(0.75 - 0.65, abs=1e-6)


def width(interval):
    return interval[1] - interval[0]


def test_interval_over_authors_of_one_image_each_is_close_to_that_of_wilson():
    frame, authors = answers_by_author([1] * 400, [0.6] * 400)
    wilson = wilson_interval(int((frame["country_1"] == "US").sum()), 400)
    assert author_interval(frame, authors, 0) == pytest.approx(wilson, abs=0.01)


def test_interval_over_authors_widens_when_images_of_an_author_are_alike():
    """Forty authors of ten images are as little as forty images: √10 times the width."""
    frame, authors = answers_by_author([10] * 40, [0, 1] * 20)
    wilson = wilson_interval(200, 400)
    assert width(author_interval(frame, authors, 0)) / width(wilson) == pytest.approx(10**0.5, 0.1)


def test_an_author_is_drawn_with_all_images():
    """No resample has more right answers than images, however different authors are."""
    frame, authors = answers_by_author([200, *[1] * 40], [1, *[0] * 40])
    low, high = author_interval(frame, authors, 0)
    assert low == 0
    assert 0.9 < high < 1


def test_interval_over_authors_holds_the_accuracy_and_is_the_same_again():
    """Whatever the order of the images; another seed gives another interval."""
    frame, authors = answers_by_author([1, 2, 5, 20, 80] * 8, np.linspace(0.2, 0.8, 40))
    low, high = author_interval(frame, authors, 7)
    assert low < metrics(frame, "US", POSITIONS)["accuracy"] < high
    assert author_interval(frame.sample(frac=1, random_state=0), authors, 7) == (low, high)
    assert author_interval(frame, authors, 8) != (low, high)


def test_an_image_without_an_author_counts_for_itself():
    frame, authors = answers_by_author([1] * 50, [0.5] * 50)
    some = {image: author if int(image) < 25 else "" for image, author in authors.items()}
    assert author_interval(frame, some, 0) == pytest.approx(
        author_interval(frame, authors, 0), abs=0.02
    )


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("sizes", "shares"),
    [([9], [0.5]), ([3, 4], [1, 1]), ([3, 4], [0, 0])],
    ids=["one author", "all right", "all wrong"],
)
def test_no_interval_over_authors_where_resamples_cannot_differ(sizes, shares):
    frame, authors = answers_by_author(sizes, shares)
    row = metrics(frame, "US", POSITIONS, authors)
    assert math.isnan(row["accuracy_low_by_author"])
    assert math.isnan(row["accuracy_high_by_author"])


def test_only_test_sets_with_authors_have_an_interval_over_them(tmp_path):
    street, _ = answers_by_author([20], [0.5], seed=1)
    street["image_id"] = "street/" + street["image_id"]
    photographs, authors = answers_by_author([5, 5, 5], [0.2, 0.5, 0.8])
    photographs["test_set"] = "im2gps3k"
    authors |= dict.fromkeys(street["image_id"], "")
    frame = pd.concat([street, photographs])
    metrics_table([("cnn", "x", "1", frame)], "US", POSITIONS, authors).to_csv(tmp_path / "m.csv")
    table = pd.read_csv(tmp_path / "m.csv").set_index("test_set")
    columns = ["accuracy_low_by_author", "accuracy_high_by_author"]
    assert table.loc["original", columns].isna().all()
    assert table.loc["im2gps3k", columns].notna().all()


def test_always_answering_the_majority_scores_its_baseline_and_no_more():
    label = ["US"] * 5 + ["BR"] * 3 + ["NA"] * 2
    row = metrics(make_frame(one_hot(["US"] * 10), label), "US", POSITIONS)
    assert row["accuracy"] == row["majority_baseline"] == 0.5
    assert row["balanced_accuracy"] == pytest.approx(1 / 3)


def test_majority_country_that_a_test_set_lacks_scores_nothing():
    assert majority_accuracy(make_frame(one_hot(["BR"]), ["BR"]), "US") == 0


def test_a_country_missing_from_a_test_set_changes_nothing():
    """The measures are those of a table that has never heard of the other five countries."""
    answers, label = ["US", "BR", "BR", "US"], ["US", "US", "BR", "BR"]
    row = metrics(make_frame(one_hot(answers), label), "US", POSITIONS)
    assert row["balanced_accuracy"] == 0.5
    assert row["macro_f1"] == 0.5


def test_answers_outside_the_test_set_are_errors():
    row = metrics(make_frame(one_hot(["JP", "US"]), ["US", "US"]), "US", POSITIONS)
    assert row["accuracy"] == row["balanced_accuracy"] == 0.5


def test_macro_f1_is_the_mean_over_the_countries_of_the_test_set_alone():
    """One of two answers is right; Japan, which was answered once, has no image to be right on."""
    row = metrics(make_frame(one_hot(["JP", "US"]), ["US", "US"]), "US", POSITIONS)
    assert row["macro_f1"] == pytest.approx(2 * 1 * 0.5 / (1 + 0.5))


def test_balanced_accuracy_and_macro_f1_weigh_countries_alike():
    """Nine of ten images are of one country, and all of them are right."""
    label = ["US"] * 9 + ["BR"]
    row = metrics(make_frame(one_hot(["US"] * 10), label), "US", POSITIONS)
    assert row["balanced_accuracy"] == 0.5
    assert row["macro_f1"] == pytest.approx((2 * 0.9 / 1.9 + 0) / 2)


@pytest.mark.filterwarnings("ignore:.*divide by zero|.*invalid value")
@pytest.mark.parametrize("column", ["probability_1", "label_probability"])
def test_a_number_that_is_none_names_its_model_and_test_set(column):
    good, bad = (make_frame(one_hot(["US", "BR"]), ["US", "US"]) for _ in range(2))
    bad.loc[1, column] = np.nan
    rows = [("clip", "default", "1", good), ("cnn", "weighted_base", "1", bad)]
    with pytest.raises(ValueError, match="cnn trained on weighted_base has no metrics on original"):
        metrics_table(rows, "US", POSITIONS)


def test_which_measures_must_be_finite():
    frame = make_frame(one_hot(["US", "BR"]), ["US", "US"])
    row = metrics(frame, "US", POSITIONS)
    assert row["median_km"] == math.inf  # the position of Brazil is not known
    assert not_finite(row) == []
    assert not_finite(row | {"n_unplaced": 0}) == ["median_km"]
    nowhere = metrics(frame.assign(latitude=np.nan, longitude=np.nan), "US", POSITIONS)
    assert math.isnan(nowhere["geoscore"])
    assert not_finite(nowhere) == []
    assert not_finite(row | {"geoscore": math.nan}) == ["geoscore"]
    must = {
        "accuracy", "accuracy_low", "accuracy_high", "balanced_accuracy", "top5_accuracy",
        "macro_f1", "log_loss", "calibration_error", "majority_baseline", "geoscore",
        "within_1_km", "within_25_km", "within_200_km", "within_750_km", "within_2500_km",
    }  # fmt: skip
    broken = {name: math.nan if isinstance(x, float) else x for name, x in row.items()}
    assert set(not_finite(broken)) == must | {"median_km"}


def test_one_row_for_each_model_and_test_set():
    names = ["original", "im2gps3k", "yfcc25600"]
    parts = [make_frame(one_hot(["US"]), ["US"], name) for name in names]
    table = metrics_table([("cnn", "original", "1", pd.concat(parts))], "US", POSITIONS)
    assert list(table["test_set"]) == names
    assert set(table["model"]) == {"cnn"}
    shown = {"original": "Original", "im2gps3k": "Im2GPS3k", "yfcc25600": "YFCC25600"}
    figure = accuracy_figure(table, {"cnn": "CNN"}, {"original": "Original"}, shown)
    titles = [axis.get_title().partition(" (")[0] for axis in figure.axes]
    assert titles == ["Original", "Im2GPS3k", "YFCC25600"]


def test_empty_test_set_is_refused():
    with pytest.raises(ValueError, match="without images"):
        metrics(make_frame(np.zeros((0, 7)), []), "US", POSITIONS)


def test_calibration_error_of_two_bins():
    """Nine sure answers of which six are right, and one that is rightly sure to a half."""
    probabilities = np.vstack([np.tile([0.95] + [0.05] + [0] * 5, (9, 1)), [0.5, 0.5] + [0] * 5])
    label = ["BR"] * 6 + ["FI"] * 3 + ["BR"]
    expected = 0.9 * abs(6 / 9 - 0.95) + 0.1 * abs(1 - 0.5)
    assert calibration_error(make_frame(probabilities, label)) == pytest.approx(expected, abs=1e-6)


def test_accuracy_by_source_adds_up_to_the_accuracy():
    frame = make_frame(one_hot(["US", "US", "BR", "BR"]), ["US", "BR", "BR", "BR"])
    frame["source"] = ["a", "a", "a", "b"]
    table = accuracy_by_source([("cnn", "original", "1", frame)])
    assert table.source.tolist() == ["a", "b"]
    assert (
        np.average(table.accuracy, weights=table.n) == metrics(frame, "US", POSITIONS)["accuracy"]
    )


def test_paired_test_counts_what_only_one_model_has_right():
    """Six to none is 2 / 2^6 by chance; equal models differ nowhere."""
    right = make_frame(one_hot(["US"] * 8), ["US"] * 8)
    worse = make_frame(one_hot(["BR"] * 6 + ["US"] * 2), ["US"] * 8)
    rows = [("cnn", "original", "1", right), ("cnn", "weighted_base", "1", worse)]
    rows += [("cnn", "weighted_base", "2", worse), ("clip", "x", "1", worse)]
    table = paired_tests(rows)
    assert len(table) == 1
    assert table.loc[0, ["only_first", "only_second"]].tolist() == [6, 0]
    assert table.loc[0, "p_value"] == pytest.approx(2 / 2**6)
    same = paired_tests([("cnn", "a", "1", right), ("cnn", "b", "1", right)])
    assert same.loc[0, "p_value"] == 1


def test_models_with_other_images_are_not_paired():
    whole = make_frame(one_hot(["US"] * 3), ["US"] * 3)
    for other in (whole.head(2), whole.assign(image_id=["0", "1", "3"]), whole.assign(label="BR")):
        with pytest.raises(
            ValueError, match="cnn trained on a and on b: .* not of the same images"
        ):
            paired_tests([("cnn", "a", "1", whole), ("cnn", "b", "1", other)])


def test_interval_of_a_difference_widens_when_images_of_an_author_are_alike():
    """Both datasets have half of the images right, each other authors'; forty authors of ten
    images tell as much of it as forty images do."""
    alike, authors = answers_by_author([10] * 40, [0, 1] * 20)
    other, _ = answers_by_author([10] * 40, [1, 0] * 20)
    rows = [("cnn", "original", "1", alike), ("cnn", "weighted_base", "1", other)]
    row = paired_tests(rows, authors, seed=3).loc[0]
    interval = row["difference_low_by_author"], row["difference_high_by_author"]
    assert row["difference"] == 0
    # Of 40 authors with ±1 each: 1.96 / √40.
    assert interval == pytest.approx((-0.31, 0.31), abs=0.04)
    singles = paired_tests(rows, {image: image for image in authors}, seed=3).loc[0]
    assert width(interval) / width(
        (singles["difference_low_by_author"], singles["difference_high_by_author"])
    ) == pytest.approx(10**0.5, 0.1)
    assert paired_tests(rows, authors, seed=3).loc[0].equals(row)


def test_the_difference_is_that_of_the_accuracies_and_lies_in_its_interval():
    first, authors = answers_by_author([1, 2, 5, 20, 40] * 4, np.linspace(0.5, 0.9, 20), seed=1)
    second, _ = answers_by_author([1, 2, 5, 20, 40] * 4, np.linspace(0.2, 0.8, 20), seed=2)
    row = paired_tests([("cnn", "a", "1", first), ("cnn", "b", "1", second)], authors).loc[0]
    accuracies = [metrics(frame, "US", POSITIONS)["accuracy"] for frame in (first, second)]
    assert row["difference"] == pytest.approx(accuracies[0] - accuracies[1])
    assert row["difference_low_by_author"] < row["difference"] < row["difference_high_by_author"]


def test_a_difference_has_no_interval_without_authors_or_where_all_have_the_same():
    first, authors = answers_by_author([4] * 5, [0.5] * 5)
    second, _ = answers_by_author([4] * 5, [0.5] * 5, seed=1)
    columns = ["difference_low_by_author", "difference_high_by_author"]
    rows = [("cnn", "a", "1", first), ("cnn", "b", "1", second)]
    assert paired_tests(rows).loc[0, columns].isna().all()
    assert paired_tests(rows, dict.fromkeys(authors, "")).loc[0, columns].isna().all()
    same = [("cnn", "a", "1", first), ("cnn", "b", "1", first)]
    assert paired_tests(same, authors).loc[0, columns].isna().all()


def seeds_of(shares: list[float], n: int = 400) -> list[tuple[str, str, str, pd.DataFrame]]:
    """A model trained with several seeds, each right in a share of the images."""
    rows = []
    for seed, share in enumerate(shares):
        right = np.random.default_rng(seed).random(n) < share
        answers = one_hot(np.where(right, "US", "BR").tolist())
        rows.append(("cnn", "original", str(seed), make_frame(answers, ["US"] * n)))
    return rows


def test_seeds_are_shown_as_their_mean_with_spread_and_an_interval_that_holds_it():
    rows = seeds_of([0.5, 0.6, 0.7])
    accuracies = [metrics(frame, "US", POSITIONS)["accuracy"] for *_, frame in rows]
    (row,) = metrics_table(rows, "US", POSITIONS).to_dict("records")
    assert (row["seeds"], row["n"]) == (3, 400)
    assert row["accuracy"] == pytest.approx(np.mean(accuracies))
    assert row["accuracy_sd"] == pytest.approx(np.std(accuracies, ddof=1))
    assert row["accuracy_low"] < row["accuracy"] < row["accuracy_high"]
    # The spread of seeds is in it: one seed alone says less of what another one would give.
    alone = metrics_table(rows[:1], "US", POSITIONS).iloc[0]
    assert width((row["accuracy_low"], row["accuracy_high"])) > width(
        (alone["accuracy_low"], alone["accuracy_high"])
    )
    assert np.isnan(alone["accuracy_sd"])


def test_the_interval_over_seeds_and_images_is_the_one_of_a_normal_mean():
    """With equal seeds only images are drawn: 1.96 · √(p (1 − p) / n)."""
    right = np.tile((np.arange(400) < 240)[:, None], (1, 5)).astype(int)
    low, high = interval_over_seeds(right, seed=1)
    assert (low, high) == pytest.approx((0.6 - 0.048, 0.6 + 0.048), abs=0.004)
    authors = pd.Series([f"a{n // 10}" for n in range(400)], index=[str(n) for n in range(400)])
    wide = interval_over_seeds(right, authors, seed=1)  # forty authors of ten images alike
    assert width(wide) / width((low, high)) == pytest.approx(10**0.5, 0.1)


def test_an_answer_in_no_class_is_wrong_and_has_no_share_in_the_first_class():
    shares, label = one_hot(["US", "BR", "BR"]), ["US", "BR", "BR"]
    shares[2] = 0  # its place is in none of the classes, of which BR is the first
    places = np.array([[40.0, -100.0], [-10.0, -55.0], [0.0, -30.0]])
    frame = predictions_frame(
        shares, CLASSES, ["a", "b", "c"], ["s"] * 3, label, *places.T, "original", places=places
    )
    (row,) = metrics_table([("geoclip", "default", "any", frame)], "US", POSITIONS).to_dict(
        "records"
    )
    assert row["accuracy"] == row["top5_accuracy"] == pytest.approx(2 / 3)
    assert row["balanced_accuracy"] == pytest.approx(3 / 4)
    assert row["macro_f1"] == pytest.approx((1 + 2 / 3) / 2)
    assert (row["distances_to"], row["within_1_km"], row["n_unplaced"]) == ("places", 1.0, 0)
    assert math.isfinite(row["log_loss"])


def test_authors_of_two_sources_are_not_the_same_person():
    index = pd.DataFrame(
        {
            "image_id": ["a/1", "b/1", "a/2", "a/3"],
            "source": list("abaa"),
            "author": ["7", "7", "7", ""],
        }
    )
    authors = authors_of_images(index)
    assert authors["a/1"] == authors["a/2"] != authors["b/1"]
    assert authors["a/3"] == ""
