"""Every torch model loads exactly the tensors of its architecture, all finite, or not at all."""

import math
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from geoloc.pytorch.weights import load_weights, read_tensors
from geoloc.segmentation.classifiers import build_classifier
from geoloc.segmentation.classifiers.efficientnet_lite0 import load_model, package_weights
from geoloc.segmentation.segmenters.sam.models import build_sam
from tests.conftest import ROOT

DEMO_SAM = ROOT / "demo" / "sam.safetensors"


class Small(torch.nn.Module):
    """A parameter of each kind, a counter, and a buffer that no file has to hold."""

    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 2)
        self.norm = torch.nn.BatchNorm2d(4)
        self.register_buffer("position_ids", torch.arange(5)[None], persistent=False)


def saved(path: Path, **changes) -> Path:
    """The weights of a Small in a file, with tensors replaced, added or, where None, left out."""
    torch.manual_seed(0)
    state = Small().state_dict() | {name.replace("__", "."): x for name, x in changes.items()}
    state = {name: x for name, x in state.items() if x is not None}
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    return path


def load(path: Path) -> Small:
    return load_weights(Small(), path, "Small", "train it again")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"conv__bias": None}, "missing: conv.bias"),
        ({"norm__running_var": None}, "missing: norm.running_var"),
        ({"extra": torch.zeros(1)}, "unexpected: extra"),
        ({"position_ids": torch.arange(7)}, "unexpected: position_ids"),
        ({"conv__bias": torch.zeros(5)}, "of another shape: conv.bias (5,) for (4,)"),
        ({"conv__bias": torch.zeros(4, dtype=torch.int64)}, "of another type: conv.bias"),
        ({"conv__bias": torch.zeros(4, dtype=torch.int8)}, "of another type: conv.bias"),
        ({"norm__num_batches_tracked": torch.tensor(1.5)}, "of another type: norm.num"),
        ({"conv__bias": torch.tensor([0, 0, math.nan, 0])}, "not finite: conv.bias"),
        ({"conv__bias": torch.tensor([0, math.inf, -math.inf, 0])}, "not finite: conv.bias"),
        ({"conv__bias": torch.tensor([0, -math.inf, 1, 0]).half()}, "not finite: conv.bias"),
        ({"conv__bias": torch.tensor([1e300, 0, 0, 0]).double()}, "not finite: conv.bias"),
    ],
)
def test_weights_that_are_not_those_of_the_model_are_refused(tmp_path, suffix, changes, fault):
    path = saved(tmp_path / f"w{suffix}", **changes)
    message = rf"w\{suffix}: not the weights of Small \(.*{re.escape(fault)}.*; train it again$"
    with pytest.raises(OSError, match=message):
        load(path)


def test_weights_load_with_what_older_versions_saved_or_did_not(tmp_path):
    """Buffers that the model computes itself may be there, the counter of batches need not be."""
    path = saved(tmp_path / "w.pth", position_ids=torch.zeros(1, 5), norm__num_batches_tracked=None)
    model = load(path)
    assert model.position_ids.tolist() == [[0, 1, 2, 3, 4]]
    assert torch.equal(model.conv.weight, torch.load(path)["conv.weight"])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_precision_become_the_models(tmp_path, dtype):
    weight = torch.randn(4, 3, 2, 2).to(dtype)
    model = load(saved(tmp_path / "w.safetensors", conv__weight=weight))
    assert model.conv.weight.dtype == torch.float32
    assert torch.equal(model.conv.weight, weight.float())


def test_numbers_that_add_up_to_infinity_are_finite(tmp_path):
    large = torch.full((4,), 3e38)
    assert torch.equal(load(saved(tmp_path / "w.pth", conv__bias=large)).conv.bias, large)


@pytest.mark.parametrize("prefix", ["module.", "model.", "clip.module."])
def test_names_with_a_prefix_are_refused_with_a_hint(tmp_path, prefix):
    torch.save({prefix + n: x for n, x in Small().state_dict().items()}, tmp_path / "w.pth")
    hint = rf"without the prefix '{prefix}' of its names, or train it again"
    with pytest.raises(OSError, match=rf"missing: conv.bias.*unexpected: {prefix}.*{hint}"):
        load(tmp_path / "w.pth")


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ({"state_dict": {"a": torch.zeros(1)}, "epoch": 3}, r"more than tensors .*'state_dict'"),
        ({3: torch.zeros(1)}, "more than tensors by name"),
        ([torch.zeros(1)], "holds list, not tensors by name"),
        (torch.zeros(1), "holds Tensor, not tensors by name"),
    ],
)
def test_a_file_of_anything_else_is_refused(tmp_path, content, fault):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(OSError, match=rf"w\.pth: .*{fault}.*train it again"):
        read_tensors(tmp_path / "w.pth", "train it again")


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: data[: len(data) // 2],
        lambda data: data[:-1],
        lambda data: b"<!doctype html>" + data,
        lambda data: b"\xff" * 8 + data[8:],
        lambda data: bytes(len(data)),
    ],
)
def test_a_damaged_file_is_told_of_in_one_line(tmp_path, name, damage):
    path = saved(tmp_path / name)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(OSError, match=rf"^\S*{name}: .*; train it again$") as error:
        load(path)
    assert "\n" not in str(error.value)
    assert "trust" not in str(error.value)  # torch advises to load what it refused


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    for path in (tmp_path / "w.pth", tmp_path):
        with pytest.raises(OSError, match="no such file of weights; train it again"):
            load(path)


def test_files_that_run_code_are_not_read(tmp_path):
    """torch.load would call whatever a pickle names."""

    class Call:
        def __reduce__(self):
            return Path.touch, (tmp_path / "touched",)

    torch.save({"weight": Call()}, tmp_path / "w.pth")
    with pytest.raises(OSError, match="its pickle holds more than tensors"):
        load(tmp_path / "w.pth")
    assert not (tmp_path / "touched").exists()


def build_resnet50(path: Path) -> None:
    build_classifier("resnet50", str(path), device="cpu")


def resnet50_state() -> dict[str, torch.Tensor]:
    from torchvision.models import resnet50

    return resnet50(weights=None).state_dict()


MODELS = {
    "SAM demo": (lambda path: build_sam("demo", path), lambda: load_file(DEMO_SAM)),
    "ResNet50": (build_resnet50, resnet50_state),
    "EfficientNet-Lite0": (load_model, lambda: torch.load(package_weights(), weights_only=True)),
}


@pytest.mark.parametrize("name", MODELS)
def test_every_model_refuses_what_is_missing_left_over_or_not_finite(tmp_path, name):
    build, state_of = MODELS[name]
    state, path = state_of(), tmp_path / "w.pth"
    key = [key for key, x in state.items() if x.is_floating_point()][-1]
    changes = {
        "missing": {k: x for k, x in state.items() if k != key},
        "unexpected": state | {f"{key}_": state[key]},
        "not finite": state | {key: torch.full_like(state[key], math.nan)},
    }
    for fault, changed in changes.items():
        torch.save(changed, path)
        message = rf"w\.pth: not the weights of {name} \({fault}: {re.escape(key)}"
        with pytest.raises(OSError, match=message):
            build(path)
    torch.save(state, path)
    build(path)


@pytest.mark.parametrize("name", ["vit_b", "vit_l", "vit_h"])
def test_the_published_sams_are_checked_by_the_same_rule(tmp_path, name, monkeypatch):
    """On the meta device, as their weights have up to 2.5 GB."""
    torch.save({"image_encoder.pos_embed": torch.zeros(1)}, tmp_path / "w.pth")
    with torch.device("meta"), pytest.raises(OSError, match=rf"not the weights of SAM {name} \("):
        build_sam(name, tmp_path / "w.pth")
