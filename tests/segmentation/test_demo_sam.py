"""The demo's SAM: the shipped weights fit and find objects; wrong weights are refused."""

import importlib.util

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from geoloc.segmentation.segmenters.sam.models import build_sam
from scenes.draw import draw_scene
from tests.conftest import ROOT

DEMO = ROOT / "demo"
WEIGHTS = DEMO / "sam.safetensors"


@pytest.fixture(scope="module")
def evaluate_sam():
    spec = importlib.util.spec_from_file_location("evaluate_sam", DEMO / "evaluate_sam.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_shipped_weights_find_large_objects(evaluate_sam):
    """Of more scenes the mean is 0.78 (demo/README.md); two scenes may have harder objects."""
    generator = evaluate_sam.make_generator(WEIGHTS, points_per_side=10, pred_iou_thresh=0.6)
    found = []
    for number, country in enumerate(("FR", "US")):
        scene = draw_scene(country, np.random.default_rng([77, number]), (640, 640))
        masks = [entry["segmentation"] for entry in generator.generate(scene.image)]
        found += evaluate_sam.judge(scene.instances, scene.kinds, masks)
    large = [iou for _, share, iou in found if share >= 0.01]
    assert len(large) >= 8
    assert np.mean(large) > 0.65


def test_every_object_counts_once_with_its_best_mask(evaluate_sam):
    instances = np.ones((40, 40), np.int32)
    instances[:10, :20] = 2
    masks = [instances == 1, instances == 1, np.zeros((40, 40), bool)]
    masks[2][:10, :10] = True  # half of object 2
    found = evaluate_sam.judge(instances, {1: "sky", 2: "sign"}, masks)
    assert found == [("sky", 0.875, 1.0), ("sign", 0.125, 0.5)]


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match="vit_b, vit_l, vit_h, demo"):
        build_sam("vit_x")


def test_missing_weights_are_named():
    with pytest.raises(FileNotFoundError, match="nowhere.pth"):
        build_sam("demo", "nowhere.pth")


def test_a_pytorch_file_loads_like_the_safetensors_file(tmp_path):
    torch.save(load_file(WEIGHTS), tmp_path / "sam.pth")
    first, second = (build_sam("demo", path) for path in (WEIGHTS, tmp_path / "sam.pth"))
    for key, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[key])
