"""A small SAM with random weights and images for it."""

from functools import partial

import numpy as np
import torch
from segment_anything.modeling import (
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayTransformer,
)

SIDE = 128

# Knobs under which random weights, which predict any IoU, have masks.
EVERYTHING = {
    "pred_iou_thresh": -1e9,
    "stability_score_thresh": 0.2,
    "stability_score_offset": 0.05,
    "box_nms_thresh": 1.0,
}


def random_sam(heads: int = 4, dim: int = 64, patch: int = 16) -> Sam:
    """A SAM whose masks differ by their point."""
    torch.manual_seed(heads)
    sam = Sam(
        ImageEncoderViT(
            img_size=SIDE, patch_size=patch, embed_dim=48, depth=2, num_heads=4, mlp_ratio=2,
            out_chans=dim, norm_layer=partial(torch.nn.LayerNorm, eps=1e-6), use_rel_pos=True,
            window_size=3, global_attn_indexes=(1,),
        ),
        PromptEncoder(
            embed_dim=dim, image_embedding_size=(SIDE // patch,) * 2,
            input_image_size=(SIDE, SIDE), mask_in_chans=16,
        ),
        MaskDecoder(
            transformer_dim=dim,
            transformer=TwoWayTransformer(
                depth=3, embedding_dim=dim, num_heads=heads, mlp_dim=128
            ),
            iou_head_hidden_dim=64,
        ),
    ).eval()  # fmt: skip
    with torch.no_grad():
        for name, weight in sam.mask_decoder.named_parameters():
            if weight.dim() == 2 and ("q_proj" in name or "k_proj" in name or "hyper" in name):
                weight.mul_(4)
            if "bias" in name:
                weight.normal_(0, 0.1)
    return sam.requires_grad_(False)


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth colored noise, uint8 (height, width, 3)."""
    coarse = torch.rand(1, 3, 6, 5, generator=torch.Generator().manual_seed(seed))
    fine = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")
    return (fine[0].permute(1, 2, 0).clamp(0, 1) * 255).byte().numpy()
