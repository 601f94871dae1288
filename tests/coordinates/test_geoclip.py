"""GeoCLIP computes what its package does, offline, from checked files.

Only its CLIP is a small random one here; layers on top, location encoder, their weights and the
gallery are the published ones.
"""

from pathlib import Path
from types import SimpleNamespace

import geoclip
import numpy as np
import pandas as pd
import pytest
import torch
from transformers import CLIPImageProcessor, CLIPProcessor

from geoloc.coordinates.geoclip import GeoClip, read_gallery
from geoloc.countries.geocoding import country_of_coordinates
from geoloc.errors import InputError
from geoloc.image_text.architecture import ClipParameters, build_clip
from geoloc.image_text.tokenizer import train_tokenizer

CLASSES = ["BR", "CN", "US"]
PACKAGE = Path(geoclip.__file__).parent / "model"


def write_clip(folder: Path, features: int, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    tokenizer = train_tokenizer(["a street in France", "a road in Namibia"])
    parameters = ClipParameters(
        image_size=32, patch_size=8, hidden_size=32, layers=1, heads=2, text_hidden_size=32,
        projection_dim=features,
    )  # fmt: skip
    build_clip(tokenizer, parameters).save_pretrained(folder)
    size = {"height": 32, "width": 32}
    images = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=size)
    CLIPProcessor(images, tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip"), 768)


@pytest.fixture(scope="module")
def gallery(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("gallery") / "places.csv"
    pd.read_csv(PACKAGE / "gps_gallery/coordinates_100K.csv").iloc[:500].to_csv(path)
    return path


@pytest.fixture(scope="module")
def model(clip, gallery) -> GeoClip:
    return GeoClip(CLASSES, "nearest_city", clip, gallery, "cpu")


@pytest.fixture(scope="module")
def photographs() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((64, 48), (40, 90))]


def load(name: str) -> dict:
    return torch.load(PACKAGE / "weights" / name, map_location="cpu", weights_only=True)


@torch.inference_mode()
def probabilities_of_the_package(model: GeoClip, images: list[np.ndarray]) -> np.ndarray:
    """By the package's own forward pass, with its own way of loading weights."""
    head = torch.nn.Sequential(
        torch.nn.Linear(768, 768), torch.nn.ReLU(), torch.nn.Linear(768, 512)
    )
    head.load_state_dict(load("image_encoder_mlp_weights.pth"))
    places = geoclip.LocationEncoder(from_pretrained=False)
    places.load_state_dict(load("location_encoder_weights.pth"))
    parts = SimpleNamespace(
        image_encoder=lambda x: head(model._clip.get_image_features(x).pooler_output),
        location_encoder=places,
        logit_scale=load("logit_scale_weights.pth"),
    )
    rows = []
    for image in images:
        pixels = model._processor.image_processor(image, return_tensors="pt")["pixel_values"]
        logits = geoclip.GeoCLIP.forward(
            parts, pixels, torch.tensor(model.places.coordinates).float()
        )
        rows.append(logits.softmax(dim=-1).numpy()[0])
    return np.array(rows)


def test_probabilities_are_those_of_the_package(model, photographs):
    found = model.probabilities(photographs)
    assert found.dtype == np.float32
    assert found.shape == (2, 500)
    np.testing.assert_allclose(
        found, probabilities_of_the_package(model, photographs), rtol=1e-3, atol=1e-7
    )
    assert found.max() > 1.2 * found.mean()  # the images say something about the places


def test_answers_are_places_of_the_gallery_in_the_countries_that_they_name(model, photographs):
    answers = model.answer(photographs)
    countries = country_of_coordinates(*answers.places.T)
    assert [CLASSES[column] for column in answers.probabilities.argmax(1)] == countries.tolist()
    assert (answers.probabilities.sum(1) < 1).all()


def test_gallery_of_the_package_is_its_hundred_thousand_places():
    coordinates = read_gallery(PACKAGE / "gps_gallery/coordinates_100K.csv")
    assert coordinates.shape == (100_000, 2)
    assert coordinates[0].tolist() == [-50.943392, -72.935664]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("lat,lon\n1,2\n3,4\n", "LAT"),
        ("LAT,LON\n1,2\n95,4\n", "place 1 is latitude 95"),
        ("LAT,LON\n1,2\n,4\n", "place 1 is latitude nan|Unable to parse"),
        ("LAT,LON\n1,2\nx,4\n", 'Unable to parse string "x"'),
        ("LAT,LON\n1,2\n", "1 places are not a choice"),
        ("", "no column LAT"),
        ("LAT,LON\n1,2\n4_8,4\n", "Unable to parse"),
        ("LAT,LON\n1,2\n3,4,5\n", "line 3 has not 2 fields"),
        ("LAT,LON\n0,1,2\n1,3,4\n", "line 2 has not 2 fields"),
        ("LAT,LON,LAT\n1,2,3\n4,5,6\n", "a column occurs twice"),
        ("LAT,LON\n1,2\n3,139.7"[:-3], "its last line has no end"),
    ],
)
def test_a_gallery_that_is_none_is_refused(text, fault, tmp_path):
    path = tmp_path / "places.csv"
    path.write_text(text)
    with pytest.raises(OSError, match=rf"places\.csv: .*{fault}.*columns LAT and LON"):
        read_gallery(path)


def test_a_missing_gallery_and_a_clip_of_another_width_are_named(clip, gallery, tmp_path):
    with pytest.raises(OSError, match=r"none\.csv: no such gallery"):
        GeoClip(CLASSES, "nearest_city", clip, tmp_path / "none.csv", "cpu")
    narrow = write_clip(tmp_path / "narrow", 16)
    with pytest.raises(InputError, match=r"narrow: this CLIP gives 16 features, .*768 of openai"):
        GeoClip(CLASSES, "nearest_city", narrow, gallery, "cpu")


def test_a_clip_that_is_not_the_one_it_was_trained_with_is_told(clip, gallery, caplog):
    GeoClip(CLASSES, "nearest_city", clip, gallery, "cpu")
    assert f"{clip} is not openai/clip-vit-large-patch14" in caplog.text
