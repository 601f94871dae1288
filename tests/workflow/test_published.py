"""The published constants and settings, each pinned where it acts (PAPER.md of the study).

Layers of the models are in test_models.py, the course of a training in test_training.py.
"""

from __future__ import annotations

import numpy as np
import pytest
import yaml

from geoloc.config import check_config, load_schema
from geoloc.corpus import spatial_split
from geoloc.corpus.split import SPLITS
from geoloc.countries import polygons
from geoloc.countries.geocoding import GEOCODERS
from geoloc.evaluation import distances
from geoloc.evaluation.table1 import published
from geoloc.keras_models.applications import application_names
from geoloc.keras_models.augmentation import Augmentation
from geoloc.keras_models.training import TrainingParameters
from geoloc.keras_models.transfer import BACKBONES
from geoloc.matrix import dataset_settings
from geoloc.segmentation import crops, rle, scoring, vocabularies
from geoloc.segmentation.classifiers import CLASSIFIERS
from geoloc.segmentation.classifiers.base import BEST, CropClassifier
from geoloc.segmentation.classifiers.resnet50 import ResNet50
from geoloc.segmentation.segmenters import SEGMENTERS
from geoloc.segmentation.segmenters.sam.postprocess import Thresholds
from geoloc.segmentation.segments import to_segments
from geoloc.types import ARRAY_SIZE, SCORE_SIZE
from geoloc.weighting import CURVES, FILLS, View, custom_factor, make_view
from tests.conftest import ROOT

STUDY = {
    "seed": 42,
    "index": {
        "min_images": 75, "split": [0.8, 0.1, 0.1], "split_by": "image",
        "geocoder": "nearest_city",
    },
    "segmentations": {
        "sam": {
            "kind": "sam", "model": "vit_h", "classifier": {"kind": "resnet50"},
            "points_per_side": 32, "pred_iou_thresh": 0.88, "stability_score_thresh": 0.95,
            "stability_score_offset": 1.0, "box_nms_thresh": 0.7, "crop_n_layers": 0,
            "crop_nms_thresh": 0.7, "crop_overlap_ratio": 512 / 1500,
            "crop_n_points_downscale_factor": 1, "min_mask_region_area": 0, "precision": "float32",
        },
    },
    "scores": {
        "objects": {"segmentation": "sam", "minimum": 0.1, "merge": "maximum",
                    "ambiguous_classes": "first_meaning"},
    },
    "datasets": {
        "original": {"title": "Original", "curve": "none"},
        "weighted_base": {"title": "Weighted Base", "scores": "objects", "curve": "linear",
                          "invert": False, "fill": "black", "scores_of": "self"},
        "weighted_custom": {
            "title": "Weighted Custom", "scores": "objects", "curve": "piecewise",
            "no_score_factor": 0.1, "minimum_factor": 0.2, "maximum_factor": 1.0,
            "lower_score": 10, "upper_score": 70, "invert": False, "fill": "black",
            "scores_of": "self",
        },
    },
    "seeds": None,
    "train": {
        "batch_size": 64, "epochs": 25, "learning_rate": 1e-3, "early_stopping_patience": 10,
        "plateau_patience": 3, "plateau_factor": 0.5, "minimum_learning_rate": 1e-5,
        "precise_batch_norm": 0, "class_weights": None, "precision": "float32",
        "augmentation": {"shear_range": 0.2, "zoom_range": 0.2, "horizontal_flip": True},
    },
    "models": {
        "cnn": {"kind": "cnn", "title": "Convolutional Neural Network"},
        "transfer": {
            "kind": "transfer", "title": "Transfer Learning", "backbone": "resnet50",
            "preprocessing": "rescale", "fine_tune": "none",
        },
        "clip": {"kind": "clip", "title": "StreetCLIP", "prompt": "{country}"},
    },
    "sources": {
        "geoguessr": {"kind": "country_folders", "crop": "center", "size": 640},
        "streetview": {"kind": "coordinates_table", "crop": "center", "size": 640,
                       "file_column": None},
    },
    "test_sets": {
        "im2gps3k": {"title": "Im2GPS-3k-modified", "kind": "coordinates_table",
                     "crop": "none", "size": None,
                     "latitude_column": "LAT", "longitude_column": "LON",
                     "file_column": "IMG_ID", "author_column": "AUTHOR"},
    },
}  # fmt: skip


def leaves(entry: dict, path: str = ""):
    for key, value in entry.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{path}{key}.")
        else:
            yield path + key, value


def at(config: dict, path: str):
    for key in path.split("."):
        config = config[key]
    return config


@pytest.fixture(scope="module")
def config() -> dict:
    config = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))
    check_config(config, load_schema(ROOT / "config/config.schema.yaml"))
    return config


@pytest.mark.parametrize(("path", "value"), list(leaves(STUDY)))
def test_the_configuration_is_that_of_the_study(path, value, config):
    assert at(config, path) == value


def test_defaults_of_functions_are_those_of_the_configuration(config):
    train = dict(config["train"])
    augmentation = Augmentation(**train.pop("augmentation"))
    assert TrainingParameters() == TrainingParameters(**train, augmentation=augmentation)
    assert Augmentation() == augmentation
    settings = dataset_settings(config, "weighted_custom")
    assert View(curve="piecewise", scores="objects") == make_view(settings)
    assert Thresholds(0.95, 1.0, 0.7).mask_threshold == 0.0


@pytest.mark.parametrize(
    ("key", "choices"),
    [
        ("index.geocoder", GEOCODERS),
        ("$defs.segmentation.sam.model", SEGMENTERS),
        ("$defs.classifier.kind", CLASSIFIERS),
        ("$defs.scores.merge", scoring.MERGES),
        ("$defs.scores.ambiguous_classes", vocabularies.AMBIGUOUS),
        ("$defs.model.transfer.backbone", [*BACKBONES, *application_names()]),
        ("$defs.model.cells.backbone", [*BACKBONES, *application_names()]),
        ("$defs.dataset.curve", CURVES),
        ("$defs.dataset.fill", FILLS),
    ],
)
def test_what_the_configuration_lets_one_choose_exists_under_that_name(key, choices):
    entry = load_schema(ROOT / "config/config.schema.yaml")
    for name in key.split("."):
        parts = (entry, entry.get("properties", {}), entry.get("kinds", {}))
        entry = next(part[name] for part in parts if name in part)
    assert sorted(entry["enum"]) == sorted(choices)


# --------------------------------------------------------------------------- masks and their crops


def test_a_crop_is_resized_to_256_and_its_center_of_224_is_classified():
    assert (CropClassifier.resize, CropClassifier.input_size, BEST) == (256, 224, 10)
    assert ResNet50.mean == (0.485, 0.456, 0.406)
    assert ResNet50.std == (0.229, 0.224, 0.225)
    assert (SCORE_SIZE, ARRAY_SIZE) == (640, 224)
    default = crops.cut_crops.__defaults__
    assert default == (256, 224)


def test_gray_values_above_one_belong_to_a_contour():
    assert crops.DARKEST == 1


@pytest.mark.parametrize(
    ("probability", "score"),
    [(0.1, 0), (0.1001, 10), (0.104, 10), (0.106, 11), (0.994, 99), (1.0, 100), (0.05, 0)],
)
def test_a_score_is_the_rounded_percentage_above_ten_percent(probability, score):
    class_id = np.full((1, 10), -1, np.int16)
    class_probability = np.zeros((1, 10))
    class_id[0, 0], class_probability[0, 0] = 919, probability
    assert scoring.segment_scores(class_id, class_probability, [919]).tolist() == [score]


def test_of_the_ten_best_classes_the_first_selected_one_gives_the_score():
    class_id = np.array([[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]], np.int16)
    probability = np.array([[0.3, 0.2, 0.15, 0.12, 0.11, 0.05, 0.03, 0.02, 0.01, 0.01]])
    for selected, score in (([3, 2], 20), ([5, 4], 12), ([6], 0), ([10, 5], 11)):
        assert scoring.segment_scores(class_id, probability, selected).tolist() == [score]


@pytest.mark.parametrize("merge", scoring.MERGES)
@pytest.mark.parametrize(("minimum", "score"), [(0.1, 30), (0.29, 30), (0.3, 0), (0.5, 0)])
def test_the_minimum_decides_what_a_score_map_shows(minimum, score, merge):
    size = (4, 4)
    mask = np.zeros(size, bool)
    mask[1:3, 1:3] = True
    segments = to_segments(size, [rle.encode(mask.T, 0, 0, size)], [1.0], [1.0])
    segments.class_id[0, 0], segments.class_probability[0, 0] = 919, np.float32(0.3)
    painted = scoring.score_map(segments, [919], float(np.float32(minimum)), merge)
    assert np.array_equal(painted, score * mask)


def test_the_list_has_127_classes_and_both_cranes_make_them_128():
    path = ROOT / "config/selected_classes.txt"
    names = [n for line in path.read_text().splitlines() if (n := line.split("#")[0].strip())]
    assert len(names) == len(set(names)) == 127
    assert len(scoring.read_selected(path)) == 127
    both = set(scoring.read_selected(path, "every_meaning"))
    assert both - set(scoring.read_selected(path)) == {134}
    assert len(both) == 128
    assert len(vocabularies.vocabulary("imagenet")) == 1000


# -------------------------------------------------------------------------------------- datasets


@pytest.mark.parametrize(
    ("score", "factor"),
    [(0, 0.1), (9, 0.1), (10, 0.2), (40, 0.6), (69, 0.2 + 59 / 60 * 0.8), (70, 1.0), (71, 1.0),
     (100, 1.0)],
)  # fmt: skip
def test_eqn_1(score, factor):
    view = View(curve="piecewise")
    assert custom_factor(np.array([score]), view)[0] == pytest.approx(factor, abs=1e-12)
    assert view.factor[score] == pytest.approx(factor, abs=1e-6)


def test_eqn_1_with_other_parameters():
    view = View("piecewise", no_score_factor=0.0, minimum_factor=0.4, maximum_factor=0.9,
                lower_score=20, upper_score=60)  # fmt: skip
    scores = np.array([0, 19, 20, 40, 60, 61])
    expected = [0.0, 0.0, 0.4, 0.65, 0.9, 0.9]
    assert custom_factor(scores, view) == pytest.approx(expected)
    assert view.factor[scores] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("curve", "at_37", "above"), [("none", 200, 200), ("linear", 74, 200), ("piecewise", 112, 200)]
)
def test_pixels_of_a_dataset_are_truncated_products(curve, at_37, above):
    """0.2 + 27/60 · 0.8 = 0.56. Scores end at 100; a larger byte counts as 100."""
    image = np.full((1, 2, 3), 200, np.uint8)
    score = np.array([[37, 255]], np.uint8)
    view = View(curve)
    assert (view.factor.dtype, view.factor.shape) == (np.float32, (256,))
    assert view(image, score)[0, :, 0].tolist() == [at_37, above]
    assert view.factor[101:] == pytest.approx(view.factor[100])


# --------------------------------------------------------------------------------------- results


def test_thresholds_of_distances_and_the_geoscore_are_the_published_ones():
    assert distances.THRESHOLDS == (1, 25, 200, 750, 2500)
    assert distances.GEOSCORE_SCALE == 1492.7
    assert spatial_split.EARTH_RADIUS == 6371.0
    assert pytest.approx(2 * np.pi * 6371 / 360) == polygons.KM_PER_DEGREE
    assert polygons.SEA_TOLERANCE == 50.0


def test_the_splits_have_the_names_of_split_folders_in_the_order_of_the_shares():
    assert SPLITS == ("train", "val", "test")


def test_the_published_table():
    expected = """
        Convolutional Neural Network|Original|40.99|11.98|15.18|12.82
        Convolutional Neural Network|Weighted Base|26.75|26.67|28.11|16.13
        Convolutional Neural Network|Weighted Custom|24.87|14.95|36.10|10.90
        Transfer Learning|Original|27.66|3.64|5.48|14.30
        Transfer Learning|Weighted Base|17.86|20.99|21.28|12.86
        Transfer Learning|Weighted Custom|19.76|20.57|21.73|14.58
        StreetCLIP|Default|71.45|21.63|47.44|56.31"""
    rows = [line.strip().split("|") for line in expected.strip().splitlines()]
    assert published().to_numpy().tolist() == rows
