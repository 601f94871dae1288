"""Two runs whose differences are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from geoloc.errors import InputError
from geoloc.evaluation.compare_runs import Compared, compare_runs
from geoloc.evaluation.comparisons import holm, paired_difference
from geoloc.evaluation.evidence import Evidence

DATASETS = {
    "plain": {"curve": "none"},
    "dimmed": {"curve": "piecewise", "scores": "objects", "scores_of": "self"},
}
TITLES = {"models": {}, "datasets": {}, "test_sets": {}}
ROW = ("cnn", "plain")


def images(source: str, numbers: range, test_set: str, right: np.ndarray) -> pd.DataFrame:
    """Predictions of images that are all of France."""
    return pd.DataFrame(
        {"image_id": [f"{source}/{n:04d}" for n in numbers], "test_set": test_set,
         "source": source, "label": "FR", "country_1": np.where(right, "FR", "DE")}
    )  # fmt: skip


def run(name: str, *parts: pd.DataFrame, rows=(("cnn", "plain", "1"),), **changes) -> Compared:
    """A run whose rows all have the same predictions."""
    given = {"near_duplicates": frozenset(), "authors": {}, "seed": 1, "majority": "DE"} | changes
    predictions = [(*row, pd.concat(parts)) for row in rows]
    models = {model: {"kind": "cnn"} for model, *_ in rows}
    return Compared(name, Evidence(predictions, DATASETS, models, TITLES, **given))


def rights(n: int, share: float) -> np.ndarray:
    return np.arange(n) < share * n


def by_key(table: pd.DataFrame) -> dict[str, pd.Series]:
    return {line.key: line for _, line in table.iterrows()}


def test_images_that_both_runs_tested_are_paired_and_all_are_compared_as_groups():
    one = run("one", images("a", range(0, 100), "plain", rights(100, 0.6)))
    two = run("two", images("a", range(50, 150), "plain", rights(100, 0.5)))
    found = by_key(compare_runs(one, two))
    assert list(found) == ["same_images/cnn/plain/plain/plain", "own_images/cnn/plain/plain"]
    paired, groups = found.values()
    # Of the images 50 to 99, 10 are right in one, all 50 in two.
    assert (paired.n, paired.estimate) == (50, pytest.approx(-0.8))
    assert "paired by image" in paired.method
    assert (groups.n, groups.estimate) == (200, pytest.approx(0.1))
    assert "two groups" in groups.method
    assert "more accurate in one than in two on unchanged street images" in paired.question


def test_runs_of_the_same_test_images_are_only_paired_and_by_source():
    parts = [
        images("a", range(40), "plain", rights(40, 0.5)),
        images("b", range(60), "plain", rights(60, 1)),
    ]
    one = run("one", *parts)
    two = run("two", parts[0], images("b", range(60), "plain", rights(60, 0.5)))
    found = by_key(compare_runs(one, two))
    key = "same_images/cnn/plain/plain/plain"
    assert list(found) == [key, f"{key}/a", f"{key}/b"]
    assert [line.estimate for line in found.values()] == pytest.approx([0.3, 0, 0.5])
    assert found[key].p_value < found[f"{key}/b"].p_adjusted
    adjusted = holm([line.p_value for line in found.values()])
    assert [line.p_adjusted for line in found.values()] == pytest.approx(list(adjusted))


def test_a_source_that_one_run_only_tests_on_is_compared_where_the_other_trained_on_it():
    """Trained on source a and tested on b, against trained on both."""
    shortcut = run(
        "one source",
        images("a", range(50), "plain", rights(50, 0.5)),
        images("b", range(200), "b", rights(200, 0.1)),
    )
    both = run(
        "both",
        images("a", range(50), "plain", rights(50, 0.5)),
        images("b", range(100), "plain", rights(100, 1)),
    )
    found = by_key(compare_runs(shortcut, both))
    line = found["same_images/cnn/plain/b/plain"]
    assert (line.n, line.estimate) == (100, pytest.approx(-0.8))
    assert "on the photos of b (unchanged street images there) that both tested" in line.question
    assert found["same_images/cnn/plain/plain/plain"].n == 50


def test_a_dimmed_view_is_compared_with_itself_only():
    one = run(
        "one",
        images("a", range(50), "plain", rights(50, 0.5)),
        images("a", range(50), "dimmed", rights(50, 0.2)),
    )
    two = run("two", images("a", range(50), "dimmed", rights(50, 0.4)))
    found = by_key(compare_runs(one, two))
    assert list(found) == ["same_images/cnn/plain/dimmed/dimmed"]
    assert found["same_images/cnn/plain/dimmed/dimmed"].estimate == pytest.approx(-0.2)


def test_seeds_that_both_runs_have_are_paired_and_authors_are_resampled():
    parts = images("a", range(60), "plain", rights(60, 0.5))
    other = images("a", range(60), "plain", rights(60, 0.7))
    authors = {f"a/{n:04d}": f"author {n % 9}" for n in range(60)}
    one = run("one", parts, rows=[(*ROW, "1"), (*ROW, "2")], authors=authors)
    two = run("two", other, rows=[(*ROW, "2"), (*ROW, "3")])
    (line,) = by_key(compare_runs(one, two)).values()
    right = [e.right(*ROW, "plain")[["2"]] for e in (one.evidence, two.evidence)]
    assert line.estimate == pytest.approx(paired_difference(*right, authors, 1).estimate)
    assert "authors" in line.method
    three = run("three", other, rows=[(*ROW, "3"), (*ROW, "4")])
    with pytest.raises(InputError, match=r"no seed in common \(1, 2; 3, 4\)"):
        compare_runs(one, three)


def test_runs_that_have_nothing_in_common_are_refused():
    one = run("one", images("a", range(9), "plain", rights(9, 0.5)))
    row = run("two", images("a", range(9), "plain", rights(9, 0.5)), rows=[("vit", "plain", "1")])
    with pytest.raises(InputError, match="one and two have no row of Table 1 in common"):
        compare_runs(one, row)
    view = run("two", images("a", range(9), "dimmed", rights(9, 0.5)))
    with pytest.raises(InputError, match="no test set in common"):
        compare_runs(one, view)


def test_a_row_that_was_not_tested_on_all_images_is_left_out():
    """CLIP of run one was trained on this view and not tested on the dimmed one."""
    plain = images("a", range(50), "plain", rights(50, 0.5))
    dimmed = images("a", range(50), "dimmed", rights(50, 0.2))
    two = run("two", plain, dimmed, rows=[(*ROW, "1"), ("clip", "plain", "1")])
    models = {"cnn": {"kind": "cnn"}, "clip": {"kind": "cnn"}}
    predictions = [(*ROW, "1", pd.concat([plain, dimmed])), ("clip", "plain", "1", plain)]
    given = {"near_duplicates": frozenset(), "authors": {}, "seed": 1, "majority": "DE"}
    one = Compared("one", Evidence(predictions, DATASETS, models, TITLES, **given))
    assert list(by_key(compare_runs(one, two))) == [
        "same_images/cnn/plain/plain/plain",
        "same_images/clip/plain/plain/plain",
        "same_images/cnn/plain/dimmed/dimmed",
    ]


def test_an_image_of_two_countries_is_named():
    part = images("a", range(9), "plain", rights(9, 0.5))
    moved = part.assign(label=np.where(part.image_id == "a/0003", "DE", "FR"))
    with pytest.raises(InputError, match="a/0003 is in FR in one, but in DE in two"):
        compare_runs(run("one", part), run("two", moved))
