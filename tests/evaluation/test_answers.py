"""Answers of synthetic predictions whose truth is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom, norm

from geoloc.errors import InputError
from geoloc.evaluation.answers import answers, as_records, near_duplicate_ids
from geoloc.evaluation.comparisons import difference_of_groups, holm, paired_difference
from geoloc.evaluation.evidence import Evidence
from geoloc.evaluation.verdict import verdict

WEIGHTED = {"curve": "piecewise", "scores": "objects", "scores_of": "self", "fill": "black",
            "invert": False}  # fmt: skip
DATASETS = {
    "plain": {"curve": "none"},
    "dimmed": WEIGHTED,
    "elsewhere": WEIGHTED | {"scores_of": "other_image"},
    "ground": WEIGHTED | {"invert": True},
    "soft": WEIGHTED | {"fill": "blur"},
    "linear": WEIGHTED | {"curve": "linear"},
}
HEAD = {"kind": "transfer", "weights": "w", "preprocessing": "rescale"}
MODELS = {
    "small": {"kind": "cnn"},
    "head": HEAD,
    "own_input": HEAD | {"preprocessing": "imagenet"},
    "captions": {"kind": "contrastive", "epochs": 1},
    "given": {"kind": "clip", "path": "folder"},
}
TITLES = {"models": {}, "datasets": {}, "test_sets": {"trip": "Trip"}}


def table(right: np.ndarray, test_set: str, sources=("a", "b")) -> pd.DataFrame:
    """Predictions of images that are all of France."""
    n = len(right)
    return pd.DataFrame(
        {"image_id": [f"{test_set == 'trip'}/{i:04d}" for i in range(n)], "test_set": test_set,
         "source": [sources[i % len(sources)] for i in range(n)], "label": "FR",
         "country_1": np.where(right, "FR", "DE")}
    )  # fmt: skip


def evidence(rows: dict, datasets=DATASETS, **changes) -> Evidence:
    """`rows`: right answers of (model, dataset, seed) by test set."""
    predictions = [
        (*row, pd.concat([table(right, test_set) for test_set, right in tested.items()]))
        for row, tested in rows.items()
    ]
    given = {"majority": "DE", "near_duplicates": frozenset(), "authors": {}, "seed": 1}
    return Evidence(predictions, datasets, MODELS, TITLES, **(given | changes))


def drawn(rng, accuracy: float, n: int = 400) -> np.ndarray:
    return rng.random(n) < accuracy


def frame(values: np.ndarray) -> pd.DataFrame:
    values = values.reshape(len(values), -1)
    return pd.DataFrame(values, columns=[str(s) for s in range(values.shape[1])]).set_axis(
        [f"i{n:04d}" for n in range(len(values))]
    )


def test_holm_multiplies_from_the_smallest_and_never_falls():
    """The example of Holm's procedure in Wright (1992), and NaN that is no test."""
    adjusted = holm([0.01, np.nan, 0.04, 0.03, 0.005])
    assert adjusted == pytest.approx([0.03, np.nan, 0.06, 0.06, 0.02], nan_ok=True)
    assert holm([0.7, 0.8]).tolist() == [1, 1]
    assert holm([]).size == 0


def test_a_real_difference_is_found_and_its_interval_is_that_of_a_paired_mean():
    rng = np.random.default_rng(0)
    second = drawn(rng, 0.5)
    first = second | drawn(rng, 0.3)  # only gains
    found = paired_difference(frame(first), frame(second), {}, 1)
    gain = first.astype(int) - second
    error = gain.std() / np.sqrt(len(gain))
    assert found.estimate == gain.mean()
    assert (found.low, found.high) == pytest.approx(
        (gain.mean() - 1.96 * error, gain.mean() + 1.96 * error), abs=0.006
    )
    assert found.p_value == pytest.approx(2 * 0.5 ** gain.sum())  # McNemar
    assert found.smallest_effect == pytest.approx((norm.ppf(0.975) + norm.ppf(0.8)) * error, 0.1)


@pytest.mark.parametrize(
    ("seeds", "authors", "most"),
    [(1, False, 0.05), (1, True, 0.06), (5, False, 0.05)],
    ids=["images", "authors", "seeds"],
)
def test_no_difference_is_called_one_at_about_the_nominal_rate(seeds, authors, most, monkeypatch):
    """Author and seed shift the difference of all of their images, with a mean of zero."""
    monkeypatch.setattr("geoloc.evaluation.intervals.RESAMPLES", 999)
    monkeypatch.setattr("geoloc.evaluation.comparisons.RESAMPLES", 999)
    rng, runs, n = np.random.default_rng(1), 300, 200
    author = np.repeat(np.arange(n // 4), 4) if authors else np.arange(n)
    by_id = {f"i{i:04d}": f"a{a}" for i, a in enumerate(author)} if authors else {}
    false = 0
    for _ in range(runs):
        shift = rng.normal(0, 0.3, author.max() + 1)[author][:, None] if authors else 0
        luck = rng.normal(0, 0.04, seeds) if seeds > 1 else 0
        first = rng.random((n, seeds)) < 0.5 + shift + luck
        second = rng.random((n, seeds)) < 0.5 - shift
        false += paired_difference(frame(first), frame(second), by_id, 1).p_value < 0.05
    assert false <= binom.ppf(0.999, runs, most)
    assert false >= (1 if seeds == 1 else 0)


def test_the_smallest_effect_is_found_four_times_of_five():
    rng = np.random.default_rng(2)
    same = paired_difference(frame(drawn(rng, 0.5)), frame(drawn(rng, 0.5)), {}, 1)
    found = 0
    for _ in range(200):
        first = drawn(rng, 0.5 + same.smallest_effect / 2)
        second = drawn(rng, 0.5 - same.smallest_effect / 2)
        found += paired_difference(frame(first), frame(second), {}, 1).p_value < 0.05
    assert 0.7 < found / 200 < 0.9


def test_answers_that_are_all_alike_do_not_make_an_interval_of_no_width():
    right = frame(np.ones(20, bool))
    same = paired_difference(right, right, {}, 1)
    assert (same.estimate, same.p_value) == (0, 1)
    assert same.high == -same.low == pytest.approx(1 - 0.025 ** (1 / 20))
    all_better = paired_difference(right, ~right, {}, 1)
    assert (all_better.high, all_better.p_value) == (1, 0.5**19)
    one_author = paired_difference(right, ~right, dict.fromkeys(right.index, "a"), 1)
    assert one_author.low == pytest.approx(0.025)


def test_a_difference_on_photos_of_few_authors_is_not_significant():
    """No resample is below zero if each of four authors gains, as happens by chance."""
    first, second = frame(np.arange(7) < 6), frame(np.arange(7) < 2)
    authors = dict(zip(first.index, "abcdabc", strict=True))
    found = paired_difference(first, second, authors, 1)
    assert found.p_value == 2 * 0.5**4


def test_groups_of_images_are_compared_with_newcombes_interval():
    """The first example of Newcombe (1998), method 10: 56/70 against 48/80."""
    first, second = frame(np.arange(70) < 56), frame(np.arange(80) < 48)
    found = difference_of_groups(first, second, {}, 1)
    assert (found.low, found.high) == pytest.approx((0.0524, 0.3339), abs=5e-4)
    assert (found.n, found.p_value < 0.05) == (150, True)
    several = difference_of_groups(
        frame(np.tile(np.arange(70) < 56, (3, 1)).T),
        frame(np.tile(np.arange(80) < 48, (3, 1)).T),
        {},
        1,
    )
    assert (several.low, several.high) == pytest.approx((found.low, found.high), abs=0.02)


def test_groups_of_photos_with_authors_are_compared_by_a_bootstrap_of_authors():
    first, second = frame(np.arange(160) < 120), frame(np.arange(240) < 80)
    second.index = [f"j{number}" for number in range(240)]
    authors = {image: f"a{int(image[1:]) // 4}" for image in [*first.index, *second.index]}
    found = difference_of_groups(first, second, authors, 1)
    assert found.estimate == pytest.approx(120 / 160 - 80 / 240)
    assert found.low < found.estimate < found.high
    assert "bootstrap" in found.method


def test_controls_are_matched_by_their_settings():
    rng = np.random.default_rng(3)
    accuracy = {"plain": 0.8, "dimmed": 0.7, "elsewhere": 0.4, "ground": 0.5, "soft": 0.6,
                "linear": 0.7}  # fmt: skip
    rows = {("small", name, "1"): {name: drawn(rng, share)} for name, share in accuracy.items()}
    found = answers(evidence(rows)).set_index("key")
    compared = [key for key in found.index if not key.startswith(("baseline", "near", "sources"))]
    assert compared == [
        "diagonal/small/dimmed/plain", "diagonal/small/soft/plain", "diagonal/small/linear/plain",
        "choice_of_objects/small/dimmed/elsewhere", "loss_of_information/small/elsewhere/plain",
        "inverted/small/dimmed/ground", "fills/small/soft/dimmed",
    ]  # fmt: skip
    assert found.estimate["choice_of_objects/small/dimmed/elsewhere"] == pytest.approx(0.3, abs=0.1)
    assert found.p_adjusted["choice_of_objects/small/dimmed/elsewhere"] < 0.001
    diagonal = found[found.family == "diagonal"]
    assert diagonal.p_adjusted.tolist() == holm(diagonal.p_value.tolist()).tolist()


def test_other_score_maps_are_compared_with_the_first_ones_and_controls_with_none():
    others = {name: WEIGHTED | {"scores": name} for name in ("street", "words")}
    others["ground_of_street"] = others["street"] | {"invert": True}
    datasets = {name: DATASETS[name] for name in ("plain", "dimmed", "ground", "linear")} | others
    rng = np.random.default_rng(3)
    rows = {("small", name, "1"): {name: drawn(rng, 0.5)} for name in datasets}
    rows["small", "street", "1"]["street"] |= True
    found = answers(evidence(rows, datasets)).set_index("key")
    assert found.index[found.family == "score_maps"].tolist() == [
        "score_maps/small/street/dimmed",
        "score_maps/small/words/dimmed",
    ]
    assert found.estimate["score_maps/small/street/dimmed"] == pytest.approx(0.5, abs=0.1)
    assert found.p_adjusted["score_maps/small/words/dimmed"] > 0.05


def test_models_are_compared_by_what_they_differ_in():
    rng = np.random.default_rng(4)
    tested = {"plain": 0.5, "trip": 0.5}
    rows = {(m, "plain", "1"): {t: drawn(rng, a) for t, a in tested.items()} for m in MODELS}
    rows["given", "default", "any"] = rows.pop(("given", "plain", "1"))
    rows["captions", "default", "1"] = rows.pop(("captions", "plain", "1"))
    keys = set(answers(evidence(rows, {"plain": DATASETS["plain"]})).key)
    for test_set in tested:
        assert f"preprocessing/own_input/head/plain/{test_set}" in keys
        for classifier in ("small", "head", "own_input"):
            assert f"contrastive/captions/{classifier}/plain/{test_set}" in keys
    pairs = {tuple(key.split("/")[1:3]) for key in keys if key.startswith("models/")}
    assert {frozenset(pair) for pair in pairs} == {
        frozenset(pair)
        for pair in (("small", "head"), ("small", "own_input"), ("small", "given"),
                     ("head", "given"), ("own_input", "given"), ("captions", "given"))
    }  # fmt: skip


def test_sources_near_duplicates_and_the_baseline_are_told_apart():
    n = 400
    right = np.arange(n) % 2 == 0  # all of source a, none of b
    ids = table(right, "plain").image_id
    found = answers(
        evidence(
            {("small", "plain", "1"): {"plain": right}},
            majority="FR",
            near_duplicates=frozenset(ids[:100]),
        )
    ).set_index("key")
    assert found.estimate["sources/small/a"] == 1
    assert found.estimate["sources/small/a/b"] == 1
    assert found.estimate["baseline/small/plain/plain"] == -0.5
    assert found.n["near_duplicates/small/plain/without"] == 300
    assert found.estimate["near_duplicates/small/plain/difference"] == 0
    assert as_records(found.reset_index())[0]["p_adjusted"] is None


def test_near_duplicates_are_test_images_within_the_limit():
    leakage = pd.DataFrame(
        {"image_id": list("abcd"), "split": ["test", "test", "val", "test"], "bits": [6, 7, 0, 0]}
    )
    assert near_duplicate_ids(leakage, 6) == {"a", "d"}
    assert near_duplicate_ids(leakage, 6, {"a"}) == {"a", "d"}
    with pytest.raises(InputError, match="no row for x, one of 1 tested images; delete the run's"):
        near_duplicate_ids(leakage, 6, {"a", "x"})


def test_seeds_are_paired_and_other_images_or_seeds_are_a_mistake():
    a, b = frame(np.array([[1, 0], [1, 0], [1, 1]]) == 1), frame(np.array([[0], [0], [1]]) == 1)
    assert paired_difference(a, b, {}, 1).estimate == pytest.approx(1 / 3)
    assert paired_difference(b, a, {}, 1).estimate == pytest.approx(-1 / 3)
    assert paired_difference(a, a[["1", "0"]], {}, 1).estimate == 0
    with pytest.raises(InputError, match="other seeds"):
        paired_difference(a, a.set_axis(["0", "7"], axis=1), {}, 1)
    with pytest.raises(InputError, match="not of the same images"):
        paired_difference(a, b[:2], {}, 1)


def said(plain: float, dimmed: float, elsewhere: float | None = None, n=400, majority="DE") -> str:
    rng = np.random.default_rng(5)
    shares = {"plain": plain, "dimmed": dimmed} | ({"elsewhere": elsewhere} if elsewhere else {})
    rows = {("small", name, "1"): {name: drawn(rng, share, n)} for name, share in shares.items()}
    return verdict(as_records(answers(evidence(rows, majority=majority))))


def test_the_verdict_says_whether_objects_help_how_sure_and_by_what():
    worse = said(0.8, 0.5, 0.2)
    assert worse.startswith("Showing a model only the telling objects does not help: accuracy on")
    assert "lower than on unchanged images in the only comparison" in worse
    assert "trained once" in worse
    assert "The choice of objects matters: accuracy is higher" in worse
    assert worse.count(". ") == 2
    assert said(0.5, 0.8).startswith("Showing a model only the telling objects helps: accuracy on")
    assert "The choice" not in said(0.5, 0.8)
    assert "can't be told" in said(0.5, 0.8, 0.8).rsplit(". ", 1)[-1]


def test_the_verdict_says_how_large_differences_are_and_how_far_their_intervals_reach():
    def answer(key: str, estimate: float, low: float, high: float) -> dict:
        return {"family": "diagonal", "key": f"diagonal/{key}", "estimate": estimate, "low": low,
                "high": high, "n": 161, "seeds": 1, "p_adjusted": 0.001,
                "smallest_effect": 0.1}  # fmt: skip

    lower = answer("a/dimmed/plain", -0.236, -0.329, -0.137)
    other = answer("b/dimmed/plain", -0.186, -0.280, -0.093)
    assert "by 23.6 points (95 % interval between 13.7 and 32.9)." in verdict([lower])
    assert "by 18.6 to 23.6 points (95 % intervals between 9.3 and 32.9)." in verdict(
        [lower, other]
    )
    assert "by 10.0 points (95 % interval between 4.0 and 16.0)." in verdict(
        [answer("a/b/c", 0.1, 0.04, 0.16)]
    )


def test_the_verdict_can_be_that_nothing_can_be_told():
    few = said(0.5, 0.55, n=60)
    assert few.startswith("It can't be told with this many images whether showing")
    assert "points could easily have been missed" in few
    assert "makes no difference that matters" in said(0.5, 0.5, n=40_000)
    assert "so such differences say little" in said(0.5, 0.3, majority="FR")
    nothing = verdict([])
    assert nothing.startswith("This run can't tell whether it helps")


def test_the_verdict_says_where_objects_help_some_models_and_harm_others():
    rng = np.random.default_rng(5)
    rows = {
        (model, name, "1"): {name: drawn(rng, share)}
        for model, shares in {"small": (0.5, 0.8), "head": (0.8, 0.5)}.items()
        for name, share in zip(("plain", "dimmed"), shares, strict=True)
    }
    text = verdict(as_records(answers(evidence(rows))))
    assert text.startswith("It depends on the model and the weighting whether showing a model only")
    assert "higher than on unchanged images in 1 of 2 comparisons and lower in 1" in text
