"""Attention relevance of CLIPs, against the paper's equations written out, and what it leads to."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import CLIPImageProcessor, CLIPProcessor

from geoloc.errors import InputError
from geoloc.explain.changes import Pictures
from geoloc.explain.clip_probe import ClipProbe
from geoloc.explain.methods import ATTENTION_RELEVANCE, Settings
from geoloc.explain.randomization import STAGES, cascade
from geoloc.explain.row import explain_row
from geoloc.explain.tables import faithfulness, influence
from geoloc.image_text.architecture import ClipParameters, build_clip
from geoloc.image_text.tokenizer import train_tokenizer
from geoloc.image_text.zero_shot import ClipZeroShot

RNG = np.random.default_rng(6)
NAMES = ["Brazil", "Japan", "Namibia"]
SIDE = 32
SETTINGS = Settings(images=4, fills=("black",), checked_images=2, points=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A CLIP with random weights: 3 layers of 4 heads, 4 × 4 patches."""
    path = tmp_path_factory.mktemp("clip")
    parameters = ClipParameters(
        image_size=SIDE, patch_size=8, hidden_size=32, layers=3, heads=4, text_hidden_size=32,
        projection_dim=16,
    )  # fmt: skip
    torch.manual_seed(1)
    tokenizer = train_tokenizer(NAMES)
    model = build_clip(tokenizer, parameters)
    with torch.no_grad():  # larger weights, so that attention is not the same everywhere
        for layer in model.vision_model.encoder.layers:
            for each in (layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj):
                each.weight.normal_(0, 0.4)
    size = {"height": SIDE, "width": SIDE}
    images = CLIPImageProcessor(size={"shortest_edge": SIDE}, crop_size=size)
    model.save_pretrained(path)
    CLIPProcessor(images, tokenizer).save_pretrained(path)
    return path


def clip(folder: Path) -> ClipZeroShot:
    return ClipZeroShot(folder, NAMES, device="cpu")


def street_images(count: int) -> np.ndarray:
    coarse = RNG.integers(0, 256, (count, 16, 16, 3))
    return np.kron(coarse, np.ones((1, 40, 40, 1), int)).astype(np.uint8)


@pytest.fixture(scope="module")
def seen(folder) -> np.ndarray:
    probe = ClipProbe(clip(folder))
    return np.stack([probe.seen(image) for image in street_images(5)])


def relevance_by_the_equations(model: ClipZeroShot, image: np.ndarray, answer: int) -> np.ndarray:
    """Relevance of the patches of one image, (patches,), in double precision and step by step."""
    network = model.network.double()
    network.set_attn_implementation("eager")
    attentions: list[torch.Tensor] = []

    def keep(module, inputs, output):
        output[1].retain_grad()
        attentions.append(output[1])

    hooks = [
        layer.self_attn.register_forward_hook(keep) for layer in network.vision_model.encoder.layers
    ]
    processed = model.processor.image_processor(
        [image], input_data_format="channels_last", return_tensors="pt"
    )
    pixels = processed["pixel_values"].double()
    tokens = model.processor.tokenizer(NAMES, padding=True, return_tensors="pt")
    output = network(pixel_values=pixels, **tokens)
    network.zero_grad()
    output.logits_per_image[0, answer].backward()
    for hook in hooks:
        hook.remove()
    count = attentions[0].shape[-1]
    relevance = np.eye(count)
    for attention in attentions:
        passed_on = np.zeros((count, count))
        heads, gradients = attention[0].detach().numpy(), attention.grad[0].numpy()
        for head, gradient in zip(heads, gradients, strict=True):
            for query in range(count):
                for key in range(count):
                    product = gradient[query, key] * head[query, key]
                    passed_on[query, key] += max(product, 0) / len(heads)  # equation 5
        relevance = relevance + passed_on @ relevance  # equation 6
    return relevance[0, 1:]


def test_patch_relevance_is_that_of_the_paper(folder):
    """The probe computes in float32, the equations in float64. Rounding of a product chain of some
    hundred operations is below 1e-4 of the largest value; a wrong layer order, a missing clamp or
    another mean changes values by tens of percent."""
    images, answer = street_images(3), np.array([0, 2, 1])
    probe = ClipProbe(clip(folder))
    found = probe.patch_relevance(np.stack([probe.seen(each) for each in images]), answer)
    assert found.shape == (3, 4, 4)
    for image, chosen, patches in zip(images, answer, found, strict=True):
        expected = relevance_by_the_equations(clip(folder), image, chosen)
        assert np.ptp(expected) > 0.1 * expected.max() > 0
        np.testing.assert_allclose(patches.ravel(), expected, rtol=0, atol=1e-4 * expected.max())


def test_maps_do_not_depend_on_the_batch(folder, seen):
    """Up to the order of float32 sums, as above."""
    probe, answer = ClipProbe(clip(folder)), np.array([0, 1, 2, 0, 1])
    whole = probe.attention_relevance(seen, answer)
    probe._batches.size = 2
    parts = probe.attention_relevance(seen, answer)
    assert whole.shape == (5, SIDE, SIDE)
    np.testing.assert_allclose(whole.sum(axis=(1, 2)), 1, atol=1e-5)
    np.testing.assert_allclose(parts, whole, rtol=0, atol=1e-4 * whole.max())


def test_a_probe_answers_as_the_model_does_to_whole_images(folder):
    """The plain attention of the probe adds in another order than the model's own."""
    images = street_images(4)
    probe = ClipProbe(clip(folder))
    found = probe.probabilities(np.stack([probe.seen(each) for each in images]))
    np.testing.assert_allclose(found, clip(folder).probabilities(images), rtol=0, atol=1e-4)


def test_attention_that_passes_nothing_on_has_no_relevance(folder, seen):
    model = clip(folder)
    with torch.no_grad():
        for layer in model.network.vision_model.encoder.layers:
            layer.self_attn.v_proj.weight.zero_()
            layer.self_attn.v_proj.bias.zero_()
    assert not ClipProbe(model).attention_relevance(seen, np.zeros(len(seen), int)).any()


def test_a_processor_that_cuts_images_off_is_refused(folder):
    model = clip(folder)
    model.processor.image_processor.size = {"shortest_edge": SIDE + 8}
    with pytest.raises(InputError, match=r"cuts 40 pixels down to 32.* or explain\.images to 0"):
        ClipProbe(model)


def test_weights_are_randomized_from_the_texts_to_the_pixels_and_come_back(folder, seen):
    probe = ClipProbe(clip(folder))
    trained = [layer.get_weights() for layer in probe.layers()]
    before = probe.probabilities(seen)
    changed = []
    for _ in cascade(probe.layers(), 3):
        weights = [layer.get_weights() for layer in probe.layers()]
        changed.append(
            [
                any(not np.array_equal(a, b) for a, b in zip(*pair, strict=True))
                for pair in zip(trained, weights, strict=True)
            ]
        )
    # Embeddings, their normalization, three blocks, normalization, projection, texts.
    assert len(trained) == 8
    assert [sum(layers) for layers in changed][0] == 2
    assert changed[0][-2:] == [True, True]
    assert len(changed) == len(STAGES)
    assert all(changed[-1][n] for n in (0, 2, 3, 4, 6, 7))  # norms at their start are all ones
    np.testing.assert_array_equal(probe.probabilities(seen), before)


def row_of(folder: Path, seen: np.ndarray):
    scored = np.zeros((len(seen), SIDE, SIDE), bool)
    for number, place in enumerate(scored):
        place[4 : 20 + number, 8:24] = True
    ids = [f"s/{number}" for number in range(len(seen))]
    pictures = Pictures(ids, seen, scored, np.arange(len(seen)) % 3)
    maps = {image_id: np.zeros((SIDE, SIDE), int) for image_id in ids}
    probe = ClipProbe(clip(folder))
    return explain_row(probe, pictures, ["BR", "JP", "NA"], maps, ["sign"], SETTINGS, 1)


def test_answers_do_not_keep_the_attention_of_every_layer(folder, seen, monkeypatch):
    """That of 32 images is 16 GB in a CLIP of StreetCLIP's size."""
    probe, kept = ClipProbe(clip(folder)), []
    features = probe._network.get_image_features
    monkeypatch.setattr(
        probe._network,
        "get_image_features",
        lambda *args, **options: kept.append(features(*args, **options)) or kept[-1],
    )
    probe.probabilities(seen)
    assert [found.attentions for found in kept] == [None]
    probe.patch_relevance(seen, np.zeros(len(seen), int))
    assert len(kept[1].attentions) == 3


def test_a_clip_has_the_tables_of_every_other_model(folder, seen):
    found, again = row_of(folder, seen), row_of(folder, seen)
    for each in found.explanations:
        assert list(each.relevance) == [ATTENTION_RELEVANCE]
        assert each.relevance[ATTENTION_RELEVANCE].shape == (224, 224)
        assert math.isclose(each.relevance[ATTENTION_RELEVANCE].sum(dtype=float), 1, abs_tol=1e-5)
    table = influence([("clip", "default", "any", found.influence)], 0)
    assert set(table.group_by) == {"all", "class", "country"}
    (checks,) = faithfulness([("clip", "default", "any", found.checks)]).to_dict("records")
    assert checks["checked_images"] == 2
    assert np.isnan(checks["completeness_error"])
    assert checks["shown"] == (checks["similarity_100"] < 0.5)
    assert len(found.changes) == 6 * len(seen)
    for name in ("influence", "changes", "checks"):
        assert getattr(found, name).to_csv() == getattr(again, name).to_csv()
