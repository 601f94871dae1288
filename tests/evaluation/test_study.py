"""When a run is the study, so that its table may stand next to the published one."""

import pytest
import yaml
from snakemake.utils import update_config

from geoloc.config import check_config, load_schema
from geoloc.evaluation.study import (
    differences,
    refuse_differences,
    study_titles,
)
from tests.conftest import ROOT

SCHEMA = load_schema(ROOT / "config/config.schema.yaml")
FOLDERS = {"kind": "country_folders", "path": "photos", "crop": "center", "size": 640}


def configured(changes: dict) -> dict:
    config = yaml.safe_load((ROOT / "config/config.yaml").read_text(encoding="utf-8"))
    update_config(config, changes)
    check_config(config, SCHEMA)
    return config


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"run": "again", "seed": 7, "threads": {"train": 2}, "train": {"gpus": 4}},
        {"sources": {"geoguessr": {"path": "/data/images"}}},
        {
            "segmentations": {
                "sam": {"weights": "/data/sam_vit_h_4b8939.pth", "engine": {"image_batch": 2}}
            }
        },
        {"test_sets": {"im2gps3k": None}},
        {"test_sets": {"mine": {"kind": "exif_folder", "path": "photos"}}},
        {"models": {"contrastive": {"kind": "contrastive"}, "cnn": {"title": "Small network"}}},
        {"datasets": {"inverted": {"scores": "objects", "curve": "linear", "invert": True}}},
        {"seeds": [1, 2]},
    ],
)
def test_the_study_on_another_machine_or_with_more_models_stays_the_study(changes):
    config = configured(changes)
    assert differences(config, SCHEMA) == []
    published = ["Convolutional Neural Network", "Transfer Learning", "StreetCLIP"]
    assert list(study_titles(config, SCHEMA)["Model"].values()) == published


@pytest.mark.parametrize(
    ("changes", "keys"),
    [
        ({"sources": {"geoguessr": None}}, ["sources.geoguessr"]),
        ({"sources": {"mine": FOLDERS}}, ["sources.mine"]),
        ({"sources": {"streetview": {"crop": "none"}}}, ["sources.streetview.crop"]),
        ({"sources": {"geoguessr": {"kind": "exif_folder"}}}, ["sources.geoguessr.kind"]),
        ({"test_sets": {"im2gps3k": {"crop": "center"}}}, ["test_sets.im2gps3k.crop"]),
        ({"index": {"min_images": 20, "shard_size": 9}}, ["index.min_images"]),
        ({"index": {"geocoder": "country_polygon"}}, ["index.geocoder"]),
        ({"segmentations": {"sam": {"model": "vit_b"}}}, ["segmentations.sam.model"]),
        (
            {"segmentations": {"sam": {"classifier": {"weights": "other.pth"}}}},
            ["segmentations.sam.classifier.weights"],
        ),
        ({"scores": {"objects": {"merge": "as_published"}}}, ["scores.objects.merge"]),
        ({"datasets": {"weighted_base": None}}, ["datasets.weighted_base"]),
        (
            {"datasets": {"weighted_custom": {"lower_score": 20}}},
            ["datasets.weighted_custom.lower_score"],
        ),
        (
            {"train": {"epochs": 5, "augmentation": {"zoom_range": 0}}},
            ["train.augmentation.zoom_range", "train.epochs"],
        ),
        ({"demo": {}}, ["demo"]),
    ],
)
def test_other_images_datasets_or_training_are_another_question(changes, keys):
    assert differences(configured(changes), SCHEMA) == keys
    with pytest.raises(ValueError, match=keys[0]):
        refuse_differences(keys)


def test_only_models_that_are_the_study_s_are_compared():
    other = {"transfer": {"preprocessing": "imagenet"}, "clip": {"path": None}}
    title = "Convolutional Neural Network"
    assert study_titles(configured({"models": other}), SCHEMA)["Model"] == {title: title}
