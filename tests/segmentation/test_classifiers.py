"""The classifiers name what they see and refuse weights that are not theirs."""

import numpy as np
import pytest
import torch
from torchvision.models import resnet50

from geoloc.segmentation.classifiers import build_classifier
from geoloc.segmentation.classifiers.efficientnet_lite0 import SamePadConv, load_model


@pytest.fixture(scope="module")
def lite():
    return build_classifier("efficientnet_lite0", device="cpu", batch_size=4)


def noise(count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 224, 224, 3), dtype=torch.uint8, generator=generator)


def test_ten_best_classes_fall_and_do_not_depend_on_the_batch(lite):
    crops = noise(5)
    class_id, probability = lite.classify(crops)
    assert class_id.shape == probability.shape == (5, 10)
    assert class_id.dtype == np.int16
    assert probability.dtype == np.float32
    assert (np.diff(probability) <= 0).all()
    assert (probability.sum(1) <= 1 + 1e-6).all()
    alone_id, alone = lite.classify(crops[3:4])
    assert alone_id[0, 0] == class_id[3, 0]
    assert alone[0] == pytest.approx(probability[3], abs=1e-5)


def test_probability_is_the_softmax_over_all_classes(lite):
    crops = noise(1)
    pixels = (crops.permute(0, 3, 1, 2).float() - 127) / 128
    with torch.inference_mode():
        expected = load_model().eval()(pixels).softmax(1).sort(descending=True)
    class_id, probability = lite.classify(crops)
    assert class_id[0].tolist() == expected.indices[0, :10].tolist()
    assert probability[0] == pytest.approx(expected.values[0, :10].numpy(), abs=1e-5)


def test_no_crops_give_no_classes(lite):
    class_id, probability = lite.classify(torch.empty(0, 224, 224, 3, dtype=torch.uint8))
    assert class_id.shape == probability.shape == (0, 10)
    assert (class_id.dtype, probability.dtype) == (np.int16, np.float32)


@pytest.mark.parametrize(
    "crops", [torch.zeros(1, 224, 224, 3), torch.zeros(1, 3, 224, 224, dtype=torch.uint8)]
)
def test_crops_of_another_form_are_refused(lite, crops):
    with pytest.raises(ValueError, match="uint8"):
        lite.classify(crops)


@pytest.mark.parametrize(("size", "stride"), [(7, 2), (8, 2), (9, 1)])
def test_same_padding_puts_the_odd_pixel_last(size, stride):
    convolution = SamePadConv(1, 1, 3, stride)
    torch.nn.init.ones_(convolution.weight)
    out = convolution(torch.ones(1, 1, size, size))
    assert out.shape[-1] == -(-size // stride)
    first_is_padded = not (stride == 2 and size % 2 == 0)
    assert (out[0, 0, 0, 0] == 4) == first_is_padded
    assert out[0, 0, -1, -1] == 4


def test_resnet50_is_torchvisions(tmp_path):
    torch.manual_seed(0)
    model = resnet50(weights=None).eval()
    torch.save(model.state_dict(), tmp_path / "resnet50.pth")
    classifier = build_classifier("resnet50", str(tmp_path / "resnet50.pth"), device="cpu")
    crops = noise(1)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    pixels = ((crops / 255 - mean) / std).permute(0, 3, 1, 2)
    with torch.inference_mode():
        expected = model(pixels).softmax(1).sort(descending=True)
    class_id, probability = classifier.classify(crops)
    assert class_id[0, 0] == expected.indices[0, 0]
    assert probability[0] == pytest.approx(expected.values[0, :10].numpy(), abs=1e-5)


def test_missing_weights_are_asked_for():
    with pytest.raises(ValueError, match="checkpoint"):
        build_classifier("resnet50")
    with pytest.raises(
        OSError, match="nowhere.pth: no such file of weights; get them from torchvision"
    ):
        build_classifier("resnet50", "nowhere.pth")


def test_settings_of_a_classifier_are_those_asked_for(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda model: "compiled")
    settings = {"batch_size": 3, "precision": "bfloat16", "compile": True}
    classifier = build_classifier("efficientnet_lite0", device="cpu", **settings)
    assert (classifier.batches.size, classifier.precision) == (3, "bfloat16")
    assert classifier.model == "compiled"


def test_unknown_classifier_names_the_known_ones():
    with pytest.raises(ValueError, match="resnet50"):
        build_classifier("resnet51")
