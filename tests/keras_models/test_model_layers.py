"""The Keras models are those of the study, layer by layer."""

import keras
import numpy as np
import pytest

from geoloc.keras_models import efficientnet_lite0
from geoloc.keras_models.build import build_model
from geoloc.keras_models.training import TrainingParameters, compile_model


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Pixels float32 (2, 224, 224, 3)."""
    return np.random.default_rng(0).uniform(0, 255, (2, 224, 224, 3)).astype(np.float32)


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


GIVEN = {
    "Conv2D": ("filters", "kernel_size"),
    "MaxPooling2D": ("pool_size",),
    "Dropout": ("rate",),
    "Dense": ("units", "activation"),
    "Rescaling": ("scale",),
}


@pytest.mark.parametrize("name", ["cnn", "transfer"])
def test_everything_else_of_the_layers_is_as_keras_has_it(name):
    """Initial weights, regularization, constraints, strides, momenta and the like."""
    for layer in build_model(name, 73, {}).layers:
        if isinstance(layer, keras.layers.InputLayer | keras.Model):
            continue
        config = layer.get_config()
        given = {key: config[key] for key in GIVEN.get(type(layer).__name__, ())}
        assert config == type(layer)(**given, name=layer.name).get_config()


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


def test_resnet50_transfer_has_the_published_number_of_parameters():
    model = build_model("transfer", 73, {"backbone": "resnet50"})
    assert (model.count_params(), trainable(model)) == (26_254_281, 2_663_497)


def test_efficientnet_lite0_is_that_of_its_authors_layer_by_layer():
    """Repeats, kernel, stride, expansion and filters of the stages of EfficientNet-B0 (Tan and Le
    2019, table 1), with ReLU6 and without squeeze-and-excitation."""
    normalization, relu6 = ("BatchNormalization", 1e-3), ("ReLU", 6.0)

    def convolution(kind, kernel, stride, filters):
        return (kind, (kernel, kernel), (stride, stride), "same", False, filters), normalization

    expected = [*convolution("Conv2D", 3, 2, 32), relu6]
    width = 32
    for repeats, kernel, stride, expansion, filters in (
        (1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112),
        (4, 5, 2, 6, 192), (1, 3, 1, 6, 320),
    ):  # fmt: skip
        for repeat in range(repeats):
            if expansion > 1:
                expected += [*convolution("Conv2D", 1, 1, expansion * width), relu6]
            strides = 1 if repeat else stride
            expected += [*convolution("DepthwiseConv2D", kernel, strides, expansion * width), relu6]
            expected += convolution("Conv2D", 1, 1, filters)
            expected += [("Add",)] if repeat else []
            width = filters
    expected += [*convolution("Conv2D", 1, 1, 1280), relu6]

    def describe(layer):
        c, kind = layer.get_config(), type(layer).__name__
        if "Conv2D" in kind:
            padding = "same" if c["kernel_size"] == (1, 1) else c["padding"]
            size = layer.output.shape[-1]
            return (kind, c["kernel_size"], c["strides"], padding, c["use_bias"], size)
        keys = {"BatchNormalization": "epsilon", "ReLU": "max_value"}
        return (kind, *([c[keys[kind]]] if kind in keys else []))

    model = efficientnet_lite0.backbone(None)
    assert [describe(layer) for layer in model.layers[1:]] == expected
    assert model.output.shape == (None, 7, 7, 1280)
    whole = efficientnet_lite0.classifier(None)
    assert [type(layer).__name__ for layer in whole.layers[-2:]] == [
        "GlobalAveragePooling2D",
        "Dense",
    ]
    assert (whole.output.shape, whole.layers[-1].activation.__name__) == ((None, 1000), "linear")


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
