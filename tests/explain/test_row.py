"""A row is explained: what the maps and the changed images of models with a known answer say."""

from __future__ import annotations

from pathlib import Path

import calibrate
import numpy as np
import pytest

from geoloc.explain.changes import Pictures
from geoloc.explain.keras_probe import KerasProbe
from geoloc.explain.methods import Settings
from geoloc.explain.randomization import STAGES, cascade
from geoloc.explain.row import Explained, explain_row
from geoloc.explain.tables import cause, faithfulness, influence
from tests.explain.test_keras_probe import left_half_network, small_network

import keras  # isort: skip

RNG = np.random.default_rng(5)
SETTINGS = Settings(images=12, steps=4, fills=("black", "mean"), checked_images=3, points=4)
LEFT = np.arange(224) < 112


def pictures(scored_left: bool) -> Pictures:
    """Bright or dark halves. The left one is bright in images of the class 1; the right one says
    nothing. A square of either half is scored."""
    label = np.arange(12) % 2
    image = RNG.integers(0, 60, (12, 224, 224, 3)).astype(np.uint8)
    image[label == 1] += (LEFT[:, None] * 190).astype(np.uint8)
    scored = np.zeros((12, 224, 224), bool)
    for row, place in enumerate(scored):
        top, start = 8 * row, 4 * row % 64 + (0 if scored_left else 112)
        place[top : top + 80, start : start + 48] = True
    return Pictures([f"s/{n}" for n in range(12)], image, scored, label)


def explained(model: keras.Model, seen: Pictures, settings: Settings = SETTINGS) -> Explained:
    maps = {name: np.zeros((224, 224), int) for name in seen.image_id}
    return explain_row(KerasProbe(model), seen, ["FR", "NA"], maps, ["sign"], settings, 1)


@pytest.fixture(scope="module")
def left() -> Explained:
    return explained(left_half_network(), pictures(scored_left=True))


@pytest.fixture(scope="module")
def right() -> Explained:
    return explained(left_half_network(), pictures(scored_left=False))


def test_influence_and_cause_find_the_objects_that_a_network_looks_at(left):
    table = influence([("cnn", "original", "1", left.influence)], 0)
    method = "integrated_gradients"
    found = table[(table.method == method) & (table.group_by == "all")].iloc[0]
    assert found.ratio > found.low > 1.5
    # All that a network looks at lies left, where other images have their scored pixels, too.
    assert found.excess == pytest.approx(found.relevance_share - found.control_share)
    assert found.excess_low < found.excess < found.excess_high
    (by_class,) = table[(table.method == method) & (table.group_by == "class")].itertuples()
    assert (by_class.group, by_class.ratio) == ("sign", pytest.approx(found.ratio))
    number = left.changes.image_id.str[2:].astype(int)
    bright = left.changes[(number % 2 == 1) & (left.changes.change != "swapped_other")]
    after = bright.groupby(["fill", "change"]).probability_after.mean()
    before = bright.probability_before.mean()
    assert after["black", "removed"] < before - 0.05
    assert after["black", "kept"] < 0.5 < before


def test_influence_and_cause_deny_objects_that_a_network_does_not_look_at(right):
    table = influence([("cnn", "original", "1", right.influence)], 0)
    assert table[table.method == "integrated_gradients"].ratio.max() < 1e-6
    assert table[table.method == "integrated_gradients"].excess.abs().max() < 1e-6
    removed = right.changes[right.changes.change.isin(["removed", "removed_control"])]
    black = removed[removed.fill == "black"]
    np.testing.assert_allclose(black.probability_after, black.probability_before, atol=1e-5)


def calibrated(world: str, found: Explained, run: Path) -> dict[str, str]:
    """Verdicts of the calibration by what they say, of a run that explains like this."""
    for seed in (1, 2):
        for kind in ("influence", "changes", "checks"):
            path = run / calibrate.explanation_file(seed, kind)
            path.parent.mkdir(parents=True, exist_ok=True)
            table = getattr(found, kind)
            if kind == "changes":
                table = table[table.fill == "black"]
            table.to_csv(path, index=False)
    values, _ = calibrate.read_explanations(run, [1, 2])
    lines = calibrate.judge_explanations(world, values, shown={})
    return {line.split(": ")[1].split(" (")[0]: line[:9].strip() for line in lines}


def test_calibration_tells_where_a_network_looks(left, right, tmp_path):
    gradients = "integrated gradients put {} there than their area"
    found = calibrated("objects", left, tmp_path / "left")
    assert found[gradients.format("more")] == "held"
    assert calibrated("background", left, tmp_path / "left")[gradients.format("less")] == "failed"
    # Where other images have their scored pixels, the network looks, too.
    elsewhere = "integrated gradients put more there than at these places"
    assert calibrated("objects", left, tmp_path / "left")[elsewhere] != "held"
    found = calibrated("background", right, tmp_path / "right")
    assert found[gradients.format("less")] == "held"
    # Nothing that is removed from the right half is missed, scored or not.
    removed = "removing scored pixels costs less than removing as many of another image's"
    assert found[removed] == "undecided"


def test_the_contrast_is_of_the_same_images_with_a_test(left):
    table = cause([("cnn", "original", "1", left.changes)], 0)
    table = table[table.fill == "black"].set_index("change")
    contrast = table.loc["removed_vs_control"]
    expected = table.difference["removed"] - table.difference["removed_control"]
    assert contrast.difference == pytest.approx(expected)
    assert contrast.low <= contrast.difference <= contrast.high
    assert 0 < contrast.p_value <= contrast.p_adjusted <= 1
    assert table.p_value.notna().tolist() == [
        name.endswith("control") and "vs" in name for name in table.index
    ]
    assert set(table.index) == {
        "removed", "removed_control", "kept", "kept_control", "swapped", "swapped_other",
        "removed_vs_control", "kept_vs_control",
    }  # fmt: skip


def test_swapped_objects_take_the_answer_to_their_country(left):
    swapped = left.changes[left.changes.fill == "mean"].set_index("image_id")
    other = swapped[swapped.change == "swapped_other"]
    gained = other.probability_after - other.probability_before
    assert gained.mean() > 0


def test_maps_of_a_trained_network_change_with_its_weights_and_are_shown(left):
    checks = faithfulness([("cnn", "original", "1", left.checks)]).set_index("method")
    found = checks.loc["integrated_gradients"]
    assert found.checked_images == 3
    assert bool(found.shown) == (found.similarity_100 < 0.5)
    assert found.completeness_error < 0.05
    assert found.deletion < found.insertion


def test_the_map_of_a_model_that_knows_nothing_does_not_change_and_is_not_shown():
    model = small_network()
    model.set_weights([np.zeros_like(values) for values in model.get_weights()])
    found = explained(model, pictures(scored_left=True))
    checks = faithfulness([("cnn", "original", "1", found.checks)])
    assert (checks.similarity_100 == 1).all()
    assert not checks.shown.any()
    assert not any(map_.any() for each in found.explanations for map_ in each.relevance.values())
    assert influence([("cnn", "original", "1", found.influence)], 0).empty


def test_maps_that_random_labels_do_not_change_are_not_shown(left):
    """The network that learned other labels is the same one, or one that looks elsewhere."""
    checks = left.checks
    assert checks.similarity_labels.isna().all()
    found = []
    for misled in (left_half_network(), small_network()):
        seen = pictures(scored_left=True)
        maps = {name: np.zeros((224, 224), int) for name in seen.image_id}
        probes = [KerasProbe(model) for model in (left_half_network(), misled)]
        row = explain_row(probes[0], seen, ["FR", "NA"], maps, ["sign"], SETTINGS, 1, probes[1])
        table = faithfulness([("cnn", "original", "1", row.checks)]).set_index("method")
        found.append(table.loc["integrated_gradients"])
    assert found[0].similarity_labels == pytest.approx(1)
    assert not found[0].shown
    assert abs(found[1].similarity_labels) < 0.5


def test_randomized_weights_keep_their_values_and_come_back():
    model = small_network()
    trained = model.get_weights()
    seen = [(stage, model.get_weights()) for stage in cascade(KerasProbe(model).layers(), 4)]
    assert [stage for stage, _ in seen] == list(STAGES)
    first, last = seen[0][1], seen[-1][1]
    assert not np.array_equal(first[-2], trained[-2])  # of the output
    np.testing.assert_array_equal(first[0], trained[0])  # of the input
    for before, after in zip(trained, last, strict=True):
        np.testing.assert_array_equal(np.sort(before.ravel()), np.sort(after.ravel()))
    assert not np.array_equal(last[0], trained[0])
    for before, after in zip(trained, model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


def test_the_same_seed_gives_the_same_tables():
    first, again = (explained(left_half_network(), pictures_again()) for _ in range(2))
    for name in ("influence", "changes", "checks"):
        assert getattr(first, name).to_csv() == getattr(again, name).to_csv()


def pictures_again() -> Pictures:
    rng = np.random.default_rng(9)
    image = rng.integers(0, 256, (4, 224, 224, 3)).astype(np.uint8)
    scored = np.zeros((4, 224, 224), bool)
    scored[:, 20:60, 20:80] = True
    return Pictures([f"s/{n}" for n in range(4)], image, scored, np.array([0, 1, 0, 1]))


def test_a_model_without_convolutions_is_explained_without_grad_cam():
    pixels = keras.Input((224, 224, 3))
    small = keras.layers.Flatten()(keras.layers.AveragePooling2D(56)(pixels))
    model = keras.Model(pixels, keras.layers.Dense(2, activation="softmax")(small))
    found = explained(model, pictures_again())
    assert {*found.checks.method} == {"integrated_gradients"}
