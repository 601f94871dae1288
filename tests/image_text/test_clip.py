"""Zero-shot CLIP against the plain way of transformers, and the training of a small one."""

import io
import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoProcessor, CLIPModel, CLIPProcessor
from transformers.models.clip.modeling_clip import image_text_contrastive_loss

from geoloc import stores
from geoloc.evaluation.full_size import predict_images, read_full_size
from geoloc.image_text.tokenizer import train_tokenizer
from geoloc.image_text.training import (
    ClipParameters,
    contrastive_loss,
    random_crops,
    train_clip,
)
from geoloc.image_text.zero_shot import ClipZeroShot, check_classes
from geoloc.probabilities import NotADistribution
from geoloc.weighting import UNCHANGED, View, make_view
from tests.processes import ENVIRONMENT

NAMES = {"BR": "Brazil", "GB": "United Kingdom", "NA": "Namibia"}
TINY = ClipParameters(
    image_size=32, patch_size=8, hidden_size=32, layers=1, heads=2, text_hidden_size=32,
    projection_dim=16, epochs=6, warmup=1, batch_size=8, learning_rate=3e-3,
)  # fmt: skip


class Squares:
    """Images of which the color of the ground tells the country, up to noise."""

    COLORS = {"BR": (170, 80, 50), "GB": (60, 130, 60), "NA": (200, 190, 120)}

    def __init__(self, n, seed):
        generator = np.random.default_rng(seed)
        self.label = np.array([sorted(NAMES)[row % 3] for row in range(n)])
        image = generator.normal(140, 40, (n, 48, 48, 3))
        image[:, 24:] += [np.full((24, 48, 3), self.COLORS[c]) - 140 for c in self.label]
        self.image = image.clip(0, 255).astype(np.uint8)
        self.score = np.full((n, 48, 48), 50, np.uint8)
        self.digest = f"{n} {seed}"

    def __len__(self):
        return len(self.label)

    def read(self, rows):
        return self.image[rows], self.score[rows]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    history = train_clip(folder, Squares(48, 1), Squares(12, 2), NAMES, TINY)
    return folder, history


@pytest.fixture(scope="module")
def photographs():
    """Two sizes of street image and a panorama, so that batches mix sizes."""
    generator = np.random.default_rng(0)
    sizes = [(64, 64), (40, 90), (64, 64), (50, 33)]
    return [generator.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


def plain_probabilities(folder, image, names):
    """The way of the model card of StreetCLIP: everything anew for every image."""
    model, processor = CLIPModel.from_pretrained(folder), CLIPProcessor.from_pretrained(folder)
    inputs = processor(text=names, images=image, return_tensors="pt", padding=True)
    with torch.no_grad():
        return model(**inputs).logits_per_image.softmax(dim=1).numpy()[0]


def test_batches_equal_the_plain_way_of_one_image_at_a_time(trained, photographs):
    """Batching only changes the order of float32 sums. A similarity (a sum over the embedding of
    unit vectors) is then off by some eps, a logit by that times the scale, and a probability by
    at most half as much as a logit; 64 eps leaves room for the layers below."""
    names = list(NAMES.values())
    model = ClipZeroShot(trained[0], names, device="cpu")
    tolerance = 64 * np.finfo(np.float32).eps * model.network.logit_scale.exp().item()
    assert tolerance < 1e-3
    expected = [plain_probabilities(trained[0], image, names) for image in photographs]
    found = model.probabilities(photographs)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)


def test_template_makes_the_texts(trained, photographs):
    model = ClipZeroShot(trained[0], ["Brazil", "Namibia"], "a street in {country}", device="cpu")
    expected = plain_probabilities(
        trained[0], photographs[0], ["a street in Brazil", "a street in Namibia"]
    )
    np.testing.assert_allclose(model.probabilities(photographs[:1])[0], expected, atol=1e-4)


@pytest.mark.parametrize("template", ["{country} {city}", "{country} {}", "{country.x}", "street"])
def test_a_template_that_makes_no_text_is_refused(trained, template):
    with pytest.raises(ValueError, match=r"write \{country\} for the name of the country"):
        ClipZeroShot(trained[0], ["Brazil", "Namibia"], template, device="cpu")


def test_a_clip_of_other_classes_is_refused(trained, tmp_path):
    check_classes(trained[0], reversed(sorted(NAMES)))
    with pytest.raises(ValueError, match=r"other classes \(FR, NA differ\); train it again"):
        check_classes(trained[0], ["BR", "GB", "FR"])
    check_classes(tmp_path, ["BR", "FR"])  # a model from elsewhere, without a record
    (tmp_path / "classes.json").write_text("{}")
    with pytest.raises(OSError, match="no complete model"):
        check_classes(tmp_path, ["BR", "FR"])


def test_images_are_weighted_at_full_size_before_the_processor(trained, photographs):
    model = ClipZeroShot(trained[0], list(NAMES.values()), device="cpu")
    generator = np.random.default_rng(1)
    scores = [generator.integers(0, 101, image.shape[:2], dtype=np.uint8) for image in photographs]
    pairs = enumerate(zip(photographs, scores, strict=True))
    items = [(str(row), image, {"a": score, "b": 100 - score}) for row, (image, score) in pairs]
    view = View("piecewise", fill="mean")
    views = {"original": (UNCHANGED, None), "custom": (view, "a"), "other": (view, "b")}
    ids, found = predict_images(model, iter(items), views, 3, batch_size=3)
    found = {name: answers.probabilities for name, answers in found.items()}
    assert ids == ["0", "1", "2", "3"]
    np.testing.assert_allclose(found["original"], model.probabilities(photographs), atol=1e-4)
    for test_set, key in (("custom", "a"), ("other", "b")):
        expected = model.probabilities([view(image, maps[key]) for _, image, maps in items])
        np.testing.assert_allclose(found[test_set], expected, atol=1e-4)
        assert not np.allclose(found[test_set], found["original"], atol=1e-3)


def test_probabilities_that_are_none_name_the_model_and_the_image(trained, photographs):
    model = ClipZeroShot(trained[0], ["Brazil", "Namibia"], device="cpu")
    model.text_embeddings = model.text_embeddings * float("nan")
    items = [(f"photo-{row}", photographs[row], {}) for row in range(3)]
    message = rf"^{trained[0]}: the probabilities of photo-0 \(original\) are not finite"
    with pytest.raises(NotADistribution, match=message):
        predict_images(model, items, {"original": (UNCHANGED, None)}, 2)


def test_weighting_without_a_score_map_is_refused(trained, photographs):
    model = ClipZeroShot(trained[0], ["Brazil", "Namibia"], device="cpu")
    items = [("photo-1", photographs[0], {"other": np.zeros(photographs[0].shape[:2], np.uint8)})]
    with pytest.raises(ValueError, match="has no score map"):
        predict_images(model, items, {"weighted_base": (View("linear"), "objects")}, 2)


@pytest.fixture(scope="module")
def shard(tmp_path_factory):
    """An `images` and a `scores` store of three images of 640 pixels."""
    tmp_path = tmp_path_factory.mktemp("shard")
    generator = np.random.default_rng(0)
    image = generator.integers(0, 256, (3, 640, 640, 3), dtype=np.uint8)
    score = np.kron(generator.integers(0, 101, (3, 8, 8), dtype=np.uint8), np.ones((80, 80), "u1"))
    fields = {"latitude": np.nan, "longitude": np.nan, "split": "test", "source": "s"}
    rows = [{"image_id": f"{n}", "image": png(image[n]), **fields} for n in range(3)]
    stores.write_images(tmp_path / "images.h5", rows)
    stores.write_scores(tmp_path / "scores.h5", ((f"{n}", score[n]) for n in range(3)))
    return tmp_path, image, score


def png(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=0)
    return buffer.getvalue()


def test_wanted_images_are_read_whole_with_their_score_maps(shard):
    folder, image, score = shard
    others = {"0": "1", "1": "2", "2": "0"}
    with (
        stores.ScoreMaps([folder / "scores.h5"]) as own,
        stores.ScoreMaps([folder / "scores.h5"], others=others) as other,
    ):
        maps = {"own": own, "other": other}
        items = list(read_full_size([folder / "images.h5"], {"0", "2"}, scores=maps))
    assert [image_id for image_id, _, _ in items] == ["0", "2"]
    for (image_id, found, found_maps), row in zip(items, (0, 2), strict=True):
        assert np.array_equal(found, image[row])
        assert np.array_equal(found_maps["own"], score[row])
        assert np.array_equal(found_maps["other"], score[int(others[image_id])])


def test_test_set_images_have_no_score_maps(shard):
    items = list(read_full_size([shard[0] / "images.h5"], {"1"}))
    assert [(image_id, maps) for image_id, _, maps in items] == [("1", {})]


def test_masks_of_other_images_are_refused(shard, tmp_path):
    folder, _, score = shard
    stores.write_scores(tmp_path / "other.h5", [("1", score[1]), ("3", score[0])])
    with stores.ScoreMaps([tmp_path / "other.h5"]) as maps:
        items = read_full_size([folder / "images.h5"], {"0", "1"}, scores={"objects": maps})
        with pytest.raises(stores.StoreError, match="no score map of 0; run snakemake again"):
            list(items)


def test_no_images_give_no_rows(trained):
    model = ClipZeroShot(trained[0], ["Brazil", "Namibia"], device="cpu")
    _, found = predict_images(model, [], {"original": (UNCHANGED, None)}, 2)
    assert found["original"].probabilities.shape == (0, 2)


def test_processor_loads_without_naming_its_class(trained):
    assert isinstance(AutoProcessor.from_pretrained(trained[0]), CLIPProcessor)


def test_tiny_training_learns(trained):
    _, history = trained
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]
    assert history["val_accuracy"].max() >= 2 / 3


def test_best_validated_weights_are_kept(trained):
    folder, history = trained
    validation = Squares(12, 2)
    model = ClipZeroShot(folder, [NAMES[country] for country in sorted(NAMES)], device="cpu")
    answers = model.probabilities(list(validation.image)).argmax(axis=1)
    accuracy = np.mean(np.array(sorted(NAMES))[answers] == validation.label)
    assert accuracy == pytest.approx(history["val_accuracy"].max())


def test_same_seed_same_model(trained, tmp_path):
    train_clip(tmp_path, Squares(48, 1), Squares(12, 2), NAMES, TINY)
    for name in ("model.safetensors", "tokenizer.json", "history.csv"):
        assert (tmp_path / name).read_bytes() == (trained[0] / name).read_bytes()


def test_killed_training_goes_on_and_ends_with_the_same_model(trained, tmp_path):
    folder, state = tmp_path / "clip", tmp_path / ".clip.state"
    code = f"""
from tests.image_text.test_clip import NAMES, TINY, Squares, train_clip
train_clip({str(folder)!r}, Squares(48, 1), Squares(12, 2), NAMES, TINY)
"""
    threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    with subprocess.Popen([sys.executable, "-c", code], env=ENVIRONMENT | threads) as process:
        while not state.is_file():
            assert process.poll() is None, "training ended before its first state"
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
    assert not folder.exists()

    train_clip(folder, Squares(48, 1), Squares(12, 2), NAMES, TINY)
    for name in ("model.safetensors", "tokenizer.json", "history.csv"):
        assert (folder / name).read_bytes() == (trained[0] / name).read_bytes()
    assert not state.exists()


def test_state_of_another_training_is_not_continued(trained, tmp_path):
    torch.save({"fingerprint": "of other settings", "history": []}, tmp_path / ".clip.state")
    train_clip(tmp_path / "clip", Squares(48, 1), Squares(12, 2), NAMES, TINY)
    weights = tmp_path / "clip" / "model.safetensors"
    assert weights.read_bytes() == (trained[0] / "model.safetensors").read_bytes()


def test_training_on_a_dataset_weights_its_images(tmp_path):
    """Where every score is 0 the linear curve shows black, so nothing can be told apart."""
    training, validation = Squares(48, 1), Squares(12, 2)
    training.score[:], validation.score[:] = 0, 0
    options = ("weighted_base", View("linear"))
    history = train_clip(tmp_path, training, validation, NAMES, TINY, *options)
    assert history["val_accuracy"].tolist() == pytest.approx([1 / 3] * TINY.epochs)


def test_training_on_a_weighted_dataset_learns_from_what_scores(tmp_path):
    """The upper half, which tells nothing, is dimmed; the lower one is seen as it is."""
    training, validation = Squares(48, 1), Squares(12, 2)
    for data in (training, validation):
        data.score[:, :24], data.score[:, 24:] = 0, 90
    view = View("piecewise", no_score_factor=0.0, scores="objects")
    history = train_clip(tmp_path, training, validation, NAMES, TINY, "weighted_custom", view)
    assert history["val_accuracy"].max() >= 2 / 3
    record = json.loads((tmp_path / "classes.json").read_text())
    assert (record["classes"], record["dataset"]) == (sorted(NAMES), "weighted_custom")
    assert make_view(record["view"]) == view
    weighted = view(*validation.read(np.arange(12)))
    model = ClipZeroShot(tmp_path, [NAMES[country] for country in sorted(NAMES)], device="cpu")
    answers = np.array(sorted(NAMES))[model.probabilities(list(weighted)).argmax(axis=1)]
    assert np.mean(answers == validation.label) == pytest.approx(history["val_accuracy"].max())


def test_loss_is_that_of_clip_when_no_country_repeats():
    logits = torch.randn(5, 5, generator=torch.Generator().manual_seed(0))
    expected = image_text_contrastive_loss(logits.T)
    found = contrastive_loss(logits, np.array(["BR", "FI", "GB", "JP", "NA"]))
    assert found.item() == pytest.approx(expected.item(), abs=1e-6)


def test_loss_does_not_push_captions_of_the_same_country_apart():
    country = np.array(["BR", "BR", "NA"])
    right = 20 * torch.tensor([[1.0, 1, 0], [1, 1, 0], [0, 0, 1]])
    assert contrastive_loss(right, country) < contrastive_loss(20 * torch.eye(3), country)


def test_crops_keep_left_and_right():
    image = np.zeros((1, 48, 48, 3), np.uint8)
    image[:, :, 24:] = 200
    for seed in range(10):
        crop = random_crops(image, 16, 0.5, np.random.default_rng(seed))[0].mean(dim=(0, 1))
        assert crop[0] < crop[-1]


def test_tokenizer_can_write_what_it_has_not_seen():
    tokenizer = train_tokenizer(["a street in Namibia", "Brazil"])
    text = "Côte d'Ivoire 7"
    tokens = tokenizer(text)["input_ids"]
    assert tokens[0] == tokenizer.bos_token_id
    assert tokens.count(tokenizer.eos_token_id) == 1
    assert tokenizer.decode(tokens, skip_special_tokens=True).replace(" ", "") == (
        text.lower().replace(" ", "")
    )
    assert len(tokenizer("Namibia")["input_ids"]) == 3


def test_validating_an_untrained_country_is_refused(tmp_path):
    training, validation = Squares(12, 1), Squares(12, 2)
    training.label[:] = "BR"
    with pytest.raises(ValueError, match="GB, NA"):
        train_clip(tmp_path, training, validation, NAMES, TINY)
