"""Run lengths, against masks that are looked at pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from geoloc.segmentation import rle

masks = arrays(bool, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9))


def encoded(mask: np.ndarray) -> np.ndarray:
    return rle.encode(mask.T, 0, 0, mask.shape)


def plain_runs(mask: np.ndarray) -> list[int]:
    """Lengths of the runs of equal pixels, column by column, beginning with zeros."""
    runs, value = [0], False
    for pixel in mask.T.ravel().tolist():
        if pixel != value:
            runs.append(0)
            value = pixel
        runs[-1] += 1
    return runs


@given(masks)
def test_runs_are_those_of_the_columns_and_give_the_mask_back(mask):
    counts = encoded(mask)
    assert counts.dtype == np.uint32
    assert counts.tolist() == plain_runs(mask)
    found = rle.decode(counts, mask.shape)
    assert found.dtype == bool
    assert np.array_equal(found, mask)


@given(masks, st.integers(0, 3), st.integers(0, 3), st.integers(0, 3), st.integers(0, 3))
def test_a_window_lies_where_it_is_said_to(window, left, top, right, bottom):
    height, width = window.shape
    whole = np.pad(window, ((top, bottom), (left, right)))
    counts = rle.encode(window.T, left, top, whole.shape)
    assert counts.tolist() == plain_runs(whole)


@given(masks)
def test_area_and_box_are_those_of_the_pixels(mask):
    counts = encoded(mask)
    assert rle.area(counts) == mask.sum()
    y, x = np.nonzero(mask)
    expected = (0, 0, 0, 0)
    if len(x):
        expected = (x.min(), y.min(), np.ptp(x) + 1, np.ptp(y) + 1)
    assert rle.bounding_box(counts, mask.shape) == expected


@given(st.data(), st.integers(0, 6))
def test_the_area_of_a_group_is_that_of_its_masks_together(data, count):
    shape = data.draw(array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=7))
    found = [data.draw(arrays(bool, shape)) for _ in range(count)]
    groups = data.draw(arrays(int, count, elements=st.integers(0, 2)))
    areas = rle.union_areas([encoded(mask) for mask in found], groups, 3, shape)
    for group in range(3):
        masks = [mask for mask, own in zip(found, groups, strict=True) if own == group]
        assert areas[group] == np.any([np.zeros(shape, bool), *masks], axis=0).sum()


def test_a_run_of_no_pixels_has_no_box_of_its_own():
    counts = np.array([2, 0, 3, 2, 2], np.uint32)
    mask = rle.decode(counts, (3, 3))
    y, x = np.nonzero(mask)
    box = (x.min(), y.min(), np.ptp(x) + 1, np.ptp(y) + 1)
    assert rle.bounding_box(counts, (3, 3)) == box


def test_sums_beyond_32_bits_are_exact():
    half = np.array([2**31, 2**31, 2**31, 2**31], np.uint32)
    assert rle.area(half) == 2**32
    with pytest.raises(ValueError, match=r"add up to \d+ pixels, not to 1×2"):
        rle.decode(half, (1, 2))


@pytest.mark.parametrize("counts", [[3], [5], [2, 3], [0]])
def test_runs_that_do_not_fill_the_mask_are_refused(counts):
    with pytest.raises(ValueError, match="pixels, not to 2×2"):
        rle.decode(np.array(counts, np.uint32), (2, 2))
