"""Crops equal those cut the plain way: contour, square, Pillow's resize, center."""

import cv2
import numpy as np
import pytest
import torch
from bench import published

from geoloc.segmentation import rle
from geoloc.segmentation.classifiers import build_classifier
from geoloc.segmentation.crops import cut_crops
from geoloc.segmentation.segments import to_segments
from geoloc.segmentation.shard import classify_segments

SIZE = (200, 320)


def segments_of(masks: list[np.ndarray]):
    counts = [rle.encode(mask.T, 0, 0, mask.shape) for mask in masks]
    return to_segments(masks[0].shape, counts, [1.0] * len(masks), [1.0] * len(masks))


def scene(seed: int = 0) -> np.ndarray:
    """Shapes and texture, a part of it black, uint8 (200, 320, 3)."""
    random = np.random.default_rng(seed)
    image = cv2.resize(random.integers(0, 256, (20, 32, 3), np.uint8), SIZE[::-1])
    for _ in range(12):
        corner, color = random.integers(0, 300, 2), random.integers(0, 256, 3).tolist()
        end = corner + random.integers(10, 90, 2)
        cv2.rectangle(image, corner.tolist(), end.tolist(), color, -1)
    image[:60, :80] = random.integers(0, 3, (60, 80, 1))
    return image


def shapes(count: int, seed: int = 0) -> list[np.ndarray]:
    """Ellipses and polygons of all sizes, some over the edge, some of several parts."""
    random = np.random.default_rng(seed)
    masks = []
    for i in range(count):
        mask = np.zeros(SIZE, np.uint8)
        for _ in range(1 + i % 3):
            center = (int(random.integers(0, 320)), int(random.integers(0, 200)))
            axes = random.integers(1, [8, 40, 160][i % 3], 2).tolist()
            cv2.ellipse(mask, center, axes, float(random.uniform(0, 180)), 0, 360, 1, -1)
        masks.append(mask.astype(bool))
    return masks


def test_crops_equal_the_plain_way():
    image, masks = scene(), shapes(60)
    crops, rows = cut_crops(image, segments_of(masks))
    expected = [published.crop(image, mask) for mask in masks]
    assert rows.tolist() == [i for i, crop in enumerate(expected) if crop is not None]
    for crop, row in zip(crops, rows, strict=True):
        assert np.abs(crop.astype(int) - expected[row]).max() <= 1


def test_classes_of_crops_equal_the_plain_way():
    image, masks = scene(1), shapes(30, seed=1)
    classifier = build_classifier("efficientnet_lite0", device="cpu")
    crops, rows = cut_crops(image, segments_of(masks), classifier.resize, classifier.input_size)
    plain = np.stack([published.crop(image, masks[row]) for row in rows])
    class_id, probability = classifier.classify(torch.from_numpy(crops))
    expected_id, expected = classifier.classify(torch.from_numpy(plain))
    assert (class_id[:, 0] == expected_id[:, 0]).mean() >= 0.99
    assert np.abs(probability - expected).max() <= 0.01


def test_a_classifier_gets_crops_of_its_own_size():
    class SmallClassifier:
        resize, input_size = 80, 64

        def classify(self, crops: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
            self.crops = crops
            return np.zeros((len(crops), 10), np.int16), np.zeros((len(crops), 10))

    image, segments = scene(2), segments_of(shapes(6, seed=2))
    classifier = SmallClassifier()
    classify_segments(image, segments, classifier, {"classifier": 0.0})
    expected, _ = cut_crops(image, segments, resize=80, input_size=64)
    assert classifier.crops.shape[1:] == (64, 64, 3)
    assert np.array_equal(classifier.crops, expected)


def test_only_the_largest_part_is_cut():
    image = np.full((*SIZE, 3), 200, np.uint8)
    mask = np.zeros(SIZE, bool)
    mask[10:20, 10:20] = mask[100:180, 200:280] = True
    crops, _ = cut_crops(image, segments_of([mask]))
    assert (crops[0] == 200).all()  # a square part fills its crop


def test_pixels_of_other_parts_inside_the_box_stay():
    image = np.full((*SIZE, 3), 200, np.uint8)
    mask = np.zeros(SIZE, bool)
    mask[20:100, 20:25] = mask[20:25, 20:100] = True  # an angle
    mask[60:90, 60:90] = True  # a separate part inside its box
    crops, _ = cut_crops(image, segments_of([mask]))
    assert crops[0, 112, 112].tolist() == [200, 200, 200]
    assert np.abs(crops[0].astype(int) - published.crop(image, mask)).max() <= 1


@pytest.mark.parametrize("gray", [0, 1])
def test_black_mask_and_empty_mask_have_no_crop(gray):
    image = np.full((*SIZE, 3), gray, np.uint8)
    image[150:] = 90
    dark, empty, bright = (np.zeros(SIZE, bool) for _ in range(3))
    dark[10:50, 10:50] = bright[140:170, 30:90] = True
    crops, rows = cut_crops(image, segments_of([dark, empty, bright]))
    assert rows.tolist() == [2]
    assert crops.shape == (1, 224, 224, 3)


def test_single_pixel_has_a_crop():
    image = np.full((*SIZE, 3), 50, np.uint8)
    mask = np.zeros(SIZE, bool)
    mask[199, 319] = True
    crops, _ = cut_crops(image, segments_of([mask]))
    assert (crops[0] == 50).all()


def test_no_masks_give_no_crops():
    crops, rows = cut_crops(scene(), to_segments(SIZE, [], [], []))
    assert crops.shape == (0, 224, 224, 3)
    assert len(rows) == 0
