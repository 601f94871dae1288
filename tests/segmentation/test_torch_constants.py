"""Settings of the torch models that no comparison of results shows: defaults, and where they go."""

import inspect
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from segment_anything import SamAutomaticMaskGenerator

from geoloc.image_text.architecture import CAPTIONS, ClipParameters, build_clip
from geoloc.image_text.tokenizer import train_tokenizer
from geoloc.image_text.training import MAX_LOGIT_SCALE, ClipTrainer, random_crops, rank, train_clip
from geoloc.segmentation import crops, rle
from geoloc.segmentation.segmenters.sam.generator import SamSegmenter
from geoloc.segmentation.segmenters.sam.point_grid import PointGridSegmenter
from geoloc.segmentation.segments import to_segments
from geoloc.weighting import UNCHANGED
from tests.image_text.test_clip import NAMES, TINY, Squares
from tests.small_sam import random_sam


def test_defaults_of_sam_are_those_of_its_generator():
    ours = inspect.signature(PointGridSegmenter).parameters
    theirs = inspect.signature(SamAutomaticMaskGenerator).parameters
    # The number of points in a batch changes no result.
    shared = (ours.keys() & theirs.keys()) - {"model", "points_per_batch"}
    assert len(shared) == 11
    assert {name: ours[name].default for name in shared} == {
        name: theirs[name].default for name in shared
    }


def test_every_setting_of_crops_reaches_the_generator():
    settings = {
        "pred_iou_thresh": 0.11, "stability_score_thresh": 0.12, "stability_score_offset": 0.13,
        "box_nms_thresh": 0.14, "crop_n_layers": 2, "crop_nms_thresh": 0.15,
        "crop_overlap_ratio": 0.16, "crop_n_points_downscale_factor": 2,
        "min_mask_region_area": 17, "points_per_batch": 18,
    }  # fmt: skip
    generator = SamSegmenter(random_sam(), device="cpu", points_per_side=8, **settings).generator
    assert {name: getattr(generator, name) for name in settings} == settings
    assert [len(grid) for grid in generator.point_grids] == [64, 16, 4]


@pytest.mark.parametrize(("color", "counts"), [((8, 0, 0), 1), ((0, 0, 8), 0), ((0, 3, 0), 1)])
def test_gray_is_that_of_rgb(color, counts):
    """Red weighs 0.299, green 0.587, blue 0.114; images are not in OpenCV's BGR."""
    image = np.full((20, 20, 3), color, np.uint8)
    mask = np.ones((20, 20), bool)
    segments = to_segments((20, 20), [rle.encode(mask, 0, 0, (20, 20))], [1.0], [1.0])
    assert len(crops.cut_crops(image, segments)[1]) == counts


def test_the_clip_that_is_trained_here_has_the_size_and_course_of_the_demo():
    assert asdict(ClipParameters()) == {
        "image_size": 112, "patch_size": 16, "hidden_size": 128, "layers": 3, "heads": 4,
        "text_hidden_size": 64, "text_layers": 1, "projection_dim": 64, "epochs": 30, "warmup": 2,
        "batch_size": 32, "learning_rate": 1e-3, "weight_decay": 0.1, "smallest_crop": 0.5,
        "captions": CAPTIONS,
    }  # fmt: skip
    assert CAPTIONS == (
        "{country}",
        "a street in {country}",
        "a road in {country}",
        "a street view photo from {country}",
        "this photo was taken in {country}",
    )


def test_every_size_reaches_the_network():
    tokenizer = train_tokenizer(["a street in Namibia"])
    parameters = ClipParameters(
        image_size=24, patch_size=8, hidden_size=24, layers=2, heads=3, text_hidden_size=96,
        text_layers=4, projection_dim=20,
    )  # fmt: skip
    config = build_clip(tokenizer, parameters).config
    vision, text = config.vision_config, config.text_config
    assert (vision.image_size, vision.patch_size, vision.hidden_size) == (24, 8, 24)
    assert (vision.num_hidden_layers, vision.num_attention_heads) == (2, 3)
    assert (vision.intermediate_size, text.intermediate_size) == (96, 384)
    assert (text.hidden_size, text.num_hidden_layers, text.num_attention_heads) == (96, 4, 3)
    assert {config.projection_dim, vision.projection_dim, text.projection_dim} == {20}
    assert (text.vocab_size, text.max_position_embeddings) == (
        len(tokenizer),
        tokenizer.model_max_length,
    )
    assert (text.bos_token_id, text.eos_token_id, text.pad_token_id) == (
        tokenizer.bos_token_id,
        tokenizer.eos_token_id,
        tokenizer.pad_token_id,
    )


@pytest.fixture
def trainer() -> ClipTrainer:
    classes = sorted(NAMES)
    parameters = replace(TINY, warmup=2, epochs=5, weight_decay=0.3, learning_rate=0.02)
    return ClipTrainer(classes, NAMES, parameters, UNCHANGED, 7, torch.device("cpu"), steps=4)


def test_the_optimizer_is_that_of_clip(trainer):
    """Radford et al. 2021: AdamW, decay for matrices only, cosine schedule after a warmup."""
    optimizer = trainer.optimizer
    assert isinstance(optimizer, torch.optim.AdamW)
    assert {(group["betas"], group["eps"]) for group in optimizer.param_groups} == {
        ((0.9, 0.98), 1e-6)
    }
    for group in optimizer.param_groups:
        dimensions = {weight.ndim >= 2 for weight in group["params"]}
        assert dimensions == {group["weight_decay"] == 0.3}
        assert group["weight_decay"] in (0.0, 0.3)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(
        list(trainer.model.parameters())
    )
    rates = []
    for _ in range(20):
        rates.append(trainer.schedule.get_last_lr()[0])
        optimizer.step()
        trainer.schedule.step()
    assert rates[:9] == pytest.approx([0.02 * step / 8 for step in range(9)])
    assert rates[14] == pytest.approx(0.01)  # half way down the cosine
    assert trainer.schedule.get_last_lr()[0] == pytest.approx(0, abs=1e-9)


def test_the_scale_of_logits_stays_below_a_hundred(trainer):
    trainer.model.logit_scale.data.fill_(9)
    trainer.train_epoch(Squares(8, 1))
    assert trainer.model.logit_scale.item() == pytest.approx(np.log(100))
    assert pytest.approx(np.log(100)) == MAX_LOGIT_SCALE


def test_gradients_are_clipped_to_a_norm_of_one(trainer, monkeypatch):
    norms = []

    def remember(*_):
        gradients = [weight.grad.flatten() for weight in trainer.model.parameters()]
        norms.append(torch.cat(gradients).norm().item())

    trainer.model.logit_scale.data.fill_(4.6)  # large logits, large gradients
    trainer.optimizer.register_step_pre_hook(remember)
    trainer.train_epoch(Squares(16, 1))
    assert max(norms) == pytest.approx(1, abs=1e-3)


def test_the_seed_reaches_weights_order_and_crops(tmp_path):
    histories = [
        train_clip(
            tmp_path / "c", Squares(8, 1), Squares(6, 2), NAMES, replace(TINY, epochs=1), seed=seed
        )
        for seed in (1, 2)
    ]
    assert histories[0]["loss"][0] != histories[1]["loss"][0]
    first, second = (
        ClipTrainer(sorted(NAMES), NAMES, TINY, None, seed, torch.device("cpu"), 1)
        for seed in (1, 2)
    )
    weights = (t.model.visual_projection.weight for t in (first, second))
    assert not torch.equal(*weights)
    assert first.generator.random() != second.generator.random()


def test_every_epoch_has_an_order_and_captions_of_its_own(trainer, monkeypatch):
    orders, texts = [], []
    data = Squares(12, 1)
    read, caption = data.read, trainer.caption
    monkeypatch.setattr(data, "read", lambda rows: orders.extend(rows) or read(rows))
    monkeypatch.setattr(
        trainer, "caption", lambda country, text: texts.append(text) or caption(country, text)
    )
    trainer.train_epoch(data)
    trainer.train_epoch(data)
    first, second = orders[:12], orders[12:]
    assert sorted(first) == sorted(second) == list(range(12))
    assert list(range(12)) not in (first, second)
    assert first != second
    assert set(texts) <= set(trainer.parameters.captions)
    assert len(set(texts)) > 2
    assert texts[:12] != texts[12:]


def test_crops_differ_in_place_brightness_and_contrast():
    gray = np.full((64, 32, 32, 3), 100, np.uint8)
    levels = random_crops(gray, 16, 0.5, np.random.default_rng(0)).mean(dim=(1, 2, 3))
    assert 80 <= levels.min() < 84
    assert 116 < levels.max() <= 120.001
    stripes = gray.copy()
    stripes[:, :, ::2], stripes[:, :, 1::2] = 50, 150
    stripes = np.repeat(np.repeat(stripes[:, :8, :8], 4, axis=1), 4, axis=2)
    pixels = random_crops(stripes, 32, 1.0, np.random.default_rng(0))
    contrast = pixels.amax(dim=(1, 2, 3)) - pixels.amin(dim=(1, 2, 3))
    assert contrast.max() - contrast.min() > 25
    ramp = np.broadcast_to(np.arange(32, dtype=np.uint8)[None, :, None, None] * 8, (64, 32, 32, 3))
    tops = random_crops(ramp.copy(), 16, 0.5, np.random.default_rng(0))[:, 0, 0, 0]
    assert len(tops.unique()) > 10


def test_the_best_epoch_is_the_most_accurate_then_the_one_of_least_loss():
    rows = [
        {"val_accuracy": 0.5, "val_loss": 0.1},
        {"val_accuracy": 0.7, "val_loss": 0.9},
        {"val_accuracy": 0.7, "val_loss": 0.8},
    ]
    assert max(rows, key=rank) == rows[2]
