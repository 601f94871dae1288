"""The demo's crop classifier knows the objects that the generator draws."""

import evaluate_scores
import numpy as np
import object_data
import pytest
import torch
from evaluate_scores import Judged
from object_data import NAMES, OTHER, LabeledScene
from safetensors.torch import save_file
from torch import nn

from geoloc.segmentation.classifiers import build_classifier
from geoloc.segmentation.classifiers.base import CropClassifier
from geoloc.segmentation.classifiers.demo_objects import CLASSES, ObjectHead
from geoloc.segmentation.scoring import read_selected
from tests.conftest import ROOT

WEIGHTS = ROOT / "demo" / "objects.safetensors"
SCENES = 4


@pytest.fixture(scope="module")
def judged():
    selected = tuple(read_selected(evaluate_scores.SELECTED, vocabulary_name="demo"))
    return [evaluate_scores.judge_scene(WEIGHTS, selected, 77, n) for n in range(SCENES)], selected


def test_shipped_weights_light_the_selected_objects_and_little_else(judged):
    """demo/README.md has the numbers of more scenes; four may have harder objects."""
    scenes, selected = judged
    large = evaluate_scores.pooled(
        scenes, lambda s: np.isin(s.kind, selected) & (s.share >= evaluate_scores.LARGE)
    )
    other = evaluate_scores.pooled(scenes, lambda s: ~np.isin(s.kind, selected))
    demo = evaluate_scores.WAYS.index(evaluate_scores.DEMO)
    assert large[demo] > 0.6
    assert other[demo] < 0.03


def test_shipped_weights_name_most_masks_right(judged):
    names = np.concatenate([scene.name for scene in judged[0]])
    assert len(names) > 60
    assert (names[:, 0] == names[:, 1]).mean() > 0.8


def test_the_vocabulary_has_every_kind_once():
    scene = object_data.draw(77, 0)
    assert len(NAMES) == len(set(NAMES)) == CLASSES
    assert set(NAMES[k] for k in scene.kind) <= set(NAMES) - {"other"}
    assert WEIGHTS.stat().st_size <= 400_000


def test_a_mask_has_the_name_of_the_kind_with_seventy_percent_of_it():
    ids = np.ones((10, 100), np.int32)
    ids[:, 70:] = 2
    car, sky = NAMES.index("car"), NAMES.index("sky")
    scene = LabeledScene(np.zeros((10, 100, 3), np.uint8), ids, np.array([0, car, sky]))
    whole, part = object_data.true_segments(scene), object_data.true_segments(scene)
    assert object_data.labels(scene, whole).tolist() == [car, sky]
    part.counts = [np.array([0, 1000], np.uint32), np.array([10, 990], np.uint32)]
    assert object_data.labels(scene, part).tolist() == [car, OTHER]  # 70 %, and less


def test_fewer_than_ten_classes_leave_the_last_columns_empty():
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 224 * 224, 3))
    classifier = CropClassifier(model, torch.device("cpu"))
    class_id, probability = classifier.classify(torch.zeros(2, 224, 224, 3, dtype=torch.uint8))
    assert class_id.shape == probability.shape == (2, 10)
    assert sorted(class_id[0, :3]) == [0, 1, 2]
    assert probability[:, :3].sum(1) == pytest.approx(1, abs=1e-6)
    assert (class_id[:, 3:] == -1).all()
    assert (probability[:, 3:] == 0).all()


def test_weights_that_are_not_the_heads_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"demo/objects\.safetensors"):
        build_classifier("demo_objects", device="cpu")
    state = ObjectHead().state_dict()
    del state["2.bias"]
    save_file(state, tmp_path / "half.safetensors")
    with pytest.raises(OSError, match=r"2\.bias"):
        build_classifier("demo_objects", str(tmp_path / "half.safetensors"), "cpu")


def test_marks_of_lit_objects_tell_the_country_and_dark_ones_nothing():
    kinds = evaluate_scores.CLASS_LISTS[-1]
    column = len(evaluate_scores.CLASS_LISTS) - 1
    kind = np.array([NAMES.index("roof")] * 4 + [NAMES.index("house")] * 4)
    share, empty = np.full(8, 0.01), np.empty((0, 2), int)
    told = {
        lit: evaluate_scores.told_by_marks(
            Judged(kind, share, np.zeros((8, 3)), empty, np.full((8, column + 1), lit)),
            column,
            kinds,
        )
        for lit in (0.0, 1.0)
    }
    assert told[0.0] == pytest.approx(1 / 7, abs=0.08)
    assert told[1.0] > 0.6
