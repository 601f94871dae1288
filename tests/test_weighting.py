from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from geoloc.images import resize_nearest
from geoloc.weighting import BLUR, CURVES, FILLS, UNCHANGED, View, make_view, other_rows

LINEAR, PIECEWISE = View("linear"), View("piecewise")
views = st.builds(
    View,
    st.sampled_from(sorted(CURVES.keys() - {"python"})),
    lower_score=st.integers(0, 40),
    upper_score=st.integers(41, 100),
    invert=st.booleans(),
    fill=st.sampled_from(sorted(FILLS)),
)
SHAPE = 13, 17
images, scores = (
    arrays(np.uint8, (*SHAPE, 3)),
    arrays(np.uint8, SHAPE, elements=st.integers(0, 100)),
)


@pytest.mark.parametrize(
    ("score", "factor"),
    [(0, 0.1), (9, 0.1), (10, 0.2), (40, 0.6), (70, 1.0), (71, 1.0), (100, 1.0)],
)
def test_the_piecewise_factor_is_eqn_1(score, factor):
    assert PIECEWISE.factor[score] == pytest.approx(factor)


def test_the_linear_factor_is_the_score_in_percent():
    np.testing.assert_allclose(LINEAR.factor[:101], np.arange(101) / 100)


@given(views, st.integers(0, 100))
def test_an_inverted_curve_is_that_of_the_rest_to_100(view, score):
    inverted = replace(view, invert=not view.invert)
    assert inverted.factor[score] == view.factor[100 - score]


def test_products_are_truncated_and_not_rounded():
    image, score = np.full((1, 1, 3), 255, np.uint8), np.full((1, 1), 1, np.uint8)
    assert LINEAR(image, score).max() == 2  # 2.55
    assert PIECEWISE(image, score).max() == 25  # 25.5


@given(views, images, scores, st.integers(1, 30))
def test_weighting_with_black_commutes_with_nearest_resizing(view, image, score, size):
    """So that arrays may be squashed before they are weighted. Other fills are those of the
    squashed image."""
    view = replace(view, fill="black")
    weighted_first = resize_nearest(view(image, score), size)
    resized_first = view(resize_nearest(image, size), resize_nearest(score, size))
    np.testing.assert_array_equal(weighted_first, resized_first)


def plain_fill(fill, image):
    """What replaces the pixels of one image, float64 and as large as the image."""
    if fill == "blur":
        return cv2.GaussianBlur(image, (0, 0), 0.05 * max(image.shape[:2])).astype(float)
    color = image.mean(axis=(0, 1)) if fill == "mean" else np.zeros(3)
    return np.broadcast_to(color, image.shape)


@given(views, st.tuples(images, images), st.tuples(scores, scores))
def test_images_one_by_one_equal_the_formula_of_the_whole_batch(view, image, score):
    image, score = np.stack(image), np.stack(score)
    factor = view.factor[score][..., None]
    shown = view(image, score)
    if view.fill == "black":
        np.testing.assert_array_equal(shown, (image * factor).astype(np.uint8))
    else:
        fill = np.stack([plain_fill(view.fill, one) for one in image])
        expected = image * factor + fill * (1 - factor)
        assert np.abs(shown - expected).max() <= 0.5 + 1e-3


@given(views, images, scores)
def test_a_pixel_that_equals_its_fill_stays(view, image, score):
    fill = plain_fill(view.fill, image)
    shown = view(image, score)
    np.testing.assert_array_equal(shown[image == fill], image[image == fill])
    flat = np.full_like(image, image[0, 0])
    if view.fill != "black":
        np.testing.assert_array_equal(view(flat, score), flat)


@given(views, images)
def test_an_image_of_full_factor_stays(view, image):
    score = np.full(SHAPE, 0 if view.invert else 100, np.uint8)
    np.testing.assert_array_equal(view(image, score), image)


def test_a_blurred_copy_keeps_the_colors_of_a_region_and_loses_its_edges():
    image = np.zeros((100, 200, 3), np.uint8)
    image[:, 100:] = 200
    row = View("linear", fill="blur")(image, np.zeros((100, 200), np.uint8))[50, :, 0].astype(int)
    assert (row[0], row[-1]) == (0, 200)
    assert np.diff(row).max() < 10 < np.diff(image[50, :, 0].astype(int)).max()
    width = np.count_nonzero((row > 200 * 0.16) & (row < 200 * 0.84))  # two standard deviations
    assert width == pytest.approx(2 * BLUR * 200, abs=2)


def test_a_dataset_without_a_full_factor_dims_every_pixel():
    image, score = np.full((1, 2, 3), 100, np.uint8), np.array([[0, 90]], np.uint8)
    assert View("piecewise", maximum_factor=0.9)(image, score)[0, :, 0].tolist() == [10, 90]


def test_only_unchanged_images_need_no_score_map():
    image = np.full((1, 2, 3), 100, np.uint8)
    assert UNCHANGED(image) is image
    assert UNCHANGED.unchanged
    assert not LINEAR.unchanged
    with pytest.raises(ValueError, match="needs a score map"):
        LINEAR(image)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"curve": "step"}, "unknown curve 'step'; write one of none, linear, piecewise, python"),
        ({"fill": "white"}, "unknown fill 'white'; write one of black, mean, blur"),
        ({"color": 1, "curve": "none"}, "unknown settings of a dataset: color"),
    ],
)
def test_what_a_view_does_not_know_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        make_view(settings)


@given(views)
def test_a_view_is_made_again_of_its_settings(view):
    again = make_view(view.settings())
    np.testing.assert_array_equal(again.factor, view.factor)
    assert view.unchanged or (again.fill, again.invert) == (view.fill, view.invert)
    assert ("lower_score" in view.settings()) == (view.curve == "piecewise")


CURVE = """
def load(power=1.0):
    return lambda score: (score / 100) ** power
"""


def own(folder, text=CURVE, **settings) -> View:
    """The view of a file with that text."""
    (folder / "my_curve.py").write_text(text)
    file = str(folder / "my_curve.py")
    return make_view({"curve": "python", "scores": "objects", "file": file} | settings)


def test_a_curve_of_the_users_own_decides_the_factors(tmp_path):
    view = own(tmp_path, options={"power": 2})
    np.testing.assert_allclose(view.factor[:101], (np.arange(101) / 100) ** 2, rtol=1e-6)
    assert view.factor[255] == 1
    inverted = own(tmp_path, options={"power": 2}, invert=True)
    np.testing.assert_array_equal(inverted.factor[:101], view.factor[100::-1])


def test_the_settings_of_a_users_curve_change_with_its_file_and_outlive_it(tmp_path):
    first = own(tmp_path).settings()
    second = own(tmp_path, CURVE + "# edited").settings()
    assert (first["file"], first["options"]) == ("my_curve.py", {})
    assert first["code"] != second["code"]
    assert own(tmp_path, CURVE.replace("100", "200")).factor[100] == 0.5  # not that of before
    assert first | {"code": ""} == second | {"code": ""}
    (tmp_path / "my_curve.py").unlink()
    assert make_view(first).settings() == first  # a record is read where the file is missing


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        ("lambda score: score", r"int64 \(101,\) instead of float \(101,\)"),
        ("lambda score: 0.5", r"float64 \(\) instead of float"),
        ("lambda score: score / 50", "the factor 1.02 for the score 51, not one in 0–1"),
        ("lambda score: score / score", "the factor nan for the score 0"),
        ("lambda score: score.gone", ", line 3: AttributeError"),
        (
            "lambda score: np.random.default_rng().random(101)",
            "other factors when called again",
        ),
        ("0.5", "must return a function from scores to factors, but it returned float"),
    ],
)
def test_what_is_no_curve_is_refused_before_it_is_used(returned, message, tmp_path):
    with pytest.raises(ValueError, match=r"my_curve\.py.*" + message):
        own(tmp_path, f"import numpy as np\ndef load():\n    return {returned}\n")


def test_a_curve_needs_a_file_that_exists(tmp_path):
    with pytest.raises(ValueError, match="the curve python needs a file"):
        make_view({"curve": "python", "scores": "objects"})
    with pytest.raises(OSError, match=r"gone\.py: no such file"):
        make_view({"curve": "python", "file": str(tmp_path / "gone.py")})


@given(st.integers(2, 500), st.integers(0, 2**32))
def test_every_image_gets_the_score_map_of_another_one(count, seed):
    other = other_rows(count, seed)
    assert sorted(other) == list(range(count))
    assert (other != np.arange(count)).all()
    np.testing.assert_array_equal(other, other_rows(count, seed))


def test_another_seed_draws_another_image():
    assert len({tuple(other_rows(20, seed)) for seed in range(10)}) == 10
    assert other_rows(0, 1).tolist() == []
    assert other_rows(1, 1).tolist() == [0]  # has no other
