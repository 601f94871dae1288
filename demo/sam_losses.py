"""The losses of the three training phases of the demo's SAM."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import sam_data
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

from geoloc.segmentation.segmenters.sam.decoder import as_map, attend, project_keys, upscaled_keys

Predict = Callable[[nn.Module, Tensor, np.ndarray], tuple[Tensor, Tensor]]

# The single mask and the first of three have the same target.
TARGET_OF_MASK = [0, 0, 1, 2]
WEIGHT_OF_MASK = [0.25, 1.0, 1.0, 0.75]
AROUND = 3  # compared cells around a target that count as near it
LEAST_SHARE = 0.005  # of the picture, added to a target's area to scale its cross-entropy


class DenseHead(nn.Module):
    """Predicts the kind and the box of the object shown by each cell of the masks.

    This auxiliary task only serves training: every pixel teaches the image encoder to keep objects
    apart, while prompts are few and expensive. It is not part of the shipped model.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, 16 * (len(sam_data.KINDS) + 4))

    def losses(self, embedding: Tensor, scenes: list[sam_data.TrainingScene]) -> dict[str, Tensor]:
        """Return the losses of embeddings (B, C, G, G); there are 4 x 4 cells per patch.

        Small objects weigh more, by the square root of their share of the picture.
        """
        batch, _, grid, _ = embedding.shape
        found = self.linear(embedding.permute(0, 2, 3, 1)).view(batch, grid, grid, 4, 4, -1)
        found = found.permute(0, 1, 3, 2, 4, 5).flatten(0, 4)
        cells = [sam_data.dense_targets(scene, 4 * grid) for scene in scenes]
        kind, box, share = (
            torch.from_numpy(np.concatenate(part)) for part in zip(*cells, strict=True)
        )
        weight = share.clamp(min=1e-3) ** -0.5 * (kind >= 0)
        weight = weight / weight.sum()
        entropy = functional.cross_entropy(found[:, :-4], kind.clamp(min=0), reduction="none")
        distance = functional.smooth_l1_loss(found[:, -4:], box, reduction="none", beta=0.02)
        return {"kind": (entropy * weight).sum(), "box": 10.0 * (distance.mean(1) * weight).sum()}


def dense_losses(
    model: nn.ModuleDict, scenes: list[sam_data.TrainingScene], rng: np.random.Generator
) -> dict[str, Tensor]:
    """Return the losses of the first phase: the auxiliary task alone."""
    return model["dense"].losses(embed(model["sam"], scenes, rng), scenes)


def joint_losses(
    model: nn.ModuleDict,
    scenes: list[sam_data.TrainingScene],
    count: int,
    balance: float,
    rng: np.random.Generator,
    predict: Predict,
) -> dict[str, Tensor]:
    """Return the losses of masks and, at half weight, of the auxiliary task if the model has it.

    Args:
        model: the model.
        scenes: the scenes of a step.
        count: number of prompts per scene.
        balance: see `mask_losses`.
        rng: draws light, prompts and cells.
        predict: `predict_one_way` in the second phase, `predict` in the third.
    """
    embeddings = embed(model["sam"], scenes, rng)
    losses = {}
    if "dense" in model:
        dense = model["dense"].losses(embeddings, scenes)
        losses = {name: 0.5 * loss for name, loss in dense.items()}
    for scene, embedding in zip(scenes, embeddings, strict=True):
        prompts = sam_data.draw_prompts(scene, count, rng)
        masks, quality = predict(model["sam"], embedding[None], prompts.points)
        found = mask_losses(masks, scene, prompts.targets, balance, rng)
        overlap = best_overlap(masks.detach(), scene, prompts.targets, rng)
        found["iou"] = 3.0 * functional.mse_loss(quality, overlap)
        for name, loss in found.items():
            losses[name] = losses.get(name, 0) + loss / len(scenes)
    return losses


def fused_attention(attention: nn.Module, x: Tensor) -> Tensor:
    """Compute the encoder's attention, (B, H, W, C), with a fused kernel.

    It has no relative positions.
    """
    batch, height, width, _ = x.shape
    qkv = attention.qkv(x).view(batch, height * width, 3, attention.num_heads, -1)
    mixed = functional.scaled_dot_product_attention(*qkv.permute(2, 0, 3, 1, 4))
    return attention.proj(mixed.transpose(1, 2).reshape(batch, height, width, -1))


def embed(sam: nn.Module, scenes: list[sam_data.TrainingScene], rng: np.random.Generator) -> Tensor:
    """Return image embeddings (B, C, G, G) of scenes in random light."""
    images = [torch.from_numpy(change_light(scene.image, rng)) for scene in scenes]
    return sam.image_encoder(
        torch.stack([sam.preprocess(image.permute(2, 0, 1)) for image in images])
    )


def change_light(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw brightness, contrast and color balance: float32 (H, W, 3), 0–255."""
    changed = image * (rng.uniform(0.75, 1.25) * rng.uniform(0.93, 1.07, 3)).astype(np.float32)
    changed = (changed - 128) * np.float32(rng.uniform(0.85, 1.15)) + 128
    return np.clip(changed, 0, 255)


def predict(sam: nn.Module, embedding: Tensor, points: np.ndarray) -> tuple[Tensor, Tensor]:
    """Predict masks for points (P, 2) of the frame, one per prompt.

    Returns:
        Logits (P, 4, 4G, 4G) and predicted IoU (P, 4): the single mask, then the three, as in
        `MaskDecoder.predict_masks`.
    """
    tokens = tokens_of(sam, points)
    queries, keys = attend(sam.mask_decoder, project_keys(sam, embedding[0]), tokens)
    return read_out(sam, queries, keys, embedding)


def predict_one_way(sam: nn.Module, embedding: Tensor, points: np.ndarray) -> tuple[Tensor, Tensor]:
    """Do what `predict` does, for a decoder whose tokens do not change the image.

    This is how `sam_start.start_at_point` leaves it. The image's side of the decoder is then the
    same for all prompts and is computed once.
    """
    transformer = sam.mask_decoder.transformer
    tokens = queries = tokens_of(sam, points)
    keys = embedding.flatten(2).transpose(1, 2) + sam.prompt_encoder.no_mask_embed.weight
    places = sam.prompt_encoder.get_dense_pe().flatten(2).transpose(1, 2)
    for layer in transformer.layers:
        if layer.skip_first_layer_pe:
            queries = layer.self_attn(q=queries, k=queries, v=queries)
        else:
            places_too = queries + tokens
            queries = queries + layer.self_attn(q=places_too, k=places_too, v=queries)
        queries = layer.norm1(queries)
        queries = layer.norm2(
            queries + layer.cross_attn_token_to_image(q=queries + tokens, k=keys + places, v=keys)
        )
        queries = layer.norm3(queries + layer.mlp(queries))
        keys = layer.norm4(keys)
    found = transformer.final_attn_token_to_image(q=queries + tokens, k=keys + places, v=keys)
    return read_out(sam, transformer.norm_final_attn(queries + found), keys, embedding)


def tokens_of(sam: nn.Module, points: np.ndarray) -> Tensor:
    """Return the decoder's initial tokens (P, T, C): for the IoU, the masks, then the points.

    `points` is (P, 2) in the frame, one per prompt.
    """
    coordinates = torch.from_numpy(points)[:, None] * (sam_data.INPUT / sam_data.FRAME)
    labels = torch.ones(len(points), 1)
    sparse, _ = sam.prompt_encoder(points=(coordinates, labels), boxes=None, masks=None)
    own = torch.cat([sam.mask_decoder.iou_token.weight, sam.mask_decoder.mask_tokens.weight])
    return torch.cat([own.expand(len(points), -1, -1), sparse], dim=1)


def read_out(
    sam: nn.Module, queries: Tensor, keys: Tensor, embedding: Tensor
) -> tuple[Tensor, Tensor]:
    """Return logits (P, 4, 4G, 4G) and predicted IoU (P, 4).

    They are those of queries (P, T, C) and keys (P or 1, G·G, C).
    """
    decoder = sam.mask_decoder
    pixels = upscaled_keys(decoder, keys)
    weights = torch.stack(
        [mlp(queries[:, 1 + i]) for i, mlp in enumerate(decoder.output_hypernetworks_mlps)], dim=1
    )
    masks = as_map(weights @ pixels.transpose(1, 2), embedding.shape[2:])
    return masks, decoder.iou_prediction_head(queries[:, 0])


def mask_losses(
    logits: Tensor,
    scene: sam_data.TrainingScene,
    targets: np.ndarray,
    balance: float,
    rng: np.random.Generator,
) -> dict[str, Tensor]:
    """Return binary cross-entropy and dice of logits (P, 4, h, w) with the targets (P, 3).

    A `balance` of 1 gives half of the cross-entropy's weight to the target, a quarter to the cells
    around it and a quarter to the others: otherwise the model learns that masks are empty. At 0,
    all cells weigh the same, relative to the target's area, so that masks end where they should. Of
    four neighboring cells, one is compared, at one of its pixels, different ones each time.
    """
    top, left = rng.integers(2, size=2)
    truth = is_target(scene, targets, logits.shape[-1], rng)[..., top::2, left::2]
    around = widened(truth > 0, AROUND)
    logits, truth, around = (x.flatten(2) for x in (logits[..., top::2, left::2], truth, around))
    parts = [truth, (around & (truth == 0)).float(), (~around).float()]
    balanced = sum(
        share * part / part.sum(-1, keepdim=True).clamp(min=1)
        for share, part in zip((0.5, 0.25, 0.25), parts, strict=True)
    )
    even = 1 / (truth.sum(-1, keepdim=True) + LEAST_SHARE * truth.shape[-1])
    cell_weight = (balance * balanced + (1 - balance) * even)[:, TARGET_OF_MASK]
    weight = torch.tensor(WEIGHT_OF_MASK) * torch.from_numpy(targets[:, TARGET_OF_MASK] > 0)
    weight = weight / weight.sum().clamp(min=1)
    truth = truth[:, TARGET_OF_MASK]
    entropy = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    entropy = (entropy * cell_weight).sum(-1)
    share = logits.sigmoid()
    dice = 1 - (2 * (share * truth).sum(-1) + 1) / (share.sum(-1) + truth.sum(-1) + 1)
    return {"bce": (entropy * weight).sum(), "dice": (dice * weight).sum()}


def is_target(
    scene: sam_data.TrainingScene, targets: np.ndarray, side: int, rng: np.random.Generator
) -> Tensor:
    """Return whether each of side x side cells shows the targets (P, 3) at one of its pixels.

    The pixel is drawn at random, the same in all cells. The result is float32 (P, 3, side, side), 0
    or 1; 0 for no target.
    """
    step = sam_data.FRAME // side
    row, column = rng.integers(step, size=2)
    ids = torch.from_numpy(scene.ids[row::step, column::step].copy())
    wanted = torch.from_numpy(targets)[..., None, None]
    return ((ids == wanted) & (wanted > 0)).float()


@torch.no_grad()
def best_overlap(
    logits: Tensor, scene: sam_data.TrainingScene, targets: np.ndarray, rng: np.random.Generator
) -> Tensor:
    """Return the best overlap of each mask (P, 4, h, w) with any target (P, 3): (P, 4), 0 to 1.

    It is the IoU that follows from precision and recall of cells, where a cell counts as right if
    it touches a cell of the other mask. Cells can't tell where an outline runs within them: the
    plain IoU of a pole of two cells is low however well it is found.
    """
    masks, truth = logits > 0, is_target(scene, targets, logits.shape[-1], rng) > 0
    wide_masks, wide_truth = (widened(x, 1).flatten(2).float() for x in (masks, truth))
    masks, truth = (x.flatten(2).float() for x in (masks, truth))
    precision = (masks @ wide_truth.transpose(1, 2)) / masks.sum(-1)[..., None].clamp(min=1)
    recall = (wide_masks @ truth.transpose(1, 2)) / truth.sum(-1)[:, None].clamp(min=1)
    both = precision * recall
    return (both / (precision + recall - both).clamp(min=1e-6)).amax(-1)


def widened(cells: Tensor, by: int) -> Tensor:
    """Dilate cells (…, h, w), bool, by `by` rows and columns.

    Max pooling of floats gives the same, but takes longer.
    """
    for axis in (-2, -1):
        wide, length = cells.clone(), cells.shape[axis]
        for shift in range(1, by + 1):
            first, last = (0, length - shift), (shift, length - shift)
            wide.narrow(axis, *first).logical_or_(cells.narrow(axis, *last))
            wide.narrow(axis, *last).logical_or_(cells.narrow(axis, *first))
        cells = wide
    return cells
