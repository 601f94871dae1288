"""What the demo's SAM is taught: where it starts, and the losses of its three phases."""

from __future__ import annotations

import math

import numpy as np
import sam_data
import torch
import torch.nn.functional as functional
from torch import Tensor, nn

# The single mask and the first of three have the same target.
TARGET_OF_MASK = [0, 0, 1, 2]
WEIGHT_OF_MASK = [0.5, 1.0, 1.0, 0.7]
PATCHES = 100  # that stand for the whole picture in the second phase
SPREAD = (0.0, 3.0, 10.0, 40.0)  # pixels from targets at which masks are compared in the third


@torch.no_grad()
def start_local(sam: nn.Module, sharpness: float = 2.2) -> None:
    """Let the decoder start as one that marks the surroundings of the point.

    SAM has to learn from nothing that a point means its surroundings, which takes more steps than
    there are here. Points and image carry the same code of places (sines and cosines of random
    waves), so attention between them is local at once if queries and keys begin as a selection of
    these waves. For the image to tell the point's token from the others, these have to stay
    themselves in the first self-attention, and what they give the image has to be large.
    """
    waves = sam.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix
    waves *= torch.logspace(0, math.log10(5), waves.shape[1])  # shorter waves than SAM's, too
    transformer = sam.mask_decoder.transformer
    attend_places(transformer.final_attn_token_to_image, sharpness, shift=0)
    for shift, layer in enumerate(transformer.layers):
        attend_places(layer.cross_attn_token_to_image, sharpness, shift)
        attend_places(layer.cross_attn_image_to_token, sharpness, shift)
        for projection in ("v_proj", "out_proj"):
            getattr(layer.cross_attn_image_to_token, projection).weight.mul_(2.0)
        for norm in (layer.norm1, layer.norm2, layer.norm3, layer.norm4):
            norm.weight.fill_(0.3)
    first = transformer.layers[0].self_attn
    for projection in (first.q_proj, first.k_proj, first.v_proj, first.out_proj):
        nn.init.eye_(projection.weight)
        projection.bias.zero_()
    sam.image_encoder.neck[-1].weight.fill_(0.3)
    sam.prompt_encoder.no_mask_embed.weight.mul_(0.2)
    for embedding in sam.prompt_encoder.point_embeddings:
        embedding.weight.mul_(0.4)


def attend_places(attention: nn.Module, sharpness: float, shift: int) -> None:
    """Begin queries and keys of a decoder's attention as a selection of the waves of places."""
    internal, channels = attention.q_proj.weight.shape
    pairs = torch.arange(internal // 2)
    heads = attention.num_heads
    order = pairs.view(heads, -1).T.flatten().argsort()  # every head has long and short waves
    chosen = (order * channels // internal + shift) % (channels // 2)
    selection = torch.zeros(internal, channels)
    selection[2 * pairs, chosen] = sharpness  # the sine
    selection[2 * pairs + 1, channels // 2 + chosen] = sharpness  # the cosine
    for projection in (attention.q_proj, attention.k_proj):
        projection.weight.mul_(0.3).add_(selection)
        projection.bias.zero_()


class DenseHead(nn.Module):
    """Tells, for every cell of the masks, the kind and the box of the object that it shows.

    A second task that only serves training: every pixel of a picture teaches the image encoder to
    keep objects apart, while prompts are few and dear. It is not part of the model that is shipped.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, 16 * (len(sam_data.KINDS) + 4))

    def losses(self, embedding: Tensor, scenes: list[sam_data.TrainingScene]) -> dict[str, Tensor]:
        """Losses of embeddings (B, C, G, G); there are 4 x 4 cells a patch. Small objects weigh
        more, by the square root of their share of the picture."""
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
        distance = functional.smooth_l1_loss(found[:, -4:], box, reduction="none", beta=0.05)
        return {"kind": (entropy * weight).sum(), "box": 6.0 * (distance.mean(1) * weight).sum()}


def dense_losses(
    model: nn.ModuleDict, scenes: list[sam_data.TrainingScene], rng: np.random.Generator
) -> dict[str, Tensor]:
    """First phase: the second task alone."""
    return model["dense"].losses(embed(model["sam"], scenes, rng), scenes)


def cell_losses(
    model: nn.ModuleDict, scene: sam_data.TrainingScene, count: int, rng: np.random.Generator
) -> dict[str, Tensor]:
    """Second phase: masks at a sample of patches, which costs a tenth of all patches."""
    sam = model["sam"]
    embedding = embed(sam, [scene], rng)
    prompts = sam_data.draw_prompts(scene, count, rng)
    patches, inside, stands = sam_data.draw_cells(scene, prompts, embedding.shape[-1], PATCHES, rng)
    masks, quality = predict_cells(sam, embedding, prompts.points, torch.from_numpy(patches))
    truth = torch.from_numpy(inside).flatten(2)
    logits = masks.flatten(2)
    losses = mask_losses(logits, truth, prompts.targets)
    stands = torch.from_numpy(stands)[:, None].repeat_interleave(16, dim=2)
    best = torch.zeros_like(quality)
    for target in range(truth.shape[1]):
        both = ((logits > 0) & truth[:, target, None]) * stands
        either = ((logits > 0) | truth[:, target, None]) * stands
        best = torch.maximum(best, both.sum(2) / either.sum(2).clamp(min=1))
    return losses | rest_of_losses(model, embedding, scene, quality, best)


def full_losses(
    model: nn.ModuleDict, scene: sam_data.TrainingScene, count: int, rng: np.random.Generator
) -> dict[str, Tensor]:
    """Third phase: whole masks, compared between their cells too, at 512 places a target."""
    sam = model["sam"]
    embedding = embed(sam, [scene], rng)
    prompts = sam_data.draw_prompts(scene, count, rng)
    places, inside = sam_data.draw_samples(scene, prompts, 512, SPREAD, rng)
    masks, quality = predict(sam, embedding, prompts.points)
    grid = torch.from_numpy(places)[:, TARGET_OF_MASK] / sam_data.SIDE * 2 - 1
    logits = functional.grid_sample(
        masks.flatten(0, 1)[:, None],
        grid.flatten(0, 1)[:, None],
        align_corners=False,
        padding_mode="border",
    ).view(grid.shape[:3])
    losses = mask_losses(logits, torch.from_numpy(inside), prompts.targets)
    best = overlap(masks, scene, prompts.targets)
    return losses | rest_of_losses(model, embedding, scene, quality, best)


def embed(sam: nn.Module, scenes: list[sam_data.TrainingScene], rng: np.random.Generator) -> Tensor:
    """Image embeddings (B, C, G, G) of scenes in random light."""
    images = np.stack([change_light(scene.image, rng) for scene in scenes])
    return sam.image_encoder(sam.preprocess(torch.from_numpy(images).permute(0, 3, 1, 2)))


def change_light(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Random brightness, contrast and colour balance: float32 (H, W, 3), 0-255."""
    changed = image * (rng.uniform(0.75, 1.25) * rng.uniform(0.93, 1.07, 3)).astype(np.float32)
    changed = (changed - 128) * np.float32(rng.uniform(0.85, 1.15)) + 128
    return np.clip(changed, 0, 255)


def encode_points(sam: nn.Module, points: np.ndarray) -> tuple[Tensor, Tensor]:
    """Sparse and dense prompt embeddings of points (P, 2), one a prompt, in pixels of a scene."""
    coordinates = torch.from_numpy(points)[:, None] * (sam_data.INPUT / sam_data.SIDE)
    labels = torch.ones(len(points), 1)
    return sam.prompt_encoder(points=(coordinates, labels), boxes=None, masks=None)


def predict(sam: nn.Module, embedding: Tensor, points: np.ndarray) -> tuple[Tensor, Tensor]:
    """Logits (P, 4, 4G, 4G) and predicted IoU (P, 4): the single mask, then the three."""
    sparse, dense = encode_points(sam, points)
    return sam.mask_decoder.predict_masks(
        image_embeddings=embedding,
        image_pe=sam.prompt_encoder.get_dense_pe(),
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
    )


def predict_cells(
    sam: nn.Module, embedding: Tensor, points: np.ndarray, patches: Tensor
) -> tuple[Tensor, Tensor]:
    """`MaskDecoder.predict_masks` as if the image had only some patches, int64 (P, n), which may
    differ by prompt: logits (P, 4, 4n, 4) and predicted IoU (P, 4).

    The decoder treats patches alike and its upsampling does not mix them, so a list of patches is
    as good as a grid.
    """
    decoder = sam.mask_decoder
    sparse, _ = encode_points(sam, points)
    own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
    tokens = torch.cat([own.expand(len(points), -1, -1), sparse], dim=1)
    source = embedding[0].flatten(1).T + sam.prompt_encoder.no_mask_embed.weight
    place = sam.prompt_encoder.get_dense_pe()[0].flatten(1).T
    source, place = (x[patches].transpose(1, 2)[..., None] for x in (source, place))
    tokens, source = decoder.transformer(source, place, tokens)
    source = source.transpose(1, 2)[..., None]
    upscaled = decoder.output_upscaling(source)
    weights = torch.stack(
        [mlp(tokens[:, 1 + i]) for i, mlp in enumerate(decoder.output_hypernetworks_mlps)], dim=1
    )
    masks = (weights @ upscaled.flatten(2)).view(len(points), -1, *upscaled.shape[2:])
    return masks, decoder.iou_prediction_head(tokens[:, 0])


def mask_losses(logits: Tensor, inside: Tensor, targets: np.ndarray) -> dict[str, Tensor]:
    """Binary cross-entropy and dice of logits (P, 4, K) with what is inside the targets, bool
    (P, 3, K)."""
    truth = inside[:, TARGET_OF_MASK].float()
    there = torch.from_numpy(targets[:, TARGET_OF_MASK, 0] > 0)
    weight = there * torch.tensor(WEIGHT_OF_MASK)
    entropy = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none").mean(-1)
    share = logits.sigmoid()
    dice = 1 - (2 * (share * truth).sum(-1) + 1) / (share.sum(-1) + truth.sum(-1) + 1)
    total = weight.sum()
    return {"bce": 2.0 * (entropy * weight).sum() / total, "dice": (dice * weight).sum() / total}


def rest_of_losses(
    model: nn.ModuleDict,
    embedding: Tensor,
    scene: sam_data.TrainingScene,
    quality: Tensor,
    truth: Tensor,
) -> dict[str, Tensor]:
    """Squared error of the predicted IoU, and the second task at half its weight."""
    losses = {"iou": 3.0 * functional.mse_loss(quality, truth)}
    for name, loss in model["dense"].losses(embedding, [scene]).items():
        losses[name] = 0.5 * loss
    return losses


@torch.no_grad()
def overlap(masks: Tensor, scene: sam_data.TrainingScene, targets: np.ndarray) -> Tensor:
    """Best IoU of each mask (P, 4, h, w) with any target (P, 3, 2) of its prompt: (P, 4).

    The intersection is counted on a grid of 32 x 32 places over the box of the target, which is
    as exact for a pole as for the sky and much cheaper than masks at full size.
    """
    places, size = sam_data.box_grids(scene, targets, 32)
    index = places.astype(int)
    inside = sam_data.on_target(scene.ids[index[..., 1], index[..., 0]], targets)
    grid = torch.from_numpy(places / sam_data.SIDE * 2 - 1).flatten(1, 2)[:, None]
    hit = functional.grid_sample(masks, grid, align_corners=False, padding_mode="border") > 0
    hit = hit.view(*masks.shape[:2], targets.shape[1], -1)
    both = (hit & torch.from_numpy(inside)[:, None]).float().mean(-1)
    both *= torch.from_numpy(size)[:, None]
    predicted = (masks > 0).float().mean((2, 3))[..., None] * sam_data.SIDE**2
    area = torch.from_numpy(sam_data.target_area(scene, targets))[:, None]
    return (both / (predicted + area - both).clamp(min=1)).clamp(0, 1).amax(-1)
