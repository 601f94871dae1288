"""Initialize the demo's SAM with a decoder for which a point means its position."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


@torch.no_grad()
def start_at_point(sam: nn.Module, sharpness: float = 2.2) -> None:
    """Initialize the decoder so that its tokens carry the image embedding at the point.

    Learning from scratch that a point means its position takes more steps than there are here.
    Points and image carry the same code of positions (sines and cosines of random waves), so
    attention between them is local at once if queries and keys start as a selection of the waves.
    The first self-attention gives the point's code to all tokens. Each layer then copies one half
    of the channels from the image. The tokens don't change the image until training makes them.
    """
    waves = sam.prompt_encoder.pe_layer.positional_encoding_gaussian_matrix
    waves *= torch.logspace(0, math.log10(5), waves.shape[1])  # also shorter waves than SAM's
    transformer = sam.mask_decoder.transformer
    first, second = transformer.layers
    for projection in (first.self_attn.q_proj, first.self_attn.k_proj):
        nn.init.zeros_(projection.weight)
    for projection in (first.self_attn.v_proj, first.self_attn.out_proj):
        nn.init.eye_(projection.weight)
        projection.bias.zero_()
    second.self_attn.out_proj.weight.mul_(0.2)
    first.norm1.weight.fill_(0.7)  # magnitude of the code
    attend_places(transformer.final_attn_token_to_image, sharpness, shift=0)
    for half, layer in enumerate(transformer.layers):
        attend_places(layer.cross_attn_token_to_image, sharpness, half)
        copy_channels(layer.cross_attn_token_to_image, half, gain=3.0)
        attend_places(layer.cross_attn_image_to_token, sharpness, half)
        nn.init.zeros_(layer.cross_attn_image_to_token.out_proj.weight)
        layer.cross_attn_image_to_token.out_proj.bias.zero_()
        layer.mlp.lin2.weight.mul_(0.2)
        layer.norm4.weight.fill_(0.3)
    sam.image_encoder.neck[-1].weight.fill_(0.3)  # the code stands out from the embedding
    sam.image_encoder.pos_embed.copy_(waves_of_places(*sam.image_encoder.pos_embed.shape[2:]))
    decoder, prompts = sam.mask_decoder, sam.prompt_encoder
    for embedding in (
        decoder.iou_token,
        decoder.mask_tokens,
        prompts.no_mask_embed,
        prompts.not_a_point_embed,
        *prompts.point_embeddings,
    ):
        embedding.weight.mul_(0.1)


def waves_of_places(side: int, channels: int) -> Tensor:
    """Return sines and cosines of rows and columns, for the encoder: (1, side, side, channels)."""
    waves = torch.arange(side)[:, None] * math.pi * torch.logspace(-1, 0, channels // 4)
    waves = 0.5 * torch.cat([waves.sin(), waves.cos()], dim=1)
    rows = waves[:, None].expand(side, side, -1)
    return torch.cat([rows, rows.transpose(0, 1)], dim=-1)[None]


def attend_places(attention: nn.Module, sharpness: float, shift: int) -> None:
    """Initialize queries and keys of a decoder's attention as a selection of the position waves."""
    internal, channels = attention.q_proj.weight.shape
    pairs = torch.arange(internal // 2)
    heads = attention.num_heads
    order = pairs.view(heads, -1).T.flatten().argsort()  # each head gets long and short waves
    chosen = (order * channels // internal + shift) % (channels // 2)
    selection = torch.zeros(internal, channels)
    selection[2 * pairs, chosen] = sharpness  # the sine
    selection[2 * pairs + 1, channels // 2 + chosen] = sharpness  # the cosine
    for projection in (attention.q_proj, attention.k_proj):
        projection.weight.mul_(0.3).add_(selection)
        projection.bias.zero_()


def copy_channels(attention: nn.Module, half: int, gain: float) -> None:
    """Initialize values and output as a scaled copy of every second channel."""
    internal = torch.arange(attention.v_proj.weight.shape[0])
    channels = 2 * internal + half
    for projection in (attention.v_proj, attention.out_proj):
        projection.weight.mul_(0.3)
        projection.bias.zero_()
    attention.v_proj.weight[internal, channels] += 1
    attention.out_proj.weight[channels, internal] += gain
