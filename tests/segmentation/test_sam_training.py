"""What trains the demo's SAM is equal to the plain way, and its points mean what is under them."""

from dataclasses import replace

import numpy as np
import pytest
import sam_data
import sam_losses
import sam_start
import torch
from muon import orthogonal

from geoloc.segmentation.segmenters.sam.models import build_sam
from scenes.draw import draw_scene


@pytest.fixture(scope="module")
def scene() -> sam_data.TrainingScene:
    drawn = draw_scene("FR", np.random.default_rng(1))
    return sam_data.prepare(drawn.image, drawn.instances, drawn.kinds, np.random.default_rng(2))


@pytest.mark.parametrize("shape", [(64, 64), (128, 48), (48, 128)])
def test_an_orthogonal_update_keeps_the_singular_vectors(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    values = left.T @ orthogonal(matrix) @ right.T
    # Five iterations bring values to around 1; the smallest of a square matrix lag behind.
    assert torch.allclose(values, values.diag().diag(), atol=1e-4)
    assert values.diag().max() < 1.3
    assert values.diag().median() > 0.6


def test_fused_attention_is_the_attention_of_segment_anything():
    torch.manual_seed(0)
    attention = build_sam("demo").image_encoder.blocks[2].attn
    x = torch.randn(2, 8, 8, 128)
    with torch.no_grad():
        plain, fused = attention(x), sam_losses.fused_attention(attention, x)
    # Sums of 64 products of numbers around 1 in another order: a few times 1e-7 each.
    assert torch.allclose(plain, fused, atol=1e-5)


@pytest.mark.parametrize(
    ("predict", "moved"), [(sam_losses.predict, True), (sam_losses.predict_one_way, False)]
)
def test_masks_in_training_are_those_of_the_decoder(scene, predict, moved):
    """The cheap way holds while tokens change no image."""
    torch.manual_seed(0)
    sam = build_sam("demo")
    sam_start.start_at_point(sam)
    if moved:
        for layer in sam.mask_decoder.transformer.layers:
            torch.nn.init.normal_(layer.cross_attn_image_to_token.out_proj.weight, std=0.3)
    points = sam_data.draw_prompts(scene, 3, np.random.default_rng(3)).points
    coordinates = torch.from_numpy(points)[:, None] / 2
    with torch.no_grad():
        embedding = sam_losses.embed(sam, [scene], np.random.default_rng(4))
        sparse, dense = sam.prompt_encoder((coordinates, torch.ones(3, 1)), None, None)
        place = sam.prompt_encoder.get_dense_pe()
        plain = sam.mask_decoder.predict_masks(embedding, place, sparse, dense)
        found = predict(sam, embedding, points)
    for a, b in zip(plain, found, strict=True):
        assert torch.allclose(a, b, atol=1e-4 * a.abs().max().item())


def test_a_point_means_the_object_under_it_and_small_ones_near(scene):
    prompts = sam_data.draw_prompts(scene, 200, np.random.default_rng(5))
    columns, rows = prompts.points.astype(int).T
    assert np.array_equal(prompts.targets[:, 0], scene.ids[rows, columns])
    near = [
        (point, number)
        for point, targets in zip(prompts.points, prompts.targets, strict=True)
        for number in targets[1:]
        if number
    ]
    assert near
    for point, number in near:
        pixels = np.argwhere(scene.ids == number)[:, ::-1] + 0.5
        assert np.hypot(*(pixels - point).T).min() <= sam_data.REACH
        assert sam_data.is_small(scene)[number - 1]


def test_cells_show_a_target_where_its_pixels_are(scene):
    """Over many draws the mean of a cell is the share of it that the target covers."""
    targets = np.array([[int(scene.ids[300, 320]), 0, 0]])
    rng = np.random.default_rng(6)
    draws = [sam_losses.is_target(scene, targets, 160, rng) for _ in range(300)]
    mean = torch.stack(draws).mean(0)
    share = (scene.ids == targets[0, 0]).reshape(160, 4, 160, 4).mean(axis=(1, 3))
    assert np.abs(mean[0, 0].numpy() - share).max() < 0.15
    assert mean[0, 1:].max() == 0


def test_overlap_forgives_a_cell_along_the_outline_and_no_more(scene):
    """A pole is a few cells wide: one cell beside it is still right, an empty mask is not."""
    ids = np.zeros_like(scene.ids)
    ids[:, 320:336] = 1  # four of 160 columns of cells, from column 80
    pole = replace(scene, ids=ids)
    masks = torch.full((1, 4, 160, 160), -1.0)
    masks[0, 0, :, 81:85] = 1  # one cell beside
    masks[0, 1, :, 81:83] = 1  # half as wide
    masks[0, 2, :, 84:88] = 1  # beside the pole
    overlap = sam_losses.best_overlap(masks, pole, np.array([[1, 0, 0]]), np.random.default_rng(7))
    # Beside: one of four columns touches the other, both ways, so 0.25² / (0.5 - 0.25²) = 1/7.
    assert overlap[0].tolist() == pytest.approx([1, 1, 1 / 7, 0])


def test_widened_cells_are_those_of_max_pooling():
    cells = torch.rand(2, 3, 20, 30, generator=torch.Generator().manual_seed(0)) > 0.95
    pooled = torch.nn.functional.max_pool2d(cells.float(), 7, stride=1, padding=3)
    assert torch.equal(sam_losses.widened(cells, 3), pooled > 0)
