"""SAM's mask decoder for many point prompts on one image, without redundant work.

`segment_anything` copies the image's keys for every prompt and projects each copy. The functions
here compute the same numbers from the same weights, up to float rounding, with fewer operations:

* before the first layer all prompts have the same keys, which are projected once per image;
* prompts have few tokens, so projections of the keys are moved to the tokens:
  q·(W k) = (Wᵀ q)·k, and Σ a (W v) = W (Σ a v);
* masks are upscaled only for prompts with a predicted IoU above the threshold;
* the transposed convolutions have kernel = stride, so they are matrix products.

B: prompts per batch, T: tokens per prompt (IoU, masks, point, padding), N = h·w: image tokens, C:
channels, H: attention heads, D: channels per head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from segment_anything.modeling import MaskDecoder, Sam
from segment_anything.modeling.transformer import Attention, TwoWayAttentionBlock
from torch import Tensor
from torch.nn import functional as F


@dataclass
class ImageKeys:
    """The decoder's view of an image, shared by all its prompts."""

    keys: Tensor  # (N, C) image embedding plus the embedding of "no mask prompt"
    position: Tensor  # (N, C) positional encoding
    size: tuple[int, int]  # h, w
    token_to_image_key: Tensor  # (H, N, D) of the first layer
    token_to_image_value: Tensor  # (H, N, D)
    image_to_token_query: Tensor  # (H, N, D)


@dataclass
class Decoded:
    """The m masks whose predicted IoU passed."""

    low_resolution: Tensor  # (m, 4h, 4w) float32 logits, by prompt
    predicted_iou: Tensor  # (m,) float32

    @classmethod
    def joined(cls, parts: Sequence[Decoded]) -> Decoded:
        """Concatenate the masks of one or more parts."""
        return cls(
            low_resolution=torch.cat([part.low_resolution for part in parts]),
            predicted_iou=torch.cat([part.predicted_iou for part in parts]),
        )


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(…, n, H·D) -> (…, H, n, D)"""
    return x.unflatten(-1, (heads, -1)).transpose(-3, -2)


def join_heads(x: Tensor) -> Tensor:
    """(…, H, n, D) -> (…, n, H·D)"""
    return x.transpose(-3, -2).flatten(-2)


def head_weights(weight: Tensor, heads: int) -> Tensor:
    """Split the rows of a projection (H·D, C) by head: (H, D, C)"""
    return weight.unflatten(0, (heads, -1))


def project_keys(sam: Sam, embedding: Tensor) -> ImageKeys:
    """Project the embedding (C, h, w) of the image encoder."""
    dense = sam.prompt_encoder.no_mask_embed.weight[0].to(embedding.dtype)
    keys = embedding.flatten(1).T + dense
    position = sam.prompt_encoder.get_dense_pe()[0].flatten(1).T
    layer = sam.mask_decoder.transformer.layers[0]
    with_position = keys + position
    into, back = layer.cross_attn_token_to_image, layer.cross_attn_image_to_token
    return ImageKeys(
        keys=keys,
        position=position,
        size=(embedding.shape[1], embedding.shape[2]),
        token_to_image_key=split_heads(into.k_proj(with_position), into.num_heads),
        token_to_image_value=split_heads(into.v_proj(keys), into.num_heads),
        image_to_token_query=split_heads(back.q_proj(with_position), back.num_heads),
    )


def decode(sam: Sam, image: ImageKeys, prompts: Tensor, pred_iou_thresh: float) -> Decoded:
    """Return three masks per prompt, without those whose predicted IoU is too low.

    Args:
        sam: the model.
        image: the projected keys of the image.
        prompts: (B, 2, C), the sparse embeddings of single points.
        pred_iou_thresh: the lowest predicted IoU. As in SamAutomaticMaskGenerator, 0 keeps all
            masks. Values that are not finite pass, so that the caller sees them.
    """
    decoder = sam.mask_decoder
    fixed = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
    tokens = torch.cat([fixed.expand(len(prompts), -1, -1), prompts], dim=1)
    queries, keys = attend(decoder, image, tokens)
    predicted_iou = decoder.iou_prediction_head(queries[:, 0])[:, 1:].float()
    passes = predicted_iou > (pred_iou_thresh if pred_iou_thresh > 0 else -torch.inf)
    passes |= ~predicted_iou.isfinite()
    prompt, mask = passes.nonzero(as_tuple=True)
    return Decoded(
        low_resolution=upscale(decoder, image.size, queries, keys, prompt, mask),
        predicted_iou=predicted_iou[prompt, mask],
    )


def attend(decoder: MaskDecoder, image: ImageKeys, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Run the two-way transformer: tokens (B, T, C) -> queries (B, T, C) and keys (B, N, C)."""
    transformer = decoder.transformer
    queries, keys = first_layer(transformer.layers[0], image, tokens)
    for layer in transformer.layers[1:]:
        queries, keys = next_layer(layer, image, tokens, queries, keys)
    attended = tokens_to_image(
        transformer.final_attn_token_to_image, queries + tokens, keys + image.position, keys
    )
    return transformer.norm_final_attn(queries + attended), keys


def first_layer(
    layer: TwoWayAttentionBlock, image: ImageKeys, tokens: Tensor
) -> tuple[Tensor, Tensor]:
    """Run the first layer of the transformer, with keys shared by all prompts."""
    queries = layer.norm1(layer.self_attn(q=tokens, k=tokens, v=tokens))
    into = layer.cross_attn_token_to_image
    q = across_prompts(scaled_heads(into.q_proj(queries + tokens), into))  # (H, B·T, D)
    weights = (q @ image.token_to_image_key.transpose(1, 2)).softmax(dim=-1)
    attended = by_prompt(weights @ image.token_to_image_value, len(tokens))
    queries = layer.norm2(queries + into.out_proj(join_heads(attended)))
    queries = layer.norm3(queries + layer.mlp(queries))

    back = layer.cross_attn_image_to_token
    k = across_prompts(scaled_heads(back.k_proj(queries + tokens), back))
    scores = by_prompt(k @ image.image_to_token_query.transpose(1, 2), len(tokens))
    return queries, layer.norm4(mixed_with_tokens(back, image.keys, scores, queries))


def next_layer(
    layer: TwoWayAttentionBlock, image: ImageKeys, tokens: Tensor, queries: Tensor, keys: Tensor
) -> tuple[Tensor, Tensor]:
    """Run a later layer: every prompt has its own keys (B, N, C)."""
    q = queries + tokens
    queries = layer.norm1(queries + layer.self_attn(q=q, k=q, v=queries))
    with_position = keys + image.position
    into = layer.cross_attn_token_to_image
    queries = queries + tokens_to_image(into, queries + tokens, with_position, keys)
    queries = layer.norm2(queries)
    queries = layer.norm3(queries + layer.mlp(queries))

    back = layer.cross_attn_image_to_token
    scores = image_to_token_scores(back, with_position, queries + tokens)
    return queries, layer.norm4(mixed_with_tokens(back, keys, scores, queries))


def across_prompts(x: Tensor) -> Tensor:
    """(B, H, T, D) -> (H, B·T, D): one product with what all prompts share."""
    return x.transpose(0, 1).flatten(1, 2)


def by_prompt(x: Tensor, prompts: int) -> Tensor:
    """(H, B·T, n) -> (B, H, T, n)"""
    return x.unflatten(1, (prompts, -1)).transpose(0, 1)


def scaled_heads(x: Tensor, module: Attention) -> Tensor:
    """(B, T, H·D) -> (B, H, T, D), divided by the square root of D as attention requires."""
    heads = split_heads(x, module.num_heads)
    return heads / heads.shape[-1] ** 0.5


def tokens_to_image(module: Attention, tokens: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attend from tokens (B, T, C) to key and value (B, N, C): module(tokens, key, value)."""
    heads = module.num_heads
    q = scaled_heads(module.q_proj(tokens), module)
    q = (q @ head_weights(module.k_proj.weight, heads)).flatten(1, 2)  # (B, H·T, C)
    # The bias of k_proj adds a constant to the scores of all keys; softmax ignores it.
    weights = torch.bmm(q, key.transpose(1, 2)).softmax(dim=-1)  # (B, H·T, N)
    mixed = torch.bmm(weights, value).unflatten(1, (heads, -1))  # (B, H, T, C)
    out = mixed @ head_weights(module.v_proj.weight, heads).transpose(1, 2)
    return module.out_proj(join_heads(out) + module.v_proj.bias)


def image_to_token_scores(module: Attention, image: Tensor, tokens: Tensor) -> Tensor:
    """Multiply the projected image (B, N, C) and tokens (B, T, C) by head: (B, H, T, N)."""
    heads = module.num_heads
    k = scaled_heads(module.k_proj(tokens), module)
    moved = (k @ head_weights(module.q_proj.weight, heads)).flatten(1, 2)  # (B, H·T, C)
    bias = (k @ module.q_proj.bias.view(heads, -1, 1)).flatten(1, 2)  # (B, H·T, 1)
    scores = torch.baddbmm(bias.to(moved.dtype), moved, image.transpose(1, 2).to(moved.dtype))
    return scores.unflatten(1, (heads, -1))


def mixed_with_tokens(module: Attention, keys: Tensor, scores: Tensor, tokens: Tensor) -> Tensor:
    """Add to keys (B, N, C) or (N, C) their attention to tokens (B, T, C): (B, N, C).

    `scores` is (B, H, T, N), with T before N so that softmax runs over contiguous memory.
    """
    weights = scores.softmax(dim=2).flatten(1, 2)  # (B, H·T, N)
    v = split_heads(module.v_proj(tokens), module.num_heads)
    moved = v @ head_weights(module.out_proj.weight.T, module.num_heads)  # (B, H, T, C)
    # A head's weights add up to 1, so a bias on the tokens of one head is a bias on the sum.
    moved[:, 0] += module.out_proj.bias
    weights = weights.transpose(1, 2).to(moved.dtype)
    return torch.baddbmm(keys.to(moved.dtype), weights, moved.flatten(1, 2))


def upscale(
    decoder: MaskDecoder,
    size: tuple[int, int],
    queries: Tensor,
    keys: Tensor,
    prompt: Tensor,
    mask: Tensor,
) -> Tensor:
    """Return logits (m, 4h, 4w) float32 of the pairs `prompt`, `mask` (m,), sorted by prompt."""
    if not len(prompt):
        return keys.new_zeros(0, 4 * size[0], 4 * size[1], dtype=torch.float32)
    wanted, row = prompt.unique(return_inverse=True)
    x = upscaled_keys(decoder, keys[wanted])
    tokens = queries[:, 2 : 1 + decoder.num_mask_tokens]  # without the first, the single-mask token
    networks = decoder.output_hypernetworks_mlps[1:]
    hyper = torch.stack([net(tokens[wanted, i]) for i, net in enumerate(networks)], dim=1)
    logits = hyper.to(x.dtype) @ x.transpose(1, 2)  # (b, 3, N·16)
    return as_map(logits[row, mask].float(), size)


def upscaled_keys(decoder: MaskDecoder, keys: Tensor) -> Tensor:
    """Apply `output_upscaling` to keys (B, N, C): (B, N·16, C/8), a key's 4×4 pixels together."""
    first, norm, activation, second, last_activation = decoder.output_upscaling
    x = transposed_convolution(keys, first)  # (B, N, 4, C/4)
    x = activation(F.layer_norm(x, x.shape[-1:], norm.weight, norm.bias, norm.eps))
    return last_activation(transposed_convolution(x, second)).flatten(1, -2)


def as_map(pixels: Tensor, size: tuple[int, int]) -> Tensor:
    """Arrange (…, N·16) pixels in the order of `upscaled_keys` as maps (…, 4h, 4w).

    `size` is the (h, w) of the keys.
    """
    h, w = size
    blocks = pixels.reshape(-1, h, w, 2, 2, 2, 2)  # y, x, halves, quarters
    maps = blocks.permute(0, 1, 3, 5, 2, 4, 6).reshape(-1, 4 * h, 4 * w)
    return maps.view(*pixels.shape[:-1], 4 * h, 4 * w)


def transposed_convolution(x: Tensor, convolution: torch.nn.ConvTranspose2d) -> Tensor:
    """(…, C) -> (…, 4, C'): the 2×2 pixels that the convolution makes of each, row by row."""
    weight = convolution.weight.permute(2, 3, 1, 0).flatten(0, 2)  # (2·2·C', C)
    return F.linear(x, weight, convolution.bias.repeat(4)).unflatten(-1, (4, -1))
