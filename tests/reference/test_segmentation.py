"""Masks, classes and scores of real photographs and published lists."""

from __future__ import annotations

import csv

import numpy as np
import torch

from geoloc.images import decode as decode_image
from geoloc.segmentation.scoring import read_selected, segment_scores
from geoloc.segmentation.vocabularies import class_indices, vocabulary
from tests.conftest import ROOT
from tests.segmentation.test_classifiers import lite
from tests.segmentation.test_segmenter import (
    DEMO_KNOBS,
    assert_equal_masks,
    demo_sam,
)


def test_masks_of_photographs_equal_those_of_the_generator(demo_sam, reference):
    """JPEG and WebP, upright and lying, small and panoramic, as they are stored."""
    photographs = sorted((reference / "photos").glob("*.[jw]*"))[::6]
    images = [decode_image(path.read_bytes()) for path in photographs]
    images = [image for image in images if image.size < 6e6]  # the generator takes minutes
    assert len(images) >= 4
    for image in images:
        assert_equal_masks(demo_sam, image, least=0, **DEMO_KNOBS)


def test_efficientnet_lite0_recognises_a_photograph(lite, reference):
    from PIL import Image, ImageOps

    photo = Image.open(reference / "photos" / "11_DE.jpg").convert("RGB")
    crop = np.array(ImageOps.fit(photo, (224, 224)))
    class_id, probability = lite.classify(torch.from_numpy(crop)[None])
    assert vocabulary("imagenet")[class_id[0, 0]] == "street sign"
    assert probability[0, 0] > 0.5


def test_shipped_list_has_the_classes_of_the_study(reference):
    published = read_selected(reference / "data" / "selected_classes.txt")
    assert len(published) == 127
    shipped = read_selected(ROOT / "config" / "selected_classes.txt")
    assert shipped.tolist() == published.tolist()
    both = read_selected(reference / "data" / "selected_classes.txt", "every_meaning")
    assert set(both) - set(published) == {134}


def test_published_example_has_eleven_scored_masks(reference):
    with (reference / "data" / "paper_example_mask_predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    class_id = np.array([class_indices(row["class"], "every_meaning")[-1] for row in rows])
    probability = np.array([float(row["percent"]) / 100 for row in rows], np.float32)
    selected = read_selected(reference / "data" / "selected_classes.txt")
    scores = segment_scores(class_id.reshape(-1, 10), probability.reshape(-1, 10), selected)
    assert len(scores) == 61
    assert np.count_nonzero(scores) == 11
