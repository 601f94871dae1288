"""Samples, changed images and the scores of maps, without a network."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from geoloc.config import default_config, load_schema
from geoloc.errors import InputError
from geoloc.explain.changes import (
    Pictures,
    control_pixels,
    foreign_rows,
    measure_changes,
    remove,
    resized,
)
from geoloc.explain.faithfulness import deletion_and_insertion, pointing_game
from geoloc.explain.influence import CONTROLS, control_shares
from geoloc.explain.methods import Settings
from geoloc.explain.objects import class_map, class_maps
from geoloc.explain.random_labels import ShuffledLabels
from geoloc.explain.relevance import as_relevance, ranks, similarity
from geoloc.explain.sample import sample_rows, stratified_sample
from geoloc.segmentation.scoring import score_map
from geoloc.stores import StoreError, write_segments
from tests.conftest import ROOT
from tests.small_stores import segments_of

RNG = np.random.default_rng(2)


def test_a_sample_keeps_the_shares_of_countries_and_of_right_answers():
    countries = np.repeat(["FR", "NA", "JP"], [600, 300, 100])
    right = np.arange(1000) % 4 == 0
    rows = stratified_sample(countries, right, 100, seed=1)
    drawn = Counter(zip(countries[rows].tolist(), right[rows].tolist(), strict=True))
    expected = Counter(zip(countries.tolist(), right.tolist(), strict=True))
    assert len(set(rows.tolist())) == 100
    for stratum, count in expected.items():
        assert abs(drawn[stratum] - count / 10) < 1
    np.testing.assert_array_equal(rows, stratified_sample(countries, right, 100, seed=1))
    assert not np.array_equal(rows, stratified_sample(countries, right, 100, seed=2))


def test_a_sample_of_more_images_than_there_are_is_all_of_them():
    rows = stratified_sample(["FR", "FR", "NA"], [True, False, True], 9, seed=1)
    np.testing.assert_array_equal(rows, [0, 1, 2])


@pytest.mark.parametrize("fill", ["black", "mean", "blur"])
def test_only_removed_pixels_are_filled(fill):
    image = RNG.integers(0, 256, (2, 32, 32, 3)).astype(np.uint8)
    pixels = RNG.random((2, 32, 32)) < 0.3
    found = remove(image, pixels, fill)
    np.testing.assert_array_equal(found[~pixels], image[~pixels])
    if fill == "black":
        assert not found[pixels].any()
    elif fill == "mean":
        for each, place, before in zip(found, pixels, image, strict=True):
            assert (each[place] == np.rint(before.mean((0, 1)))).all()
    else:
        assert found[pixels].std() < image[pixels].std() / 2


@pytest.mark.parametrize("count", [0, 10, 400, 1500, 3000, 4096])
def test_a_region_shrinks_and_grows_to_the_size_that_is_asked_for(count):
    pixels = np.zeros((64, 64), bool)
    pixels[10:40, 5:45] = True
    found = resized(pixels, count)
    assert found.sum() == count
    smaller, larger = sorted([found, pixels], key=np.sum)
    assert larger[smaller].all()


def brightness(image: np.ndarray) -> np.ndarray:
    share = image.mean(axis=(1, 2, 3)) / 255
    return np.stack([1 - share, share], axis=1)


def test_a_control_is_as_large_as_an_image_s_scored_pixels_and_where_another_has_its_own():
    scored = np.zeros((4, 40, 40), bool)
    scored[0, 2:6, 2:6] = scored[1, 30:38, 20:36] = scored[3, 20:22, 2:30] = True
    for seed in range(4):
        control = control_pixels(scored, seed)
        np.testing.assert_array_equal(control.sum(axis=(1, 2)), scored.sum(axis=(1, 2)))
        for row in (0, 1, 3):
            # One contains the other, as a region grows or shrinks evenly to the number of pixels.
            others = [scored[n] for n in {0, 1, 3} - {row}]
            shared = [np.logical_and(control[row], other).sum() for other in others]
            smaller = [min(control[row].sum(), other.sum()) for other in others]
            assert any(np.equal(shared, smaller))
    assert not control_pixels(scored[:1], 0).any()


def test_relevance_elsewhere_is_the_mean_over_the_places_of_several_other_images():
    scored = np.zeros((5, 40, 40), bool)
    scored[0, 2:6, 2:6] = scored[1, 30:38, 20:36] = scored[3, 20:22, 2:30] = True
    maps = {
        "a": as_relevance(np.random.default_rng(1).random((5, 40, 40))),
        "b": np.zeros((5, 40, 40), np.float32),
    }
    maps["a"][:, 10:] = 0  # so that it matters where other images have their scored pixels
    found = control_shares(maps, scored, seed=3)
    controls = [control_pixels(scored, 3 + number) for number in range(CONTROLS)]
    expected = np.mean([(maps["a"] * each).sum(axis=(1, 2)) for each in controls], axis=0)
    np.testing.assert_allclose(found["a"][[0, 1, 3]], expected[[0, 1, 3]], rtol=1e-5)
    assert len(np.unique(found["a"][[0, 1, 3]])) == 3
    assert not found["b"][[0, 1, 3]].any()
    # Images without scored pixels have no control, and one that is alone has none either.
    assert np.isnan(found["a"][[2, 4]]).all()
    assert np.isnan(control_shares({"a": maps["a"][:1]}, scored[:1], seed=3)["a"]).all()


def test_controls_change_as_many_pixels_and_images_without_scores_are_left_out():
    image = np.full((4, 224, 224, 3), 100, np.uint8)
    scored = np.zeros((4, 224, 224), bool)
    scored[0, :40, :40] = scored[1, 90:150, 90:200] = scored[3, 5:9, 5:9] = True
    seen = Pictures(["a", "b", "c", "d"], image, scored, np.array([1, 0, 1, 0]))
    table = measure_changes(brightness, seen, ["black"], seed=0)
    assert set(table.image_id) == {"a", "b", "d"}
    after = table.set_index(["change", "image_id"]).probability_after
    for change in ("removed", "kept"):
        for image_id in ("a", "b", "d"):
            assert after[change, image_id] == pytest.approx(after[f"{change}_control", image_id])
    assert after["removed", "a"] == pytest.approx((1 - 1600 / 224**2) * 100 / 255)


def test_a_change_says_what_was_answered_before_and_after():
    """Bright images are of class 1: what keeps only a small scored square makes them dark."""
    image = np.stack([np.full((224, 224, 3), value, np.uint8) for value in (200, 200, 40)])
    scored = np.zeros((3, 224, 224), bool)
    scored[:, :20, :20] = True
    seen = Pictures(["a", "b", "c"], image, scored, np.array([1, 0, 0]))
    table = measure_changes(brightness, seen, ["black"], seed=0).set_index(["change", "image_id"])
    assert table.right_before["kept"].to_dict() == {"a": True, "b": False, "c": True}
    assert table.right_after["kept"].to_dict() == {"a": False, "b": True, "c": True}
    assert table.probability_before["kept", "a"] == pytest.approx(200 / 255)
    assert table.probability_before["kept", "b"] == pytest.approx(1 - 200 / 255)


def test_a_swap_puts_in_the_objects_of_another_country():
    image = np.stack([np.full((224, 224, 3), value, np.uint8) for value in (10, 200)])
    scored = np.zeros((2, 224, 224), bool)
    scored[0, :50], scored[1, 100:150] = True, True
    kept = []

    def predict(pixels: np.ndarray) -> np.ndarray:
        kept.append(pixels.copy())
        return brightness(pixels)

    measure_changes(predict, Pictures(["a", "b"], image, scored, np.array([0, 1])), ["black"], 0)
    first = kept[-1][0]
    assert (first[:50] == 0).all()
    assert (first[100:150] == 200).all()
    assert (first[50:100] == 10).all()


def test_images_of_one_country_only_have_none_to_swap_with():
    assert (foreign_rows(np.zeros(3, int), 0) == -1).all()
    found = foreign_rows(np.array([0, 0, 1, 2]), 0)
    assert found[0] in (2, 3)
    assert found[2] != 2


def test_relevance_is_what_speaks_for_the_answer_and_sums_to_one_or_zero():
    values = np.stack([RNG.normal(size=(4, 4)), -np.ones((4, 4))])
    found = as_relevance(values)
    assert found[0].sum() == pytest.approx(1)
    assert (found >= 0).all()
    assert not found[1].any()


def test_equally_relevant_pixels_are_ranked_at_random():
    relevance = np.zeros((1, 8, 8))
    relevance[0, 7, 7] = 1
    found = ranks(relevance, seed=0)
    assert found[0, 7, 7] == 0
    assert sorted(found.ravel().tolist()) == list(range(64))
    assert np.abs(np.corrcoef(found.ravel()[:-1], np.arange(63))[0, 1]) < 0.5


def test_deletion_and_insertion_tell_a_map_that_names_what_counts_from_one_that_does_not():
    image = np.full((1, 32, 32, 3), 60, np.uint8)
    image[0, :8] = 255

    def bright_top(pixels: np.ndarray) -> np.ndarray:
        share = pixels[:, :8].mean(axis=(1, 2, 3)) / 255
        return np.stack([1 - share, share], axis=1)

    top, bottom = np.zeros((2, 1, 32, 32))
    top[0, :8] = bottom[0, 24:] = 1
    good, bad = (
        deletion_and_insertion(bright_top, image, each, np.array([1]), 8, seed=0)
        for each in (top, bottom)
    )
    assert good[0][0] < 0.2 < bad[0][0]
    assert good[1][0] > bad[1][0]


def test_the_pointing_game_counts_images_with_relevance_and_scored_pixels_only():
    relevance, scored = np.zeros((4, 5, 5)), np.zeros((4, 5, 5), bool)
    scored[:3, 0] = True
    relevance[0, 0, 3] = relevance[1, 4, 3] = relevance[3, 1, 1] = 1
    np.testing.assert_array_equal(pointing_game(relevance, scored), [1, 0, np.nan, np.nan])


def test_maps_without_variation_are_similar_to_each_other_only():
    varied, constant = RNG.random((6, 6)), np.zeros((6, 6))
    assert similarity(varied, varied) == pytest.approx(1)
    assert similarity(varied, -varied) == pytest.approx(-1)
    assert similarity(constant, constant + 1) == 1
    assert similarity(varied, constant) == 0


def test_the_class_of_a_pixel_is_that_of_its_score():
    masks = [np.zeros((4, 5), bool) for _ in range(3)]
    masks[0][:, :3] = masks[1][:, 2:] = masks[2][0] = True
    segments = segments_of("s/a", masks)
    segments.class_id[:, :2] = [[7, 3], [4, 9], [5, 6]]
    segments.class_probability[:, 0] = [0.3, 0.8, 0.9]
    segments.class_probability[:, 1] = [0.2, 0.1, 0.05]
    selected = np.array([3, 4], np.int16)
    found = class_map(segments, selected)
    np.testing.assert_array_equal(found >= 0, score_map(segments, selected) > 0)
    np.testing.assert_array_equal(found[1], [3, 3, 4, 4, 4])


def test_class_maps_are_of_the_wanted_images_at_the_size_of_the_pictures(tmp_path):
    masks = [np.zeros((640, 640), bool) for _ in range(2)]
    masks[0][:320], masks[1][320:] = True, True
    stored = [segments_of(image_id, masks) for image_id in ("s/a", "s/b")]
    for segments in stored:
        segments.class_id[:, 0], segments.class_probability[:, 0] = [3, 4], [0.9, 0.4]
    write_segments(tmp_path / "s.h5", stored)
    selected = np.array([3, 4], np.int16)
    found = class_maps([tmp_path / "s.h5"], {"s/b"}, selected, 0.5, side=32)
    assert list(found) == ["s/b"]
    expected = np.repeat([3, -1], 16)[:, None].repeat(32, axis=1)
    np.testing.assert_array_equal(found["s/b"], expected)
    with pytest.raises(StoreError, match="no segments of s/c"):
        class_maps([tmp_path / "s.h5"], {"s/b", "s/c"}, selected, 0.5)


def test_settings_without_a_configuration_are_those_of_its_defaults():
    section = default_config(load_schema(ROOT / "config/config.schema.yaml"))["explain"]
    assert asdict(Settings()) | {"fills": list(Settings().fills)} == section


def test_predictions_of_other_images_are_not_explained():
    table = pd.DataFrame({"image_id": ["a", "b"], "test_set": "t", "country_1": "FR"})
    ids, labels = np.array(["a", "b"]), np.array(["FR", "DE"])
    assert sample_rows(ids, labels, table, "t", 2, 0).tolist() == [0, 1]
    for other in (table[:1], pd.concat([table, table[:1]])):  # one is missing, one is there twice
        with pytest.raises(InputError, match="not of the run's test images"):
            sample_rows(ids, labels, other, "t", 2, 0)


def test_random_labels_keep_images_and_shares_and_are_another_training():
    images = SimpleNamespace(
        image_id=np.arange(40).astype(str),
        label=np.repeat(["DE", "FR"], [30, 10]),
        digest="d",
        read=lambda rows: (rows, rows),
    )
    shuffled = ShuffledLabels(images, 1)
    assert shuffled.image_id.tolist() == images.image_id.tolist()
    assert Counter(shuffled.label) == Counter(images.label)
    assert (shuffled.label != images.label).any()
    assert shuffled.digest != images.digest
    assert len(shuffled) == 40
    assert shuffled.read(np.array([3, 5]))[0].tolist() == [3, 5]
