"""A SAM with random weights whose masks look like masks: discs around the points of the prompt.

With random weights alone, all masks of an image look alike and fill it, so box NMS leaves one. What
comes after the networks (stability, suppression, crops) then has nothing to do.
Here all weights are random except two: the encoder's positional embedding holds smooth waves, so
that its output knows where it is, and the last layer of the networks that make the masks is fitted
to one image, by least squares, so that a prompt's masks are high around its point.
"""

from __future__ import annotations

import numpy as np
import torch
from segment_anything.modeling import Sam
from segment_anything.utils.amg import build_point_grid
from segment_anything.utils.transforms import ResizeLongestSide
from torch import Tensor

from geoloc.segmentation.segmenters.sam.decoder import as_map, attend, project_keys, upscaled_keys
from geoloc.segmentation.segmenters.sam.generator import SamSegmenter

EVERY_MASK = -1e9  # random weights may predict any IoU
WAVES = 6  # half periods per side
WIDTHS = (0.12, 0.16, 0.2)  # of the masks of a prompt, relative to the image's longer side
FITTED_POINTS = 8  # per side
STEP = 4  # every fourth row and column of the masks is fitted
ABOVE = 0.03  # share of the pixels of all masks above their threshold
LOGIT = 8.0  # of a mask at its point
RIDGE = 1e-3  # singular values below this share of the largest are dropped


@torch.inference_mode()
def make_masks_local(sam: Sam, image: np.ndarray) -> None:
    """Change the weights and the mask threshold of a random SAM, in place; see above.

    Args:
        sam: a SAM with random weights, on any device.
        image: uint8 (H, W, 3), the image to fit the masks to.
    """
    encoder = sam.image_encoder
    _, rows, columns, channels = encoder.pos_embed.shape
    waves = _waves(rows, columns).to(encoder.pos_embed.device)
    mixed = torch.randn(waves.shape[-1], channels, device=waves.device)
    encoder.pos_embed.copy_((waves @ mixed)[None])
    for layer in sam.mask_decoder.output_upscaling:
        if isinstance(layer, torch.nn.ConvTranspose2d):  # else every mask has a grid in it
            layer.weight.copy_(layer.weight.mean((2, 3), keepdim=True).expand_as(layer.weight))
    # A threshold of 0 or less keeps all masks, so predicted IoUs have to be positive.
    sam.mask_decoder.iou_prediction_head.layers[-1].bias.add_(1)
    transform = ResizeLongestSide(encoder.img_size)
    small = transform.apply_image(image)
    pixels = torch.from_numpy(small).to(sam.device).permute(2, 0, 1)
    embedding = encoder(sam.preprocess(pixels)[None])[0]
    extent = torch.tensor(small.shape[1::-1], device=sam.device)  # x, y of the image in the input
    points = torch.from_numpy(build_point_grid(FITTED_POINTS)).to(sam.device).float()
    queries, features = _decoded(sam, embedding, points * extent)
    there = _places(features.shape[1], encoder.img_size, sam.device)  # (h, w, 2), x and y
    inside = (there < extent).all(-1)
    known = features.mean(0)[inside]  # (n, C); prompts hardly differ in their features
    inverse = torch.linalg.pinv(known.double(), rtol=RIDGE)
    logits = []
    for number, width in enumerate(WIDTHS, start=1):
        distance = torch.cdist(points * extent, there[inside].float()) / encoder.img_size
        wanted = LOGIT * (2 * torch.exp(-((distance / width) ** 2) * np.log(2)) - 1)  # (P, n)
        network = sam.mask_decoder.output_hypernetworks_mlps[number]
        tokens = queries[:, 1 + number]
        _fit(network, tokens, (inverse @ wanted.T.double()).T)
        logits.append(torch.einsum("pc,pnc->pn", network(tokens), features[:, inside]))
    several = torch.stack(logits).flatten().cpu().numpy()
    sam.mask_threshold = float(np.quantile(several, 1 - ABOVE))


def iou_threshold(sam: Sam, image: np.ndarray, masks: int, points_per_side: int) -> float:
    """Return the threshold of predicted IoU at which an image keeps a number of masks.

    Masks are kept by falling predicted IoU, so those above a threshold are the first of all masks.
    It applies to a threshold of the stability score of 0.
    """
    segmenter = SamSegmenter(
        sam,
        points_per_side=points_per_side,
        pred_iou_thresh=EVERY_MASK,
        stability_score_thresh=0.0,
        device=str(sam.device),
    )
    (found,) = segmenter.segment([image])
    if len(found) <= masks:
        return EVERY_MASK
    return float(found.predicted_iou[masks - 1 : masks + 1].mean())


def _waves(rows: int, columns: int) -> Tensor:
    """Products of cosines along rows and columns, (rows, columns, WAVES²)."""

    def along(count: int) -> Tensor:
        place = (torch.arange(count) + 0.5) / count
        return torch.cos(torch.pi * place[:, None] * torch.arange(WAVES))

    return torch.einsum("ri,cj->rcij", along(rows), along(columns)).flatten(2)


def _decoded(sam: Sam, embedding: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """Return the tokens (P, T, C) of points (P, 2) and features (P, h, w, C'), thinned by STEP."""
    decoder, image = sam.mask_decoder, project_keys(sam, embedding)
    labels = torch.ones(len(points), 1, dtype=torch.int, device=points.device)
    prompts, _ = sam.prompt_encoder((points[:, None], labels), boxes=None, masks=None)
    fixed = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
    tokens, features = [], []
    for some in prompts.split(4):
        tokens_in = torch.cat([fixed.expand(len(some), -1, -1), some], dim=1)
        queries, keys = attend(decoder, image, tokens_in)
        maps = as_map(upscaled_keys(decoder, keys).transpose(1, 2), image.size)
        tokens.append(queries)
        features.append(maps[:, :, ::STEP, ::STEP].permute(0, 2, 3, 1))
    return torch.cat(tokens), torch.cat(features)


def _places(side: int, img_size: int, device: torch.device) -> Tensor:
    """Return x and y of the thinned pixels of a mask in the encoder's input, (side, side, 2)."""
    at = (torch.arange(side, device=device) * STEP + 0.5) * img_size / (side * STEP)
    return torch.stack(torch.meshgrid(at, at, indexing="xy"), dim=-1)


def _fit(network: torch.nn.Module, tokens: Tensor, wanted: Tensor) -> None:
    """Fit the last layer of a network so that tokens (P, C) give `wanted` (P, C')."""
    hidden = tokens
    for layer in network.layers[:-1]:
        hidden = torch.relu(layer(hidden))
    ones = torch.ones(len(hidden), 1, device=hidden.device)
    fitted = torch.linalg.pinv(torch.cat([hidden, ones], dim=1).double(), rtol=RIDGE) @ wanted
    last = network.layers[-1]
    last.weight.copy_(fitted[:-1].T)
    last.bias.copy_(fitted[-1])
