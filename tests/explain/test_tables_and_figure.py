"""The tables over all rows, and what the figure shows of them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from geoloc.errors import FileError, InputError
from geoloc.explain.figure import Example, check_answers, choose, explanation_figure
from geoloc.explain.tables import (
    SIMILARITIES,
    cause,
    faithfulness,
    influence,
    read_row_tables,
    write_row_table,
)
from geoloc.matrix import Row
from geoloc.stores import Explanation

RNG = np.random.default_rng(4)
ROW = ("cnn", "original", "42")


def image_rows(
    count: int, label: str, relevance: float, area: float, control: float = 0.2
) -> list[dict]:
    return [
        {"image_id": f"s/{label}{n}", "label": label, "method": "grad_cam", "class": name,
         "relevance": relevance * share, "area": area * share,
         "control": control if name == "" else np.nan}
        for n in range(count)
        for name, share in (("", 1.0), ("sign", 0.5))
    ]  # fmt: skip


def test_influence_is_relevance_by_area_of_all_images_classes_and_countries(tmp_path):
    rows = image_rows(6, "FR", 0.4, 0.1) + image_rows(2, "NA", 0.1, 0.2)
    pd.DataFrame(rows).to_csv(tmp_path / "i.csv", index=False)
    table = influence(read_row_tables([ROW], [str(tmp_path / "i.csv")]), seed=0)
    found = table.set_index(["group_by", "group"])
    assert found.ratio["all", "all"] == pytest.approx((6 * 0.4 + 2 * 0.1) / (6 * 0.1 + 2 * 0.2))
    assert found.ratio["country", "FR"] == pytest.approx(4)
    assert found.ratio["country", "NA"] == pytest.approx(0.5)
    assert found.images["class", "sign"] == 8
    assert found.low["all", "all"] < found.ratio["all", "all"] < found.high["all", "all"]
    assert np.isnan(found.low["country", "NA"])


def test_excess_is_relevance_less_that_at_the_places_of_another_image(tmp_path):
    """An image without scored pixels, in the middle, has no control."""
    rows = [
        row
        for n, (relevance, control) in enumerate(
            [(0.5, 0.1), (0.4, 0.2), (0.0, np.nan), (0.3, 0.2), (0.6, 0.1), (0.4, 0.1)]
        )
        for row in image_rows(1, f"C{n}", relevance, 0.1, control)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "i.csv", index=False)
    table = influence(read_row_tables([ROW], [str(tmp_path / "i.csv")]), seed=0)
    found = table.set_index(["group_by", "group"])
    whole = found.loc["all", "all"]
    assert whole.images == 6
    assert whole.control_share == pytest.approx(0.14)
    assert whole.excess == pytest.approx(2.2 / 5 - 0.14)
    assert 0.1 < whole.excess_low < whole.excess < whole.excess_high < 0.5
    assert found.loc["class", "sign"][["control_share", "excess", "excess_low"]].isna().all()
    assert found.loc["country", "C0"].excess == pytest.approx(0.4)
    assert np.isnan(found.loc["country", "C0"].excess_low)


def test_influence_without_a_control_is_refused(tmp_path):
    table = pd.DataFrame(image_rows(6, "FR", 0.4, 0.1)).drop(columns="control")
    with pytest.raises(InputError, match="cnn/original/42 has no column control; delete"):
        influence([(*ROW, table)], seed=0)


def changes(effect: float, count: int = 12) -> pd.DataFrame:
    """Images whose probability falls by `effect` more if scored pixels go than if others do."""
    noise = RNG.normal(0, 0.02, (2, count))
    after = {"removed_control": 0.5 + noise[0], "removed": 0.5 - effect + noise[1],
             "kept_control": 0.2 + noise[1], "kept": 0.2 + noise[0]}  # fmt: skip
    return pd.concat([
        pd.DataFrame({
            "image_id": [f"s/{n}" for n in range(count)], "change": change, "fill": "black",
            "probability_before": 0.6, "probability_after": values, "right_before": True,
            "right_after": values > 0.45,
        })
        for change, values in after.items()
    ])  # fmt: skip


def test_an_effect_of_scored_pixels_is_found_and_none_is_not():
    rows = [("a", "d", "1", changes(0.2)), ("b", "d", "1", changes(0.0))]
    table = cause(rows, seed=0).set_index(["model", "change"])
    found, none = table.loc["a", "removed_vs_control"], table.loc["b", "removed_vs_control"]
    assert found.high < 0
    assert found.p_adjusted < 0.01
    assert found.accuracy_before == 1
    assert found.accuracy_after == 0
    assert none.p_value > 0.05
    assert none.p_adjusted >= none.p_value


def test_p_values_are_corrected_for_all_contrasts_of_all_rows():
    rows = [(name, "d", "1", changes(effect)) for name, effect in (("a", 0.2), ("b", 0.01))]
    tested = cause(rows, seed=0).dropna(subset="p_value").sort_values("p_value")
    assert len(tested) == 4
    factors = 4, 3, 2, 1  # Holm 1979: the smallest times 4, never below the one before it
    expected = np.maximum.accumulate(np.minimum(tested.p_value * factors, 1))
    assert tested.p_adjusted.to_numpy() == pytest.approx(expected.to_numpy())


def test_fills_stay_in_the_order_of_the_configuration():
    table = pd.concat([changes(0.1).assign(fill=fill) for fill in ("mean", "black")])
    assert cause([(*ROW, table)], seed=0).fill.unique().tolist() == ["mean", "black"]


def test_a_change_without_its_control_is_refused():
    table = changes(0.1)
    with pytest.raises(InputError, match="not of the same images; delete"):
        cause([(*ROW, table[1:])], seed=0)


@pytest.mark.parametrize(
    ("similar", "misled", "error", "shown"),
    [
        (0.1, np.nan, np.nan, True),
        (0.1, 0.4, 0.4, True),
        (0.6, np.nan, 0.1, False),
        (0.1, np.nan, 0.7, False),
        (0.1, 0.6, 0.1, False),
    ],
)
def test_maps_must_change_with_weights_and_labels_and_add_up(similar, misled, error, shown):
    checks = pd.DataFrame({
        "method": ["m"] * 3, "pointing_game": [1.0, 0.0, np.nan], "area": 0.1,
        "deletion": 0.2, "deletion_other": 0.3, "insertion": 0.5, "insertion_other": 0.4,
        "completeness_error": error, **dict.fromkeys(SIMILARITIES, similar),
        "similarity_labels": misled,
    })  # fmt: skip
    (found,) = faithfulness([(*ROW, checks)]).to_dict("records")
    assert found["shown"] is shown
    assert (found["pointing_game"], found["pointing_chance"]) == (0.5, pytest.approx(0.1))


def example(shown: set[str], *methods: str) -> Example:
    relevance = RNG.random((224, 224)).astype(np.float32)
    maps = dict.fromkeys(methods, relevance / relevance.sum())
    return Example(
        "Original", RNG.integers(0, 256, (224, 224, 3)).astype(np.uint8),
        np.zeros((224, 224), np.uint8), Explanation("s/a", "NA", "FR", maps), 0.7, shown,
    )  # fmt: skip


def test_the_figure_leaves_out_maps_that_random_weights_do_not_change():
    trusted = example({"grad_cam"}, "grad_cam")
    other = example(set(), "integrated_gradients")
    axes = explanation_figure("CNN", [trusted, other]).axes
    titles = [axis.get_title() for axis in axes if axis.get_title()]
    assert titles[2:] == ["Grad-CAM", "Integrated gradients"]
    texts = [[text.get_text() for text in axis.texts] for axis in axes]
    assert [text for text in texts if text] == [
        ["not available"],
        ["not available"],
        ["not shown:\nsee faithfulness.csv"],
    ]


def test_the_figure_of_a_clip_has_its_own_method_only():
    method = "attention_relevance"
    axes = explanation_figure("CLIP", [example({method}, method)]).axes
    assert [axis.get_title() for axis in axes][2:] == ["Attention relevance"]
    assert not any(axis.texts for axis in axes)


def test_the_figure_has_a_right_and_a_wrong_answer_of_a_row():
    checks = pd.DataFrame(
        {
            "image_id": ["a", "b", "c", "d"] * 2,
            "label": ["FR"] * 8,
            "answer": ["FR", "FR", "FR", "NA"] * 2,
        }
    )
    for seed in range(5):
        chosen = choose(checks, seed)
        assert "d" in chosen
        assert len(set(chosen)) == 2


def test_a_table_of_another_row_is_refused(tmp_path):
    path, table = tmp_path / "i.csv", pd.DataFrame(image_rows(6, "FR", 0.4, 0.1))
    write_row_table(path, table, Row(*ROW))
    ((*_, read),) = read_row_tables([ROW], [str(path)])
    pd.testing.assert_frame_equal(read, table)
    with pytest.raises(FileError, match=r"i\.csv is damaged \(it is of the row cnn/original/42\)"):
        read_row_tables([("cnn", "original", "43")], [str(path)])


@pytest.mark.parametrize(("name", "value"), [("relevance", 1.5), ("area", ""), ("control", -0.1)])
def test_a_share_that_is_none_is_named_with_its_line(name, value, tmp_path):
    table = pd.DataFrame(image_rows(2, "FR", 0.4, 0.1)).astype({name: object})
    table.loc[2, name] = value
    table.to_csv(tmp_path / "i.csv", index=False)
    with pytest.raises(FileError, match=rf"damaged \({name} in line 4 is .*, not in 0–1\)"):
        read_row_tables([ROW], [str(tmp_path / "i.csv")])


def test_maps_of_another_answer_than_the_rows_are_refused():
    checks = pd.DataFrame({"image_id": ["a", "a", "b"], "answer": ["FR", "FR", "NA"]})
    check_answers("maps.h5", Explanation("a", "FR", "FR", {}), checks)
    with pytest.raises(FileError, match=r"maps\.h5 is damaged \(it explains DE for b, but .* NA"):
        check_answers("maps.h5", Explanation("b", "FR", "DE", {}), checks)
